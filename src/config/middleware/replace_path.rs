//! `type = "replace-path"`.

use super::Settings;
use crate::config::Pattern;
use crate::config::check::Place;
use a3s_layers::rewrite::{check_path, check_replacement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Replaces the path, or what a pattern finds in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplacePathConfig {
    /// What every path becomes, as it stands in a URL; the query stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Instead of `path`: what is replaced in the path as it stands in a URL; a path without a match stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<Pattern>,
    /// What stands there instead; `$1` or `$name` is a group of `regex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
}

impl Settings for ReplacePathConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        if let Some(path) = &self.path
            && let Err(error) = check_path(path)
        {
            place.invalid_text("path", path, error);
        }
        if let (Some(regex), Some(replacement)) = (&self.regex, &self.replacement)
            && let Err(error) = check_replacement(regex.regex(), replacement)
        {
            place.invalid_text("replacement", replacement, error);
        }
        if !place.is_whole() {
            return;
        }
        match (&self.path, &self.regex, &self.replacement) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (None, None, None) => {
                place.choice("path", "needs `path`, or `regex` and `replacement`")
            }
            (None, Some(_), None) => place.choice("regex", "`regex` needs `replacement`"),
            (None, None, Some(_)) => place.choice("replacement", "`replacement` needs `regex`"),
            (Some(_), ..) => place.choice("path", "`path` and `regex` exclude each other"),
        }
    }
}
