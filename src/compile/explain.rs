//! What says what becomes of a request: the tables and stacks that serve it, with their names.

use super::middleware::Link;
use super::redaction::{HEADERS, PARAMETERS, read_by_middlewares, set_by_middlewares};
use super::route::Routes;
use super::upstream::{Pool, Services};
use super::{CompiledEntrypoint, Serves};
use crate::config::{Address, GatewayConfig, MiddlewareConfig, RouterConfig};
use crate::dispatch::RequestDispatcher;
use crate::dispatch::explain::{self, Explainer, Facets, HeadJudge, LayerName, Secrets, Stage};
use crate::rule::Protocol;
use crate::stack::redaction::Redaction;
use a3s_layers::connection::AllowLayer;
use a3s_layers::endpoint::Endpoint;
use a3s_layers::rehearsal::{Candidate, Choice};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn explainer(config: &GatewayConfig, stages: Vec<Stage>) -> Explainer {
    Explainer {
        stages,
        secrets: secrets(config),
    }
}

/// The entrypoint of this name, as it was compiled.
pub(super) fn stage(
    compiled: &CompiledEntrypoint,
    config: &GatewayConfig,
    services: &Services,
    (routes, outer): (&Routes, &[Link<'_>]),
) -> Option<Stage> {
    let entrypoint = config.entrypoints.get(&*compiled.name)?;
    let port = match &compiled.address {
        Address::Socket(address) => address.port(),
        Address::Host { port, .. } => *port,
        Address::Unix(_) => 0,
    };
    let allowed = &entrypoint.tcp_allowed_ips;
    let mut routers = HashMap::new();
    for (name, router) in &config.routers {
        if let Some(Protocol::Tcp | Protocol::Udp) = config.protocol_of(router) {
            routers.insert(
                name.as_str().into(),
                of_connections(router, config, services),
            );
        }
    }
    for router in routes {
        let (service, chain) = router.names(outer);
        let facets = Facets {
            service: Arc::clone(service),
            chain: chain.into(),
            servers: None,
        };
        routers.insert(router.name().into(), facets);
    }
    Some(Stage {
        name: Arc::clone(&compiled.name),
        port: port.into(),
        is_tls: entrypoint.tls.is_some(),
        trusted_proxies: compiled.trusted_proxies.clone(),
        allow: (!allowed.is_empty()).then(|| AllowLayer::new(allowed.iter().copied())),
        head: match &compiled.serves {
            Serves::Http { limits, .. } => {
                let limits = limits.clone();
                Some(HeadJudge::new(move |method, target, fields| {
                    limits.refuses(method, target, fields)
                }))
            }
            Serves::Tcp(_) | Serves::Udp { .. } => None,
        },
        serves: match &compiled.serves {
            Serves::Http {
                table,
                rejects_encoded_slash,
                first,
                ..
            } => {
                let dispatcher = RequestDispatcher::new(Arc::new(ArcSwap::new(Arc::clone(table))))
                    .rejecting_encoded_slash(*rejects_encoded_slash);
                let first = first.as_ref().map(|first| first.tables.clone());
                explain::Serves::Http(dispatcher, Arc::clone(table), first)
            }
            Serves::Tcp(connections) => explain::Serves::Tcp(connections.tables.clone()),
            Serves::Udp { routes, .. } => explain::Serves::Udp(routes.clone()),
        },
        routers,
    })
}

fn of_connections(router: &RouterConfig, config: &GatewayConfig, services: &Services) -> Facets {
    let mut chain = Vec::new();
    flatten(&router.middlewares, config, &mut chain, 0);
    let service = services.get(&*router.service);
    let pools = service.map(|service| service.pools().to_vec());
    Facets {
        service: router.service.as_str().into(),
        chain: chain.into(),
        servers: pools.map(|pools| -> Arc<dyn Fn() -> Vec<Candidate> + Send + Sync> {
            Arc::new(move || pools.iter().flat_map(|pool| candidates(pool)).collect())
        }),
    }
}

/// The configuration's check lets chains be nested no deeper.
const MAX_DEPTH: usize = 64;

fn flatten(names: &[String], config: &GatewayConfig, into: &mut Vec<LayerName>, depth: usize) {
    for name in names {
        match config.middlewares.get(name) {
            Some(MiddlewareConfig::Chain(chain)) if depth < MAX_DEPTH => {
                flatten(&chain.middlewares, config, into, depth + 1);
            }
            Some(middleware) => into.push(LayerName {
                name: name.as_str().into(),
                kind: middleware.kind().into(),
            }),
            None => {}
        }
    }
}

fn candidates(pool: &Pool) -> Vec<Candidate> {
    let servers = pool.servers().list();
    let candidates = servers.iter().map(|server| Candidate {
        endpoint: Arc::clone(&server.endpoint),
        weight: server.weight.into(),
        choice: choice(&server.endpoint, server.weight),
    });
    candidates.collect()
}

fn choice(endpoint: &Endpoint, weight: u16) -> Choice {
    match weight {
        _ if !endpoint.takes_new() => Choice::Troubled,
        _ if !endpoint.has_room() => Choice::Full,
        0 => Choice::Weightless,
        _ => Choice::Possible,
    }
}

/// What is shown of nothing that is explained.
pub fn secrets(config: &GatewayConfig) -> Secrets {
    let (parameters, headers) = read_by_middlewares(config);
    Secrets::new(Redaction::new(
        PARAMETERS.into_iter().chain(parameters),
        (HEADERS.into_iter().chain(headers)).chain(set_by_middlewares(config)),
    ))
}
