//! `access_log { }`: a line for each exchange.

use super::values::{AnyStatuses, duration, header};
use crate::config::schema;
use crate::stack::LogField;
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The access log; without the block there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogConfig {
    /// How lines are written.
    pub format: AccessLogFormat,
    /// The file that they are written to; none is standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The share of lines that are written, above 0 up to 1. Those of answers of 500 and more always are.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub sample: f64,
    /// Exchanges that take as long have a line; where this or `status` is set, the others have none.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub min_duration: Option<Duration>,
    /// Exchanges that end with one of these have a line; where this or `min_duration` is set, the others have none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<AnyStatuses>,
    /// What is written of each.
    pub fields: AccessLogFieldsConfig,
}

/// How lines of the access log are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    /// An object of JSON each.
    #[default]
    Json,
    /// Apache's combined log format.
    Clf,
}

/// What is written of each exchange.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogFieldsConfig {
    /// Fields that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<LogField>,
    /// Fields, parameters of queries and headers whose values are written as `***`, beside those that always are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// Parameters and headers whose values are shown, though they are written as `***` by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reveal: Vec<String>,
    /// Headers of requests that are written as well.
    #[serde(with = "header::list", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::HeaderName>")]
    pub headers: Vec<HeaderName>,
}

impl Default for AccessLogConfig {
    fn default() -> AccessLogConfig {
        AccessLogConfig {
            format: AccessLogFormat::default(),
            file: None,
            sample: 1.0,
            min_duration: None,
            status: Vec::new(),
            fields: AccessLogFieldsConfig::default(),
        }
    }
}
