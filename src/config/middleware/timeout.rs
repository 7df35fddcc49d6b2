//! `type = "timeout"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Answers 504 where the answer takes too long to begin, and 408 where the request does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutConfig {
    /// From the request to the head of its answer, whatever is done meanwhile.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub duration: Duration,
}

impl Settings for TimeoutConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(86_400));
        place.duration("duration", self.duration, least, most);
    }
}
