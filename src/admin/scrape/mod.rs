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
        self.reloads(&mut out);
        self.access_log(&mut out);
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
