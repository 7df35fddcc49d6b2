//! Routers of UDP: one stack of sessions each.
//!
//! | # | layer | sees |
//! |---|---|---|
//! | 1 | what judges sessions at the entrypoint: `tcp_allowed_ips` | sessions |
//! | 2 | the dispatcher | sessions |
//! | 3 | the service's stack, shared by every router that names it | sessions |

use super::upstream::{Services, Stack};
use super::{CompileError, Serves};
use crate::config::{EntrypointConfig, GatewayConfig, RouterConfig};
use crate::dispatch::session::{Servers, SessionDispatcher};
use crate::dispatch::table::{Route, Table};
use crate::rule::Protocol;
use crate::upstream::udp::UdpForward;
use a3s_layers::connection::AllowLayer;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

/// The routes of sessions, in the order of their declaration.
pub(super) type UdpRoutes = Vec<Route<Servers>>;

pub(super) fn routes(
    config: &GatewayConfig,
    services: &Services,
) -> Result<UdpRoutes, CompileError> {
    let is_udp = |router: &RouterConfig| config.protocol_of(router) == Some(Protocol::Udp);
    let routers = config.routers.iter().filter(|(_, router)| is_udp(router));
    let route = |(name, router): (&String, &RouterConfig)| {
        let invalid = |what: String| CompileError::Invalid(format!("router `{name}`: {what}"));
        let rule = router.rule.rule(Protocol::Udp);
        let rule = rule.map_err(|error| invalid(error.to_string()))?;
        let service = services.get(&*router.service).map(|service| &service.stack);
        let Some(Stack::Udp(servers)) = service else {
            return Err(invalid(format!("no service `{}` of UDP", router.service)));
        };
        let forward = UdpForward::new(router.service.as_str().into(), servers.dial.clone());
        Ok(Route {
            name: name.as_str().into(),
            priority: router.rank(Protocol::Udp),
            rule: rule.clone(),
            service: Servers {
                service: BoxCloneSyncService::new(forward),
                clusters: servers.clusters.iter().cloned().collect(),
            },
        })
    };
    routers.map(route).collect()
}

/// What an entrypoint with these routes does with sessions.
pub(super) fn serves(config: &EntrypointConfig, routes: UdpRoutes) -> Serves {
    let dispatcher = SessionDispatcher::new(Arc::new(Table::new(routes)));
    let allowed = &config.tcp_allowed_ips;
    let allow = (!allowed.is_empty()).then(|| AllowLayer::new(allowed.iter().copied()));
    let service = ServiceBuilder::new()
        .option_layer(allow.clone())
        .service(dispatcher.clone());
    Serves::Udp {
        service: BoxCloneSyncService::new(service),
        routes: dispatcher.clone(),
        belongs: Arc::new(move |client, server| {
            let is_allowed = allow.as_ref().is_none_or(|allow| allow.allows(client));
            is_allowed && dispatcher.keeps(client, server)
        }),
        session_timeout: Duration::from_secs(config.udp_session_timeout_secs),
        max_sessions: usize::try_from(config.udp_max_sessions).unwrap_or(usize::MAX),
    }
}
