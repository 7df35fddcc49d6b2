//! `health_check { }`.

use crate::config::values::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Asks each server how it is, at intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheckConfig {
    /// How it is asked.
    pub kind: HealthCheckKind,
    /// What is asked for; for gRPC the name of the service, the whole server where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From one question to the next, give or take a tenth.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long an answer may take, connecting included.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Bad answers in a row that make a server unhealthy.
    pub unhealthy_threshold: u32,
    /// Good answers in a row that make it healthy again.
    pub healthy_threshold: u32,
}

/// How a server is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthCheckKind {
    /// A GET, answered with a good status.
    #[default]
    Http,
    /// The gRPC health protocol.
    Grpc,
    /// A connection.
    Tcp,
}

impl Default for HealthCheckConfig {
    fn default() -> HealthCheckConfig {
        HealthCheckConfig {
            kind: HealthCheckKind::default(),
            path: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            unhealthy_threshold: 3,
            healthy_threshold: 1,
        }
    }
}
