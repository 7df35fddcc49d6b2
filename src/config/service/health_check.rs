//! `health_check { }`.

use crate::config::Secret;
use crate::config::schema;
use crate::config::values::{FinalStatuses, duration};
use crate::rule::Protocol;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Asks each server how it is, at intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheckConfig {
    /// How it is asked; where it is absent, `tcp` for servers of TCP, and `http` for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<HealthCheckKind>,
    /// What is asked for, `/` where it is absent; for gRPC the name of the service, the whole server where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From one question to the next, give or take a tenth.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub interval: Duration,
    /// How long an answer may take, connecting included.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub timeout: Duration,
    /// Bad answers in a row that make a server unhealthy.
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: u32,
    /// Good answers in a row that make it healthy again.
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: u32,
    /// The statuses of good answers: `204`, or `"200-399"` for all from one to another. For `http`.
    pub status: Vec<FinalStatuses>,
    /// Fields to send with the question. The values may be credentials, and are not shown.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, Secret>,
    /// The `Host` of the question; where it is absent, the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port to ask at, where that is not the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
}

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthCheckKind {
    /// A GET, answered with a good status.
    Http,
    /// The gRPC health protocol.
    Grpc,
    /// A connection.
    Tcp,
}

impl HealthCheckKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthCheckKind::Http => "http",
            HealthCheckKind::Grpc => "grpc",
            HealthCheckKind::Tcp => "tcp",
        }
    }
}

impl HealthCheckConfig {
    /// How servers of a protocol are asked.
    pub fn kind(&self, protocol: Protocol) -> HealthCheckKind {
        self.kind.unwrap_or(match protocol {
            Protocol::Http => HealthCheckKind::Http,
            Protocol::Tcp | Protocol::Udp => HealthCheckKind::Tcp,
        })
    }
}

impl Default for HealthCheckConfig {
    fn default() -> HealthCheckConfig {
        HealthCheckConfig {
            kind: None,
            path: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            unhealthy_threshold: 3,
            healthy_threshold: 1,
            status: FinalStatuses::new(200..=399).into_iter().collect(),
            headers: IndexMap::new(),
            host: None,
            port: None,
        }
    }
}
