//! The access log: one line for each exchange, when it is over.

mod captured;
mod json;
mod line;
mod output;
mod sink;
mod text;
mod time;

pub use captured::Captured;
pub use output::Target;
pub use sink::{LogCounts, Sink};

use super::Ended;
use crate::stack::LogField;
use crate::stack::redaction::Redaction;
use http::HeaderName;
use line::{Column, Line};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An object of JSON.
    Json,
    /// Apache's combined log format.
    Clf,
}

/// What is written of which exchanges.
#[derive(Debug)]
pub struct Settings {
    /// How.
    pub format: Format,
    /// The share of lines that are written, but for those of answers of 500 and more, which always are.
    pub sample: f64,
    /// Exchanges that take as long are written, where this or `status` is set.
    pub min_duration: Option<Duration>,
    /// Exchanges that end with these are written, where this or `min_duration` is set.
    pub status: Box<[RangeInclusive<u16>]>,
    /// Fields that are not written, as a set of their [bits](LogField::bit).
    pub dropped: u32,
    /// Fields whose values are not told, likewise.
    pub masked: u32,
    /// Fields of the request's header that are written as well.
    pub headers: Box<[HeaderName]>,
    /// What is not told of queries and headers.
    pub redaction: Redaction,
}

/// Writes lines.
#[derive(Debug)]
pub struct AccessLog {
    settings: Settings,
    columns: Box<[Column]>,
    sink: Arc<Sink>,
}

impl AccessLog {
    /// Writes to `sink`.
    pub fn new(settings: Settings, sink: Arc<Sink>) -> Self {
        Self {
            columns: Column::of(&settings),
            settings,
            sink,
        }
    }

    /// Where lines go.
    pub fn sink(&self) -> &Arc<Sink> {
        &self.sink
    }

    /// Writes the line of an exchange, if it is to have one.
    pub fn write(&self, captured: &Captured, ended: &Ended<'_>) {
        if !self.settings.wants(ended) {
            return;
        }
        self.sink.append(|buffer| {
            let line = Line {
                settings: &self.settings,
                captured,
                ended,
            };
            match self.settings.format {
                Format::Json => line.write_json(&self.columns, buffer),
                Format::Clf => line.write_clf(buffer),
            }
        });
    }
}

impl Settings {
    fn wants(&self, ended: &Ended<'_>) -> bool {
        let code = ended.code();
        let is_chosen = self.status.iter().any(|range| range.contains(&code))
            || self.min_duration.is_some_and(|min| ended.took >= min)
            || (self.status.is_empty() && self.min_duration.is_none());
        is_chosen && (code >= 500 || self.sample >= 1.0 || fastrand::f64() < self.sample)
    }

    fn has(&self, field: LogField) -> bool {
        self.dropped & field.bit() == 0
    }

    fn hides(&self, field: LogField) -> bool {
        self.masked & field.bit() != 0
    }
}
