//! What is known of a route when a configuration is compiled, so that no exchange looks a name up.

use super::metrics::Counts;
use crate::stack::Request;
use a3s_layers::journal::Journal;
use a3s_layers::observe::Outcome;
use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// What is known of a route: where it stands in the [`Journal`] as what serves the request.
#[derive(Debug)]
pub struct RouteSignals {
    /// The router's name.
    pub router: Arc<str>,
    /// The service's name.
    pub service: Arc<str>,
    /// The counts of both.
    pub counts: [Arc<Counts>; 2],
    /// The layers of its chain, the outermost first, as [`Journal::position`] counts them. The router's own timeout is
    /// no middleware.
    pub chain: Box<[Option<Arc<MiddlewareSignals>>]>,
}

/// What is known of a middleware.
#[derive(Debug)]
pub struct MiddlewareSignals {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Arc<str>,
}

impl RouteSignals {
    /// Counts an exchange that is over.
    pub(super) fn count(&self, outcome: &Outcome) {
        for counts in &self.counts {
            counts.count(outcome);
        }
    }

    /// Where a request was stopped that came so far in the chain; none where it came to the service.
    pub fn stopped_at(&self, position: u32) -> Option<&Arc<MiddlewareSignals>> {
        self.chain.get(position as usize)?.as_ref()
    }
}

/// Notes in a request's [`Journal`] that this route serves it.
#[derive(Debug, Clone)]
pub struct RouteLayer {
    route: Arc<dyn Any + Send + Sync>,
}

impl RouteLayer {
    /// Of this route.
    pub fn new(route: Arc<RouteSignals>) -> Self {
        Self { route }
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Routed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Routed {
            inner,
            route: Arc::clone(&self.route),
        }
    }
}

/// The service made by [`RouteLayer`].
#[derive(Debug, Clone)]
pub struct Routed<S> {
    inner: S,
    route: Arc<dyn Any + Send + Sync>,
}

impl<S: Service<Request>> Service<Request> for Routed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if let Some(journal) = request.extensions().get::<Journal>() {
            journal.set_route(Arc::clone(&self.route));
        }
        self.inner.call(request)
    }
}
