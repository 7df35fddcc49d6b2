//! `type = "strip-prefix"`.

use super::Settings;
use crate::config::check::Place;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Takes the first of its prefixes that a path begins with off it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StripPrefixConfig {
    /// The prefixes, each of whole segments: `/api` is none of `/apis`.
    pub prefixes: Vec<String>,
}

impl Settings for StripPrefixConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        if self.prefixes.is_empty() {
            place.invalid("prefixes", "there is no prefix to strip");
        }
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let message = match prefix.as_str() {
                "/" => "`/` is a prefix of everything, and stripping it changes nothing".to_owned(),
                _ if !prefix.starts_with('/') => {
                    format!("the prefix `{prefix}` does not begin with `/`")
                }
                _ if prefix.contains(['?', '#']) || prefix.parse::<http::Uri>().is_err() => {
                    format!("`{prefix}` is not a path")
                }
                _ => continue,
            };
            place.invalid_at("prefixes", index, message);
        }
    }
}
