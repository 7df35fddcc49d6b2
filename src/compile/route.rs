//! Routers of HTTP: one stack each.
//!
//! | # | layer | sees |
//! |---|---|---|
//! | 1 | catch-panic | everything |
//! | 2 | observe: the router's and the service's counts | request start, body end |
//! | 3 | the middlewares of the entrypoint, in their order | requests and responses |
//! | 4 | the router's `timeout`, if it has one: 504, and later the body is cut | requests and responses |
//! | 5 | the middlewares of the router | requests and responses |
//! | 6 | rescue | errors, which become 502, 503, 504 |
//! | 7 | the service's stack, shared by every router that names it | errors |

use super::middleware::{Middlewares, layers};
use super::upstream::{Services, Stack};
use super::{CompileError, Kept};
use crate::config::{ADMIN_SERVICE, GatewayConfig, RouterConfig};
use crate::dispatch::table::Route;
use crate::rule::{Protocol, Rule};
use crate::stack::{HttpLayer, HttpService, Request, Response, erase};
use crate::telemetry::metrics::RouteCounts;
use a3s_layers::catch_panic::CatchPanicLayer;
use a3s_layers::observe::ObserveLayer;
use a3s_layers::rescue::RescueLayer;
use a3s_layers::timeout::TimeoutLayer;
use std::convert::Infallible;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// The routers of requests, in the order of their declaration.
pub(super) type Routes = Vec<Router>;

/// A router, before it is put behind the middlewares of an entrypoint.
pub(super) struct Router {
    name: Arc<str>,
    priority: i64,
    rule: Rule,
    counts: RouteCounts,
    /// From the router's timeout down.
    inner: HttpService,
    /// The whole stack, for every entrypoint without middlewares.
    bare: HttpService,
}

impl Router {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The route of an entrypoint with these middlewares, the outermost first.
    pub(super) fn behind(&self, outer: &[&HttpLayer]) -> Route {
        let service = match outer {
            [] => self.bare.clone(),
            _ => watched(&self.counts, wrapped(self.inner.clone(), outer)),
        };
        Route {
            name: Arc::clone(&self.name),
            priority: self.priority,
            rule: self.rule.clone(),
            service,
        }
    }
}

pub(super) fn routes(
    config: &GatewayConfig,
    kept: &Kept,
    services: &Services,
    middlewares: &Middlewares,
) -> Result<Routes, CompileError> {
    let admin = BoxCloneSyncService::new(kept.admin.clone().map_err(|never| match never {}));
    let route = |(name, router): (&String, &RouterConfig)| {
        let service = match services.get(&*router.service).map(|service| &service.stack) {
            Some(Stack::Http(service)) => service,
            None if router.service == ADMIN_SERVICE => &admin,
            _ => {
                let service = &router.service;
                let text = format!("router `{name}`: no service `{service}` of HTTP");
                return Err(CompileError::Invalid(text));
            }
        };
        let rule = router
            .rule
            .rule(Protocol::Http)
            .map_err(|error| CompileError::Invalid(format!("router `{name}`: {error}")))?;
        let name: Arc<str> = name.as_str().into();
        let counts = RouteCounts::new(
            kept.metrics.router(&name),
            kept.metrics.service(&router.service.as_str().into()),
        );
        let rescued = RescueLayer::new().layer(service.clone());
        let timeout = router
            .timeout
            .map(|timeout| erase(TimeoutLayer::whole(timeout)));
        let mut layers = layers(&router.middlewares, config, middlewares)?.http;
        layers.splice(..0, timeout.as_ref());
        let inner = wrapped(BoxCloneSyncService::new(rescued.clone()), &layers);
        Ok(Router {
            priority: router.rank(Protocol::Http),
            rule: rule.clone(),
            bare: match layers.is_empty() {
                // One box for all of it.
                true => watched(&counts, rescued),
                false => watched(&counts, inner.clone()),
            },
            inner,
            counts,
            name,
        })
    };
    let is_http = |router: &RouterConfig| config.protocol_of(router) == Some(Protocol::Http);
    let routers = config.routers.iter().filter(|(_, router)| is_http(router));
    routers.map(route).collect()
}

/// Puts layers around a service, the first one outermost.
fn wrapped(service: HttpService, layers: &[&HttpLayer]) -> HttpService {
    let layers = layers.iter().rev();
    layers.fold(service, |service, layer| layer.layer(service))
}

fn watched<S>(counts: &RouteCounts, service: S) -> HttpService
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let stack = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .layer(ObserveLayer::new(counts.clone()))
        .service(service);
    BoxCloneSyncService::new(stack)
}
