//! All metrics, as they are scraped.

mod accept;
mod entrypoints;
mod servers;
mod services;

pub(super) use accept::form_of;

use super::Live;
use crate::telemetry::metrics::text::{Exposition, Form, Type};

impl Live {
    /// All metrics.
    pub fn metrics_text(&self, form: Form) -> String {
        let mut out = Exposition::new(form);
        let snapshot = self.snapshot();
        self.metrics().write(&mut out);
        entrypoints::write(&snapshot, &mut out);
        servers::write(&snapshot, &mut out);
        services::write(&snapshot, &mut out);
        self.spans(&mut out);
        self.reloads(&mut out);
        out.finish()
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
        out.family(
            "gateway_config_last_reload_success",
            "Whether the last reload took effect",
            Type::Gauge,
        )
        .sample(&[], u8::from(is_success));
    }
}
