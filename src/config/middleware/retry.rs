//! `type = "retry"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::{STAND_IN, ValueError, duration, size};
use schemars::JsonSchema;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Sends a request again where its answer says that another try may do better, within a budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// The most retries of one request, beside the first try; 0 for none.
    #[schemars(range(min = 0, max = 20))]
    pub max_retries: u32,
    /// The base of the pause before a retry, in milliseconds: a random time up to it, up to twice as long before the
    /// second retry, and so on.
    #[schemars(range(min = 0, max = 10_000))]
    pub retry_interval_ms: u64,
    /// What is tried again: failures by name, and answers of a server by status.
    pub on: Vec<RetryOn>,
    /// How long each try may take to come to the head of its answer; without it, as long as the service lets it.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub per_try_timeout: Option<Duration>,
    /// The most bytes of a request's body that are kept for another try.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_replay_bytes: usize,
    /// The most retries there may be, for a hundred requests.
    #[schemars(range(min = 0, max = 100))]
    pub budget_percent: u32,
    /// The retries a second that are free beside that, on the average.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub budget_min_per_second: u32,
    /// Whether requests of every method are sent again, and not only those that may be sent twice.
    pub non_idempotent: bool,
}

impl Default for RetryConfig {
    fn default() -> RetryConfig {
        use RetryOn::{Connect, Reset, Status, Timeout};
        RetryConfig {
            max_retries: 3,
            retry_interval_ms: 100,
            on: vec![
                Connect,
                Reset,
                Timeout,
                Status(502),
                Status(503),
                Status(504),
            ],
            per_try_timeout: None,
            max_replay_bytes: 64 << 10,
            budget_percent: 20,
            budget_min_per_second: 10,
            non_idempotent: false,
        }
    }
}

impl Settings for RetryConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        place.number("max_retries", self.max_retries.into(), 0, 20);
        place.number("retry_interval_ms", self.retry_interval_ms, 0, 10_000);
        if self.on.is_empty() {
            place.invalid("on", "nothing would be tried again");
        }
        for (index, on) in self.on.iter().enumerate() {
            if let RetryOn::Status(status) = on {
                let keys = ["on".into(), index.into()];
                place.number_at(&keys, (*status).into(), 400, 599);
            }
        }
        if let Some(timeout) = self.per_try_timeout {
            let (least, most) = (Duration::from_millis(1), Duration::from_secs(3_600));
            place.duration("per_try_timeout", timeout, least, most);
        }
        place.size("max_replay_bytes", self.max_replay_bytes, 0, 64 << 20);
        place.number("budget_percent", self.budget_percent.into(), 0, 100);
        let per_second = self.budget_min_per_second.into();
        place.number("budget_min_per_second", per_second, 0, 1_000_000);
    }
}

/// What is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection came to be, or not in time.
    Connect,
    /// The connection ended before there was an answer, or what came was not HTTP.
    Reset,
    /// There was no answer in time.
    Timeout,
    /// A server's own answer with this status.
    Status(u16),
}

impl RetryOn {
    const NAMES: [(&str, RetryOn); 3] = [
        ("connect", RetryOn::Connect),
        ("reset", RetryOn::Reset),
        ("timeout", RetryOn::Timeout),
    ];

    fn parse(text: &str) -> Result<RetryOn, ValueError> {
        let known = RetryOn::NAMES.iter().find(|(name, _)| *name == text);
        match known {
            Some((_, on)) => Ok(*on),
            None if text == STAND_IN => Ok(RetryOn::Connect),
            None => Err(ValueError::new(format!("`{text}` is nothing to try again"))
                .help("there are \"connect\", \"reset\", \"timeout\" and statuses like 503")),
        }
    }
}

impl Serialize for RetryOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match RetryOn::NAMES.iter().find(|(_, on)| on == self) {
            Some((name, _)) => serializer.serialize_str(name),
            None => match self {
                RetryOn::Status(status) => serializer.serialize_u16(*status),
                _ => unreachable!("each of the others has a name"),
            },
        }
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RetryOn, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = RetryOn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name such as \"connect\", or a status")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RetryOn, E> {
                RetryOn::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, status: u64) -> Result<RetryOn, E> {
                Ok(RetryOn::Status(u16::try_from(status).unwrap_or(u16::MAX)))
            }
        }

        deserializer.deserialize_any(Read)
    }
}
