//! One server of a pool: what is known of it while requests run, shared by all who pick or watch it.

use crate::observe::{Exchange, Observer, Outcome};
use http::Request;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The handle of one server: its name and its live counts.
///
/// It outlives the configuration that named it as long as the server stays, so that its counts go on.
#[derive(Debug)]
pub struct Endpoint {
    id: Box<str>,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
}

impl Endpoint {
    /// A server that is known as `id`, its URL as a rule.
    pub fn new(id: impl Into<Box<str>>) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// The server's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Exchanges that run now, from the request's start to the end of the response's body.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Exchanges begun so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Exchanges that failed before the head of a response; one that its client gave up is none.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Begins an exchange, or a connection. It is under way until what this returns is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// An exchange, or a connection, that is under way.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
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

/// The [`Observer`] that keeps an endpoint's counts.
#[derive(Debug, Clone)]
pub struct EndpointCounts(pub Arc<Endpoint>);

impl<B> Observer<B> for EndpointCounts {
    type Exchange = InFlight;

    fn start(&self, _: &Request<B>) -> InFlight {
        self.0.enter()
    }
}

impl Exchange for InFlight {
    fn end(self, outcome: &Outcome) {
        if outcome.status.is_none() && outcome.end == crate::observe::End::Failed {
            self.fail();
        }
    }
}
