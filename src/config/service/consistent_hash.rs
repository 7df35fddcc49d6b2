//! `consistent_hash { }`.

use crate::config::schema;
use crate::config::values::hash_on;
use a3s_layers::balance::HashOn;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What decides which server gets a request under the strategy `consistent-hash`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsistentHashConfig {
    /// `client-ip`, `header:X`, `cookie:X` or `path`; a request that has no such thing goes by its client's address.
    #[serde(with = "hash_on")]
    #[schemars(with = "schema::HashKey")]
    pub on: HashOn,
}
