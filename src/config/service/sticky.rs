//! `sticky { }`.

use crate::config::schema;
use crate::config::values::{Secret, duration};
use a3s_layers::balance::sticky::{self, Cookie};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Keeps the requests of a session at one server, by a cookie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickyConfig {
    /// The name of the cookie.
    pub cookie: String,
    /// Makes the cookie's value one that nobody can guess; without it, whoever guesses a server's URL can tell that a
    /// value is that server's. All gateways that serve the same clients have the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// How long a browser keeps the cookie after its last use, give or take a tenth; until it is closed where it is absent.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<schema::Duration>")]
    pub ttl: Option<Duration>,
    /// Whether the cookie is sent over TLS only.
    #[serde(default)]
    pub secure: bool,
    /// Whether the cookie is hidden from scripts.
    #[serde(default)]
    pub http_only: bool,
    /// Whether the cookie goes along where another site leads here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// The paths that the cookie is sent for.
    #[serde(default = "root")]
    pub path: String,
    /// What the session is kept at.
    #[serde(default)]
    pub to: StickyTo,
}

impl StickyConfig {
    /// The cookie, which may have something wrong with it.
    pub(crate) fn cookie(&self) -> Cookie {
        Cookie {
            name: self.cookie.clone(),
            ttl: self.ttl,
            secure: self.secure,
            http_only: self.http_only,
            same_site: self.same_site.map(|same_site| match same_site {
                SameSite::Strict => sticky::SameSite::Strict,
                SameSite::Lax => sticky::SameSite::Lax,
                SameSite::None => sticky::SameSite::None,
            }),
            path: self.path.clone(),
        }
    }
}

fn root() -> String {
    "/".to_owned()
}

/// The `SameSite` of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SameSite {
    /// Never.
    Strict,
    /// Where the user follows a link.
    Lax,
    /// Always; it must be `secure` then.
    None,
}

/// What a session is kept at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StickyTo {
    /// One server, and with it its revision.
    #[default]
    Server,
    /// One revision, at any of its servers.
    Revision,
}
