//! What is known of a route when a configuration is compiled, so that no exchange looks a name up.

use super::metrics::{Counts, Made, MiddlewareCounts, ServiceCounts};
use crate::stack::Request;
use a3s_layers::journal::{Journal, Route};
use a3s_layers::rehearsal::{Head, Note};
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
    /// The counts of the router.
    pub router_counts: Arc<Counts>,
    /// The counts of the service.
    pub service_counts: Arc<ServiceCounts>,
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
    /// Its type as a [`reason`](crate::stack::reason).
    pub reason: Box<str>,
    /// What it made of requests.
    pub counts: Arc<MiddlewareCounts>,
}

impl Route for RouteSignals {
    fn service(&self) -> &str {
        &self.service
    }
}

impl RouteSignals {
    fn begin(&self) {
        self.router_counts.begin();
        self.service_counts.exchanges.begin();
    }

    /// Counts what the middlewares made of a request that came so far in the chain: those before have passed it on, and
    /// the one that it came to has `made` something else of it.
    pub(super) fn count_chain(&self, position: u32, made: Made) {
        let position = position as usize;
        for (index, middleware) in self.chain.iter().take(position + 1).enumerate() {
            if let Some(middleware) = middleware {
                let passed = index < position;
                middleware
                    .counts
                    .count(if passed { Made::Passed } else { made });
            }
        }
    }

    /// Where a request was stopped that came so far in the chain; none where it came to the service.
    pub fn stopped_at(&self, position: u32) -> Option<&Arc<MiddlewareSignals>> {
        self.chain.get(position as usize)?.as_ref()
    }
}

/// Notes in a request's [`Journal`] that this route serves it, and that it is under way; whoever observes the request
/// at its entrypoint tells the end.
#[derive(Debug, Clone)]
pub struct RouteLayer {
    route: Arc<RouteSignals>,
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
    route: Arc<RouteSignals>,
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
            if journal.is_rehearsal() {
                journal.note(Note::Request(Head::of(&request)));
                return self.inner.call(request);
            }
            let route = Arc::<RouteSignals>::clone(&self.route);
            if journal.set_route(route) {
                self.route.begin();
            }
        }
        self.inner.call(request)
    }
}
