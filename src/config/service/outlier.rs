//! `outlier { }`.

use crate::config::schema;
use crate::config::values::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Leaves a server alone for a while that fails requests, unlike the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierConfig {
    /// Errors in a row that have a server ejected; 0 never does.
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_errors: u32,
    /// The time in which they must fall; a row that lasts longer begins anew.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub window: Duration,
    /// How long the first ejection is; each one that follows soon is longer by as much.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub ejection: Duration,
    /// The longest that an ejection becomes; where `ejection` is longer, that is.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub max_ejection: Duration,
    /// The most servers of a hundred that are ejected at a time, rounded down; never the last one.
    #[schemars(range(min = 0, max = 100))]
    pub max_ejected_percent: u8,
}

impl Default for OutlierConfig {
    fn default() -> OutlierConfig {
        OutlierConfig {
            consecutive_errors: 5,
            window: Duration::from_secs(10),
            ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected_percent: 50,
        }
    }
}
