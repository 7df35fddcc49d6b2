//! `mirror { }`.

use crate::config::schema;
use crate::config::values::{duration, header, size};
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Another service that gets copies of the requests, and whose answers nobody sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MirrorConfig {
    /// The other service.
    pub service: String,
    /// How many of a hundred requests are copied.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 100))]
    pub percentage: u8,
    /// The longest body that is copied; there is no copy of a request with a longer one.
    #[serde(default = "mebibyte", with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_body: usize,
    /// The most copies that are being made or answered at a time; more are dropped.
    #[serde(default = "hundred_copies")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_in_flight: u32,
    /// How long a copy may take, from its sending to the end of its answer.
    #[serde(default = "half_a_minute", with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub timeout: Duration,
    /// Header fields that copies do not have: those with credentials, say.
    #[serde(default, with = "header::list", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::HeaderName>")]
    pub omit_headers: Vec<HeaderName>,
}

fn hundred() -> u8 {
    100
}

fn mebibyte() -> usize {
    1 << 20
}

fn hundred_copies() -> u32 {
    100
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}
