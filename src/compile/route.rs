//! Routers of HTTP: one stack each.
//!
//! | # | layer | sees |
//! |---|---|---|
//! | 1 | catch-panic | everything |
//! | 2 | route: notes in the request's journal that this route serves it | requests |
//! | 3 | the middlewares of the entrypoint, in their order | requests and responses |
//! | 4 | the router's `timeout`, if it has one: 504, and later the body is cut | requests and responses |
//! | 5 | the middlewares of the router | requests and responses |
//! | 6 | rescue | errors, which become 502, 503, 504 |
//! | 7 | the service's stack, shared by every router that names it | errors |
//!
//! Above it, at the entrypoint, each exchange is observed once, by the telemetry's `SignalsLayer`. Between two layers
//! stands a [`Next`], which notes how far a request has come.

use super::middleware::{Link, Middlewares, layers};
use super::upstream::{Services, Stack};
use super::{CompileError, Kept};
use crate::config::{ADMIN_SERVICE, GatewayConfig, RouterConfig};
use crate::dispatch::explain::LayerName;
use crate::dispatch::table::Route;
use crate::rule::{Protocol, Rule};
use crate::stack::{HttpLayer, HttpService, Next, Request, Response, erase};
use crate::telemetry::metrics::{Counts, ServiceCounts};
use crate::telemetry::{MiddlewareSignals, RouteLayer, RouteSignals};
use a3s_layers::catch_panic::CatchPanicLayer;
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
    service: Arc<str>,
    priority: i64,
    rule: Rule,
    router_counts: Arc<Counts>,
    service_counts: Arc<ServiceCounts>,
    layers: Vec<Own>,
    /// What stands behind all layers.
    rescued: HttpService,
    /// The whole stack, for every entrypoint without middlewares.
    bare: HttpService,
}

/// A layer of a chain. The router's timeout is one of no middleware.
#[derive(Clone)]
struct Own {
    layer: HttpLayer,
    middleware: Option<Arc<MiddlewareSignals>>,
}

impl From<&Link<'_>> for Own {
    fn from(link: &Link<'_>) -> Self {
        Self {
            layer: link.layer.clone(),
            middleware: Some(Arc::clone(link.middleware)),
        }
    }
}

impl Router {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The route of an entrypoint with these middlewares, the outermost first.
    pub(super) fn behind(&self, outer: &[Link<'_>]) -> Route {
        let service = match outer {
            [] => self.bare.clone(),
            _ => {
                let outer = outer.iter().map(Own::from);
                let layers: Vec<_> = outer.chain(self.layers.iter().cloned()).collect();
                let signals = self.signals(&layers);
                watched(signals, chain(self.rescued.clone(), &layers))
            }
        };
        Route {
            name: Arc::clone(&self.name),
            priority: self.priority,
            rule: self.rule.clone(),
            service,
        }
    }

    /// Its service, and what stands before that at an entrypoint with these middlewares.
    pub(super) fn names(&self, outer: &[Link<'_>]) -> (&Arc<str>, Vec<LayerName>) {
        let outer = outer.iter().map(|link| Some(link.middleware));
        let own = self.layers.iter().map(|own| own.middleware.as_ref());
        let name = |middleware: Option<&Arc<MiddlewareSignals>>| match middleware {
            Some(middleware) => LayerName {
                name: Arc::clone(&middleware.name),
                kind: Arc::clone(&middleware.kind),
            },
            None => LayerName {
                name: "timeout of the router".into(),
                kind: "timeout".into(),
            },
        };
        (&self.service, outer.chain(own).map(name).collect())
    }

    fn signals(&self, layers: &[Own]) -> Arc<RouteSignals> {
        let chain = layers.iter().map(|own| own.middleware.clone());
        Arc::new(RouteSignals {
            router: Arc::clone(&self.name),
            service: Arc::clone(&self.service),
            router_counts: Arc::clone(&self.router_counts),
            service_counts: Arc::clone(&self.service_counts),
            chain: chain.collect(),
        })
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
        let service_name: Arc<str> = router.service.as_str().into();
        let timeout = router.timeout.map(|timeout| Own {
            layer: erase(TimeoutLayer::whole(timeout)),
            middleware: None,
        });
        let own = layers(&router.middlewares, config, middlewares)?.http;
        let own = own.iter().map(Own::from);
        let rescued = RescueLayer::new().layer(service.clone());
        let mut router = Router {
            priority: router.rank(Protocol::Http),
            rule: rule.clone(),
            layers: timeout.into_iter().chain(own).collect(),
            rescued: BoxCloneSyncService::new(rescued.clone()),
            bare: BoxCloneSyncService::new(rescued.clone()),
            router_counts: kept.metrics.router(&name, &service_name),
            service_counts: kept.metrics.service(&service_name),
            service: service_name,
            name,
        };
        let signals = router.signals(&router.layers);
        router.bare = match &*router.layers {
            // One box for all of it.
            [] => watched(signals, rescued),
            layers => watched(signals, chain(router.rescued.clone(), layers)),
        };
        Ok(router)
    };
    let is_http = |router: &RouterConfig| config.protocol_of(router) == Some(Protocol::Http);
    let routers = config.routers.iter().filter(|(_, router)| is_http(router));
    routers.map(route).collect()
}

/// Puts layers around a service, the first one outermost.
fn chain(service: HttpService, layers: &[Own]) -> HttpService {
    let behind = layers.len() as u32;
    let layers = layers.iter().rev().zip((1..=behind).rev());
    layers.fold(service, |service, (own, position)| {
        own.layer.layer(Next::new(service, position))
    })
}

fn watched<S>(signals: Arc<RouteSignals>, service: S) -> HttpService
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let stack = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .layer(RouteLayer::new(signals))
        .service(service);
    BoxCloneSyncService::new(stack)
}
