//! `type = "body-limit"`.

use super::Settings;
use crate::config::schema;
use crate::config::values::size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Refuses request bodies that are too large with 413, and cuts those that do not say how large they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyLimitConfig {
    /// The most bytes of a body; 0 is none.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_body_bytes: usize,
}

impl Settings for BodyLimitConfig {}
