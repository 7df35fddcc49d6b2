//! Connections and datagrams, by entrypoint.

use super::super::live::{EntrypointHandle, Snapshot};
use crate::config::Protocol;
use crate::stack::udp::Traffic;
use crate::telemetry::metrics::text::{Exposition, Type};

pub(super) fn write(snapshot: &Snapshot, out: &mut Exposition) {
    let entrypoints = &snapshot.entrypoints;
    let mut family = out.family(
        "gateway_open_connections",
        "Open connections, or sessions of UDP",
        Type::Gauge,
    );
    for entrypoint in entrypoints {
        let labels = [
            ("entrypoint", &*entrypoint.name),
            ("protocol", protocol(entrypoint)),
        ];
        family.sample(&labels, entrypoint.drain.open());
    }
    let mut family = out.family(
        "gateway_entrypoint_refused_connections",
        "Connections that were refused before they were served, by reason",
        Type::Counter,
    );
    for entrypoint in entrypoints.iter().filter(|each| each.traffic.is_none()) {
        for (why, count) in entrypoint.drain.refused() {
            family.sample(
                &[("entrypoint", &entrypoint.name), ("reason", why.as_str())],
                count,
            );
        }
    }
    datagrams(entrypoints, out);
}

pub(super) fn protocol(entrypoint: &EntrypointHandle) -> &'static str {
    match entrypoint.protocol {
        Protocol::Http => "http",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn datagrams(entrypoints: &[EntrypointHandle], out: &mut Exposition) {
    type Values = fn(&Traffic) -> [u64; 2];
    let of_udp = || {
        let entrypoints = entrypoints.iter();
        entrypoints.filter_map(|each| Some((&*each.name, each.traffic.as_deref()?)))
    };
    for (name, is, value) in [
        (
            "gateway_udp_sessions",
            "Sessions of UDP that have begun",
            Traffic::begun as fn(&Traffic) -> u64,
        ),
        (
            "gateway_udp_evicted_sessions",
            "Sessions of UDP that ended to make room for others",
            Traffic::evicted,
        ),
    ] {
        let mut family = out.family(name, is, Type::Counter);
        for (name, traffic) in of_udp() {
            family.sample(&[("entrypoint", name)], value(traffic));
        }
    }
    for (name, is, values) in [
        (
            "gateway_udp_datagrams",
            "Datagrams of clients, and answers to them",
            (|traffic| [traffic.from_clients().0, traffic.to_clients().0]) as Values,
        ),
        (
            "gateway_udp_bytes",
            "Bytes of datagrams of clients, and of answers to them",
            |traffic| [traffic.from_clients().1, traffic.to_clients().1],
        ),
    ] {
        let mut family = out.family(name, is, Type::Counter);
        for (name, traffic) in of_udp() {
            let [received, sent] = values(traffic);
            family.sample(&[("entrypoint", name), ("direction", "received")], received);
            family.sample(&[("entrypoint", name), ("direction", "sent")], sent);
        }
    }
    let mut family = out.family(
        "gateway_udp_dropped_datagrams",
        "Datagrams of either side that went no further, by reason",
        Type::Counter,
    );
    for (name, traffic) in of_udp() {
        for (why, count) in traffic.dropped() {
            family.sample(&[("entrypoint", name), ("reason", why.as_str())], count);
        }
    }
}
