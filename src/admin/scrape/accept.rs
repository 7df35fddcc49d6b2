//! In which form a scraper wants the metrics.

use crate::telemetry::metrics::text::Form;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

/// The form that `Accept` says (RFC 9110, 12.5.1): OpenMetrics only where it is asked for by name, in version 1.0 or in
/// none, and at least as much wanted as Prometheus' own.
pub(in super::super) fn form_of(headers: &HeaderMap) -> Form {
    let (mut open, mut text) = (0.0, None);
    let lines = headers.get_all(ACCEPT).iter();
    let ranges = lines.filter_map(|line| HeaderValue::to_str(line).ok());
    for range in ranges.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version) = (1.0, None);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => quality = quality_of(value.trim()),
                "version" => version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        match &*name {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0" | "1.0")) => {
                open = f32::max(open, quality);
            }
            // The one that names it says more than one that takes anything.
            "text/plain" => text = Some(text.map_or(quality, |best| f32::max(best, quality))),
            _ => {}
        }
    }
    match open > 0.0 && open >= text.unwrap_or(0.0) {
        true => Form::OpenMetrics,
        false => Form::Prometheus,
    }
}

/// What is no number from 0 to 1 wants nothing.
fn quality_of(text: &str) -> f32 {
    let quality = text.parse().unwrap_or(0.0);
    if (0.0..=1.0).contains(&quality) {
        quality
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, form) in [
            ("", Form::Prometheus),
            ("*/*", Form::Prometheus),
            ("text/html, */*;q=0.1", Form::Prometheus),
            (prometheus, Form::OpenMetrics),
            ("Application/OpenMetrics-Text", Form::OpenMetrics),
            (
                "application/openmetrics-text; version=\"1.0.0\"",
                Form::OpenMetrics,
            ),
            (
                "application/openmetrics-text; version=0.0.1",
                Form::Prometheus,
            ),
            (
                "application/openmetrics-text; version=2.0.0, */*",
                Form::Prometheus,
            ),
            ("application/openmetrics-text;q=0", Form::Prometheus),
            ("application/openmetrics-text;q=nan", Form::Prometheus),
            ("application/openmetrics-text;q=7", Form::Prometheus),
            (
                "application/openmetrics-text;q=0.3, text/plain;q=0.9",
                Form::Prometheus,
            ),
            (
                "text/plain;q=0.5, application/openmetrics-text;q=0.5",
                Form::OpenMetrics,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, accept.parse().unwrap());
            assert_eq!(form_of(&headers), form, "{accept}");
        }
    }
}
