//! A collector of traces, made of the protocol's own types: OTLP by gRPC and by HTTP, on one port.

use super::eventually;
use super::server::{Recorded, Server};
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

/// A collector; it ends when dropped.
#[derive(Debug)]
pub struct Collector {
    server: Server,
    state: Arc<State>,
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// It takes what comes.
    All,
    /// All but so many of each request.
    AllBut(i64),
    /// Nothing, with this status of HTTP.
    Refuses(u16),
    /// Nothing, with this status of gRPC.
    RefusesGrpc(i32),
    /// It does not answer.
    Hangs,
}

#[derive(Debug)]
struct State {
    takes: Mutex<Takes>,
    spans: Mutex<Vec<TestSpan>>,
    asked: Mutex<Vec<HeaderMap>>,
}

/// A span as it came.
#[derive(Debug, Clone)]
pub struct TestSpan {
    pub service: String,
    pub name: String,
    pub kind: i32,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    pub flags: u32,
    pub from: u64,
    pub to: u64,
    pub is_error: bool,
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// On a port of the system's choice.
    pub async fn start() -> Self {
        Self::on(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// For those who connect to `listener`.
    pub fn on(listener: tokio::net::TcpListener) -> Self {
        let state = State::new();
        let handling = Arc::clone(&state);
        let server = Server::http_on(listener, move |request| {
            handle(Arc::clone(&handling), request)
        });
        Self { server, state }
    }

    /// The same over TLS.
    pub async fn https(tls: rustls::ServerConfig) -> Self {
        let state = State::new();
        let handling = Arc::clone(&state);
        let server = Server::https(tls, move |request| handle(Arc::clone(&handling), request));
        let server = server.await;
        Self { server, state }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.server.to_string()
    }

    /// From now on it answers so.
    pub fn set(&self, takes: Takes) {
        *self.state.takes.lock().unwrap() = takes;
    }

    /// The spans that it has taken.
    pub fn spans(&self) -> Vec<TestSpan> {
        self.state.spans.lock().unwrap().clone()
    }

    /// The headers of the requests to it.
    pub fn asked(&self) -> Vec<HeaderMap> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Waits until it has taken so many.
    pub async fn has(&self, count: usize) -> Vec<TestSpan> {
        eventually("spans come", || self.spans().len() >= count).await;
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{}", outline(&spans));
        spans
    }

    /// Waits until it was asked so often.
    pub async fn was_asked(&self, count: usize) {
        eventually("the collector is asked", || self.asked().len() >= count).await;
    }
}

impl State {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            takes: Mutex::new(Takes::All),
            spans: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    fn takes(&self) -> Takes {
        *self.takes.lock().unwrap()
    }

    fn take(&self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse {
        let mut spans = self.spans.lock().unwrap();
        for of_resource in request.resource_spans {
            let resource = attributes(&of_resource.resource.unwrap_or_default().attributes);
            for of_scope in of_resource.scope_spans {
                assert_eq!(of_scope.scope.unwrap_or_default().name, "a3s-gateway");
                let of = |span| TestSpan::of(&resource["service.name"], span);
                spans.extend(of_scope.spans.into_iter().map(of));
            }
        }
        let rejected_spans = match self.takes() {
            Takes::AllBut(rejected) => rejected,
            _ => 0,
        };
        let partial_success = ExportTracePartialSuccess {
            rejected_spans,
            error_message: String::new(),
        };
        ExportTraceServiceResponse {
            partial_success: (rejected_spans > 0).then_some(partial_success),
        }
    }
}

async fn handle(state: Arc<State>, request: Request<Recorded>) -> Response<Body> {
    state.asked.lock().unwrap().push(request.headers().clone());
    match state.takes() {
        Takes::Hangs => std::future::pending().await,
        Takes::Refuses(status) => {
            let _ = request.into_body().collect().await;
            let response = Response::builder().status(status);
            return response.body(Body::from("no")).unwrap();
        }
        Takes::All | Takes::AllBut(_) | Takes::RefusesGrpc(_) => {}
    }
    if request.uri().path() == "/v1/traces" {
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let answer = state.take(ExportTraceServiceRequest::decode(body).unwrap());
        return Response::new(Body::from(answer.encode_to_vec()));
    }
    // What is not of its service tonic answers with UNIMPLEMENTED.
    let service = TraceServiceServer::new(Grpc(state));
    service.oneshot(request).await.unwrap().map(Body::new)
}

struct Grpc(Arc<State>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        match self.0.takes() {
            Takes::RefusesGrpc(code) => Err(tonic::Status::new(code.into(), "not now")),
            _ => Ok(tonic::Response::new(self.0.take(request.into_inner()))),
        }
    }
}

impl TestSpan {
    fn of(service: &str, span: Span) -> Self {
        Self {
            service: service.to_owned(),
            name: span.name,
            kind: span.kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state,
            flags: span.flags,
            from: span.start_time_unix_nano,
            to: span.end_time_unix_nano,
            is_error: span.status.is_some_and(|status| status.code == 2),
            attributes: attributes(&span.attributes),
        }
    }

    /// The value of an attribute.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    list.iter()
        .map(|each| (each.key.clone(), text(&each.value)))
        .collect()
}

/// The spans as a tree: kind, name, status, and what went wrong.
pub fn outline(spans: &[TestSpan]) -> String {
    let mut out = String::new();
    let is_known = |id: &str| spans.iter().any(|span| span.id == id);
    let mut roots: Vec<_> = spans
        .iter()
        .filter(|span| !is_known(&span.parent))
        .collect();
    roots.sort_by_key(|span| span.from);
    for root in roots {
        below(spans, root, 0, &mut out);
    }
    out
}

fn below(spans: &[TestSpan], span: &TestSpan, depth: usize, out: &mut String) {
    let kind = ["unspecified", "internal", "server", "client"][span.kind as usize];
    *out += &format!("{:depth$}{kind} {}", "", span.name, depth = 2 * depth);
    for key in ["gateway.middleware.act", "http.response.status_code"] {
        if let Some(value) = span.get(key) {
            *out += &format!(" {value}");
        }
    }
    let error = span.get("error.type");
    assert_eq!(error.is_some(), span.is_error, "{span:?}");
    if let Some(error) = error {
        *out += &format!(" !{error}");
    }
    out.push('\n');
    let mut inner: Vec<_> = spans.iter().filter(|each| each.parent == span.id).collect();
    inner.sort_by_key(|span| span.from);
    for each in inner {
        assert!(
            span.from <= each.from && each.to <= span.to,
            "{span:?} {each:?}"
        );
        below(spans, each, depth + 1, out);
    }
}
