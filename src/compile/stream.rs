//! Routers of TCP: one stack of connections each.
//!
//! | # | layer | sees |
//! |---|---|---|
//! | 1 | what judges connections at the entrypoint: `tcp_allowed_ips`, its middlewares | connections |
//! | 2 | the dispatcher | connections |
//! | 3 | the middlewares of the router | connections |
//! | 4 | the service's stack, shared by every router that names it | connections |

use super::CompileError;
use super::middleware::{Middlewares, layers};
use super::upstream::{Services, Stack};
use crate::config::{GatewayConfig, RouterConfig};
use crate::dispatch::table::Route;
use crate::rule::Protocol;
use crate::stack::{ConnectionLayer, ConnectionService};
use crate::upstream::tcp::TcpForward;
use std::sync::Arc;
use tower::Layer;
use tower::util::BoxCloneSyncService;

/// The routes of connections, in the order of their declaration.
pub(super) type TcpRoutes = Vec<Route<ConnectionService>>;

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
        let service = services.get(&*router.service).map(|service| &service.stack);
        let Some(Stack::Tcp(servers)) = service else {
            return Err(invalid(format!("no service `{}` of TCP", router.service)));
        };
        let name: Arc<str> = name.as_str().into();
        let service = TcpForward::new(router.service.as_str().into(), servers.clone());
        let layers = layers(&router.middlewares, config, middlewares)?;
        Ok(Route {
            priority: router.rank(Protocol::Tcp),
            rule: rule.clone(),
            service: wrapped(BoxCloneSyncService::new(service), &layers.connection),
            name,
        })
    };
    routers.map(route).collect()
}

/// Puts layers around a service, the first one outermost.
fn wrapped(service: ConnectionService, layers: &[&ConnectionLayer]) -> ConnectionService {
    let layers = layers.iter().rev();
    layers.fold(service, |service, layer| layer.layer(service))
}
