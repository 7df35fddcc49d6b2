//! The collector, as it is spoken to: OTLP over gRPC, or as protocol buffers over HTTP.

use crate::stack::{Request, Response, UpstreamService};
use a3s_layers::error::Chain;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, TE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use std::time::Duration;
use tower::ServiceExt;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The largest answer that is read. A collector has not much to say.
const MAX_ANSWER: usize = 64 << 10;

/// The bytes before a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// How a collector is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// By gRPC.
    Grpc,
    /// By HTTP, at this path.
    Http(PathAndQuery),
}

/// Where spans are sent.
#[derive(Debug)]
pub struct Collector {
    client: UpstreamService,
    protocol: Protocol,
    headers: HeaderMap,
    timeout: Duration,
}

/// Why a collector has not taken spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// Whether it may take them if it is asked again.
    pub(super) is_transient: bool,
    /// How long it wants to be left alone before.
    pub(super) after: Option<Duration>,
}

/// Whether what was sent may be sent again, by what the specification of OTLP says of statuses.
fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The same for those of gRPC: CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
/// RESOURCE_EXHAUSTED is one only with a `RetryInfo`, which few send, and is not tried again.
fn is_transient_of_grpc(status: &str) -> bool {
    matches!(status, "1" | "4" | "10" | "11" | "14" | "15")
}

impl Collector {
    /// Asks `client`, which knows where, with these headers; it may take so long.
    pub fn new(
        client: UpstreamService,
        protocol: Protocol,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Self {
        Self {
            client,
            protocol,
            headers,
            timeout,
        }
    }

    /// What is sent of these spans, however often.
    pub(super) fn message(&self, spans: &ExportTraceServiceRequest) -> Bytes {
        let length = spans.encoded_len();
        let mut message = Vec::with_capacity(PREFIX + length);
        if self.protocol == Protocol::Grpc {
            message.push(0);
            message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
        message.extend(spans.encode_to_vec());
        Bytes::from(message)
    }

    /// Sends it, and says how many of the spans the collector has not liked.
    pub(super) async fn send(&self, message: Bytes) -> Result<usize, Refusal> {
        match tokio::time::timeout(self.timeout, self.ask(message)).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal {
                why: "it does not answer in time".to_owned(),
                is_transient: true,
                after: None,
            }),
        }
    }

    async fn ask(&self, message: Bytes) -> Result<usize, Refusal> {
        let broken = |error: tower::BoxError| Refusal {
            why: Chain(&*error).to_string(),
            is_transient: true,
            after: None,
        };
        let request = self.request(message);
        let response = self.client.clone().oneshot(request).await;
        let (head, body) = response.map_err(broken)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(broken)?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let head = Response::from_parts(head, Body::empty());
        let message = match self.protocol {
            Protocol::Grpc => {
                judge_grpc(&head, &trailers)?;
                let bytes = body.to_bytes();
                bytes.get(PREFIX..).map(Bytes::copy_from_slice)
            }
            Protocol::Http(_) => {
                judge(&head)?;
                Some(body.to_bytes())
            }
        };
        // What cannot be read says nothing against it: it was taken.
        let answer = message.and_then(|bytes| ExportTraceServiceResponse::decode(bytes).ok());
        let rejected = answer.and_then(|answer| answer.partial_success);
        let rejected = rejected.map_or(0, |partial| partial.rejected_spans);
        Ok(usize::try_from(rejected).unwrap_or_default())
    }

    fn request(&self, message: Bytes) -> Request {
        let (path, content_type) = match &self.protocol {
            Protocol::Grpc => (PathAndQuery::from_static(EXPORT), "application/grpc"),
            Protocol::Http(path) => (path.clone(), "application/x-protobuf"),
        };
        let mut request = Request::new(Body::from(message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(path);
        let headers = request.headers_mut();
        const AGENT: &str = concat!("a3s-gateway/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(self.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.protocol == Protocol::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        request
    }
}

fn judge(response: &Response) -> Result<(), Refusal> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let after = response.headers().get(RETRY_AFTER);
    let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
    Err(Refusal {
        why: format!("it answers {}", status.as_u16()),
        is_transient: is_transient(status),
        after: after.map(Duration::from_secs),
    })
}

fn judge_grpc(response: &Response, trailers: &HeaderMap) -> Result<(), Refusal> {
    judge(response)?;
    let text = |name| {
        let value = trailers.get(name).or_else(|| response.headers().get(name));
        value.and_then(|value: &HeaderValue| value.to_str().ok())
    };
    match text("grpc-status") {
        Some("0") => Ok(()),
        Some(status) => {
            let message: String = text("grpc-message")
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect();
            Err(Refusal {
                why: format!("it answers with gRPC status {status} {message}")
                    .trim_end()
                    .to_owned(),
                is_transient: is_transient_of_grpc(status),
                after: None,
            })
        }
        None => Err(Refusal {
            why: "it does not speak gRPC".to_owned(),
            is_transient: false,
            after: None,
        }),
    }
}
