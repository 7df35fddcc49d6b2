//! `revisions`.

use super::{ServerConfig, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One version of a service, with servers of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevisionConfig {
    /// Its name.
    pub name: String,
    /// How many of a hundred requests it gets.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 100))]
    pub traffic_percent: u8,
    /// How a server is chosen; that of the `load_balancer` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Its servers.
    pub servers: Vec<ServerConfig>,
}

fn hundred() -> u8 {
    100
}
