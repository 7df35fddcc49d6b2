//! The one place that makes a refusal: an answer of the gateway's own, in the form its reader wants.
//!
//! The body is `{"error": "...", "status": n}`, or plain text for a client that prefers it, or nothing but
//! `grpc-status` for gRPC and gRPC-Web. It never names a server, a path of this machine or a cause.
//!
//! ```
//! use a3s_layers::reject::{Shape, reject};
//! use http::{HeaderMap, StatusCode};
//!
//! let response = reject(StatusCode::NOT_FOUND, "no route matches", Shape::of(&HeaderMap::new()));
//! assert_eq!(response.headers()["content-type"], "application/json");
//! ```

use crate::grpc::Dialect;
use axum::body::Body;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The form of a refusal, chosen by the request that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// A JSON object.
    #[default]
    Json,
    /// Plain text.
    Text,
    /// A gRPC "trailers-only" response: 200 with `grpc-status`.
    Grpc,
    /// The same for gRPC-Web.
    GrpcWeb,
    /// The same for gRPC-Web in text.
    GrpcWebText,
}

impl Shape {
    /// What the sender of a request with these headers wants to read.
    pub fn of(headers: &HeaderMap) -> Self {
        match Dialect::of(headers) {
            Some(Dialect::Native) => return Self::Grpc,
            Some(Dialect::Web) => return Self::GrpcWeb,
            Some(Dialect::WebText) => return Self::GrpcWebText,
            None => {}
        }
        match headers.get(ACCEPT).map(HeaderValue::to_str) {
            Some(Ok(accept)) if accept != "*/*" => prefers(accept),
            _ => Self::Json,
        }
    }

    /// Whether it is one of gRPC, whose error is in `grpc-status` and nowhere else.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb | Self::GrpcWebText)
    }
}

/// Text where it is accepted with a higher quality than JSON, or before it with the same.
fn prefers(accept: &str) -> Shape {
    let (mut json, mut text) = (None::<f32>, None::<f32>);
    let mut text_is_first = false;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|p| p.strip_prefix("q=")?.parse().ok())
            .unwrap_or(1.0);
        match name {
            "application/json" | "application/*" => json = Some(quality),
            "text/plain" | "text/html" | "text/*" => {
                text_is_first |= json.is_none();
                text = Some(text.unwrap_or(0.0).max(quality));
            }
            _ => {}
        }
    }
    match (text, json) {
        (Some(text), Some(json)) if text < json || (text == json && !text_is_first) => Shape::Json,
        (Some(text), _) if text > 0.0 => Shape::Text,
        _ => Shape::Json,
    }
}

/// Marks a response as a refusal: it is an extension of every answer that [`reject`] makes, so that a retry, or
/// whoever counts failures, can tell it from a server's own. It holds what the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub &'static str);

/// Why an answer is as it is, in one word for logs and metrics: an extension of answers that the gateway makes, where
/// neither a [`Failure`](crate::error::Failure) nor the place in the chain says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub &'static str);

/// Answers with `status` and `message` in the form `shape`.
pub fn reject(status: StatusCode, message: &'static str, shape: Shape) -> Response<Body> {
    let mut response = refusal(status, message, shape);
    response.extensions_mut().insert(Refused(message));
    response
}

fn refusal(status: StatusCode, message: &'static str, shape: Shape) -> Response<Body> {
    let (content_type, body) = match shape {
        Shape::Grpc => return reject_grpc(status, message, "application/grpc"),
        Shape::GrpcWeb => return reject_grpc(status, message, "application/grpc-web"),
        Shape::GrpcWebText => return reject_grpc(status, message, "application/grpc-web-text"),
        Shape::Text => (
            "text/plain; charset=utf-8",
            Body::from(format!("{message}\n")),
        ),
        Shape::Json => {
            // Our messages are plain ASCII sentences; Debug's quoting of those is JSON's.
            let body = format!("{{\"error\":{message:?},\"status\":{}}}\n", status.as_u16());
            ("application/json", Body::from(body))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn reject_grpc(
    status: StatusCode,
    message: &'static str,
    content_type: &'static str,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(grpc_status(status)));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    response
}

/// The gRPC code for an HTTP status (gRPC, "HTTP to gRPC Status Code Mapping"), 504 being
/// `DEADLINE_EXCEEDED` as Envoy has it.
fn grpc_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 431 => "13",
        401 => "16",
        403 => "7",
        404 => "12",
        413 => "8",
        408 | 504 => "4",
        429 | 502 | 503 => "14",
        _ => "2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_follows_the_accept_and_content_type_headers() {
        for (name, value, shape) in [
            ("accept", "*/*", Shape::Json),
            ("accept", "application/json", Shape::Json),
            (
                "accept",
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Shape::Text,
            ),
            ("accept", "application/json, text/plain", Shape::Json),
            ("accept", "text/plain, application/json", Shape::Text),
            ("accept", "text/plain;q=0.1, application/json", Shape::Json),
            ("accept", "text/plain;q=0", Shape::Json),
            ("content-type", "application/grpc", Shape::Grpc),
            ("content-type", "application/grpc+proto", Shape::Grpc),
            ("content-type", "application/grpc-web", Shape::GrpcWeb),
            (
                "content-type",
                "application/grpc-web-text+proto",
                Shape::GrpcWebText,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(Shape::of(&headers), shape, "{name}: {value}");
        }
    }

    #[test]
    fn a_grpc_refusal_is_a_200_with_a_grpc_status() {
        for (shape, content_type) in [
            (Shape::Grpc, "application/grpc"),
            (Shape::GrpcWeb, "application/grpc-web"),
            (Shape::GrpcWebText, "application/grpc-web-text"),
        ] {
            let response = reject(StatusCode::GATEWAY_TIMEOUT, "too late", shape);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], "4");
            assert_eq!(response.headers()["content-type"], content_type);
        }
    }
}
