//! `middlewares "name"`: one layer each, kept from one configuration to the next while what is written stays the same.
//! With the layer stays its state: counts, breakers, what it has fetched.

mod api_key;
mod basic_auth;
mod bodies;
mod circuit_breaker;
mod compress;
mod cors;
mod error_pages;
mod forward_auth;
mod headers;
mod ip_allow;
mod jwt;
mod rate_limit;
mod redirect;
mod request_id;
mod retry;
mod rewrite;
mod tcp_filter;

use super::upkeep::{Task, Upkeep};
use super::upstream::Services;
use super::{CompileError, Kept};
use crate::config::{GatewayConfig, MiddlewareConfig};
use crate::stack::{ConnectionLayer, HttpLayer, erase};
use crate::telemetry::{MiddlewareSignals, MiddlewareState};
use a3s_layers::grpc_web::GrpcWebLayer;
use a3s_layers::in_flight::InFlightLayer;
use a3s_layers::strip_prefix::StripPrefixLayer;
use a3s_layers::timeout::TimeoutLayer;
use std::collections::HashMap;
use std::sync::Arc;
use tower::BoxError;

/// The middlewares of a configuration, by name.
pub type Middlewares = HashMap<Arc<str>, Middleware>;

/// Makes a layer of the settings of a middleware of some type.
pub type CustomType = Arc<dyn Fn(&serde_json::Value) -> Result<HttpLayer, BoxError> + Send + Sync>;

/// Types of middlewares that the program brings with it, by name.
pub type CustomTypes = HashMap<String, CustomType>;

/// A middleware that may run: its layer, and what is to be done for it beside requests.
#[derive(Debug, Clone)]
pub struct Middleware {
    config: MiddlewareConfig,
    layer: MiddlewareLayer,
    signals: Arc<MiddlewareSignals>,
    state: Option<MiddlewareState>,
    upkeep: Arc<Upkeep>,
}

impl Middleware {
    /// Its name and its type.
    pub fn signals(&self) -> &Arc<MiddlewareSignals> {
        &self.signals
    }

    /// What it tells of its state, if it has some to show.
    pub fn state(&self) -> Option<&MiddlewareState> {
        self.state.as_ref()
    }

    /// Whether it is the very same, with its state.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.upkeep, &other.upkeep)
    }

    /// Begins with what is to be done beside requests, if that has not begun. It ends when the middleware is dropped.
    pub fn start_upkeep(&self) {
        self.upkeep.start();
    }
}

/// A layer of what passes here: requests, or connections.
#[derive(Debug, Clone)]
enum MiddlewareLayer {
    Http(HttpLayer),
    Connection(ConnectionLayer),
}

/// What a middleware is made of.
struct Made {
    layer: MiddlewareLayer,
    tasks: Vec<Task>,
    state: Option<MiddlewareState>,
}

impl Made {
    /// Shows some of its state.
    fn showing(self, state: MiddlewareState) -> Self {
        let state = Some(state);
        Self { state, ..self }
    }
}

impl From<HttpLayer> for Made {
    fn from(layer: HttpLayer) -> Made {
        Made {
            layer: MiddlewareLayer::Http(layer),
            tasks: Vec::new(),
            state: None,
        }
    }
}

impl From<ConnectionLayer> for Made {
    fn from(layer: ConnectionLayer) -> Made {
        Made {
            layer: MiddlewareLayer::Connection(layer),
            tasks: Vec::new(),
            state: None,
        }
    }
}

pub(super) fn middlewares(
    config: &GatewayConfig,
    kept: &Kept,
    services: &Services,
) -> Result<Middlewares, CompileError> {
    let mut middlewares = Middlewares::with_capacity(config.middlewares.len());
    for (name, config) in &config.middlewares {
        let before = kept.middlewares.get(&**name);
        let middleware = match before {
            // One that leads to a service is made anew with it.
            Some(before) if before.config == *config && config.service().is_none() => {
                before.clone()
            }
            _ => {
                let made = make(name, config, kept, services);
                let Some(Made {
                    layer,
                    tasks,
                    state,
                }) = made.map_err(|source| {
                    let middleware = name.clone();
                    CompileError::Middleware { middleware, source }
                })?
                else {
                    continue;
                };
                Middleware {
                    config: config.clone(),
                    layer,
                    signals: signals(name, config, kept),
                    state,
                    upkeep: Arc::new(Upkeep::new(tasks)),
                }
            }
        };
        middlewares.insert(name.as_str().into(), middleware);
    }
    Ok(middlewares)
}

fn signals(name: &str, config: &MiddlewareConfig, kept: &Kept) -> Arc<MiddlewareSignals> {
    let (name, kind) = (name.into(), config.kind().into());
    Arc::new(MiddlewareSignals {
        counts: kept.metrics.middleware(&name, &kind),
        reason: kind.replace('-', "_").into(),
        name,
        kind,
    })
}

/// None for a chain, which is nothing but the layers that it names.
fn make(
    name: &str,
    config: &MiddlewareConfig,
    kept: &Kept,
    services: &Services,
) -> Result<Option<Made>, BoxError> {
    let made = match config {
        MiddlewareConfig::BodyLimit(config) => bodies::limit(config),
        MiddlewareConfig::Buffering(config) => bodies::buffering(config),
        MiddlewareConfig::Chain(_) => return Ok(None),
        MiddlewareConfig::CircuitBreaker(config) => circuit_breaker::layer(name, config)?,
        MiddlewareConfig::Custom(custom) => match kept.types.get(&custom.kind) {
            Some(make) => make(&custom.settings)?.into(),
            None => return Err(format!("the type `{}` is unknown", custom.kind).into()),
        },
        MiddlewareConfig::AddPrefix(config) => rewrite::prefix(config)?,
        MiddlewareConfig::ApiKey(config) => api_key::layer(name, config)?,
        MiddlewareConfig::BasicAuth(config) => basic_auth::layer(name, config)?,
        MiddlewareConfig::Compress(config) => compress::layer(config)?,
        MiddlewareConfig::Cors(config) => cors::layer(config)?,
        MiddlewareConfig::ErrorPages(config) => error_pages::layer(config, services)?,
        MiddlewareConfig::ForwardAuth(config) => forward_auth::layer(config)?,
        MiddlewareConfig::GrpcWeb(_) => erase(GrpcWebLayer::new()).into(),
        MiddlewareConfig::Headers(config) => headers::layer(config)?,
        MiddlewareConfig::InFlight(config) => {
            let max = usize::try_from(config.max).unwrap_or(usize::MAX);
            let layer = InFlightLayer::new(max).key(config.key.clone());
            let state = MiddlewareState::InFlight(layer.handle());
            Made::from(erase(layer)).showing(state)
        }
        MiddlewareConfig::IpAllow(config) => ip_allow::layer(config),
        MiddlewareConfig::Jwt(config) => jwt::layer(name, config)?,
        MiddlewareConfig::RateLimit(config) => rate_limit::local(config)?,
        MiddlewareConfig::RateLimitRedis(config) => rate_limit::redis(name, config)?,
        MiddlewareConfig::Redirect(config) => redirect::layer(config)?,
        MiddlewareConfig::ReplacePath(config) => rewrite::path(config)?,
        MiddlewareConfig::RequestId(config) => request_id::layer(config),
        MiddlewareConfig::Retry(config) => retry::layer(config)?,
        MiddlewareConfig::StripPrefix(config) => {
            erase(StripPrefixLayer::new(&config.prefixes)).into()
        }
        MiddlewareConfig::TcpFilter(config) => tcp_filter::layer(config),
        MiddlewareConfig::Timeout(config) => erase(TimeoutLayer::new(config.duration)).into(),
    };
    Ok(Some(made))
}

/// Layers of requests and layers of connections, each the outermost first.
#[derive(Default)]
pub(super) struct Layers<'m> {
    pub(super) http: Vec<Link<'m>>,
    pub(super) connection: Vec<&'m ConnectionLayer>,
}

/// A layer of requests in a chain, and the middleware that it is of.
#[derive(Clone, Copy)]
pub(super) struct Link<'m> {
    pub(super) layer: &'m HttpLayer,
    pub(super) middleware: &'m Arc<MiddlewareSignals>,
}

/// The layers that a list of names stands for.
pub(super) fn layers<'m>(
    names: &[String],
    config: &GatewayConfig,
    middlewares: &'m Middlewares,
) -> Result<Layers<'m>, CompileError> {
    let mut layers = Layers::default();
    add_layers(names, config, middlewares, &mut layers, 0)?;
    Ok(layers)
}

/// The configuration's check lets chains be nested no deeper.
const MAX_DEPTH: usize = 64;

fn add_layers<'m>(
    names: &[String],
    config: &GatewayConfig,
    middlewares: &'m Middlewares,
    layers: &mut Layers<'m>,
    depth: usize,
) -> Result<(), CompileError> {
    for name in names {
        match (config.middlewares.get(name), middlewares.get(&**name)) {
            (Some(MiddlewareConfig::Chain(chain)), _) if depth < MAX_DEPTH => {
                add_layers(&chain.middlewares, config, middlewares, layers, depth + 1)?;
            }
            (_, Some(middleware)) => match &middleware.layer {
                MiddlewareLayer::Http(layer) => layers.http.push(Link {
                    layer,
                    middleware: &middleware.signals,
                }),
                MiddlewareLayer::Connection(layer) => layers.connection.push(layer),
            },
            _ => {
                let text = format!("unknown middleware `{name}`");
                return Err(CompileError::Invalid(text));
            }
        }
    }
    Ok(())
}
