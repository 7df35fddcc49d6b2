//! `failover { }`.

use crate::config::schema;
use crate::config::values::{ErrorStatuses, size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Another service that is asked where this one has nobody to answer, or answers badly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailoverConfig {
    /// The other service.
    pub service: String,
    /// Answers of this service that the other one is asked in place of: `503`, or `"500-599"` for all from one to
    /// another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_status: Vec<ErrorStatuses>,
    /// The most bytes of a request's body that are kept for the other one.
    #[serde(default = "default_replay", with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_replay_bytes: usize,
}

fn default_replay() -> usize {
    64 << 10
}

impl FailoverConfig {
    /// To this service where there is nobody to answer, everything else as it is by default.
    pub fn to(service: impl Into<String>) -> FailoverConfig {
        FailoverConfig {
            service: service.into(),
            on_status: Vec::new(),
            max_replay_bytes: default_replay(),
        }
    }
}
