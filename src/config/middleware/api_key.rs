//! `type = "api-key"`.

use super::Settings;
use crate::config::Keys;
use crate::config::check::{Key, Place};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::schema;
use crate::config::values::header;
use a3s_layers::auth::api_key::{KeyError, KeySet};
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Lets through the requests that carry a key that is known; refuses with 401.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeyConfig {
    /// The header that has the key. In `Authorization` it may stand behind `Bearer`.
    #[serde(with = "header")]
    #[schemars(with = "schema::HeaderName")]
    pub header: HeaderName,
    /// The parameter of the query that may have it instead. Addresses are logged, and keys in them too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The keys: a list of them, or each under a name.
    pub keys: Keys,
    /// The SHA-256 digests of keys, in hexadecimal, with `sha256:` before them or not: a list, or each under a name.
    pub hashed_keys: Keys,
    /// A file with more of both; it is read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// The header that tells the server the name of the key. What clients say in it is removed.
    #[serde(with = "header::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::HeaderName>")]
    pub identity_header: Option<HeaderName>,
    /// Whether the key is removed from what the server sees.
    pub hide: bool,
}

impl Default for ApiKeyConfig {
    fn default() -> ApiKeyConfig {
        ApiKeyConfig {
            header: HeaderName::from_static("x-api-key"),
            query: None,
            keys: Keys::default(),
            hashed_keys: Keys::default(),
            keys_file: None,
            identity_header: None,
            hide: false,
        }
    }
}

impl ApiKeyConfig {
    /// The keys that are written here; each that cannot be one is told, with its place.
    fn collect(&self, mut told: impl FnMut([Key<'_>; 2], KeyError)) -> KeySet {
        let mut set = KeySet::new();
        for (at, name, key) in self.keys.iter() {
            if let Err(error) = set.add(name, key.expose()) {
                told(["keys".into(), place_of(error, at)], error);
            }
        }
        for (at, name, digest) in self.hashed_keys.iter() {
            if let Err(error) = set.add_sha256(name, digest.expose()) {
                told(["hashed_keys".into(), place_of(error, at)], error);
            }
        }
        set
    }

    /// The keys that are written here.
    pub(crate) fn key_set(&self) -> Result<KeySet, KeyError> {
        let mut first = None;
        let set = self.collect(|_, error| first = first.or(Some(error)));
        first.map_or(Ok(set), Err)
    }
}

fn place_of(error: KeyError, at: Key<'_>) -> Key<'_> {
    match (error, at) {
        (KeyError::Name, Key::Name(name)) => Key::Entry(name),
        _ => at,
    }
}

impl Settings for ApiKeyConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let keys = self.collect(|keys, error| {
            let code = match error {
                KeyError::Duplicate => Code::Duplicate,
                _ => Code::InvalidValue,
            };
            place.report(&keys, Problem::new(code, error.to_string()));
        });
        let is_empty = self.keys.is_empty() && self.hashed_keys.is_empty();
        if is_empty && self.keys_file.is_none() && place.is_whole() {
            let message = "there are no `keys`, `hashed_keys` or `keys_file`: nobody would pass";
            place.choice("keys", message);
        }
        let mut in_plain_text = self.keys.iter().map(|(at, ..)| ["keys".into(), at]);
        if let Some(at) = in_plain_text.find(|keys| place.is_literal(keys)) {
            let message = "the key stands here for everybody who reads the file";
            let help = "write its digest into `hashed_keys` (`printf %s KEY | sha256sum`), or take it from the environment, without a default: \"${API_KEY}\"";
            let problem = Problem::new(Code::PlainSecret, message);
            place.report(&at, problem.help(help.to_owned()));
        }
        if self.query.as_deref() == Some("") {
            place.invalid("query", "the name of the parameter is empty");
        }
        if let Some(file) = &self.keys_file {
            place.text_file("keys_file", file, |text| keys.clone().add_lines(text));
        }
        let has_names = [&self.keys, &self.hashed_keys].map(|keys| matches!(keys, Keys::Named(_)));
        place.header(&["header".into()], &self.header);
        if let Some(name) = &self.identity_header {
            place.header(&["identity_header".into()], name);
        }
        if self.identity_header.is_some()
            && !has_names.contains(&true)
            && self.keys_file.is_none()
            && !is_empty
        {
            let message = "no key has a name to be told: write `keys = { name = \"...\" }`";
            place.choice("identity_header", message);
        }
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        self.keys_file.iter_mut().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::told_of;

    const DIGEST: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

    #[test]
    fn what_is_wrong_is_told_where_it_is() {
        let mut wrong = Vec::new();
        for (keys, expected) in [
            (
                "",
                &["17:1 E013 there are no `keys`, `hashed_keys` or `keys_file`: nobody would pass"]
                    [..],
            ),
            ("keys = [\"${TOKEN}\"]", &[]),
            (
                "keys = { build = \"${TOKEN}\" }\n  identity_header = \"X-Consumer\"",
                &[],
            ),
            (&format!("hashed_keys = [\"{DIGEST}\"]"), &[]),
            (
                &format!("hashed_keys = {{ a = \"sha256:{DIGEST}\" }}\n  hide = true"),
                &[],
            ),
            (
                "keys = [\"${TOKEN}\", \"s3cret\", \"other\"]",
                &[
                    "19:23 W009 the key stands here for everybody who reads the file; write its digest into `hashed_keys` (`printf %s KEY | sha256sum`), or take it from the environment, without a default: \"${API_KEY}\"",
                ],
            ),
            (
                "keys = { a = \"${TOKEN}\", \"\" = \"${LIMIT}\", c = \"${TOKEN}\" }",
                &[
                    "19:28 E006 the name is empty, too long, or has control characters or spaces around it",
                    "19:49 E011 a value from outside this file: Something is declared twice.",
                ],
            ),
            (
                &format!("hashed_keys = [\"{DIGEST}\", \"{DIGEST}\", \"s3cret\", \"\"]"),
                &[
                    "19:86 E011 the key is there already",
                    "19:154 E006 a digest is 64 hexadecimal digits",
                    "19:164 E006 a digest is 64 hexadecimal digits",
                ],
            ),
            (
                "keys = \"s3cret\"",
                &["19:10 E005 expected a list of keys, or keys under names"],
            ),
            (
                "keys = 12345",
                &["19:10 E005 expected a list of keys, or keys under names"],
            ),
            (
                "keys = [\"${TOKEN}\", 12345]",
                &["19:23 E005 expected a string"],
            ),
            (
                "keys = { a = [\"s3cret\"] }",
                &["19:16 E005 expected a string"],
            ),
            (
                "keys = [\"${TOKEN}\"]\n  header = \"x api key\"\n  query = \"\"\n  identity_header = \"Host\"",
                &[
                    "20:12 E006 `x api key` is not the name of a header",
                    "21:11 E006 the name of the parameter is empty",
                    "22:21 E006 `Host` names the server",
                    "22:21 E013 no key has a name to be told: write `keys = { name = \"...\" }`",
                ],
            ),
            (
                "keys_file = \"/nowhere\"\n  key_file = \"x\"",
                &[
                    "19:15 E002 `keys_file` cannot be read: no such file",
                    "20:3 E004 unknown key `key_file`; did you mean `keys_file`?",
                ],
            ),
        ] {
            let told = told_of(&format!(
                "middlewares \"x\" {{\n  type = \"api-key\"\n  {keys}\n}}"
            ));
            if told != expected {
                wrong.push(format!("{keys}\n  told {told:#?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
