//! `metrics { }`: under which names exchanges are counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is counted, beside what always is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Whose names the metrics have beside our own; none is nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compat: Option<Compat>,
}

/// A gateway whose names of metrics are known to dashboards and alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Traefik, version 3.
    Traefik,
}
