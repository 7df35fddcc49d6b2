//! `type = "redirect"`.

use super::Settings;
use crate::config::Pattern;
use crate::config::check::Place;
use a3s_layers::redirect::check_replacement;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sends clients to another URL: to another scheme, to where a pattern says, or to a path with or without a slash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedirectConfig {
    /// The scheme to go to; host, path and query stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// With `scheme`: the port to go to instead of the scheme's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
    /// What is replaced in the whole URL; one without a match stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<Pattern>,
    /// What stands there instead; `$1` or `$name` is a group of `regex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// Whether paths get a slash at their end, or lose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trailing_slash: Option<SlashConfig>,
    /// Whether clients may remember it: 301 or 308 instead of 302 or 307.
    pub permanent: bool,
}

/// Where a redirect may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RedirectScheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
}

/// What becomes of the slash at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SlashConfig {
    /// It is there.
    Add,
    /// It is not.
    Remove,
}

impl Settings for RedirectConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        if let Some(port) = self.port {
            place.number("port", port.into(), 1, u16::MAX.into());
        }
        if let (Some(regex), Some(replacement)) = (&self.regex, &self.replacement)
            && let Err(error) = check_replacement(regex.regex(), replacement)
        {
            place.invalid_text("replacement", replacement, error);
        }
        if !place.is_whole() {
            return;
        }
        let ways: Vec<&str> = [
            ("scheme", self.scheme.is_some()),
            ("regex", self.regex.is_some()),
            ("trailing_slash", self.trailing_slash.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, is_there)| is_there.then_some(key))
        .collect();
        match ways[..] {
            [] => place.choice(
                "scheme",
                "needs one of `scheme`, `regex` and `trailing_slash`",
            ),
            [_] => {}
            [first, second, ..] => {
                place.choice(
                    second,
                    format!("`{first}` and `{second}` exclude each other"),
                );
            }
        }
        for (key, is_there, other, other_is_there) in [
            ("port", self.port.is_some(), "scheme", self.scheme.is_some()),
            (
                "regex",
                self.regex.is_some(),
                "replacement",
                self.replacement.is_some(),
            ),
            (
                "replacement",
                self.replacement.is_some(),
                "regex",
                self.regex.is_some(),
            ),
        ] {
            if is_there && !other_is_there {
                place.choice(key, format!("`{key}` needs `{other}`"));
            }
        }
    }
}
