//! `type = "in-flight"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::key_source;
use a3s_layers::key::KeySource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets so many requests be under way at a time; refuses with 503 where all are counted together, with 429 where
/// each key is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InFlightConfig {
    /// How many requests may be under way, from their heads to the ends of their answers.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u64,
    /// What they are counted by: `global`, `client-ip`, `header:X`, `claim:X` or `path`.
    #[serde(default = "global", with = "key_source")]
    #[schemars(with = "schema::CountKey")]
    pub key: KeySource,
}

fn global() -> KeySource {
    KeySource::Global
}

impl Settings for InFlightConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        place.number("max", self.max, 1, 10_000_000);
        place.key_source("key", &self.key);
    }
}
