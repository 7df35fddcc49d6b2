//! `dns { }`: how the names of servers are looked up.

use super::values::{NameServer, duration};
use crate::config::schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the names in the URLs of servers are looked up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsConfig {
    /// The DNS servers to ask instead of the system's, whose search list is then left alone too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<NameServer>,
    /// How long an answer is good for at least, whatever its time to live says.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub min_ttl: Duration,
    /// How long at most.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub max_ttl: Duration,
    /// How long a DNS server may take to answer, before it, or another one, is asked again.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub timeout: Duration,
}

impl Default for DnsConfig {
    fn default() -> DnsConfig {
        DnsConfig {
            servers: Vec::new(),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
        }
    }
}
