//! One server of a pool: what is known of it while requests run, shared by all who pick or watch it.
//!
//! ```
//! use a3s_layers::endpoint::{Endpoint, Trouble};
//!
//! let endpoint = Endpoint::new("http://127.0.0.1:8001");
//! assert!(endpoint.takes_new());
//! endpoint.set(Trouble::Unhealthy, "status 500");
//! assert!(!endpoint.is_available());
//! endpoint.clear(Trouble::Unhealthy);
//! let place = endpoint.enter();
//! assert_eq!(endpoint.in_flight(), 1);
//! drop(place);
//! assert_eq!(endpoint.in_flight(), 0);
//! ```

mod passive;
mod place;
mod standing;

pub use place::{InFlight, PlaceLayer, Placed, Seated};
pub use standing::{Standing, Trouble};

pub(crate) use passive::Fault;

use passive::Passive;
use standing::Troubles;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The handle of one server: its name, how it stands, and its live counts.
///
/// It outlives the configuration that named it as long as the server stays, so that its counts go on.
#[derive(Debug)]
pub struct Endpoint {
    id: Box<str>,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    troubles: Troubles,
    passive: Passive,
}

impl Endpoint {
    /// A server that is known as `id`, its URL as a rule. Nothing is wrong with it.
    pub fn new(id: impl Into<Box<str>>) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            in_flight: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(usize::MAX),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            troubles: Troubles::new(),
            passive: Passive::new(),
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

    /// The most exchanges at a time that [`try_enter`](Self::try_enter) lets in; no limit unless told.
    pub fn set_max_in_flight(&self, max: Option<usize>) {
        let max = max.unwrap_or(usize::MAX);
        self.max_in_flight.store(max, Ordering::Relaxed);
    }

    /// Whether it has room for another exchange.
    pub fn has_room(&self) -> bool {
        self.in_flight() < self.max_in_flight.load(Ordering::Relaxed)
    }

    /// Begins an exchange, or a connection, unless there are as many as may be. It is under way until what this
    /// returns is dropped.
    pub fn try_enter(self: &Arc<Self>) -> Option<InFlight> {
        let max = self.max_in_flight.load(Ordering::Relaxed);
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= max {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        Some(InFlight::new(Arc::clone(self)))
    }

    /// Begins an exchange, or a connection, whatever the limit. It is under way until what this returns is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        InFlight::new(Arc::clone(self))
    }

    /// Whether requests that belong to it may go there: it may be drained, but neither unhealthy nor ejected.
    pub fn is_available(&self) -> bool {
        self.troubles.is_available() || self.return_in_time() && self.troubles.is_available()
    }

    /// Whether it takes requests that could go elsewhere: nothing is wrong with it.
    pub fn takes_new(&self) -> bool {
        self.troubles.is_none() || self.return_in_time() && self.troubles.is_none()
    }

    /// Notes that something is wrong with it, and why. Said again, it changes the reason but not the time.
    ///
    /// That it is ejected, an [`Outlier`](crate::outlier::Outlier) says; where anybody else does, that lasts until it
    /// is cleared.
    pub fn set(&self, trouble: Trouble, why: impl Into<Box<str>>) {
        self.troubles.set(trouble, why.into());
        if trouble != Trouble::Ejected
            && let Some(detector) = self.detector()
        {
            detector.relent();
        }
    }

    /// Notes that this is no longer wrong. Returns whether it was.
    pub fn clear(&self, trouble: Trouble) -> bool {
        let was = self.troubles.clear(trouble);
        if was && trouble == Trouble::Ejected {
            self.returned(self.passive.now());
        }
        was
    }

    /// Whether this is wrong with it.
    pub fn has(&self, trouble: Trouble) -> bool {
        let has = self.troubles.has(trouble);
        has && !(trouble == Trouble::Ejected && self.return_in_time())
    }

    /// Whether it would take requests if it were not ejected.
    pub(crate) fn is_but_ejected(&self) -> bool {
        Trouble::ALL
            .into_iter()
            .all(|trouble| self.has(trouble) == (trouble == Trouble::Ejected))
    }

    /// How it stands, for those who look.
    pub fn standing(&self) -> Standing {
        self.return_in_time();
        self.troubles.standing()
    }
}
