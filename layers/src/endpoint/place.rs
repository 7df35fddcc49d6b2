//! A request with its place at a server: taken when the server is picked, given up when the exchange is over.

use super::Endpoint;
use super::passive::Fault;
use crate::classify::Verdict;
use crate::error::Failure;
use crate::observe::{End, Exchange, ObserveFuture, ObservedBody, Outcome};
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// An exchange, or a connection, that is under way at a server.
#[derive(Debug)]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    /// The server's ejections when it began.
    ejections: u64,
    /// Whether its end says no more of the server.
    is_judged: bool,
}

impl InFlight {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            ejections: endpoint.ejections(),
            endpoint,
            is_judged: false,
        }
    }

    /// The server.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The server has done what was asked of it.
    pub fn succeed(&mut self) {
        if !std::mem::replace(&mut self.is_judged, true) {
            self.endpoint.succeeded(self.ejections);
        }
    }

    /// Ends it as one that failed before there was an answer, or a connection.
    pub fn fail(mut self, failure: Failure) {
        self.endpoint.failures.fetch_add(1, Ordering::Relaxed);
        self.blame(Fault::of(failure, false));
    }

    fn blame(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault
            && !std::mem::replace(&mut self.is_judged, true)
        {
            self.endpoint.failed(fault, self.ejections);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange for InFlight {
    fn head<B>(&mut self, response: &Response<B>) {
        // A good head is no good answer yet: what a server says after it may be cut off each time.
        if Verdict::of(response) == Verdict::Failure {
            self.blame(Some(Fault::Answer(response.status())));
        }
    }

    fn end(mut self, outcome: &Outcome) {
        match (outcome.end, outcome.failure) {
            (End::Complete, _) => self.succeed(),
            (End::Failed, failure) => {
                let failure = failure.unwrap_or(Failure::Reset);
                match outcome.status {
                    None => self.fail(failure),
                    Some(_) => self.blame(Fault::of(failure, true)),
                }
            }
            (End::Dropped, _) => {}
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
