//! `respond { }`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RespondConfig {
    /// Its status, 200 to 599.
    #[schemars(range(min = 200, max = 599))]
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
