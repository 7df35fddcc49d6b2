//! Makes of a configuration the services that run it. The only place that sees both a config type and a layer.
//!
//! [`compile`] changes nothing that runs: it reads the files that the configuration names, and gives back
//! stacks that are ready to be swapped in, or an error.

mod access_log;
mod client;
mod datagram;
mod entrypoint;
mod explain;
mod file;
mod middleware;
mod redaction;
mod route;
mod stream;
mod tls;
mod traces;
mod upkeep;
mod upstream;

use crate::config::{Address, GatewayConfig, Protocol};
use crate::dispatch::connection::{ConnectionDispatcher, ConnectionRoutes, ConnectionTables};
use crate::dispatch::explain::Explainer;
use crate::dispatch::session::SessionDispatcher;
use crate::dispatch::table::Table;
use crate::serve::http_server::HttpLimits;
use crate::serve::udp::Belongs;
use crate::stack::udp::SessionService;
use crate::stack::{ConnectionLayer, ConnectionService, HttpService};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Exporter;
use crate::telemetry::{EntrypointSignals, RunningSignals, Signals};
use a3s_layers::peer::TrustedProxies;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tower::Layer;
use tower::util::BoxCloneSyncService;

pub use entrypoint::ADMIN_ENTRYPOINT;
pub use explain::secrets;
pub use middleware::{CustomType, CustomTypes, Middleware, Middlewares};
pub use tls::{AllTls, Tls};
pub use traces::Tracing;
pub use upstream::{Pool, Service, Services};

/// What names of servers stand for. One that could not be looked up yet stands for nothing.
pub type Addresses = HashMap<Arc<str>, Arc<[IpAddr]>>;

/// What outlives a configuration, and is handed to the next one.
#[derive(Clone)]
pub struct Kept {
    /// Counters, which are never remade.
    pub metrics: Arc<Metrics>,
    /// What is told of exchanges now.
    pub signals: RunningSignals,
    /// The admin API as routers lead to it.
    pub admin: HttpService,
    /// The admin API of its own listener.
    pub admin_listener: HttpService,
    /// The services of the running configuration.
    pub services: Services,
    /// What the names of its servers stand for.
    pub addresses: Addresses,
    /// Its middlewares.
    pub middlewares: Middlewares,
    /// TLS of its entrypoints.
    pub tls: AllTls,
    /// What makes spans of its requests.
    pub tracing: Tracing,
    /// Types of middlewares beside those that every gateway has.
    pub types: Arc<CustomTypes>,
}

/// A configuration, ready to run.
#[derive(Debug)]
pub struct Compiled {
    /// The listeners that it wants, in the order of their declaration.
    pub entrypoints: Vec<CompiledEntrypoint>,
    /// What is to be told of exchanges.
    pub signals: Arc<Signals>,
    /// What says what becomes of a request.
    pub explainer: Arc<Explainer>,
    /// Its services, to be kept for the next configuration.
    pub services: Services,
    /// Its middlewares, to be kept likewise.
    pub middlewares: Middlewares,
    /// TLS of its entrypoints, to be kept likewise.
    pub tls: AllTls,
    /// What makes spans of its requests, to be kept likewise.
    pub tracing: Tracing,
    /// What sends those, where that is not done already: it has to be run.
    pub exporter: Option<Exporter>,
}

/// A listener to be, and what it leads to.
#[derive(Debug)]
pub struct CompiledEntrypoint {
    /// The entrypoint's name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The most connections at a time.
    pub max_connections: Option<usize>,
    /// What judges connections before they are served, the outermost first.
    pub admission: Vec<ConnectionLayer>,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// What is known of it to those who observe its exchanges; none where nobody does.
    pub signals: Option<Arc<EntrypointSignals>>,
    /// What its connections are for.
    pub serves: Serves,
}

/// What the connections of a listener are for.
pub enum Serves {
    /// Requests.
    Http {
        /// Limits and timeouts.
        limits: HttpLimits,
        /// Whether a path with an encoded slash is refused.
        rejects_encoded_slash: bool,
        /// The routes of requests.
        table: Arc<Table>,
        /// What ends TLS before them.
        tls: Option<ConnectionLayer>,
        /// The routes of connections that are for servers, which are asked first.
        first: Option<Box<Connections>>,
    },
    /// Servers.
    Tcp(Connections),
    /// Servers of datagrams, and there are no connections but sessions.
    Udp {
        /// Serves a session, if its client may have one.
        service: SessionService,
        /// Whether the session of a client may go on with the server that it has.
        belongs: Belongs,
        /// How long a session may be idle.
        session_timeout: Duration,
        /// How many there may be.
        max_sessions: usize,
        /// The routes of sessions.
        routes: SessionDispatcher,
    },
}

impl fmt::Debug for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { table, .. } => f.debug_tuple("Http").field(table).finish(),
            Self::Tcp(table) => f.debug_tuple("Tcp").field(table).finish(),
            Self::Udp { service, .. } => f.debug_tuple("Udp").field(service).finish(),
        }
    }
}

/// The routes of an entrypoint's connections.
#[derive(Debug, Default)]
pub struct Connections {
    tables: ConnectionTables,
    /// Looks at how connections begin, where a route asks for that.
    peek: Option<ConnectionLayer>,
}

impl Connections {
    /// What serves connections: these routes, and the rest by something else if there is something.
    pub fn service(self, rest: Option<ConnectionService>) -> ConnectionService {
        let Self { tables, peek } = self;
        let routes = ConnectionRoutes { tables, rest };
        let service = BoxCloneSyncService::new(ConnectionDispatcher::new(routes));
        match peek {
            Some(peek) => peek.layer(service),
            None => service,
        }
    }
}

impl Serves {
    /// The routes of requests; none where connections are not for those.
    pub fn http(&self) -> Option<&Table> {
        match self {
            Self::Http { table, .. } => Some(table),
            Self::Tcp(_) | Self::Udp { .. } => None,
        }
    }
}

/// Why a configuration that reads well cannot run.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// TLS to the servers of a service cannot be set up.
    #[error("service `{service}`: tls: {source}")]
    Tls {
        /// The service.
        service: String,
        /// What is wrong.
        source: crate::upstream::tls::TlsError,
    },
    /// What an entrypoint names cannot be used.
    #[error("entrypoint `{entrypoint}`: {source}")]
    Entrypoint {
        /// The entrypoint.
        entrypoint: String,
        /// What is wrong.
        source: tower::BoxError,
    },
    /// What a middleware names cannot be used.
    #[error("middleware `{middleware}`: {source}")]
    Middleware {
        /// The middleware.
        middleware: String,
        /// What is wrong.
        source: tower::BoxError,
    },
    /// The access log cannot be written where it is to be.
    #[error("access_log: {}: {source}", file.display())]
    AccessLog {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// What is said of traces cannot be used.
    #[error("tracing: {source}")]
    Tracing {
        /// What is wrong.
        source: tower::BoxError,
    },
    /// What the configuration's check would have refused.
    #[error("{0}")]
    Invalid(String),
}

impl CompileError {
    /// The way to the part of the configuration that it is about; empty where that is the whole.
    pub fn part(&self) -> Vec<&str> {
        match self {
            Self::Tls { service, .. } => vec!["services", service, "load_balancer", "tls"],
            Self::Entrypoint { entrypoint, .. } => vec!["entrypoints", entrypoint],
            Self::Middleware { middleware, .. } => vec!["middlewares", middleware],
            Self::AccessLog { .. } => vec!["access_log", "file"],
            Self::Tracing { .. } => vec!["tracing"],
            Self::Invalid(_) => Vec::new(),
        }
    }
}

/// Makes the services of `config`, with everything that `kept` already has of them.
pub fn compile(config: &GatewayConfig, kept: &Kept) -> Result<Compiled, CompileError> {
    let services = upstream::services(config, kept)?;
    let middlewares = middleware::middlewares(config, kept, &services)?;
    let routes = route::routes(config, kept, &services, &middlewares)?;
    let tcp_routes = stream::routes(config, &services, &middlewares)?;
    let udp_routes = datagram::routes(config, &services)?;
    let tls = tls::all(config, kept)?;
    let mut stages = Vec::with_capacity(config.entrypoints.len());
    let (tracing, exporter) = traces::tracing(config, kept)?;
    let signals = Signals {
        access_log: access_log::access_log(config, kept)?,
        tracer: tracing.tracer.clone(),
        redaction: redaction::of_requests(config),
    };
    let entrypoints = config
        .entrypoints
        .iter()
        .map(|(name, entrypoint)| {
            let outer = middleware::layers(&entrypoint.middlewares, config, &middlewares)?;
            let compiled = entrypoint::entrypoint(
                name,
                entrypoint,
                (config, kept),
                (&routes, &tcp_routes, &udp_routes),
                &outer,
                tls.get(&**name),
            );
            stages.extend(explain::stage(
                &compiled,
                config,
                &services,
                (&routes, &outer.http),
            ));
            Ok(compiled)
        })
        .chain(entrypoint::admin(config, kept).map(Ok))
        .collect::<Result<_, CompileError>>()?;
    Ok(Compiled {
        entrypoints,
        signals: Arc::new(signals),
        explainer: Arc::new(explain::explainer(config, stages)),
        services,
        middlewares,
        tls,
        tracing,
        exporter,
    })
}
