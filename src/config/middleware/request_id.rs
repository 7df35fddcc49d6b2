//! `type = "request-id"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::header;
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Gives each request an ID, by which its log lines can be found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestIdConfig {
    /// The header that has it, of requests and of answers.
    #[serde(with = "header")]
    #[schemars(with = "schema::HeaderName")]
    pub header: HeaderName,
    /// Whose IDs are kept; others are replaced.
    pub keep: KeepConfig,
}

/// Whose IDs are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeepConfig {
    /// Those of trusted proxies.
    #[default]
    Trusted,
    /// Everybody's.
    Always,
    /// Nobody's.
    Never,
}

impl Default for RequestIdConfig {
    fn default() -> RequestIdConfig {
        RequestIdConfig {
            header: HeaderName::from_static("x-request-id"),
            keep: KeepConfig::default(),
        }
    }
}

impl Settings for RequestIdConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        place.header(&["header".into()], &self.header);
    }
}
