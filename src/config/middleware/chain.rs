//! `type = "chain"`.

use super::Settings;
use crate::config::check::Place;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Several middlewares under one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// The middlewares, in their order; at least one.
    pub middlewares: Vec<String>,
}

impl Settings for ChainConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        if self.middlewares.is_empty() {
            place.invalid("middlewares", "the chain has no middlewares");
        }
    }

    fn middlewares(&self) -> &[String] {
        &self.middlewares
    }
}
