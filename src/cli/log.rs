//! The log of the command: as its command line says, and where that says nothing, as the configuration does.

use super::LogFormat;
use a3s_gateway::config::{self, GatewayConfig, LogConfig, LogLevel};
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch::Receiver;
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::{self, DefaultFields, Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The log, which goes on in another way at each reload that says so.
#[derive(Debug)]
pub(super) struct Log {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
    filter: reload::Handle<EnvFilter, Registry>,
    is_json: Arc<AtomicBool>,
    last: Option<WorkerGuard>,
}

/// So many lines wait for whoever reads standard error, and no others: whatever is logged, nobody waits.
const WAITING: usize = 16_384;

impl Log {
    /// Begins it, with what the command line says.
    pub(super) fn start(level: Option<LogLevel>, format: Option<LogFormat>) -> Self {
        let first = level.clone().unwrap_or_default().filter();
        let (layer, filter) = reload::Layer::new(first);
        let is_json = Arc::new(AtomicBool::new(format == Some(LogFormat::Json)));
        let (writer, last) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING)
            .thread_name("log")
            .finish(std::io::stderr());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(std::io::stderr().is_terminal())
            // They would be told on standard error, which is what failed: with a panic.
            .log_internal_errors(false)
            .event_format(Lines::new(Arc::clone(&is_json)));
        tracing_subscriber::registry()
            .with(layer)
            .with(lines)
            .init();
        Self {
            level,
            format,
            filter,
            is_json,
            last: Some(last),
        }
    }

    /// What has the last lines written when it is dropped, for a second at most.
    pub(super) fn last(&mut self) -> Option<WorkerGuard> {
        self.last.take()
    }

    /// Goes on as `config` says, but for what the command line has said.
    pub(super) fn heed(&self, config: &LogConfig) {
        if self.level.is_none() {
            // It fails only where the log is gone, which lives as long as the process.
            let _ = self.filter.reload(config.level.filter());
        }
        if self.format.is_none() {
            let is_json = config.format == config::LogFormat::Json;
            self.is_json.store(is_json, Ordering::Relaxed);
        }
    }

    /// Heeds each configuration that takes effect, until the gateway is gone.
    pub(super) async fn follow(self, mut configs: Receiver<Arc<GatewayConfig>>) {
        while configs.changed().await.is_ok() {
            let config = Arc::clone(&configs.borrow_and_update());
            self.heed(&config.log);
        }
    }
}

/// Writes lines in one form or the other. Both write what an event has; spans, whose fields would be kept in the form
/// of the moment in which they began, are not told as JSON, and the gateway has none.
struct Lines {
    is_json: Arc<AtomicBool>,
    text: Format<Full>,
    json: Format<Json>,
}

impl Lines {
    fn new(is_json: Arc<AtomicBool>) -> Self {
        let plain = || format::format().with_target(false);
        let json = plain().json().flatten_event(true);
        Self {
            is_json,
            text: plain(),
            json: json.with_current_span(false).with_span_list(false),
        }
    }
}

impl<S> FormatEvent<S, DefaultFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.is_json.load(Ordering::Relaxed) {
            true => self.json.format_event(context, writer, event),
            false => self.text.format_event(context, writer, event),
        }
    }
}
