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

mod last_failure;
mod latency;
mod passive;
mod place;
mod probed;
mod standing;

pub use last_failure::LastFailure;
pub use place::{AwaitedBody, InFlight, PlaceLayer, Placed, Seated};
pub use probed::LastProbe;
pub use standing::{Standing, Trouble};

pub(crate) use passive::Fault;
pub(crate) use standing::changes;

use last_failure::Failed;
use latency::Latency;
use passive::Passive;
use probed::Probed;
use standing::Troubles;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The share of its traffic that a server begins with, as Envoy's `min_weight_percent` is by default.
const LEAST_SHARE: f64 = 0.1;

/// What one costs of which nothing is known while a request is already there: more than any that is known.
const UNKNOWN: f64 = 1e12;

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
    failed: Failed,
    troubles: Troubles,
    passive: Passive,
    /// When it was made: other times are counted from here.
    made: Instant,
    latency: Latency,
    /// Milliseconds from its making to when it began to take traffic, and one more; 0 where it is not new to it.
    began: AtomicU64,
    probed: Probed,
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
            failed: Failed::default(),
            troubles: Troubles::new(),
            passive: Passive::new(),
            made: Instant::now(),
            latency: Latency::default(),
            began: AtomicU64::new(0),
            probed: Probed::default(),
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

    /// Exchanges that failed before there was a whole answer; one that its client gave up, or whose request was at fault, is
    /// none.
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
        if max == usize::MAX {
            return Some(self.enter());
        }
        // Not added first and taken back: then others would be refused while there is room.
        let one_more = |count: usize| (count < max).then_some(count + 1);
        let entered = (self.in_flight).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.ok()?;
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

    /// Notes that this is no longer wrong. Returns whether it was; if it was the last, traffic
    /// [begins](Self::begin) anew.
    pub fn clear(&self, trouble: Trouble) -> bool {
        let was = self.troubles.clear(trouble);
        if was && trouble == Trouble::Ejected {
            self.returned(self.passive.now());
        }
        if was && self.troubles.is_none() {
            self.begin();
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

    /// It is new to its traffic, or back: a slow start begins now. How long it took to answer while something was wrong
    /// with it says nothing of how it is now, and would keep it from being asked for up to a minute.
    pub fn begin(&self) {
        self.latency.forget();
        let began = self.clock(Instant::now()).as_millis() as u64 + 1;
        self.began.store(began, Ordering::Relaxed);
    }

    /// The share that it has of its own traffic at `now` where a slow start takes this long, from a tenth to 1: Envoy's
    /// slow start with an aggression of 1, which grows in proportion to the time.
    pub fn warmth(&self, slow_start: Duration, now: Instant) -> f64 {
        let began = match self.began.load(Ordering::Relaxed) {
            0 => return 1.0,
            began => Duration::from_millis(began - 1),
        };
        let age = self.clock(now).saturating_sub(began);
        match age < slow_start {
            true => age.div_duration_f64(slow_start).max(LEAST_SHARE),
            false => 1.0,
        }
    }

    /// How long it takes to answer, as it was averaged with the last answer (peak-EWMA); none where it has not answered
    /// yet, or not since it is back. It is the time to the first byte without that in which the client's body was
    /// awaited, and for connections the time to connect. What failures count as for a balance is no part of it.
    pub fn ewma(&self) -> Option<Duration> {
        self.latency.measured()
    }

    /// What one more request costs at `now`, for one of this weight: the time that it is expected to take, times all
    /// that are there with it, divided by the weight (Finagle's peak-EWMA). Where nothing is known, the first one is
    /// free, and others have to wait for what becomes of it.
    pub(crate) fn cost(&self, weight: u32, now: Instant) -> f64 {
        let (weight, in_flight) = (f64::from(weight), self.in_flight());
        let queue = (in_flight + 1) as f64 / weight;
        match self.latency.expected(self.clock(now)) {
            Some(expected) => expected * queue,
            None if in_flight == 0 => 0.0,
            None => UNKNOWN + queue,
        }
    }

    fn clock(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.made)
    }
}
