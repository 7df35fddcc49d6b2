//! `services "name" { }`: who answers.

use super::values::{Scheme, ServerUrl, duration};
use crate::rule::Protocol;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// What answers the requests of a router: exactly one of its fields is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// Servers to forward to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerConfig>,
    /// A fixed answer, without a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<RespondConfig>,
}

impl From<LoadBalancerConfig> for ServiceConfig {
    fn from(load_balancer: LoadBalancerConfig) -> ServiceConfig {
        ServiceConfig {
            load_balancer: Some(load_balancer),
            respond: None,
        }
    }
}

impl From<RespondConfig> for ServiceConfig {
    fn from(respond: RespondConfig) -> ServiceConfig {
        ServiceConfig {
            load_balancer: None,
            respond: Some(respond),
        }
    }
}

/// Servers, and how one is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancerConfig {
    /// How a server is chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// The servers; at least one.
    pub servers: Vec<ServerConfig>,
    /// How long a server may take.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// TLS to `https` servers; without it, the system's roots.
    #[serde(default)]
    pub tls: UpstreamTlsConfig,
    /// Whether a server sees the `Host` that the client sent; otherwise its own.
    #[serde(default = "yes")]
    pub pass_host: bool,
}

impl LoadBalancerConfig {
    /// These servers, everything else as it is by default.
    pub fn new(servers: impl IntoIterator<Item = ServerConfig>) -> LoadBalancerConfig {
        LoadBalancerConfig {
            strategy: Strategy::default(),
            servers: servers.into_iter().collect(),
            timeouts: TimeoutsConfig::default(),
            tls: UpstreamTlsConfig::default(),
            pass_host: yes(),
        }
    }
}

impl LoadBalancerConfig {
    /// Whether its servers are for requests or for connections.
    pub fn protocol(&self) -> Protocol {
        match self.servers.first().map(|server| server.url.scheme()) {
            Some(Scheme::Tcp) => Protocol::Tcp,
            _ => Protocol::Http,
        }
    }
}

impl ServiceConfig {
    /// Whether it answers requests or leads connections to its servers.
    pub fn protocol(&self) -> Protocol {
        let balancer = self.load_balancer.as_ref();
        balancer.map_or(Protocol::Http, LoadBalancerConfig::protocol)
    }
}

fn yes() -> bool {
    true
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// By weight, smoothly interleaved.
    Weighted,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// By chance.
    Random,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Scheme, host and port: `http`, `https`, `h2c`, `ws`, `wss`; `tcp` for connections.
    pub url: ServerUrl,
    /// Its share of the traffic; 0 takes no new requests.
    #[serde(default = "one")]
    pub weight: u16,
}

impl ServerConfig {
    /// A server of weight 1.
    pub fn new(url: ServerUrl) -> ServerConfig {
        ServerConfig { url, weight: one() }
    }
}

fn one() -> u16 {
    1
}

/// How long a server may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsConfig {
    /// For a connection to be there, TLS included.
    #[serde(with = "duration")]
    pub connect: Duration,
    /// From the end of the request to the head of the answer.
    #[serde(with = "duration")]
    pub response: Duration,
    /// Between two pieces of a body, and for an idle connection in the pool.
    #[serde(with = "duration")]
    pub idle: Duration,
}

impl Default for TimeoutsConfig {
    fn default() -> TimeoutsConfig {
        TimeoutsConfig {
            connect: Duration::from_secs(3),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(90),
        }
    }
}

/// TLS to servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTlsConfig {
    /// The authorities to believe instead of the system's (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The certificate to show to servers (PEM); with `key_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name to ask for and to verify, instead of the URL's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether any certificate is accepted. For tests.
    pub insecure: bool,
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RespondConfig {
    /// Its status, 200 to 599.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// Its headers.
    pub headers: IndexMap<String, String>,
}

impl Default for RespondConfig {
    fn default() -> RespondConfig {
        RespondConfig {
            status: 200,
            body: String::new(),
            headers: IndexMap::new(),
        }
    }
}
