//! Counters of routers and services, and their text form.
//!
//! Each worker counts in a cache line of its own; a scrape adds them up. Names are resolved when a
//! configuration is compiled, so a request looks nothing up.

use a3s_layers::observe::Outcome;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// Makes this thread count in shard `index`.
pub fn use_shard(index: usize) {
    SHARD.set(index);
}

/// All that is counted. It outlives every configuration.
#[derive(Debug)]
pub struct Metrics {
    shards: usize,
    entrypoints: Mutex<HashMap<Arc<str>, Arc<Counts>>>,
    routers: Mutex<HashMap<Arc<str>, Arc<Counts>>>,
    services: Mutex<HashMap<Arc<str>, Arc<Counts>>>,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
    last_reload_failed: AtomicU64,
}

impl Metrics {
    /// Counters for `workers` threads.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: workers.max(1),
            entrypoints: Mutex::default(),
            routers: Mutex::default(),
            services: Mutex::default(),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
            last_reload_failed: AtomicU64::new(0),
        }
    }

    /// The counts of an entrypoint, begun if they are new.
    pub fn entrypoint(&self, name: &Arc<str>) -> Arc<Counts> {
        self.counts(&self.entrypoints, name)
    }

    /// The counts of a router, begun if they are new.
    pub fn router(&self, name: &Arc<str>) -> Arc<Counts> {
        self.counts(&self.routers, name)
    }

    /// The counts of a service, begun if they are new.
    pub fn service(&self, name: &Arc<str>) -> Arc<Counts> {
        self.counts(&self.services, name)
    }

    fn counts(&self, kind: &Mutex<HashMap<Arc<str>, Arc<Counts>>>, name: &Arc<str>) -> Arc<Counts> {
        let mut all = kind.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = all
            .entry(Arc::clone(name))
            .or_insert_with(|| Arc::new(Counts::new(self.shards)));
        Arc::clone(counts)
    }

    /// The responses of a router by class, 1xx first; none where there is no such router.
    pub fn router_responses(&self, name: &str) -> [u64; 5] {
        responses(&self.routers, name)
    }

    /// The responses of a service by class, 1xx first; none where there is no such service.
    pub fn service_responses(&self, name: &str) -> [u64; 5] {
        responses(&self.services, name)
    }

    /// Ends the series of entrypoints, routers and services that are no more.
    pub fn retain(
        &self,
        is_entrypoint: impl Fn(&str) -> bool,
        is_router: impl Fn(&str) -> bool,
        is_service: impl Fn(&str) -> bool,
    ) {
        let retain = |kind: &Mutex<HashMap<Arc<str>, Arc<Counts>>>, keep: &dyn Fn(&str) -> bool| {
            kind.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|name, _| keep(name));
        };
        retain(&self.entrypoints, &is_entrypoint);
        retain(&self.routers, &is_router);
        retain(&self.services, &is_service);
    }

    /// Counts a reload.
    pub fn reloaded(&self, is_success: bool) {
        let count = if is_success {
            &self.reloads
        } else {
            &self.failed_reloads
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.last_reload_failed
            .store(u64::from(!is_success), Ordering::Relaxed);
    }

    /// Writes every series of the metrics themselves.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (kind, name, help, all) in [
            (
                "entrypoint",
                "gateway_entrypoint_requests",
                "Responses by entrypoint and status class",
                &self.entrypoints,
            ),
            (
                "router",
                "gateway_router_requests",
                "Responses by router and status class",
                &self.routers,
            ),
            (
                "service",
                "gateway_service_requests",
                "Responses by service and status class",
                &self.services,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (name, counts) in sorted(all) {
                for (class, count) in CLASSES.iter().zip(counts.responses()) {
                    let labels = [(kind, &*name), ("code", *class)];
                    let metric = family.encode_family(&labels)?;
                    ConstCounter::new(count).encode(metric)?;
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "gateway_router_response_bytes",
            "Bytes of response bodies by router",
            None,
            MetricType::Counter,
        )?;
        for (name, counts) in sorted(&self.routers) {
            let labels = [("router", &*name)];
            let metric = family.encode_family(&labels)?;
            ConstCounter::new(counts.response_bytes()).encode(metric)?;
        }
        let mut family = encoder.encode_descriptor(
            "gateway_config_reloads",
            "Reloads by result",
            None,
            MetricType::Counter,
        )?;
        for (result, count) in [
            ("success", &self.reloads),
            ("failure", &self.failed_reloads),
        ] {
            let labels = [("result", result)];
            let metric = family.encode_family(&labels)?;
            ConstCounter::new(count.load(Ordering::Relaxed)).encode(metric)?;
        }
        let success = 1 - self.last_reload_failed.load(Ordering::Relaxed) as i64;
        ConstGauge::new(success).encode(encoder.encode_descriptor(
            "gateway_config_last_reload_success",
            "Whether the last reload took effect",
            None,
            MetricType::Gauge,
        )?)
    }
}

fn responses(all: &Mutex<HashMap<Arc<str>, Arc<Counts>>>, name: &str) -> [u64; 5] {
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.get(name).map_or([0; 5], |counts| counts.responses())
}

fn sorted(all: &Mutex<HashMap<Arc<str>, Arc<Counts>>>) -> Vec<(Arc<str>, Arc<Counts>)> {
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let mut list: Vec<_> = all
        .iter()
        .map(|(name, counts)| (Arc::clone(name), Arc::clone(counts)))
        .collect();
    list.sort_by(|(a, _), (b, _)| a.cmp(b));
    list
}

/// The exchanges of one router or service.
#[derive(Debug)]
pub struct Counts {
    shards: Box<[Shard]>,
}

/// One worker's counts: a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    responses: [AtomicU64; 5],
    response_bytes: AtomicU64,
}

impl Counts {
    fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
        }
    }

    /// Responses by class, 1xx first.
    pub fn responses(&self) -> [u64; 5] {
        let mut sums = [0; 5];
        for shard in &self.shards {
            for (sum, count) in sums.iter_mut().zip(&shard.responses) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        sums
    }

    /// Bytes of response bodies.
    pub fn response_bytes(&self) -> u64 {
        let bytes = |shard: &Shard| shard.response_bytes.load(Ordering::Relaxed);
        self.shards.iter().map(bytes).sum()
    }

    /// Counts an exchange that is over.
    pub(super) fn count(&self, outcome: &Outcome) {
        let shard = &self.shards[SHARD.get() % self.shards.len()];
        let class = outcome
            .status
            .and_then(|status| usize::from(status.as_u16() / 100).checked_sub(1));
        if let Some(count) = class.and_then(|class| shard.responses.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        shard
            .response_bytes
            .fetch_add(outcome.response_bytes, Ordering::Relaxed);
    }
}
