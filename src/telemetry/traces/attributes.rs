//! Attributes, by the names of the semantic conventions.

use http::{HeaderValue, Method, Version};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

/// The longest text of somebody else's that is told.
const MAX_TEXT: usize = 1_024;

/// Attributes of one span.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(mut self, key: &'static str, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT).rfind(|at| text.is_char_boundary(*at));
            // Not the same text cut off: that would keep the room of the whole.
            text = text[..end.unwrap_or_default()].to_owned();
        }
        self.push(key, Value::StringValue(text));
        self
    }

    pub(super) fn number(mut self, key: &'static str, number: impl TryInto<i64>) -> Self {
        let number = number.try_into().unwrap_or(i64::MAX);
        self.push(key, Value::IntValue(number));
        self
    }

    pub(super) fn maybe_text(self, key: &'static str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    pub(super) fn maybe_number(self, key: &'static str, number: Option<impl TryInto<i64>>) -> Self {
        match number {
            Some(number) => self.number(key, number),
            None => self,
        }
    }

    /// The method; one that few know is told apart, for whoever counts by it.
    pub(super) fn method(self, method: &Method) -> Self {
        let key = "http.request.method";
        match is_known(method) {
            true => self.text(key, method.as_str()),
            false => self
                .text(key, "_OTHER")
                .text("http.request.method_original", method.as_str()),
        }
    }

    fn push(&mut self, key: &'static str, value: Value) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }

    pub(super) fn into_vec(self) -> Vec<KeyValue> {
        self.0
    }
}

/// What a span of HTTP is called that has no better name: few names, whatever clients send.
pub(super) fn name_of(method: &Method) -> &str {
    match is_known(method) {
        true => method.as_str(),
        false => "HTTP",
    }
}

fn is_known(method: &Method) -> bool {
    const KNOWN: [&str; 10] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
    ];
    KNOWN.contains(&method.as_str())
}

/// As `network.protocol.version` has it.
pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

pub(super) fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
