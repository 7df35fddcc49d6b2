//! `access_log { }`.

use super::redaction;
use super::{CompileError, Kept};
use crate::config::{AccessLogConfig, AccessLogFormat, GatewayConfig};
use crate::stack::LogField;
use crate::telemetry::access_log::{AccessLog, Format, Settings, Sink, Target};
use std::sync::Arc;

/// What writes lines, with the file of the running configuration where that is the same.
pub(super) fn access_log(
    config: &GatewayConfig,
    kept: &Kept,
) -> Result<Option<AccessLog>, CompileError> {
    let Some(log) = &config.access_log else {
        return Ok(None);
    };
    let target = match &log.file {
        Some(file) => Target::File(file.clone()),
        None => Target::Stdout,
    };
    let running = kept.signals.load();
    let running = running.access_log.as_ref().map(AccessLog::sink);
    let sink = match running.filter(|sink| *sink.target() == target) {
        Some(sink) => Arc::clone(sink),
        None => {
            target.check().map_err(|source| CompileError::AccessLog {
                file: log.file.clone().unwrap_or_default(),
                source,
            })?;
            Arc::new(Sink::new(target, Arc::clone(kept.metrics.access_log())))
        }
    };
    Ok(Some(AccessLog::new(settings(config, log), sink)))
}

fn settings(config: &GatewayConfig, log: &AccessLogConfig) -> Settings {
    let fields = &log.fields;
    let is_in = |names: &[String], name: &str| {
        let mut names = names.iter();
        names.any(|listed| listed.eq_ignore_ascii_case(name))
    };
    let set = |is_in: &dyn Fn(LogField) -> bool| {
        let listed = LogField::ALL.into_iter().filter(|field| is_in(*field));
        listed.fold(0, |set, field| set | field.bit())
    };
    let mut listed = fields.headers.clone();
    listed.dedup();
    Settings {
        format: match log.format {
            AccessLogFormat::Json => Format::Json,
            AccessLogFormat::Clf => Format::Clf,
        },
        sample: log.sample,
        min_duration: log.min_duration,
        status: log.status.iter().map(|range| range.range()).collect(),
        dropped: set(&|field| fields.drop.contains(&field)),
        masked: set(&|field| is_in(&fields.redact, field.as_str())),
        redaction: redaction::of_requests(config),
        headers: listed.into(),
    }
}
