//! All metrics, as they are scraped.

mod accept;
mod entrypoints;
mod middlewares;
mod process;
mod servers;
mod services;
mod tls;
mod traefik;

pub(super) use accept::form_of;

use super::Live;
use crate::config::Compat;
use crate::telemetry::metrics::text::{Exposition, Form, Type};

impl Live {
    /// All metrics.
    pub fn metrics_text(&self, form: Form) -> String {
        let mut out = Exposition::new(form);
        let snapshot = self.snapshot();
        self.metrics().write(&mut out);
        entrypoints::write(&snapshot, &mut out);
        tls::write(&snapshot, &mut out);
        middlewares::write(&snapshot, &mut out);
        servers::write(&snapshot, &mut out);
        services::write(&snapshot, &mut out);
        self.spans(&mut out);
        self.reloads(&mut out);
        self.access_log(&mut out);
        if snapshot.config.metrics.compat == Some(Compat::Traefik) {
            traefik::write(self, &snapshot, &mut out);
        }
        out.family("gateway_build_info", "The version that runs", Type::Gauge)
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        process::write(&mut out);
        out.finish()
    }

    fn access_log(&self, out: &mut Exposition) {
        let counts = self.metrics().access_log();
        let is = "Lines of the access log that were not written";
        let mut family = out.family("gateway_access_log_dropped", is, Type::Counter);
        family.sample(&[], counts.dropped());
        let is = "How often the access log could not be written";
        let mut family = out.family("gateway_access_log_write_errors", is, Type::Counter);
        family.sample(&[], counts.write_errors());
    }

    fn spans(&self, out: &mut Exposition) {
        let spans = self.metrics().spans();
        for (name, help, count) in [
            (
                "gateway_trace_spans_exported",
                "Spans that the collector of traces has taken",
                spans.exported(),
            ),
            (
                "gateway_trace_spans_dropped",
                "Spans that were lost on the way to the collector of traces",
                spans.dropped(),
            ),
        ] {
            out.family(name, help, Type::Counter).sample(&[], count);
        }
    }

    fn reloads(&self, out: &mut Exposition) {
        let (successes, failures) = self.metrics().reloads();
        let mut family = out.family("gateway_config_reloads", "Reloads by result", Type::Counter);
        family.sample(&[("result", "success")], successes);
        family.sample(&[("result", "failure")], failures);
        let last = self.last_reload();
        let is_success = last.as_ref().is_none_or(|last| last.success);
        let since = self.running_since();
        for (name, is, value) in [
            (
                "gateway_config_last_reload_success",
                "Whether the last reload took effect",
                u64::from(is_success),
            ),
            (
                "gateway_config_last_reload_timestamp_seconds",
                "When a configuration was last tried, in seconds since 1970",
                last.map_or(since, |last| last.at),
            ),
            (
                "gateway_config_running_since_timestamp_seconds",
                "When the running configuration took effect, in seconds since 1970",
                since,
            ),
        ] {
            out.family(name, is, Type::Gauge).sample(&[], value);
        }
    }
}
