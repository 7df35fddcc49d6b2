//! The spans of one request, made when it is over.

use super::acted::{Act, Acted, acted};
use super::attributes::{Attributes, lossy, name_of, version};
use super::tracer::Traced;
use crate::stack::reason;
use crate::stack::redaction::{Query, Redaction, Target};
use crate::telemetry::RouteSignals;
use a3s_layers::journal::{Course, CourseNotes, Journal, Try};
use a3s_layers::observe::{End, Outcome, Traffic};
use a3s_layers::trace_context::{SpanId, TraceContext};
use http::{Method, StatusCode, Uri};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use std::time::Instant;

/// That the flags say whether the parent is remote, and that it is (`SpanFlags`).
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Entrypoint, router, the middlewares that acted, and each try at a server.
pub(super) fn of(
    traced: &Traced,
    outcome: &Outcome,
    journal: &Journal,
    redaction: &Redaction,
) -> Vec<Span> {
    let notes = journal.course().map(Course::take).unwrap_or_default();
    let end = Instant::now();
    let mut spans = vec![entrypoint(traced, outcome, (journal, redaction), end)];
    let route = journal.route::<RouteSignals>();
    if let Some((route, routed)) = route.zip(notes.routed) {
        spans.push(router(traced, route, (routed, end)));
        spans.extend(middlewares(traced, outcome, route, (routed, end), &notes));
    }
    let tries = notes.tries.iter().enumerate();
    spans.extend(tries.map(|(index, tried)| of_try(traced, (tried, index), redaction, end)));
    spans
}

fn span(
    traced: &Traced,
    context: &TraceContext,
    kind: SpanKind,
    name: String,
    (from, to): (Instant, Instant),
) -> Span {
    let parent = context.parent.map(SpanId::to_bytes);
    let from = traced.clock.nanos(from);
    Span {
        trace_id: context.trace_id.to_bytes().to_vec(),
        span_id: context.span_id.to_bytes().to_vec(),
        trace_state: traced.asked.state.as_ref().map(lossy).unwrap_or_default(),
        parent_span_id: parent.map(Vec::from).unwrap_or_default(),
        flags: 1 | HAS_IS_REMOTE,
        name,
        kind: kind.into(),
        start_time_unix_nano: from,
        end_time_unix_nano: traced.clock.nanos(to).max(from),
        ..Span::default()
    }
}

fn error() -> Option<Status> {
    let code = SpanStatus::Error.into();
    Some(Status {
        code,
        ..Status::default()
    })
}

/// What went wrong with a request as its client sees it; an answer of the 4xx is the client's own doing.
fn failure_of(traced: &Traced, outcome: &Outcome) -> Option<String> {
    match (outcome.status, outcome.end) {
        (Some(status), _) if status.is_server_error() => {
            Some(told(traced.reason.as_deref(), status))
        }
        (_, End::Failed) => {
            let reason = traced.reason.as_deref();
            Some(reason.unwrap_or(reason::RESPONSE_CUT).to_owned())
        }
        // The connection that a tunnel is ends when it ends, and nobody reads the body of an answer to a HEAD.
        (Some(StatusCode::SWITCHING_PROTOCOLS), _) => None,
        (Some(_), End::Dropped) if traced.asked.method == Method::HEAD => None,
        (_, End::Dropped) => Some(reason::CLIENT_CLOSED.to_owned()),
        (_, End::Complete) => None,
    }
}

fn entrypoint(
    traced: &Traced,
    outcome: &Outcome,
    (journal, redaction): (&Journal, &Redaction),
    end: Instant,
) -> Span {
    let asked = &traced.asked;
    let failure = failure_of(traced, outcome);
    let client = asked.client.as_ref();
    let scheme = client.map(|client| match client.peer().is_tls() {
        true => "https",
        false => "http",
    });
    let authority = asked.authority.as_ref();
    let port = authority.and_then(|authority| authority.port_u16());
    let peer = client.map(|client| client.peer().address());
    let received = traced.traffic.as_ref().map_or(0, Traffic::received);
    let query = asked.uri.query().map(|query| {
        let text = query.as_bytes();
        Query { text, redaction }.to_string()
    });
    let attributes = Attributes::default()
        .method(&asked.method)
        .text("url.path", asked.uri.path())
        .maybe_text("url.query", query)
        .maybe_text("url.scheme", scheme)
        .maybe_text(
            "server.address",
            authority.map(|authority| authority.host()),
        )
        .maybe_number("server.port", port)
        .maybe_text(
            "client.address",
            client.map(|client| client.ip().to_string()),
        )
        .maybe_text(
            "network.peer.address",
            peer.map(|peer| peer.ip().to_string()),
        )
        .maybe_number("network.peer.port", peer.map(|peer| peer.port()))
        .text("network.protocol.version", version(asked.version))
        .maybe_text("user_agent.original", asked.user_agent.as_ref().map(lossy))
        .maybe_number(
            "http.response.status_code",
            outcome.status.map(|status| status.as_u16()),
        )
        .number("http.request.body.size", journal.request_bytes() + received)
        .number("http.response.body.size", outcome.response_bytes)
        .maybe_text("error.type", failure.clone())
        .maybe_text("gateway.reason", traced.reason.as_deref())
        .text("gateway.entrypoint", &*traced.entrypoint);
    let name = name_of(&asked.method).to_owned();
    let times = (journal.began(), end);
    let mut span = span(traced, &traced.context, SpanKind::Server, name, times);
    if traced.context.parent.is_some() {
        span.flags |= IS_REMOTE;
    }
    span.attributes = attributes.into_vec();
    span.status = failure.and_then(|_| error());
    span
}

fn router(traced: &Traced, route: &RouteSignals, times: (Instant, Instant)) -> Span {
    let name = format!("router {}", route.router);
    let mut span = span(traced, &traced.inner, SpanKind::Internal, name, times);
    span.attributes = Attributes::default()
        .text("gateway.router", &*route.router)
        .text("gateway.service", &*route.service)
        .into_vec();
    span
}

fn middlewares(
    traced: &Traced,
    outcome: &Outcome,
    route: &RouteSignals,
    (routed, end): (Instant, Instant),
    notes: &CourseNotes,
) -> Vec<Span> {
    let all = acted(route.chain.len(), routed, &notes.steps, traced.head, end);
    let of = |acted: Acted| {
        let middleware = route.chain.get(acted.index)?.as_ref()?;
        let name = format!("middleware {}", middleware.name);
        let times = (acted.from, acted.to);
        let context = traced.inner.child();
        let mut span = span(traced, &context, SpanKind::Internal, name, times);
        let mut attributes = Attributes::default()
            .text("gateway.middleware", &*middleware.name)
            .text("gateway.middleware.type", &*middleware.kind)
            .text("gateway.middleware.act", acted.what.name());
        match acted.what {
            Act::Answered => {
                let status = outcome.status;
                let failure = status.filter(StatusCode::is_server_error);
                let failure = failure.map(|status| told(traced.reason.as_deref(), status));
                attributes = attributes
                    .maybe_number(
                        "http.response.status_code",
                        status.map(|status| status.as_u16()),
                    )
                    .maybe_text("error.type", failure.clone())
                    .maybe_text("gateway.reason", traced.reason.as_deref());
                span.status = failure.and_then(|_| error());
            }
            Act::TriedAgain(times) => attributes = attributes.number("gateway.tries", times as u64),
            Act::Waited => {}
        }
        span.attributes = attributes.into_vec();
        Some(span)
    };
    all.into_iter().filter_map(of).collect()
}

/// The `error.type` of an answer: why the gateway made it, or its status.
fn told(reason: Option<&str>, status: StatusCode) -> String {
    reason.unwrap_or(status.as_str()).to_owned()
}

fn of_try(
    traced: &Traced,
    (tried, index): (&Try, usize),
    redaction: &Redaction,
    end: Instant,
) -> Span {
    let method = &traced.asked.inner_method;
    let id: Option<Uri> = tried.endpoint.id().parse().ok();
    let id = id.as_ref();
    let target = tried.target.as_ref().map_or("/", |target| target.as_str());
    let url = id.and_then(|id| {
        let url = format!("{}://{}{target}", id.scheme_str()?, id.authority()?);
        let text = url.as_bytes();
        Some(Target { text, redaction }.to_string())
    });
    let failure = match (tried.failure, tried.status) {
        (Some(failure), _) => Some(failure.reason().to_owned()),
        (None, Some(status)) if status.as_u16() >= 400 => Some(status.as_str().to_owned()),
        (None, None) if tried.is_given_up || tried.ended.is_none() => Some("given_up".to_owned()),
        (None, _) => None,
    };
    let attributes = Attributes::default()
        .method(method)
        .text(
            "server.address",
            id.and_then(Uri::host).unwrap_or(tried.endpoint.id()),
        )
        .maybe_number("server.port", id.and_then(port))
        .text("gateway.server", tried.endpoint.id())
        .maybe_text("url.full", url)
        .maybe_number(
            "http.response.status_code",
            tried.status.map(|status| status.as_u16()),
        )
        .maybe_number(
            "http.request.resend_count",
            (index > 0).then_some(index as u64),
        )
        .maybe_text("error.type", failure.clone());
    let name = name_of(method).to_owned();
    let times = (tried.asked, tried.ended.unwrap_or(end));
    let mut span = span(traced, &tried.context, SpanKind::Client, name, times);
    span.attributes = attributes.into_vec();
    span.status = failure.and_then(|_| error());
    span
}

fn port(url: &Uri) -> Option<u16> {
    let usual = match url.scheme_str() {
        Some("https") => 443,
        Some("http" | "h2c") => 80,
        _ => return url.port_u16(),
    };
    Some(url.port_u16().unwrap_or(usual))
}
