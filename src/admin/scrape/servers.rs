//! Servers: how each stands, and what it was asked.

use super::super::live::Snapshot;
use crate::telemetry::metrics::text::{Exposition, Type};
use crate::upstream::{Server, Usage};
use a3s_layers::endpoint::{Endpoint, Trouble};

/// A metric that each server has; none where it has no value.
struct OfServers {
    name: &'static str,
    is: &'static str,
    of: Type,
    value: fn(&Server) -> Option<f64>,
}

const SERVERS: [OfServers; 13] = [
    OfServers {
        name: "gateway_service_server_up",
        is: "Whether nothing is wrong with a server: neither unhealthy nor ejected nor drained",
        of: Type::Gauge,
        value: |server| yes(server.endpoint.takes_new()),
    },
    OfServers {
        name: "gateway_service_server_healthy",
        is: "Whether the health check of a server, if there is one, says that it is well",
        of: Type::Gauge,
        value: |server| yes(!server.endpoint.has(Trouble::Unhealthy)),
    },
    OfServers {
        name: "gateway_service_server_ejected",
        is: "Whether a server gets no requests because it failed some",
        of: Type::Gauge,
        value: |server| yes(server.endpoint.has(Trouble::Ejected)),
    },
    OfServers {
        name: "gateway_service_server_weight",
        is: "The weight of a server; with 0 it takes nothing new",
        of: Type::Gauge,
        value: |server| Some(f64::from(server.weight)),
    },
    OfServers {
        name: "gateway_service_server_in_flight",
        is: "Exchanges, or connections, under way at a server",
        of: Type::Gauge,
        value: |server| number(server.endpoint.in_flight() as u64),
    },
    OfServers {
        name: "gateway_service_server_latency_seconds",
        is: "How long a server took to the head of its answers: an average that forgets",
        of: Type::Gauge,
        value: |server| Some(server.endpoint.ewma()?.as_secs_f64()),
    },
    OfServers {
        name: "gateway_service_server_requests",
        is: "Requests, or connections, that a server was asked",
        of: Type::Counter,
        value: |server| number(server.endpoint.requests()),
    },
    OfServers {
        name: "gateway_service_server_failures",
        is: "Requests, or connections, that failed before there was an answer",
        of: Type::Counter,
        value: |server| number(server.endpoint.failures()),
    },
    OfServers {
        name: "gateway_service_server_ejections",
        is: "How often a server was ejected because it failed requests",
        of: Type::Counter,
        value: |server| number(Endpoint::ejections(&server.endpoint)),
    },
    OfServers {
        name: "gateway_service_server_open_connections",
        is: "Open connections of HTTP to a server",
        of: Type::Gauge,
        value: |server| of_http(server, Usage::open),
    },
    OfServers {
        name: "gateway_service_server_idle_connections",
        is: "Connections of HTTP/1.1 to a server that wait for a request",
        of: Type::Gauge,
        value: |server| of_http(server, Usage::idle),
    },
    OfServers {
        name: "gateway_service_server_opened_connections",
        is: "Connections of HTTP to a server that were opened",
        of: Type::Counter,
        value: |server| of_http(server, Usage::opened),
    },
    OfServers {
        name: "gateway_service_server_reused_connections",
        is: "Requests that went to a server on a connection that was there",
        of: Type::Counter,
        value: |server| of_http(server, Usage::reused),
    },
];

fn of_http(server: &Server, value: fn(&Usage) -> u64) -> Option<f64> {
    let origin = &server.origin;
    number(origin.is_http().then(|| value(origin.usage()))?)
}

fn yes(is: bool) -> Option<f64> {
    Some(f64::from(u8::from(is)))
}

fn number(count: u64) -> Option<f64> {
    Some(count as f64)
}

pub(super) fn write(snapshot: &Snapshot, out: &mut Exposition) {
    for OfServers {
        name,
        is,
        of,
        value,
    } in SERVERS
    {
        let mut family = out.family(name, is, of);
        each(snapshot, |labels, server| {
            if let Some(value) = value(server) {
                family.sample(labels, value);
            }
        });
    }
}

/// Every server with its labels. One may be in several revisions.
pub(super) fn each(snapshot: &Snapshot, mut with: impl FnMut(&[(&str, &str)], &Server)) {
    for service in &snapshot.services {
        for pool in &service.pools {
            for server in pool.servers.list().iter() {
                let labels = [
                    ("service", &*service.name),
                    ("server", server.endpoint.id()),
                ];
                match pool.revision.as_deref() {
                    None => with(&labels, server),
                    Some(revision) => {
                        with(&[labels[0], labels[1], ("revision", revision)], server);
                    }
                }
            }
        }
    }
}
