//! Makes of a configuration the services that run it. The only place that sees both a config type and a layer.
//!
//! [`compile`] changes nothing that runs: it reads the files that the configuration names, and gives back
//! stacks that are ready to be swapped in, or an error.

mod entrypoint;
mod route;
mod upstream;

use crate::config::{Address, GatewayConfig};
use crate::dispatch::table::Table;
use crate::serve::http_server::HttpLimits;
use crate::stack::HttpService;
use crate::telemetry::metrics::Metrics;
use a3s_layers::peer::TrustedProxies;
use std::sync::Arc;

pub use entrypoint::ADMIN_ENTRYPOINT;
pub use upstream::{Service, Services};

/// What outlives a configuration, and is handed to the next one.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Counters, which are never remade.
    pub metrics: Arc<Metrics>,
    /// The admin API as a service.
    pub admin: HttpService,
    /// The services of the running configuration.
    pub services: Services,
}

/// A configuration, ready to run.
#[derive(Debug)]
pub struct Compiled {
    /// The listeners that it wants, in the order of their declaration.
    pub entrypoints: Vec<CompiledEntrypoint>,
    /// Its services, to be kept for the next configuration.
    pub services: Services,
}

/// A listener to be, and what it leads to.
#[derive(Debug)]
pub struct CompiledEntrypoint {
    /// The entrypoint's name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// The most connections at a time.
    pub max_connections: Option<usize>,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Limits of its HTTP.
    pub limits: HttpLimits,
    /// Whether a path with an encoded slash is refused.
    pub rejects_encoded_slash: bool,
    /// Its routes.
    pub table: Table,
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
    /// What the configuration's check would have refused.
    #[error("{0}")]
    Invalid(String),
}

/// Makes the services of `config`, with everything that `kept` already has of them.
pub fn compile(config: &GatewayConfig, kept: &Kept) -> Result<Compiled, CompileError> {
    let services = upstream::services(config, kept)?;
    let routes = route::routes(config, kept, &services)?;
    let entrypoints = config
        .entrypoints
        .iter()
        .map(|(name, entrypoint)| entrypoint::entrypoint(name, entrypoint, config, &routes))
        .chain(entrypoint::admin(config, kept))
        .collect();
    Ok(Compiled {
        entrypoints,
        services,
    })
}
