//! What is counted of exchanges, and its text form.
//!
//! Each worker counts on cache lines of its own; a scrape adds them up. Names are resolved when a configuration is
//! compiled, so a request looks nothing up.

mod buckets;
mod counts;
mod kind;
mod series;
mod slots;
pub mod text;
mod traefik;

pub use buckets::{BOUNDS, BUCKETS, quantile};
pub use counts::{Counts, Made, MiddlewareCounts, ServiceCounts, Took, Totals};
pub use kind::{CLIENT_GONE, Kind, Spoken, Verb};
pub use slots::Counted;

use super::access_log::LogCounts;
use super::traces::SpanCounts;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that is counted of exchanges. It outlives every configuration.
#[derive(Debug)]
pub struct Metrics {
    shards: usize,
    entrypoints: All<Counts>,
    /// By name and service.
    routers: All<Counts>,
    services: All<ServiceCounts>,
    /// By name and type.
    middlewares: All<MiddlewareCounts>,
    access_log: Arc<LogCounts>,
    spans: Arc<SpanCounts>,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

/// Counts by one name, or two.
type Names = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct All<C>(Mutex<BTreeMap<Names, Arc<C>>>);

impl<C> All<C> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Names, Arc<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, names: Names, new: impl FnOnce() -> C) -> Arc<C> {
        Arc::clone(self.lock().entry(names).or_insert_with(|| Arc::new(new())))
    }

    fn get(&self, name: &str, other: &str) -> Option<Arc<C>> {
        self.lock().get(&(name.into(), other.into())).cloned()
    }

    fn retain(&self, is_there: impl Fn(&str, &str) -> bool) {
        self.lock().retain(|(name, other), _| is_there(name, other));
    }

    /// In the order of their names.
    fn list(&self) -> Vec<(Names, Arc<C>)> {
        let all = self.lock();
        let pairs = all.iter();
        pairs
            .map(|(names, counts)| (names.clone(), Arc::clone(counts)))
            .collect()
    }
}

/// What there is in a configuration, for whoever ends the series of what is no more.
pub trait Present {
    /// Whether there is an entrypoint of this name.
    fn has_entrypoint(&self, name: &str) -> bool;
    /// Whether there is a router of this name that leads to this service.
    fn has_router(&self, name: &str, service: &str) -> bool;
    /// Whether there is a service of this name.
    fn has_service(&self, name: &str) -> bool;
    /// Whether there is a middleware of this name and type.
    fn has_middleware(&self, name: &str, kind: &str) -> bool;
}

impl Metrics {
    /// Counts of `workers` threads.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: workers.max(1),
            entrypoints: All::new(),
            routers: All::new(),
            services: All::new(),
            middlewares: All::new(),
            access_log: Arc::default(),
            spans: Arc::default(),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        }
    }

    /// What has become of spans.
    pub fn spans(&self) -> &Arc<SpanCounts> {
        &self.spans
    }

    /// The counts of an entrypoint, begun if they are new.
    pub fn entrypoint(&self, name: &Arc<str>) -> Arc<Counts> {
        let names = (Arc::clone(name), "".into());
        self.entrypoints.begin(names, || Counts::new(self.shards))
    }

    /// The counts of a router that leads to a service, begun if they are new.
    pub fn router(&self, name: &Arc<str>, service: &Arc<str>) -> Arc<Counts> {
        let names = (Arc::clone(name), Arc::clone(service));
        self.routers.begin(names, || Counts::new(self.shards))
    }

    /// The counts of a service, begun if they are new.
    pub fn service(&self, name: &Arc<str>) -> Arc<ServiceCounts> {
        let names = (Arc::clone(name), "".into());
        self.services
            .begin(names, || ServiceCounts::new(self.shards))
    }

    /// The counts of a middleware, begun if they are new.
    pub fn middleware(&self, name: &Arc<str>, kind: &Arc<str>) -> Arc<MiddlewareCounts> {
        let names = (Arc::clone(name), Arc::clone(kind));
        self.middlewares
            .begin(names, || MiddlewareCounts::new(self.shards))
    }

    /// The exchanges of an entrypoint; none where there is no such entrypoint.
    pub fn entrypoint_totals(&self, name: &str) -> Totals {
        let counts = self.entrypoints.get(name, "");
        counts.map_or_else(Totals::default, |counts| counts.totals())
    }

    /// The exchanges of a router that leads to a service; none where there is no such router.
    pub fn router_totals(&self, name: &str, service: &str) -> Totals {
        let counts = self.routers.get(name, service);
        counts.map_or_else(Totals::default, |counts| counts.totals())
    }

    /// The exchanges of a service; none where there is no such service.
    pub fn service_totals(&self, name: &str) -> Totals {
        let counts = self.services.get(name, "");
        counts.map_or_else(Totals::default, |counts| counts.exchanges.totals())
    }

    /// Ends the series of what is no more.
    pub fn retain(&self, present: &impl Present) {
        self.entrypoints
            .retain(|name, _| present.has_entrypoint(name));
        self.routers
            .retain(|name, service| present.has_router(name, service));
        self.services.retain(|name, _| present.has_service(name));
        self.middlewares
            .retain(|name, kind| present.has_middleware(name, kind));
    }

    /// What has become of lines of the access log.
    pub fn access_log(&self) -> &Arc<LogCounts> {
        &self.access_log
    }

    /// Counts a reload.
    pub fn reloaded(&self, is_success: bool) {
        let count = match is_success {
            true => &self.reloads,
            false => &self.failed_reloads,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reloads that took effect, and those that did not.
    pub fn reloads(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.reloads), count(&self.failed_reloads))
    }
}
