//! `failover { }`.

use serde::{Deserialize, Serialize};

/// Another service that is asked where this one has nobody to answer, or answers badly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverConfig {
    /// The other service.
    pub service: String,
    /// Answers of this service, by status, that the other one is asked in place of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_status: Vec<u16>,
}
