//! `log { }`: what the gateway tells of itself, and how.

use super::values::{STAND_IN, ValueError, parsed};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use tracing_subscriber::EnvFilter;

/// What the gateway tells of itself. The command heeds it where its command line says nothing else; a program with a
/// gateway in it has a log of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What is told.
    pub level: LogLevel,
    /// How lines are written.
    pub format: LogFormat,
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// A level, or a filter such as `info,a3s_gateway=debug`; equal to another of the same text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(Box<str>);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogLevel {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What lets through what it names.
    pub fn filter(&self) -> EnvFilter {
        EnvFilter::builder().parse_lossy(directives(&self.0))
    }
}

impl Default for LogLevel {
    fn default() -> LogLevel {
        LogLevel("info".into())
    }
}

fn directives(text: &str) -> String {
    // It warns of what clients do wrong, so that they could fill our log, and tells each frame at `debug`.
    let is_plain = !["trace", "h2"].iter().any(|loud| text.contains(loud));
    let quiet = if is_plain { ",h2=error" } else { "" };
    format!("{text}{quiet}")
}

/// A filter takes a word that it does not know for the name of a module, and is silent about all others: a
/// slip in a level must not turn the log off.
impl FromStr for LogLevel {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<LogLevel, ValueError> {
        if text == STAND_IN {
            return Ok(LogLevel::default());
        }
        let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
        let mut words = text.split(',').map(str::trim);
        if let Some(word) = words.find(|word| !is_level(word) && !word.contains(['=', '['])) {
            let message = format!("`{word}` is not one of {}", LEVELS.join(", "));
            return Err(ValueError::new(message));
        }
        match EnvFilter::try_new(directives(text)) {
            Ok(_) => Ok(LogLevel(text.into())),
            Err(error) => Err(ValueError::new(format!("`{text}`: {error}"))),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for LogLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LogLevel, D::Error> {
        parsed(deserializer, "a level such as \"info\"", str::parse)
    }
}
