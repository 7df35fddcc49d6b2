//! `type = "basic-auth"`.

use super::Settings;
use crate::config::Secret;
use crate::config::check::Place;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::schema;
use crate::config::values::{duration, header};
use a3s_layers::auth::basic_auth::{MAX_REMEMBER, REMEMBER, UserError, Users};
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Lets through the requests of those who know a name and its password; refuses with 401.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuthConfig {
    /// The name of somebody, beside those of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// That person's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file of `htpasswd`: bcrypt, argon2id, apr1 or SHA. It is read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_file: Option<PathBuf>,
    /// What the password is asked for; browsers show it.
    pub realm: String,
    /// The header that tells the server the user's name. What clients say in it is removed.
    #[serde(with = "header::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::HeaderName>")]
    pub identity_header: Option<HeaderName>,
    /// Whether `Authorization` is removed from what the server sees.
    pub hide: bool,
    /// How long right passwords are remembered and not hashed again; 0 is not at all.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub cache_ttl: Duration,
}

impl Default for BasicAuthConfig {
    fn default() -> BasicAuthConfig {
        BasicAuthConfig {
            username: None,
            password: None,
            users_file: None,
            realm: "restricted".to_owned(),
            identity_header: None,
            hide: false,
            cache_ttl: REMEMBER,
        }
    }
}

impl BasicAuthConfig {
    /// Those who are named here.
    pub(crate) fn users(&self) -> Result<Users, UserError> {
        let mut users = Users::new();
        if let (Some(name), Some(password)) = (&self.username, &self.password) {
            users.add_password(name, password.expose())?;
        }
        Ok(users)
    }
}

impl Settings for BasicAuthConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let users = self.users();
        if let Err(error) = &users {
            let key = match error {
                UserError::Name => "username",
                _ => "password",
            };
            place.invalid(key, error.to_string());
        } else if self.password.is_some() && place.is_literal(&["password".into()]) {
            let message = "the password stands here for everybody who reads the file";
            let help = "write its hash into `users_file` (`htpasswd -B`), or take it from the environment, without a default: \"${PASSWORD}\"";
            let problem = Problem::new(Code::PlainSecret, message);
            place.report(&["password".into()], problem.help(help.to_owned()));
        }
        match (&self.username, &self.password, &self.users_file) {
            _ if !place.is_whole() => {}
            (Some(_), None, _) => place.choice("username", "`username` needs a `password`"),
            (None, Some(_), _) => place.choice("password", "`password` needs a `username`"),
            (None, None, None) => {
                let message = "there is no `username` with `password`, and no `users_file`: nobody would pass";
                place.choice("username", message);
            }
            _ => {}
        }
        if let Some(file) = &self.users_file {
            let mut users = users.unwrap_or_default();
            place.text_file("users_file", file, |text| users.add_lines(text));
        }
        if self.realm.contains(|c| !matches!(c, ' '..='~')) {
            place.invalid(
                "realm",
                "the realm has characters other than visible ASCII ones",
            );
        }
        if let Some(name) = &self.identity_header {
            place.header(&["identity_header".into()], name);
        }
        place.duration("cache_ttl", self.cache_ttl, Duration::ZERO, MAX_REMEMBER);
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        self.users_file.iter_mut().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::told_of;

    #[test]
    fn what_is_wrong_is_told_where_it_is() {
        let mut wrong = Vec::new();
        for (keys, expected) in [
            (
                "",
                &[
                    "17:1 E013 there is no `username` with `password`, and no `users_file`: nobody would pass",
                ][..],
            ),
            (
                "username = \"ann\"\n  password = \"${TOKEN}\"\n  cache_ttl = \"0s\"",
                &[],
            ),
            (
                "username = \"ann\"\n  password = \"s3cret\"",
                &[
                    "20:14 W009 the password stands here for everybody who reads the file; write its hash into `users_file` (`htpasswd -B`), or take it from the environment, without a default: \"${PASSWORD}\"",
                ],
            ),
            (
                "username = \"ann\"",
                &["19:14 E013 `username` needs a `password`"],
            ),
            (
                "password = \"${TOKEN}\"",
                &["19:14 E013 a value from outside this file: Keys exclude or need one another."],
            ),
            (
                "username = \"a:b\"\n  password = \"${TOKEN}\"",
                &["19:14 E006 the name is empty, or has a colon or control characters"],
            ),
            (
                "username = \"ann\"\n  password = env(\"NOT_SET\", \"\")",
                &["20:14 E006 the password is empty, or has control characters"],
            ),
            (
                "username = \"ann\"\n  password = 12345",
                &["20:14 E005 expected a string"],
            ),
            (
                "users_file = \"/nowhere\"\n  realm = \"intérieur\"\n  identity_header = \"te\"\n  cache_ttl = \"25h\"\n  user = 1",
                &[
                    "19:16 E002 `users_file` cannot be read: no such file",
                    "20:11 E006 the realm has characters other than visible ASCII ones",
                    "21:21 E006 the server sets this header itself, for each connection",
                    "22:15 E008 `cache_ttl` is out of range: 1d1h is not from 0s to 1d",
                    "23:3 E004 unknown key `user`; known here: `username`, `password`, `users_file`, `realm`, `identity_header`, `hide`, `cache_ttl`",
                ],
            ),
        ] {
            let told = told_of(&format!(
                "middlewares \"x\" {{\n  type = \"basic-auth\"\n  {keys}\n}}"
            ));
            if told != expected {
                wrong.push(format!("{keys}\n  told {told:#?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
