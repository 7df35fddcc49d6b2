//! `type = "cors"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::duration;
use a3s_layers::cors::{CorsError, CorsPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Tells browsers which pages may read an answer, and answers their preflights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CorsConfig {
    /// The origins whose pages may read answers, such as `https://app.example.com`; `*` is any, as is nothing here and
    /// in `allowed_origin_regex`. `null` is the origin of sandboxed documents.
    pub allowed_origins: Vec<String>,
    /// More of them: a regular expression that a whole origin must match, in lower case and without a default port.
    pub allowed_origin_regex: Option<String>,
    /// The methods that pages may use; none named is `GET`, `HEAD`, `POST`, `PUT`, `PATCH` and `DELETE`.
    pub allowed_methods: Vec<String>,
    /// The headers that pages may send; none named is any.
    pub allowed_headers: Vec<String>,
    /// The headers of answers that pages may see, beside the few that they always may.
    pub exposed_headers: Vec<String>,
    /// Whether pages may send cookies and other credentials. Excludes `*`, and any origin.
    pub allow_credentials: bool,
    /// How long a browser may keep the answer to a preflight; not said where it is absent.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub max_age: Option<Duration>,
}

/// A week: browsers keep nothing as long.
const MAX_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl CorsConfig {
    /// What the layer is made of.
    pub(crate) fn policy(&self) -> Result<CorsPolicy, CorsError> {
        let mut policy = CorsPolicy::new();
        for origin in &self.allowed_origins {
            policy = policy.origin(origin)?;
        }
        if let Some(pattern) = &self.allowed_origin_regex {
            policy = policy.origin_regex(pattern)?;
        }
        for method in &self.allowed_methods {
            policy = policy.method(method)?;
        }
        for name in &self.allowed_headers {
            policy = policy.header(name)?;
        }
        for name in &self.exposed_headers {
            policy = policy.exposed_header(name)?;
        }
        if let Some(max_age) = self.max_age {
            policy = policy.max_age(max_age);
        }
        if self.allow_credentials {
            policy = policy.credentials();
        }
        Ok(policy)
    }
}

type Add = fn(CorsPolicy, &str) -> Result<CorsPolicy, CorsError>;

impl Settings for CorsConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let lists: [(&str, &[String], Add); 4] = [
            ("allowed_origins", &self.allowed_origins, CorsPolicy::origin),
            ("allowed_methods", &self.allowed_methods, CorsPolicy::method),
            ("allowed_headers", &self.allowed_headers, CorsPolicy::header),
            (
                "exposed_headers",
                &self.exposed_headers,
                CorsPolicy::exposed_header,
            ),
        ];
        for (key, values, add) in lists {
            for (index, value) in values.iter().enumerate() {
                if let Err(error) = add(CorsPolicy::new(), value) {
                    place.invalid_at(key, index, format!("`{value}`: {error}"));
                }
            }
        }
        if let Some(pattern) = &self.allowed_origin_regex
            && let Err(error) = CorsPolicy::new().origin_regex(pattern)
        {
            place.invalid("allowed_origin_regex", format!("`{pattern}`: {error}"));
        }
        if let Some(max_age) = self.max_age {
            place.duration("max_age", max_age, Duration::ZERO, MAX_MAX_AGE);
        }
        if !place.is_whole() {
            return;
        }
        match self.policy().and_then(|policy| policy.check()) {
            Err(error @ CorsError::WildcardWithCredentials) => {
                let message = format!("{error}: name the origins, methods and headers");
                place.choice("allow_credentials", message);
            }
            Err(error @ CorsError::AnyOriginWithCredentials) => {
                let message = format!("{error}: name the hosts in it");
                place.choice("allowed_origin_regex", message);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::told_of;

    #[test]
    fn what_is_no_policy_is_told_where_it_is() {
        let clash = "`*` and credentials exclude each other: name the origins, methods and headers";
        let clash = |place: &str| format!("{place} E013 {clash}");
        let origin = "an origin is a scheme, a host and perhaps a port, as in `https://example.com`, without a path";
        for (keys, expected) in [
            ("", vec![]),
            (
                r#"allowed_origins = ["https://a.com", "a.com", "https://a.com/", "https://*.a.com"]"#,
                vec![
                    format!("19:37 E006 `a.com`: {origin}"),
                    format!("19:46 E006 `https://a.com/`: {origin}"),
                    format!("19:64 E006 `https://*.a.com`: {origin}"),
                ],
            ),
            (
                r#"allowed_origin_regex = "a)|(b""#,
                vec!["19:24 E006 `a)|(b`: not a regular expression".to_owned()],
            ),
            (
                "allowed_methods = [\"GET\", \"A B\"]\nallowed_headers = [\"\"]\nexposed_headers = [\"é\"]",
                vec![
                    "19:27 E006 `A B`: not a method".to_owned(),
                    "20:20 E006 ``: not a header name".to_owned(),
                    "21:20 E006 `é`: not a header name".to_owned(),
                ],
            ),
            (
                "max_age = \"8d\"",
                vec!["19:11 E008 `max_age` is out of range: 8d is not from 0s to 7d".to_owned()],
            ),
            ("allow_credentials = true", vec![clash("19:21")]),
            (
                "allowed_origins = [\"https://a.com\", \"*\"]\nallow_credentials = true",
                vec![clash("20:21")],
            ),
            (
                "allowed_origins = [\"https://a.com\"]\nallowed_headers = [\"*\"]\nallow_credentials = true",
                vec![clash("21:21")],
            ),
            (
                "allowed_origin_regex = \"https://a\"\nallow_credentials = true",
                vec![],
            ),
            (
                "allowed_origin_regex = \"https?://.*\"\nallow_credentials = true",
                vec![
                    "19:24 E013 the pattern matches the origin of anybody's page, which could then read what is answered to the user's credentials: name the hosts in it"
                        .to_owned(),
                ],
            ),
            ("allowed_origin_regex = \".*\"", vec![]),
        ] {
            let told = told_of(&format!(
                "middlewares \"x\" {{\ntype = \"cors\"\n{keys}\n}}"
            ));
            assert_eq!(told, expected, "{keys}");
        }
    }
}
