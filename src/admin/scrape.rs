//! All metrics, as they are scraped.

use super::Live;
use super::live::Snapshot;
use crate::upstream::hub::HubCounts;
use a3s_layers::endpoint::Endpoint;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

impl Live {
    /// All metrics in OpenMetrics text.
    pub fn metrics_text(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(self))));
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

#[derive(Debug)]
struct Scrape(Arc<Live>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.metrics().encode(&mut encoder)?;
        let snapshot = self.0.snapshot();
        let mut family = encoder.encode_descriptor(
            "gateway_open_connections",
            "Open connections by entrypoint",
            None,
            MetricType::Gauge,
        )?;
        for entrypoint in &snapshot.entrypoints {
            let labels = [("entrypoint", &*entrypoint.name)];
            let metric = family.encode_family(&labels)?;
            ConstGauge::new(entrypoint.drain.open() as i64).encode(metric)?;
        }
        for series in &SERVERS {
            series.encode(&snapshot, &mut encoder)?;
        }
        failovers(&snapshot, &mut encoder)?;
        mirrors(&snapshot, &mut encoder)?;
        for series in &HUBS {
            series.encode(&snapshot, &mut encoder)?;
        }
        Ok(())
    }
}

/// What has become of copies.
fn mirrors(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "gateway_service_mirror_copies",
        "Copies of requests for the mirror of a service, by what became of them",
        None,
        MetricType::Counter,
    )?;
    for service in &snapshot.services {
        let Some(told) = service.mirror.as_ref().map(|counts| counts.told()) else {
            continue;
        };
        for (result, count) in [
            ("answered", told.answered),
            ("failed", told.failed),
            ("dropped_full", told.dropped_full),
            ("dropped_too_large", told.dropped_too_large),
            ("dropped_incomplete", told.dropped_incomplete),
        ] {
            let labels = [("service", &*service.name), ("result", result)];
            let metric = family.encode_family(&labels)?;
            ConstCounter::new(count).encode(metric)?;
        }
    }
    Ok(())
}

fn failovers(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let failovers = || {
        let services = snapshot.services.iter();
        services.filter_map(|service| Some((&*service.name, service.failover.as_deref()?)))
    };
    if failovers().next().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(
        "gateway_service_failover_active",
        "Whether a service had nobody to answer when it was last asked",
        None,
        MetricType::Gauge,
    )?;
    for (name, course) in failovers() {
        let labels = [("service", name)];
        let metric = family.encode_family(&labels)?;
        ConstGauge::new(i64::from(course.is_active())).encode(metric)?;
    }
    let mut family = encoder.encode_descriptor(
        "gateway_service_failovers",
        "Requests and connections that the failover of a service was asked",
        None,
        MetricType::Counter,
    )?;
    for (name, course) in failovers() {
        let labels = [("service", name)];
        let metric = family.encode_family(&labels)?;
        ConstCounter::new(course.requests()).encode(metric)?;
    }
    Ok(())
}

/// A metric that each hub has: its name, what it is, and whether it only grows.
struct OfHubs(&'static str, &'static str, bool, fn(&HubCounts) -> u64);

const HUBS: [OfHubs; 7] = [
    OfHubs(
        "gateway_service_hub_connections",
        "Open connections to a hub",
        false,
        |counts| counts.connections as u64,
    ),
    OfHubs(
        "gateway_service_hub_channels",
        "Channels of a hub that somebody is subscribed to",
        false,
        |counts| counts.channels as u64,
    ),
    OfHubs(
        "gateway_service_hub_subscriptions",
        "Subscriptions of connections to channels of a hub",
        false,
        |counts| counts.subscriptions as u64,
    ),
    OfHubs(
        "gateway_service_hub_buffered_bytes",
        "Bytes of messages that wait for readers of a hub",
        false,
        |counts| counts.buffered_bytes as u64,
    ),
    OfHubs(
        "gateway_service_hub_published",
        "Messages that were published at a hub",
        true,
        |counts| counts.published,
    ),
    OfHubs(
        "gateway_service_hub_delivered",
        "Messages that were written to subscribers of a hub",
        true,
        |counts| counts.delivered,
    ),
    OfHubs(
        "gateway_service_hub_dropped",
        "Subscriptions to a hub that ended because their client read too slowly",
        true,
        |counts| counts.dropped,
    ),
];

impl OfHubs {
    fn encode(&self, snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Self(name, help, grows, value) = *self;
        let hubs = || {
            let services = snapshot.services.iter();
            services.filter_map(|service| Some((&*service.name, service.hub.as_deref()?)))
        };
        if hubs().next().is_none() {
            return Ok(());
        }
        let kind = match grows {
            true => MetricType::Counter,
            false => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for (service, hub) in hubs() {
            let value = value(&hub.counts());
            let labels = [("service", service)];
            let metric = family.encode_family(&labels)?;
            match grows {
                true => ConstCounter::new(value).encode(metric)?,
                false => ConstGauge::new(value as i64).encode(metric)?,
            }
        }
        Ok(())
    }
}

/// A metric that each server has.
struct OfServers {
    name: &'static str,
    help: &'static str,
    value: Value,
}

enum Value {
    Gauge(fn(&Endpoint) -> i64),
    Counter(fn(&Endpoint) -> u64),
}

const SERVERS: [OfServers; 5] = [
    OfServers {
        name: "gateway_service_server_up",
        help: "Whether nothing is wrong with a server: neither unhealthy nor ejected nor drained",
        value: Value::Gauge(|endpoint| i64::from(endpoint.takes_new())),
    },
    OfServers {
        name: "gateway_service_server_in_flight",
        help: "Exchanges under way by server",
        value: Value::Gauge(|endpoint| endpoint.in_flight() as i64),
    },
    OfServers {
        name: "gateway_service_server_requests",
        help: "Requests sent by server",
        value: Value::Counter(Endpoint::requests),
    },
    OfServers {
        name: "gateway_service_server_failures",
        help: "Requests that failed before the head of an answer by server",
        value: Value::Counter(Endpoint::failures),
    },
    OfServers {
        name: "gateway_service_server_ejections",
        help: "How often a server was ejected because it failed requests",
        value: Value::Counter(Endpoint::ejections),
    },
];

impl OfServers {
    fn encode(&self, snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.value {
            Value::Gauge(_) => MetricType::Gauge,
            Value::Counter(_) => MetricType::Counter,
        };
        let mut family = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for service in &snapshot.services {
            for pool in &service.pools {
                let revision = pool.revision.as_deref();
                for server in pool.servers.list().iter() {
                    let endpoint = &server.endpoint;
                    let mut labels = vec![("service", &*service.name), ("server", endpoint.id())];
                    // One server may be in several revisions.
                    labels.extend(revision.map(|revision| ("revision", revision)));
                    let metric = family.encode_family(&labels)?;
                    match self.value {
                        Value::Gauge(of) => ConstGauge::new(of(endpoint)).encode(metric)?,
                        Value::Counter(of) => ConstCounter::new(of(endpoint)).encode(metric)?,
                    }
                }
            }
        }
        Ok(())
    }
}
