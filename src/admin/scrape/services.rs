//! What services have beside servers and requests: failovers, mirrors, hubs, connections.

use super::super::live::{ServiceHandle, Snapshot};
use crate::telemetry::metrics::text::{Exposition, Type};
use crate::upstream::ConnectionCounts;
use crate::upstream::hub::HubCounts;

pub(super) fn write(snapshot: &Snapshot, out: &mut Exposition) {
    connections(snapshot, out);
    failovers(snapshot, out);
    mirrors(snapshot, out);
    hubs(snapshot, out);
}

/// Every service that has something, with its name.
fn with<'s, T>(
    snapshot: &'s Snapshot,
    of: impl Fn(&'s ServiceHandle) -> Option<T>,
) -> Vec<(&'s str, T)> {
    let services = snapshot.services.iter();
    let found = services.filter_map(|service| Some((&*service.name, of(service)?)));
    found.collect()
}

fn connections(snapshot: &Snapshot, out: &mut Exposition) {
    let all = with(snapshot, |service| service.connections.as_deref());
    for (name, is, of, value) in [
        (
            "gateway_service_open_connections",
            "Open connections, or sessions, of clients to a service of TCP or UDP",
            Type::Gauge,
            ConnectionCounts::open as fn(&ConnectionCounts) -> u64,
        ),
        (
            "gateway_service_connections",
            "Connections, or sessions, of clients to a service of TCP or UDP that have begun",
            Type::Counter,
            ConnectionCounts::opened,
        ),
        (
            "gateway_service_connection_received_bytes",
            "Bytes of clients to a service of TCP or UDP",
            Type::Counter,
            ConnectionCounts::received,
        ),
        (
            "gateway_service_connection_sent_bytes",
            "Bytes of a service of TCP or UDP to clients",
            Type::Counter,
            ConnectionCounts::sent,
        ),
    ] {
        let mut family = out.family(name, is, of);
        for (service, counts) in &all {
            family.sample(&[("service", service)], value(counts));
        }
    }
    let mut family = out.family(
        "gateway_service_ended_connections",
        "Connections, or sessions, of clients to a service of TCP or UDP that have ended, by how",
        Type::Counter,
    );
    for (service, counts) in &all {
        for (end, count) in counts.ended() {
            family.sample(&[("service", service), ("end", end.as_str())], count);
        }
    }
}

fn failovers(snapshot: &Snapshot, out: &mut Exposition) {
    let all = with(snapshot, |service| service.failover.as_deref());
    let mut family = out.family(
        "gateway_service_failover_active",
        "Whether a service had nobody to answer when it was last asked",
        Type::Gauge,
    );
    for (service, course) in &all {
        family.sample(&[("service", service)], u8::from(course.is_active()));
    }
    let mut family = out.family(
        "gateway_service_failovers",
        "Requests and connections that the failover of a service was asked",
        Type::Counter,
    );
    for (service, course) in &all {
        family.sample(&[("service", service)], course.requests());
    }
}

fn mirrors(snapshot: &Snapshot, out: &mut Exposition) {
    let all = with(snapshot, |service| Some(service.mirror.as_deref()?.told()));
    let mut family = out.family(
        "gateway_service_mirror_copies",
        "Copies of requests for the mirror of a service, by what became of them",
        Type::Counter,
    );
    for (service, told) in &all {
        for (result, count) in [
            ("answered", told.answered),
            ("failed", told.failed),
            ("dropped_full", told.dropped_full),
            ("dropped_too_large", told.dropped_too_large),
            ("dropped_incomplete", told.dropped_incomplete),
        ] {
            family.sample(&[("service", service), ("result", result)], count);
        }
    }
    let mut family = out.family(
        "gateway_service_mirror_in_flight",
        "Copies of requests for the mirror of a service that are under way",
        Type::Gauge,
    );
    for (service, told) in &all {
        family.sample(&[("service", service)], told.in_flight);
    }
}

/// A metric that each hub has: its name, what it is, its type, its value.
type OfHubs = (&'static str, &'static str, Type, fn(&HubCounts) -> u64);

const HUBS: [OfHubs; 7] = [
    (
        "gateway_service_hub_connections",
        "Open connections to a hub",
        Type::Gauge,
        |counts| counts.connections as u64,
    ),
    (
        "gateway_service_hub_channels",
        "Channels of a hub that somebody is subscribed to",
        Type::Gauge,
        |counts| counts.channels as u64,
    ),
    (
        "gateway_service_hub_subscriptions",
        "Subscriptions of connections to channels of a hub",
        Type::Gauge,
        |counts| counts.subscriptions as u64,
    ),
    (
        "gateway_service_hub_buffered_bytes",
        "Bytes of messages that wait for readers of a hub",
        Type::Gauge,
        |counts| counts.buffered_bytes as u64,
    ),
    (
        "gateway_service_hub_published",
        "Messages that were published at a hub",
        Type::Counter,
        |counts| counts.published,
    ),
    (
        "gateway_service_hub_delivered",
        "Messages that were written to subscribers of a hub",
        Type::Counter,
        |counts| counts.delivered,
    ),
    (
        "gateway_service_hub_dropped",
        "Subscriptions to a hub that ended because their client read too slowly",
        Type::Counter,
        |counts| counts.dropped,
    ),
];

fn hubs(snapshot: &Snapshot, out: &mut Exposition) {
    let all = with(snapshot, |service| Some(service.hub.as_deref()?.counts()));
    for (name, is, of, value) in HUBS {
        let mut family = out.family(name, is, of);
        for (service, counts) in &all {
            family.sample(&[("service", service)], value(counts));
        }
    }
}
