//! The configuration: what an operator writes, as one typed value.

mod admin;
mod entrypoint;
mod provider;
mod router;
mod service;
mod values;

pub use admin::AdminConfig;
pub use entrypoint::{EncodedSlash, EntrypointConfig, HttpConfig, Protocol};
pub use provider::{FileProviderConfig, ProvidersConfig};
pub use router::RouterConfig;
pub use service::{
    LoadBalancerConfig, RespondConfig, ServerConfig, ServiceConfig, Strategy, TimeoutsConfig,
    UpstreamTlsConfig,
};
pub use values::{Address, Scheme, Secret, ServerUrl, ValueError};

use indexmap::IndexMap;
use serde::Serialize;

/// The service that stands for the admin API; it always exists.
pub const ADMIN_SERVICE: &str = "admin@internal";

/// A whole configuration. Built from HCL, or in code: every field is public, and [`Default`] is the empty one.
#[derive(Debug, Clone, Serialize)]
pub struct GatewayConfig {
    /// How long requests under way may take after SIGTERM, in seconds.
    pub shutdown_timeout_secs: u64,
    /// The listeners, in the order of their declaration.
    pub entrypoints: IndexMap<String, EntrypointConfig>,
    /// The routers, in the order of their declaration, which decides between equal priorities.
    pub routers: IndexMap<String, RouterConfig>,
    /// The services.
    pub services: IndexMap<String, ServiceConfig>,
    /// Where more routers and services come from.
    pub providers: ProvidersConfig,
    /// The admin API; none is no listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminConfig>,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            shutdown_timeout_secs: 30,
            entrypoints: IndexMap::new(),
            routers: IndexMap::new(),
            services: IndexMap::new(),
            providers: ProvidersConfig::default(),
            admin: None,
        }
    }
}

/// Two maps are equal in the same order only: the order of routers decides between equal priorities.
impl PartialEq for GatewayConfig {
    fn eq(&self, other: &GatewayConfig) -> bool {
        self.shutdown_timeout_secs == other.shutdown_timeout_secs
            && self.providers == other.providers
            && self.admin == other.admin
            && self.entrypoints.iter().eq(&other.entrypoints)
            && self.routers.iter().eq(&other.routers)
            && self.services.iter().eq(&other.services)
    }
}

// --- stand-in until the loader is merged ---
#[derive(Debug, Default)]
pub struct Diagnostics;
impl Diagnostics {
    pub fn has_errors(&self) -> bool {
        false
    }
}
#[derive(Debug, thiserror::Error)]
#[error("config")]
pub struct ConfigError;
impl From<Diagnostics> for ConfigError {
    fn from(_: Diagnostics) -> Self {
        ConfigError
    }
}
impl GatewayConfig {
    pub fn check(&self) -> Diagnostics {
        Diagnostics
    }
    pub fn source(&self) -> Option<&String> {
        None
    }
}
