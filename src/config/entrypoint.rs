//! `entrypoints "name" { }`: where the gateway listens.

use super::TlsConfig;
use super::values::{Address, duration, net, size};
use crate::config::schema;
use crate::rule;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntrypointConfig {
    /// Where to listen: `host:port`, `[::]:443`, `:8080`, `unix:/path`.
    pub address: Address,
    /// What is spoken on it.
    #[serde(default)]
    pub protocol: Protocol,
    /// The most connections at a time; none is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: Option<u64>,
    /// The peers that may connect, before anything is read from them; none named is everybody.
    #[serde(default, deserialize_with = "net::list")]
    #[schemars(with = "Vec<schema::Network>")]
    pub tcp_allowed_ips: Vec<IpNet>,
    /// How long the session of a UDP client may be idle, in seconds.
    #[serde(default = "udp_session_timeout_secs")]
    #[schemars(range(min = 1, max = 86_400))]
    pub udp_session_timeout_secs: u64,
    /// The most sessions of UDP at a time: a client past it takes the place of the one that has been idle for longest.
    #[serde(default = "udp_max_sessions")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub udp_max_sessions: u64,
    /// The peers whose forwarded headers are believed.
    #[serde(default, deserialize_with = "net::list")]
    #[schemars(with = "Vec<schema::Network>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Has some peers say whose connections they make, in a header of the PROXY protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    /// Ends TLS: every client of the entrypoint must speak it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// The middlewares of every request that comes in here, before those of its router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<String>,
    /// The entrypoint of HTTP that every request is sent to, with 308: the same URL with that one's scheme and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_to: Option<String>,
    /// Limits and timeouts of HTTP.
    #[serde(default)]
    pub http: HttpConfig,
}

impl EntrypointConfig {
    /// An HTTP entrypoint on `address`, everything else as it is by default.
    pub fn new(address: impl Into<Address>) -> EntrypointConfig {
        EntrypointConfig {
            address: address.into(),
            protocol: Protocol::default(),
            max_connections: None,
            tcp_allowed_ips: Vec::new(),
            udp_session_timeout_secs: udp_session_timeout_secs(),
            udp_max_sessions: udp_max_sessions(),
            trusted_proxies: Vec::new(),
            proxy_protocol: None,
            tls: None,
            middlewares: Vec::new(),
            redirect_to: None,
            http: HttpConfig::default(),
        }
    }
}

pub(super) fn udp_session_timeout_secs() -> u64 {
    30
}

pub(super) fn udp_max_sessions() -> u64 {
    10_000
}

/// What an entrypoint speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2.
    #[default]
    Http,
    /// Connections, whatever is said on them.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// What the routers of such an entrypoint take.
    pub fn of_routers(self) -> rule::Protocol {
        match self {
            Protocol::Http => rule::Protocol::Http,
            Protocol::Tcp => rule::Protocol::Tcp,
            Protocol::Udp => rule::Protocol::Udp,
        }
    }
}

/// The PROXY protocol, spoken to an entrypoint: every connection must begin with its header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// The peers that are believed. Others are refused.
    #[serde(deserialize_with = "net::list")]
    #[schemars(with = "Vec<schema::Network>")]
    pub trusted_ips: Vec<IpNet>,
    /// How long a header may take.
    #[serde(with = "duration", default = "header_timeout")]
    #[schemars(with = "schema::Duration")]
    pub header_timeout: Duration,
}

fn header_timeout() -> Duration {
    Duration::from_secs(5)
}

/// Limits and timeouts of HTTP on an entrypoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// How long the head of a request may take; past it 408.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request, and how long a request's body may stall.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub idle_timeout: Duration,
    /// How long the body of a request may take as a whole; past it 408; none is no limit.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub request_timeout: Option<Duration>,
    /// The most header fields of a request; past it 431.
    #[schemars(range(min = 1, max = 4096))]
    pub max_headers: usize,
    /// The most bytes of a request's head; past it 431.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_header_bytes: usize,
    /// The most streams at a time on an HTTP/2 connection.
    #[schemars(range(min = 1, max = 65_535))]
    pub h2_max_streams: u32,
    /// The most streams that an HTTP/2 client may reset soon after it has opened them, beyond half of those that it
    /// opens, given anew in 30 seconds; past it the connection ends.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub h2_max_resets: u32,
    /// Whether HTTP/2 is spoken without TLS to a client that begins with it.
    pub h2c: bool,
    /// What becomes of `%2F` in a path.
    pub encoded_slash: EncodedSlash,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(180),
            request_timeout: None,
            max_headers: 100,
            max_header_bytes: 32 << 10,
            h2_max_streams: 250,
            h2_max_resets: 500,
            h2c: true,
            encoded_slash: EncodedSlash::Keep,
        }
    }
}

/// What becomes of `%2F` in a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodedSlash {
    /// It stays as it is, for rules and for servers.
    #[default]
    Keep,
    /// The request is refused with 400.
    Reject,
}
