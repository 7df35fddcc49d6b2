//! `type = "circuit-breaker"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::schema;
use crate::config::values::duration;
use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Stops asking a service that fails, answers 503 meanwhile, and lets a few requests try it after a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CircuitBreakerConfig {
    /// The failures in a row that open it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failure_threshold: u32,
    /// How long it stays open, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub cooldown_secs: u64,
    /// The successes that close it again, and the most requests that try it at a time.
    #[schemars(range(min = 1, max = 1000))]
    pub success_threshold: u32,
    /// The share of failed requests that opens it as well, above 0 up to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub error_ratio: Option<f64>,
    /// The milliseconds past which an answer, up to its head, is a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub latency_ms: Option<u64>,
    /// How far back `error_ratio` looks.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub window: Duration,
    /// The requests in a window without which `error_ratio` says nothing.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u32,
    /// What is answered while it is open, instead of 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackConfig>,
}

impl Default for CircuitBreakerConfig {
    fn default() -> CircuitBreakerConfig {
        CircuitBreakerConfig {
            failure_threshold: 5,
            cooldown_secs: 30,
            success_threshold: 1,
            error_ratio: None,
            latency_ms: None,
            window: Duration::from_secs(10),
            min_requests: 20,
            fallback: None,
        }
    }
}

/// The answer of an open circuit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FallbackConfig {
    /// Its status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// The type of its body.
    pub content_type: String,
    /// Its body.
    pub body: String,
}

impl Default for FallbackConfig {
    fn default() -> FallbackConfig {
        FallbackConfig {
            status: 503,
            content_type: "text/plain; charset=utf-8".to_owned(),
            body: String::new(),
        }
    }
}

impl Settings for CircuitBreakerConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let failures = self.failure_threshold.into();
        place.number("failure_threshold", failures, 1, 1_000_000);
        place.number("cooldown_secs", self.cooldown_secs, 1, 86_400);
        let successes = self.success_threshold.into();
        place.number("success_threshold", successes, 1, 1_000);
        if let Some(ratio) = self.error_ratio
            && !(ratio > 0.0 && ratio <= 1.0)
        {
            let message = format!("`error_ratio` is a share above 0 and up to 1, not {ratio}");
            let problem = Problem::new(Code::OutOfRange, message);
            let problem = match ratio > 1.0 && ratio <= 100.0 {
                true => problem.help(format!("{ratio} % is {}", ratio / 100.0)),
                false => problem,
            };
            place.report(&["error_ratio".into()], problem);
        }
        if let Some(latency) = self.latency_ms {
            place.number("latency_ms", latency, 1, 3_600_000);
        }
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(300));
        place.duration("window", self.window, least, most);
        place.number("min_requests", self.min_requests.into(), 1, 1_000_000);
        if self.error_ratio.is_none() && place.is_whole() {
            let default = CircuitBreakerConfig::default();
            for (key, is_set) in [
                ("window", self.window != default.window),
                ("min_requests", self.min_requests != default.min_requests),
            ] {
                if is_set {
                    place.choice(key, format!("`{key}` needs `error_ratio`"));
                }
            }
        }
        if let Some(fallback) = &self.fallback {
            let at = |key| ["fallback".into(), key];
            place.number_at(&at("status".into()), fallback.status.into(), 200, 599);
            if HeaderValue::from_str(&fallback.content_type).is_err() {
                let problem = Problem::new(Code::InvalidValue, "not a header value");
                place.report(&at("content_type".into()), problem);
            }
        }
    }
}
