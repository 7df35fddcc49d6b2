//! `type = "rate-limit"`, and what `rate-limit-redis` has in common with it.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::{duration, key_source};
use a3s_layers::key::KeySource;
use a3s_layers::rate_limit::local::DEFAULT_MAX_KEYS;
use a3s_layers::rate_limit::{Limit, LimitError, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tower::BoxError;

/// Lets so many requests through in so much time, counted in this gateway; refuses with 429.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimitConfig {
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
    /// What they are counted by: `client-ip`, `header:X`, `claim:X`, `path` or `global`.
    #[serde(default = "client_ip", with = "key_source")]
    #[schemars(with = "schema::CountKey")]
    pub key: KeySource,
    /// Whether answers tell clients of the limit (`RateLimit`, `RateLimit-Policy`).
    #[serde(default = "yes")]
    pub headers: bool,
    /// The name of the limit in those fields.
    #[serde(default = "default_policy")]
    pub policy: String,
    /// How many keys are remembered.
    #[serde(default = "max_keys")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_keys: usize,
    /// Whether the limit only counts, tells and marks, and refuses nobody.
    #[serde(default)]
    pub shadow: bool,
}

pub(super) fn second() -> Duration {
    Duration::from_secs(1)
}

pub(super) fn client_ip() -> KeySource {
    KeySource::ClientIp
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn default_policy() -> String {
    "default".to_owned()
}

fn max_keys() -> usize {
    DEFAULT_MAX_KEYS
}

impl RateLimitConfig {
    fn written(&self) -> Written<'_> {
        Written {
            rate: self.rate,
            period: self.period,
            burst: self.burst,
            policy: &self.policy,
        }
    }

    /// What is enforced and told.
    pub(crate) fn policy(&self) -> Result<Policy, BoxError> {
        let policy = self.written().policy()?;
        Ok(policy.headers(self.headers).shadow(self.shadow))
    }
}

impl Settings for RateLimitConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        self.written().check(place);
        place.key_source("key", &self.key);
        place.number("max_keys", self.max_keys as u64, 1, 10_000_000);
    }
}

/// What is written of a limit, wherever it is counted.
pub(super) struct Written<'c> {
    pub(super) rate: f64,
    pub(super) period: Duration,
    pub(super) burst: Option<u32>,
    pub(super) policy: &'c str,
}

impl Written<'_> {
    fn limit(&self) -> Result<Limit, LimitError> {
        let limit = Limit::new(self.rate, self.period)?;
        self.burst
            .map_or(Ok(limit), |burst| limit.with_burst(burst))
    }

    pub(super) fn policy(&self) -> Result<Policy, BoxError> {
        Ok(Policy::new(self.limit()?).named(self.policy)?)
    }

    pub(super) fn check(&self, place: &mut Place<'_, '_>) {
        const SHORTEST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
        if !(SHORTEST..=LONGEST).contains(&self.period) {
            place.duration("period", self.period, SHORTEST, LONGEST);
            return;
        }
        match (self.limit(), self.burst) {
            (Ok(limit), _) => {
                if let Err(error) = Policy::new(limit).named(self.policy) {
                    place.invalid("policy", error.to_string());
                }
            }
            (Err(error @ (LimitError::NoBurst | LimitError::TooSlow)), Some(_)) => {
                place.invalid("burst", error.to_string());
            }
            (Err(error), _) => place.invalid("rate", error.to_string()),
        }
    }
}
