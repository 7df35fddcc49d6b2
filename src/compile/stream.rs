//! Routers of TCP: one stack of connections each.
//!
//! | # | layer | sees |
//! |---|---|---|
//! | 1 | what judges connections at the entrypoint: `tcp_allowed_ips`, its middlewares | connections |
//! | 2 | the peek, where a router of the entrypoint asks what TLS clients say of themselves, or ends or passes TLS | connections |
//! | 3 | the dispatcher | connections |
//! | 4 | the middlewares of the router | connections |
//! | 5 | the end of TLS, where the entrypoint has `tls` and the router does not pass it through | connections |
//! | 6 | the service's stack, shared by every router that names it | connections |

use super::middleware::{Middlewares, layers};
use super::upstream::{Services, Stack};
use super::{CompileError, Connections};
use crate::config::{GatewayConfig, RouterConfig};
use crate::dispatch::connection::ConnectionTables;
use crate::dispatch::table::{Route, Table};
use crate::rule::{Protocol, Rule};
use crate::serve::before::BeforeLayer;
use crate::serve::tls::Peek;
use crate::stack::{ConnectionLayer, ConnectionService};
use crate::upstream::tcp::{TcpForward, Way};
use std::sync::Arc;
use std::time::Duration;
use tower::Layer;
use tower::util::{BoxCloneSyncService, BoxCloneSyncServiceLayer};

/// How long a client may take to say what it wants where TLS is not ended.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes of connections, in the order of their declaration.
pub(super) type TcpRoutes = Vec<TcpRoute>;

/// A router of TCP, before it is known whether TLS ends before it.
#[derive(Debug)]
pub(super) struct TcpRoute {
    pub(super) name: Arc<str>,
    priority: i64,
    rule: Rule,
    passes_tls: bool,
    layers: Vec<ConnectionLayer>,
    service: ConnectionService,
}

impl TcpRoute {
    fn ending(&self, tls: Option<&ConnectionLayer>) -> Route<ConnectionService> {
        // Who is not let in is not worth a handshake.
        let layers = tls.into_iter().chain(self.layers.iter().rev());
        let service = self.service.clone();
        Route {
            name: Arc::clone(&self.name),
            priority: self.priority,
            rule: self.rule.clone(),
            service: layers.fold(service, |service, layer| layer.layer(service)),
        }
    }
}

pub(super) fn routes(
    config: &GatewayConfig,
    services: &Services,
    middlewares: &Middlewares,
) -> Result<TcpRoutes, CompileError> {
    let is_tcp = |router: &RouterConfig| config.protocol_of(router) == Some(Protocol::Tcp);
    let routers = config.routers.iter().filter(|(_, router)| is_tcp(router));
    let route = |(name, router): (&String, &RouterConfig)| {
        let invalid = |what: String| CompileError::Invalid(format!("router `{name}`: {what}"));
        let rule = router.rule.rule(Protocol::Tcp);
        let rule = rule.map_err(|error| invalid(error.to_string()))?;
        let none = || invalid(format!("no service `{}` of TCP", router.service));
        let service = services.get(&*router.service).ok_or_else(none)?;
        let (Stack::Tcp(servers), Some(counts)) = (&service.stack, service.connections()) else {
            return Err(none());
        };
        let balancer = config.services.get(&router.service);
        let balancer = balancer.and_then(|service| service.load_balancer.as_ref());
        let timeouts = balancer.map(|balancer| balancer.timeouts.clone());
        let name: Arc<str> = name.as_str().into();
        let service = TcpForward::new(Way {
            router: Arc::clone(&name),
            service: router.service.as_str().into(),
            servers: servers.clone(),
            idle: timeouts.unwrap_or_default().idle_of(Protocol::Tcp),
            counts: Arc::clone(counts),
        });
        let layers = layers(&router.middlewares, config, middlewares)?;
        Ok(TcpRoute {
            priority: router.rank(Protocol::Tcp),
            rule: rule.clone(),
            passes_tls: router.passes_tls(),
            layers: layers.connection.into_iter().cloned().collect(),
            service: BoxCloneSyncService::new(service),
            name,
        })
    };
    routers.map(route).collect()
}

/// The routes of an entrypoint. TLS is ended by `tls` before those that do not pass it through; where there is none,
/// they take what is not TLS, and TLS that nobody passes through as what it is: bytes.
pub(super) fn connections<'r>(
    routes: impl Iterator<Item = &'r TcpRoute>,
    tls: Option<&ConnectionLayer>,
    timeout: Option<Duration>,
) -> Connections {
    let (mut of_tls, mut of_any) = (Vec::new(), Vec::new());
    for route in routes {
        match (route.passes_tls, tls) {
            (true, _) => of_tls.push(route.ending(None)),
            (false, Some(tls)) => of_tls.push(route.ending(Some(tls))),
            (false, None) => of_any.push(route.ending(None)),
        }
    }
    // Nobody waits for the first words of a client whose server has the first word.
    let peek = (!of_tls.is_empty()).then(|| Peek::new(timeout.unwrap_or(HELLO_TIMEOUT)));
    Connections {
        tables: ConnectionTables {
            tls: Arc::new(Table::new(of_tls)),
            any: Arc::new(Table::new(of_any)),
        },
        peek: peek.map(|peek| BoxCloneSyncServiceLayer::new(BeforeLayer::new(peek))),
    }
}
