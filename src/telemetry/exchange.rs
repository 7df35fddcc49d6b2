//! An exchange from the moment its request is known to the end of its answer, at the entrypoint: above the dispatcher,
//! so that refusals are seen as well.

use super::metrics::Counts;
use super::{RouteSignals, RunningSignals};
use crate::stack::Request;
use a3s_layers::journal::Journal;
use a3s_layers::observe::{self, ObserveFuture, ObservedBody, Outcome};
use http::Response;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// What is known of an entrypoint, for all of its exchanges.
#[derive(Debug)]
pub struct EntrypointSignals {
    name: Arc<str>,
    counts: Arc<Counts>,
    running: RunningSignals,
}

impl EntrypointSignals {
    /// Of the entrypoint `name`.
    pub fn new(name: Arc<str>, counts: Arc<Counts>, running: RunningSignals) -> Self {
        Self {
            name,
            counts,
            running,
        }
    }

    /// The entrypoint's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is told beside the metrics.
    pub fn running(&self) -> &RunningSignals {
        &self.running
    }
}

/// Observes every exchange of an entrypoint: the only observer of requests that there is.
///
/// What lies below writes in the request's [`Journal`], which it puts there where the server has not.
#[derive(Debug, Clone)]
pub struct SignalsLayer {
    entrypoint: Arc<EntrypointSignals>,
}

impl SignalsLayer {
    /// Of this entrypoint.
    pub fn new(entrypoint: Arc<EntrypointSignals>) -> Self {
        Self { entrypoint }
    }
}

impl<S> Layer<S> for SignalsLayer {
    type Service = Signalled<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Signalled {
            inner,
            entrypoint: Arc::clone(&self.entrypoint),
        }
    }
}

/// The service made by [`SignalsLayer`].
#[derive(Debug, Clone)]
pub struct Signalled<S> {
    inner: S,
    entrypoint: Arc<EntrypointSignals>,
}

impl<S, R> Service<Request> for Signalled<S>
where
    S: Service<Request, Response = Response<R>>,
    S::Error: 'static,
    R: http_body::Body,
    R::Error: 'static,
{
    type Response = Response<ObservedBody<R, Exchange>>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future, Exchange>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let exchange = Exchange::begin(&self.entrypoint, &mut request);
        ObserveFuture::new(exchange, || self.inner.call(request))
    }
}

/// One exchange under way.
#[derive(Debug)]
pub struct Exchange {
    entrypoint: Arc<EntrypointSignals>,
    journal: Journal,
}

impl Exchange {
    fn begin(entrypoint: &Arc<EntrypointSignals>, request: &mut Request) -> Self {
        let journal = match request.extensions().get::<Journal>() {
            Some(journal) => journal.clone(),
            None => {
                let journal = Journal::new();
                request.extensions_mut().insert(journal.clone());
                journal
            }
        };
        Self {
            entrypoint: Arc::clone(entrypoint),
            journal,
        }
    }
}

impl observe::Exchange for Exchange {
    fn head<B>(&mut self, _: &Response<B>) {}

    fn end(self, outcome: &Outcome) {
        self.entrypoint.counts.count(outcome);
        if let Some(route) = self.journal.route::<RouteSignals>() {
            route.count(outcome);
        }
    }
}
