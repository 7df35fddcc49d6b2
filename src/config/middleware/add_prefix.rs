//! `type = "add-prefix"`.

use super::Settings;
use crate::config::check::Place;
use a3s_layers::rewrite::check_path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Puts a prefix before each path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPrefixConfig {
    /// The prefix, as it stands in a URL; a `/` at its end means nothing.
    pub prefix: String,
}

impl Settings for AddPrefixConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        match check_path(&self.prefix) {
            Err(error) => place.invalid_text("prefix", &self.prefix, error),
            Ok(()) if self.prefix == "/" => {
                place.invalid("prefix", "`/` before a path changes nothing");
            }
            Ok(()) => {}
        }
    }
}
