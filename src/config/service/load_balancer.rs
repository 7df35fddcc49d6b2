//! `load_balancer { }`: servers, and how one is chosen.

use super::{ConsistentHashConfig, HealthCheckConfig, OutlierConfig, StickyConfig};
use crate::config::schema;
use crate::config::values::{ServerUrl, duration};
use crate::rule::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Servers, and how one is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancerConfig {
    /// How a server is chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// What decides under `consistent-hash`; the client's address where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHashConfig>,
    /// The servers; none where the service has revisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerConfig>,
    /// Asks each server how it is, at intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckConfig>,
    /// Leaves a server alone that fails requests.
    #[serde(default)]
    pub outlier: OutlierConfig,
    /// Keeps the requests of a session at one server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyConfig>,
    /// How long the share of a server that is new, or back, takes to grow to what its weight says; 0 for no time.
    #[serde(default, with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub slow_start: Duration,
    /// The most requests at a time for each server; no limit where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_in_flight: Option<u32>,
    /// Where less than this share of the servers is available, requests go to all of them; 0 never does.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub panic_threshold_percent: u8,
    /// How long a server may take.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// TLS to `https` servers; without it, the system's roots.
    #[serde(default)]
    pub tls: UpstreamTlsConfig,
    /// Tells servers whose a connection is, in a header of the PROXY protocol of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// Whether a server sees the `Host` that the client sent; otherwise its own.
    #[serde(default = "yes")]
    pub pass_host: bool,
}

impl LoadBalancerConfig {
    /// These servers, everything else as it is by default.
    pub fn new(servers: impl IntoIterator<Item = ServerConfig>) -> LoadBalancerConfig {
        LoadBalancerConfig {
            strategy: Strategy::default(),
            consistent_hash: None,
            servers: servers.into_iter().collect(),
            health_check: None,
            outlier: OutlierConfig::default(),
            sticky: None,
            slow_start: Duration::ZERO,
            max_in_flight: None,
            panic_threshold_percent: 0,
            timeouts: TimeoutsConfig::default(),
            tls: UpstreamTlsConfig::default(),
            proxy_protocol: None,
            pass_host: yes(),
        }
    }
}

impl Default for LoadBalancerConfig {
    fn default() -> LoadBalancerConfig {
        LoadBalancerConfig::new([])
    }
}

fn yes() -> bool {
    true
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Of two by chance the one that is likely to answer sooner.
    P2cEwma,
    /// By a key of the request: the same key, the same server.
    ConsistentHash,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsConfig {
    /// For a connection to be there, TLS included.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub connect: Duration,
    /// From the end of the request to the head of the answer.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub response: Duration,
    /// Between two pieces of a body, and for an idle connection in the pool: 90 seconds where it is absent. For
    /// connections, how long nothing may go in either direction: an hour.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub idle: Option<Duration>,
}

impl TimeoutsConfig {
    /// What holds for `idle` where the servers are for `protocol`.
    pub fn idle_of(&self, protocol: Protocol) -> Duration {
        self.idle.unwrap_or(match protocol {
            Protocol::Tcp => Duration::from_secs(60 * 60),
            _ => Duration::from_secs(90),
        })
    }
}

impl Default for TimeoutsConfig {
    fn default() -> TimeoutsConfig {
        TimeoutsConfig {
            connect: Duration::from_secs(3),
            response: Duration::from_secs(60),
            idle: None,
        }
    }
}

/// TLS to servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
