//! `tracing { }`.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{OtlpProtocol, Scheme, TracingConfig, UpstreamTlsConfig};
use http::{HeaderName, HeaderValue};
use std::time::Duration;

impl Check<'_> {
    pub(super) fn tracing(&mut self) {
        let Some(tracing) = &self.config.tracing else {
            return;
        };
        if cfg!(not(feature = "otlp")) {
            let message = "this gateway was built without the feature `otlp`";
            let place = keys!["tracing", "otlp_endpoint"];
            self.report(&place, Problem::new(Code::InvalidValue, message));
        }
        if !(0.0..=1.0).contains(&tracing.sample) {
            let sample = tracing.sample;
            let message = format!("`sample` is out of range: {sample} is not from 0 to 1");
            let help = "1 is every trace, 0.1 every tenth".to_owned();
            let problem = Problem::new(Code::OutOfRange, message).help(help);
            self.report(&keys!["tracing", "sample"], problem);
        }
        let (millisecond, minute) = (Duration::from_millis(1), Duration::from_secs(60));
        let place = keys!["tracing", "timeout"];
        self.duration(&place, tracing.timeout, millisecond, minute);
        let queue = tracing.queue as u64;
        self.number(&keys!["tracing", "queue"], queue, 100, 1_000_000);
        let name = &tracing.service_name;
        if name.is_empty() || name.chars().any(char::is_control) {
            let message = match name.is_empty() {
                true => "the name of the service is empty",
                false => "the name of the service has a control character in it",
            };
            let place = keys!["tracing", "service_name"];
            self.report(&place, Problem::new(Code::InvalidValue, message));
        }
        self.collector(tracing);
        self.collector_headers(tracing);
    }

    fn collector(&mut self, tracing: &TracingConfig) {
        let url = &tracing.otlp_endpoint;
        let place = keys!["tracing", "otlp_endpoint"];
        if tracing.protocol == OtlpProtocol::Grpc && url.path_and_query() != "/" {
            let message = "gRPC has a path of its own, and the URL has another one";
            let help = "leave the path away, or write `protocol = \"http\"`".to_owned();
            self.report(&place, Problem::new(Code::Choice, message).help(help));
        }
        if tracing.protocol == OtlpProtocol::Http && url.server().scheme() == Scheme::H2c {
            let message = "`h2c` is for `protocol = \"grpc\"`";
            self.report(&place, Problem::new(Code::Choice, message));
        }
        let place = keys!["tracing", "tls"];
        self.tls(&place, &tracing.tls);
        if !url.is_https() && *tracing.tls != UpstreamTlsConfig::default() {
            let message = "`otlp_endpoint` is not an `https` URL";
            self.report(&place, Problem::new(Code::Choice, message));
        }
    }

    fn collector_headers(&mut self, tracing: &TracingConfig) {
        for (index, (name, value)) in tracing.headers.iter().enumerate() {
            let place = [Key::Name("tracing"), Key::Name("headers"), Key::Entry(name)];
            let before = tracing.headers.keys().take(index);
            let is_twice = before
                .into_iter()
                .any(|other| other.eq_ignore_ascii_case(name));
            let message = match name.parse::<HeaderName>() {
                Err(_) => format!("`{name}` is not the name of a header"),
                Ok(name) if is_ours(&name) => format!("`{name}` is set by the gateway itself"),
                Ok(_) if is_twice => format!("the header `{name}` is there twice"),
                Ok(_) if HeaderValue::from_str(value.expose()).is_err() => {
                    format!("the value of `{name}` has characters that a header cannot have")
                }
                Ok(_) => continue,
            };
            self.report(&place, Problem::new(Code::InvalidValue, message));
        }
    }
}

/// What says how a message is framed, and in what.
fn is_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 9] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    OURS.contains(&name.as_str()) || name.as_str().starts_with("grpc-")
}
