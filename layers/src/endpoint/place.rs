//! A request with its place at a server: taken when the server is picked, given up when the exchange is over.

use super::Endpoint;
use crate::observe::{End, Exchange, ObserveFuture, ObservedBody, Outcome};
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// An exchange, or a connection, that is under way at a server.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self(endpoint)
    }

    /// The server.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// Ends it as one that failed.
    pub fn fail(self) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange for InFlight {
    fn end(self, outcome: &Outcome) {
        if outcome.status.is_none() && outcome.end == End::Failed {
            self.fail();
        }
    }
}

/// What a [`Balance`](crate::balance::Balance) hands to the member that it has picked.
#[derive(Debug)]
pub struct Placed<R> {
    /// What was asked of the balance.
    pub request: R,
    /// Its place at the member's endpoint.
    pub place: InFlight,
}

/// Keeps the place of a request until its response's body has ended, and hands on the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlaceLayer(());

impl PlaceLayer {
    /// For the member of a balance.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for PlaceLayer {
    type Service = Seated<S>;

    fn layer(&self, inner: S) -> Seated<S> {
        Seated { inner }
    }
}

/// The service made by [`PlaceLayer`].
#[derive(Debug, Clone)]
pub struct Seated<S> {
    inner: S,
}

impl<S, B, R> Service<Placed<Request<B>>> for Seated<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    R: http_body::Body,
    R::Error: 'static,
{
    type Response = Response<ObservedBody<R, InFlight>>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future, InFlight>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, placed: Placed<Request<B>>) -> Self::Future {
        ObserveFuture::new(placed.place, || self.inner.call(placed.request))
    }
}
