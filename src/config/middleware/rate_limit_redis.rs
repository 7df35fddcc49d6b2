//! `type = "rate-limit-redis"`.

use super::Settings;
use super::rate_limit::{Written, client_ip, default_policy, second, yes};
use crate::config::Secret;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::{duration, key_source};
use a3s_layers::key::KeySource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Lets so many requests through in so much time, counted in a Redis that gateways share; refuses with 429.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimitRedisConfig {
    /// How many requests may come in each period; a fraction is fine.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rate: f64,
    /// The period.
    #[serde(default = "second", with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub period: Duration,
    /// How many requests may come at once; without it as many as the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = u32::MAX))]
    pub burst: Option<u32>,
    /// The Redis: `redis://[user][:password@]host[:port][/database]`, `rediss://` with TLS, or
    /// `redis+unix:///path`. It is not shown.
    pub redis_url: Secret,
    /// What requests are counted by: `client-ip`, `header:X`, `claim:X`, `path` or `global`.
    #[serde(default = "client_ip", with = "key_source")]
    #[schemars(with = "schema::CountKey")]
    pub key: KeySource,
    /// Whether answers tell clients of the limit (`RateLimit`, `RateLimit-Policy`).
    #[serde(default = "yes")]
    pub headers: bool,
    /// The name of the limit in those fields.
    #[serde(default = "default_policy")]
    pub policy: String,
    /// Whether the limit only counts, tells and marks, and refuses nobody.
    #[serde(default)]
    pub shadow: bool,
    /// What becomes of requests that cannot be counted.
    #[serde(default)]
    pub on_error: OnError,
    /// What keys in Redis begin with; without it, the middleware's name. Limits with the same prefix are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How long a request waits for Redis.
    #[serde(default = "tenth", with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub timeout: Duration,
    /// The authorities that the certificate of a `rediss://` server is judged by, instead of the system's (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The certificate to show to it (PEM); with `key_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// What becomes of requests that cannot be counted, as Redis does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// They pass.
    #[default]
    Allow,
    /// They are refused with 503.
    Deny,
}

fn tenth() -> Duration {
    Duration::from_millis(100)
}

impl RateLimitRedisConfig {
    fn written(&self) -> Written<'_> {
        Written {
            rate: self.rate,
            period: self.period,
            burst: self.burst,
            policy: &self.policy,
        }
    }

    /// What is enforced and told.
    #[cfg(feature = "redis")]
    pub(crate) fn policy(&self) -> Result<a3s_layers::rate_limit::Policy, tower::BoxError> {
        let policy = self.written().policy()?;
        Ok(policy.headers(self.headers).shadow(self.shadow))
    }

    fn check_server(&self, place: &mut Place<'_, '_>) {
        for (key, file) in [
            ("ca_file", &self.ca_file),
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
        ] {
            if let Some(file) = file {
                place.file(key, file);
                if !self.redis_url.expose().starts_with("rediss:") {
                    place.choice(key, format!("`{key}` is for a `rediss://` server"));
                }
            }
        }
        if self.cert_file.is_some() != self.key_file.is_some() && place.is_whole() {
            let (there, absent) = match self.cert_file {
                Some(_) => ("cert_file", "key_file"),
                None => ("key_file", "cert_file"),
            };
            place.choice(there, format!("`{there}` needs `{absent}`"));
        }
    }
}

impl Settings for RateLimitRedisConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        #[cfg(feature = "redis")]
        if let Err(error) =
            a3s_layers::rate_limit::distributed::RedisServer::new(self.redis_url.expose())
        {
            place.invalid("redis_url", error.to_string());
        }
        #[cfg(not(feature = "redis"))]
        place.invalid("type", "this gateway was built without the feature `redis`");
        self.written().check(place);
        self.check_server(place);
        place.key_source("key", &self.key);
        let (millisecond, ten) = (Duration::from_millis(1), Duration::from_secs(10));
        place.duration("timeout", self.timeout, millisecond, ten);
        if self
            .prefix
            .as_ref()
            .is_some_and(|prefix| prefix.len() > 100)
        {
            place.invalid("prefix", "the prefix is longer than 100 bytes");
        }
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        let files = [&mut self.ca_file, &mut self.cert_file, &mut self.key_file];
        files.into_iter().flatten().collect()
    }
}
