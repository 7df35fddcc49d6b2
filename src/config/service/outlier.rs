//! `outlier { }`.

use crate::config::values::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Leaves a server alone for a while that fails requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierConfig {
    /// Failures in a row that have a server ejected; 0 never does.
    pub consecutive_errors: u32,
    /// The time in which they must fall.
    #[serde(with = "duration")]
    pub window: Duration,
    /// How long the first ejection is; each one that follows soon is longer.
    #[serde(with = "duration")]
    pub ejection: Duration,
    /// The most servers of a hundred that are ejected at a time.
    pub max_ejected_percent: u8,
}

impl Default for OutlierConfig {
    fn default() -> OutlierConfig {
        OutlierConfig {
            consecutive_errors: 5,
            window: Duration::from_secs(10),
            ejection: Duration::from_secs(30),
            max_ejected_percent: 50,
        }
    }
}
