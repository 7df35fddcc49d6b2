//! `type = "jwt"`.

mod algorithms;
#[cfg(test)]
mod tests;

use super::Settings;
use crate::config::check::{Key, Place};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::schema;
use crate::config::values::{duration, header, texts};
use crate::config::{Accepted, HttpUrl, Secret, UpstreamTlsConfig};
use a3s_layers::auth::jwt::{Algorithm, KeySet};
use http::HeaderName;
use http::header::AUTHORIZATION;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tower::BoxError;

/// Lets through the requests that carry a token which is genuine and says what is asked for; refuses with 401, and
/// with 403 where it is only claims that are missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// The secret that tokens are signed with: HS256, or what `algorithms` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret>,
    /// A file with the public keys, or certificates, of those who sign tokens (PEM); it is read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<PathBuf>,
    /// Where the public keys of those who sign tokens are published, as a JWK Set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<HttpUrl>,
    /// How old those keys may become; less where the server says less (`Cache-Control: max-age`).
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub jwks_refresh: Duration,
    /// How long a fetch of them may take, and a request wait for it.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub jwks_timeout: Duration,
    /// TLS to the server of `jwks_url`.
    pub tls: Box<UpstreamTlsConfig>,
    /// The algorithms that tokens may be signed with; none named is HS256 for `value`, and for a public key those of
    /// its kind.
    #[serde(with = "algorithms")]
    #[schemars(with = "Vec<schema::Algorithm>")]
    pub algorithms: Vec<Algorithm>,
    /// Those whose tokens are taken (`iss`); none named is everybody who has a key.
    #[serde(deserialize_with = "texts::list")]
    #[schemars(with = "schema::OneOrMany<String>")]
    pub issuer: Vec<String>,
    /// Those whom tokens may be for (`aud`), one of them; none named is everybody.
    #[serde(deserialize_with = "texts::list")]
    #[schemars(with = "schema::OneOrMany<String>")]
    pub audience: Vec<String>,
    /// How long after it has expired a token is still taken, and before it is valid, for clocks that differ.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub leeway: Duration,
    /// Whether a token must say when it expires.
    pub require_exp: bool,
    /// What else tokens must say: a claim, and what it must be, or be one of. Names with dots between lead into
    /// objects. A list has to have it; in `scope` and `scp` it has to be among the words.
    pub required_claims: IndexMap<String, Accepted>,
    /// Claims that the server is told, each in a header. What clients say in it is removed.
    #[serde(with = "header::map")]
    #[schemars(with = "IndexMap<String, schema::HeaderName>")]
    pub claims_to_headers: IndexMap<String, HeaderName>,
    /// The header that has the token, in `Authorization` behind `Bearer`.
    #[serde(with = "header")]
    #[schemars(with = "schema::HeaderName")]
    pub header: HeaderName,
    /// The cookie that has it where the header does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// The parameter of the query that has it where neither does. Addresses are logged, and tokens in them too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Whether the token is removed from what the server sees.
    pub hide: bool,
    /// What challenges call this place.
    pub realm: String,
}

impl Default for JwtConfig {
    fn default() -> JwtConfig {
        JwtConfig {
            value: None,
            public_key_file: None,
            jwks_url: None,
            jwks_refresh: Duration::from_secs(600),
            jwks_timeout: Duration::from_secs(5),
            tls: Box::default(),
            algorithms: Vec::new(),
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway: Duration::from_secs(60),
            require_exp: true,
            required_claims: IndexMap::new(),
            claims_to_headers: IndexMap::new(),
            header: AUTHORIZATION,
            cookie: None,
            query: None,
            hide: false,
            realm: "gateway".to_owned(),
        }
    }
}

impl Settings for JwtConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        self.check_keys(place);
        self.check_claims(place);
        place.header(&["header".into()], &self.header);
        let hour = Duration::from_secs(60 * 60);
        place.duration("leeway", self.leeway, Duration::ZERO, hour);
        if let Some(name) = &self.cookie
            && !is_token(name)
        {
            place.invalid("cookie", format!("`{name}` is not the name of a cookie"));
        }
        if self.query.as_deref() == Some("") {
            place.invalid("query", "the name of the parameter is empty");
        }
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if !self.realm.bytes().all(is_plain) {
            let message = "the realm has quotes, backslashes, or what is no visible ASCII";
            place.invalid("realm", message);
        }
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        let tls = &mut *self.tls;
        let of_tls = [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file];
        let all = of_tls.into_iter().chain([&mut self.public_key_file]);
        all.flatten().collect()
    }
}

impl JwtConfig {
    /// The keys of a file, one of which has to be for one of these algorithms, if there are any.
    pub(crate) fn public_keys(text: &str, algorithms: &[Algorithm]) -> Result<KeySet, BoxError> {
        let keys = KeySet::from_pem(text)?;
        let mut accepted = algorithms.iter();
        if !algorithms.is_empty() && !accepted.any(|algorithm| keys.is_for(*algorithm)) {
            return Err("no key in it is for one of the `algorithms`".into());
        }
        Ok(keys)
    }

    fn check_keys(&self, place: &mut Place<'_, '_>) {
        let sources = [
            ("value", self.value.is_some()),
            ("public_key_file", self.public_key_file.is_some()),
            ("jwks_url", self.jwks_url.is_some()),
        ];
        let given: Vec<_> = sources.iter().filter(|(_, given)| *given).collect();
        match given[..] {
            [] if place.is_whole() => place.choice(
                "value",
                "there is no `value`, `public_key_file` or `jwks_url`: nobody would pass",
            ),
            [(first, _), (second, _), ..] => {
                let message = format!("`{first}` and `{second}` exclude one another");
                place.choice(second, message);
            }
            _ => {}
        }
        if let Some(secret) = &self.value {
            self.check_secret(place, secret);
        }
        if let Some(file) = &self.public_key_file {
            // What is said of the others is said below.
            let able = |algorithm: &&Algorithm| !algorithm.is_symmetric();
            let algorithms: Vec<_> = self.algorithms.iter().filter(able).copied().collect();
            place.text_file("public_key_file", file, |text| {
                JwtConfig::public_keys(text, &algorithms).map(drop)
            });
        }
        for (index, algorithm) in self.algorithms.iter().enumerate() {
            let message = match (algorithm.is_symmetric(), &given[..]) {
                (false, [("value", _)]) => {
                    format!("{algorithm} verifies with a public key, and `value` is a secret")
                }
                (true, [(source @ ("public_key_file" | "jwks_url"), _)]) => {
                    format!("{algorithm} verifies with a secret, and `{source}` has public keys")
                }
                _ => continue,
            };
            place.invalid_at("algorithms", index, message);
        }
        let usual = JwtConfig::default();
        for (key, is_given) in [
            ("jwks_refresh", self.jwks_refresh != usual.jwks_refresh),
            ("jwks_timeout", self.jwks_timeout != usual.jwks_timeout),
            ("tls", self.tls != usual.tls),
        ] {
            if is_given && self.jwks_url.is_none() && place.is_whole() {
                place.choice(key, format!("`{key}` is for keys of `jwks_url`"));
            }
        }
        let seconds = Duration::from_secs;
        place.duration(
            "jwks_refresh",
            self.jwks_refresh,
            seconds(10),
            seconds(24 * 60 * 60),
        );
        place.duration(
            "jwks_timeout",
            self.jwks_timeout,
            Duration::from_millis(100),
            seconds(60),
        );
        place.tls("tls", &self.tls);
        let is_plain = self.jwks_url.as_ref().is_some_and(|url| !url.is_https());
        if is_plain && self.tls != usual.tls {
            place.choice("tls", "`jwks_url` is not an `https` URL");
        }
    }

    fn check_secret(&self, place: &mut Place<'_, '_>, secret: &Secret) {
        let secret = secret.expose();
        if secret.is_empty() {
            return place.invalid("value", "the secret is empty");
        }
        if secret.trim_start().starts_with("-----BEGIN") {
            let message = "`value` is a secret, and this is a key or a certificate";
            let help = "write it to a file, and name that in `public_key_file`";
            let problem = Problem::new(Code::InvalidValue, message);
            return place.report(&["value".into()], problem.help(help.to_owned()));
        }
        let needed = self.algorithms.iter().map(|algorithm| match algorithm {
            Algorithm::Hs384 => 48,
            Algorithm::Hs512 => 64,
            _ => 32,
        });
        let needed = needed.max().unwrap_or(32);
        if secret.len() < needed {
            let message = format!(
                "a secret of fewer than {needed} bytes can be guessed by whoever has a token"
            );
            let help = "make one with `openssl rand -base64 48`";
            let problem = Problem::new(Code::WeakSecret, message);
            place.report(&["value".into()], problem.help(help.to_owned()));
        }
    }

    fn check_claims(&self, place: &mut Place<'_, '_>) {
        for (key, list) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            for (index, text) in list.iter().enumerate() {
                if text.is_empty() {
                    place.invalid_at(key, index, "it is empty");
                }
            }
        }
        for (claim, accepted) in &self.required_claims {
            let entry = ["required_claims".into(), Key::Entry(claim)];
            let value = ["required_claims".into(), Key::Name(claim)];
            let (keys, message) = match (claim.is_empty(), accepted.0.is_empty()) {
                (true, _) => (entry, "the name of the claim is empty"),
                (_, true) => (value, "nothing is accepted: nobody would pass"),
                _ => continue,
            };
            place.report(&keys, Problem::new(Code::InvalidValue, message));
        }
        for (index, (claim, header)) in self.claims_to_headers.iter().enumerate() {
            if claim.is_empty() {
                let message = "the name of the claim is empty";
                let keys = ["claims_to_headers".into(), Key::Entry(claim)];
                place.report(&keys, Problem::new(Code::InvalidValue, message));
            }
            let keys = ["claims_to_headers".into(), Key::Name(claim)];
            place.header(&keys, header);
            let mut before = self.claims_to_headers.values().take(index);
            if before.any(|other| reads_as(other, header)) {
                let message = format!("two claims are told in `{header}`");
                place.report(&keys, Problem::new(Code::Duplicate, message));
            }
        }
    }
}

/// Whether some servers take two names for one (`-` and `_`).
fn reads_as(a: &HeaderName, b: &HeaderName) -> bool {
    a.as_str().replace('_', "-") == b.as_str().replace('_', "-")
}

/// RFC 6265, 4.1.1, and RFC 9110, 5.6.2.
fn is_token(name: &str) -> bool {
    let is_mark = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || is_mark(b))
}
