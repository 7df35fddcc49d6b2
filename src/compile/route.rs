//! `routers "name"`: one stack each.
//!
//! | # | layer | sees |
//! |---|---|---|
//! | 1 | catch-panic | everything |
//! | 2 | observe: the router's and the service's counts | request start, body end |
//! | 3 | rescue | errors, which become 502, 503, 504 |
//! | 4 | the service's stack, shared by every router that names it | errors |

use super::upstream::Services;
use super::{CompileError, Kept};
use crate::config::{ADMIN_SERVICE, GatewayConfig};
use crate::dispatch::table::Route;
use crate::stack::{HttpService, UpstreamService};
use crate::telemetry::metrics::{Metrics, RouteCounts};
use a3s_layers::catch_panic::CatchPanicLayer;
use a3s_layers::observe::ObserveLayer;
use a3s_layers::rescue::RescueLayer;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

/// Every route, in the order of its router's declaration.
pub(super) type Routes = Vec<Route>;

pub(super) fn routes(
    config: &GatewayConfig,
    kept: &Kept,
    services: &Services,
) -> Result<Routes, CompileError> {
    let admin = BoxCloneSyncService::new(kept.admin.clone().map_err(|never| match never {}));
    config
        .routers
        .iter()
        .map(|(name, router)| {
            let service = match services.get(&*router.service) {
                Some(service) => &service.stack,
                None if router.service == ADMIN_SERVICE => &admin,
                None => {
                    let service = &router.service;
                    let text = format!("router `{name}`: unknown service `{service}`");
                    return Err(CompileError::Invalid(text));
                }
            };
            let name: Arc<str> = name.as_str().into();
            Ok(Route {
                priority: router.rank(),
                rule: router.rule.clone(),
                service: stack(&name, &router.service, service, &kept.metrics),
                name,
            })
        })
        .collect()
}

fn stack(
    router: &Arc<str>,
    service_name: &str,
    service: &UpstreamService,
    metrics: &Metrics,
) -> HttpService {
    let counts = RouteCounts::new(
        metrics.router(router),
        metrics.service(&service_name.into()),
    );
    let stack = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .layer(ObserveLayer::new(counts))
        .layer(RescueLayer::new())
        .service(service.clone());
    BoxCloneSyncService::new(stack)
}
