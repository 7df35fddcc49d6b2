//! Traces, as a collector of the protocol's own types gets them and as servers see them.

#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::json;
use std::collections::HashSet;
use support::collector::{Collector, Takes, TestSpan, outline};
use support::server::Recorded;
use support::switch::{GRANT, echo, says_and_hears, switched};
use support::tls::Authority;
use support::{Log, Port, Server, Setup, TestGateway, eventually, request, within};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// The gateway's spans go to `collector`, all of them.
fn traced(setup: Setup, collector: &Collector) -> Setup {
    traced_to(setup, &collector.url())
}

fn traced_to(setup: Setup, url: &str) -> Setup {
    setup
        .set("tracing/otlp_endpoint", url)
        .set("tracing/sample", 1)
}

/// A request with these headers, `name: value` in each line.
fn with(headers: &str) -> Request<Body> {
    let mut request = request("GET", "/a?key=secret");
    for line in headers
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (name, value) = line.split_once(": ").unwrap();
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

fn dropped(gateway: &TestGateway) -> f64 {
    gateway.metric("gateway_trace_spans_dropped_total").unwrap()
}

fn exported(gateway: &TestGateway) -> f64 {
    gateway
        .metric("gateway_trace_spans_exported_total")
        .unwrap()
}

fn of_kind(spans: &[TestSpan], kind: i32) -> &TestSpan {
    spans.iter().find(|span| span.kind == kind).unwrap()
}

#[tokio::test]
async fn a_request_is_a_span_at_the_entrypoint_the_router_and_the_server() {
    for protocol in ["grpc", "http"] {
        let (collector, server) = (Collector::start().await, Server::start().await);
        let setup = traced(Setup::to(&server), &collector)
            .set("tracing/protocol", protocol)
            .set("tracing/service_name", "edge")
            .set("tracing/headers", json!({ "X-Key": "open sesame" }));
        let gateway = setup.start().await;
        let mut client = gateway.h1().await;
        let mut asked = with("user-agent: probe/1");
        *asked.method_mut() = http::Method::PUT;
        *asked.body_mut() = Body::from("hello");
        assert_eq!(client.ask(asked).await.status, 200);
        let spans = collector.has(3).await;
        assert_eq!(
            outline(&spans),
            "server PUT 200\n  internal router all\n    client PUT 200\n"
        );
        let port = server.address().port();
        let [entry, router, tried] = [2, 1, 3].map(|kind| of_kind(&spans, kind));
        for (span, key, value) in [
            (entry, "http.request.method", "PUT"),
            (entry, "url.path", "/a"),
            (entry, "url.query", "key=***"),
            (entry, "url.scheme", "http"),
            (entry, "server.address", "test.example"),
            (entry, "client.address", "127.0.0.1"),
            (entry, "network.peer.address", "127.0.0.1"),
            (entry, "network.protocol.version", "1.1"),
            (entry, "user_agent.original", "probe/1"),
            (entry, "http.response.status_code", "200"),
            (entry, "http.request.body.size", "5"),
            (entry, "http.response.body.size", "2"),
            (entry, "gateway.entrypoint", "web"),
            (router, "gateway.router", "all"),
            (router, "gateway.service", "backend"),
            (tried, "server.address", "127.0.0.1"),
            (tried, "server.port", &*port.to_string()),
            (tried, "url.full", &*format!("{server}/a?key=***")),
            (tried, "gateway.server", &*server.to_string()),
            (tried, "http.response.status_code", "200"),
        ] {
            assert_eq!(span.get(key), Some(value), "{protocol}: {key}");
        }
        for span in &spans {
            assert_eq!(span.service, "edge");
            assert_eq!(span.trace, entry.trace);
            assert!(!format!("{span:?}").contains("secret"));
        }
        assert_eq!((entry.parent.as_str(), entry.flags), ("", 0x101));
        let parent = format!("00-{}-{}-03", tried.trace, tried.id);
        assert_eq!(server.last().header("traceparent"), Some(parent));
        let headers = collector.asked().pop().unwrap();
        assert_eq!(headers["x-key"], "open sesame");
        eventually("it is counted", || exported(&gateway) == 3.0).await;
        assert_eq!(dropped(&gateway), 0.0);
    }
}

#[tokio::test]
async fn a_query_is_told_as_the_access_log_tells_it() {
    let (collector, server) = (Collector::start().await, Server::start().await);
    let setup = traced(Setup::to(&server), &collector);
    let gateway = setup.start().await;
    let other = setup
        .clone()
        .set("access_log/file", "/dev/null")
        .set("access_log/fields/redact", json!(["visitor"]))
        .set("access_log/fields/reveal", json!(["code"]));
    let rewritten = json!({ "type": "replace-path", "path": "/c" });
    let other = other
        .set("middlewares/other", rewritten)
        .set("routers/all/middlewares", json!(["other"]));
    let mut client = gateway.h1().await;
    let mut seen = 0;
    for (setup, asked, query, path, inner) in [
        (&setup, "/a", None, "/a", ""),
        (&setup, "/a?", Some(""), "/a", "?"),
        (
            &setup,
            "/a?visitor=1&code=2;%74oken=3&x",
            Some("visitor=1&code=***;%74oken=***&x"),
            "/a",
            "?visitor=1&code=***&%74oken=***&x",
        ),
        (
            &other,
            "/a?visitor=1&code=2&token=3",
            Some("visitor=***&code=2&token=***"),
            "/c",
            "?visitor=***&code=2&token=***",
        ),
    ] {
        gateway.become_(setup).await;
        assert_eq!(client.get(asked).await.status, 200);
        seen += 3;
        let spans = collector.has(seen).await.split_off(seen - 3);
        let [entry, tried] = [2, 3].map(|kind| of_kind(&spans, kind));
        assert_eq!(entry.get("url.query"), query, "{asked}");
        let url = format!("{server}{path}{inner}");
        assert_eq!(tried.get("url.full"), Some(&*url), "{asked}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_where_it_does() {
    let (collector, server) = (Collector::start().await, Server::start().await);
    let again = json!({ "type": "retry", "retry_interval_ms": 0, "max_retries": 1 });
    let keys = json!({ "type": "api-key", "keys": ["a-key-of-some-length"] });
    let setup = Setup::to_each(["http://127.0.0.1:1".to_owned(), server.to_string()])
        .balancer("outlier/consecutive_errors", 0)
        .set("middlewares/again", again)
        .set("middlewares/keys", keys)
        .set("routers/all/rule", "PathPrefix(`/a`)")
        .service("gone", "http://127.0.0.1:1")
        .route("gone", "PathPrefix(`/gone`)", "gone")
        .route("shut", "PathPrefix(`/shut`)", "backend")
        .set("routers/all/middlewares", json!(["again"]))
        .set("routers/shut/middlewares", json!(["again", "keys"]));
    let setup = traced(setup, &collector);
    let gateway = setup.start().await;
    let mut client = gateway.h2().await;
    let mut seen = 0;
    for (path, status, count, expected) in [
        ("/none", 404, 1, "server GET 404\n"),
        (
            "/gone",
            502,
            3,
            "server GET 502 !connect\n  internal router gone\n    client GET !connect\n",
        ),
        (
            "/shut",
            401,
            3,
            "server GET 401\n  internal router shut\n    internal middleware keys answered 401\n",
        ),
        (
            "/a",
            200,
            5,
            "server GET 200\n  internal router all\n    internal middleware again tried_again\n    \
             client GET !connect\n    client GET 200\n",
        ),
    ] {
        assert_eq!(client.get(path).await.status, status);
        seen += count;
        let spans = collector.has(seen).await.split_off(seen - count);
        assert_eq!(outline(&spans), expected, "{path}");
        assert_eq!(
            of_kind(&spans, 2).get("network.protocol.version"),
            Some("2")
        );
        if path == "/a" {
            let last = spans.iter().find(|span| span.kind == 3 && !span.is_error);
            assert_eq!(last.unwrap().get("http.request.resend_count"), Some("1"));
            let parent = server.last().header("traceparent").unwrap();
            assert!(
                parent.contains(&last.unwrap().id),
                "the try that came there"
            );
        }
    }
}

#[tokio::test]
async fn a_middleware_that_asks_somebody_waits_and_they_are_told_of_the_trace() {
    let collector = Collector::start().await;
    let (server, guard) = (
        Server::start().await,
        Server::http(|_: Request<Recorded>| async {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            Response::new(Body::empty())
        })
        .await,
    );
    let ask = json!({ "type": "forward-auth", "forward_auth_url": guard.to_string() });
    let setup = traced(Setup::to(&server), &collector)
        .set("middlewares/ask", ask)
        .set("routers/all/middlewares", json!(["ask"]));
    let gateway = setup.start().await;
    assert_eq!(gateway.h1().await.ask(with("b3: 1")).await.status, 200);
    let spans = collector.has(4).await;
    assert_eq!(
        outline(&spans),
        "server GET 200\n  internal router all\n    internal middleware ask waited\n    client GET 200\n"
    );
    let router = spans.iter().find(|span| span.name == "router all").unwrap();
    if let Some(told) = guard.last().header("b3") {
        assert!(told.starts_with(&format!("{}-{}-1", router.trace, router.id)));
    }
}

#[tokio::test]
async fn a_span_ends_with_its_tunnel() {
    let collector = Collector::start().await;
    let (server, mut heads) = echo(GRANT).await;
    let setup = traced(Setup::to(&server), &collector);
    let gateway = setup.start().await;
    let mut wire = switched(&gateway).await;
    says_and_hears(&mut wire, "hello").await;
    assert_eq!(collector.spans().len(), 0);
    wire.end().await;
    wire.rest().await;
    let spans = collector.has(3).await;
    assert_eq!(
        outline(&spans),
        "server GET 101\n  internal router all\n    client GET 101\n"
    );
    let parent = heads.recv().await.unwrap().header("traceparent").unwrap();
    assert!(parent.contains(&of_kind(&spans, 3).id));
    let entry = of_kind(&spans, 2);
    assert_eq!(entry.get("http.request.body.size"), Some("5"));
    assert_eq!(entry.get("http.response.body.size"), Some("8"));
}

#[tokio::test]
async fn a_request_that_its_client_gives_up_is_told_to_be() {
    let collector = Collector::start().await;
    let silent = Server::http(|_: Request<Recorded>| std::future::pending()).await;
    let endless = Server::http(|_: Request<Recorded>| async {
        let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>,
        >());
        Response::new(Body::new(body))
    })
    .await;
    let setup = Setup::to(&silent).service("endless", &endless).route(
        "endless",
        "Path(`/endless`)",
        "endless",
    );
    let gateway = traced(setup, &collector).start().await;
    let mut wire = gateway.wire().await;
    wire.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
    silent.has_seen(1).await;
    wire.reset();
    let spans = collector.has(3).await;
    assert_eq!(
        outline(&spans),
        "server GET !client_closed\n  internal router all\n    client GET !given_up\n"
    );
    let mut wire = gateway.wire().await;
    wire.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.status(), 200);
    wire.reset();
    let spans = collector.has(6).await.split_off(3);
    assert_eq!(
        outline(&spans),
        "server GET 200 !client_closed\n  internal router endless\n    client GET 200\n"
    );
}

#[tokio::test]
async fn a_trace_goes_on_in_the_form_in_which_it_came() {
    let (collector, server) = (Collector::start().await, Server::start().await);
    let setup = traced(Setup::to(&server), &collector).set("tracing/sample", 0);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    let short = &TRACE[16..];
    let padded = format!("{short:0>32}");
    let mut seen = 0;
    // What comes; the trace; and what goes, where `T` is the span of the try and `R` the one above.
    for (came, trace, goes) in [
        (
            format!("traceparent: 00-{TRACE}-{SPAN}-01\ntracestate: a=1, b=2"),
            TRACE,
            format!("traceparent: 00-{TRACE}-T-01\ntracestate: a=1, b=2"),
        ),
        (
            format!("b3: {TRACE}-{SPAN}-1"),
            TRACE,
            format!("b3: {TRACE}-T-1-R"),
        ),
        (
            format!("b3: {short}-{SPAN}-d"),
            &padded,
            format!("b3: {short}-T-d-R"),
        ),
        (
            format!("x-b3-traceid: {TRACE}\nx-b3-spanid: {SPAN}\nx-b3-sampled: 1"),
            TRACE,
            format!("x-b3-traceid: {TRACE}\nx-b3-spanid: T\nx-b3-parentspanid: R\nx-b3-sampled: 1"),
        ),
        (
            format!("x-b3-traceid: {short}\nx-b3-spanid: {SPAN}\nx-b3-flags: 1"),
            &padded,
            format!("x-b3-traceid: {short}\nx-b3-spanid: T\nx-b3-parentspanid: R\nx-b3-flags: 1"),
        ),
    ] {
        assert_eq!(client.ask(with(&came)).await.status, 200);
        seen += 3;
        let spans = collector.has(seen).await.split_off(seen - 3);
        let [entry, router, tried] = [2, 1, 3].map(|kind| of_kind(&spans, kind));
        assert_eq!((&*entry.trace, &*entry.parent), (trace, SPAN), "{came}");
        assert_eq!(entry.flags, 0x301, "the parent is somebody else's");
        let state = if came.contains("state") {
            "a=1, b=2"
        } else {
            ""
        };
        assert_eq!(entry.state, state);
        let goes = goes.replace("-T", &format!("-{}", tried.id));
        let goes = goes.replace(": T", &format!(": {}", tried.id));
        let goes = goes.replace("-R", &format!("-{}", router.id));
        let goes = goes.replace(": R", &format!(": {}", router.id));
        assert_eq!(context_of(&server), lines(&goes));
    }
}

/// The headers of traces that the server saw last.
fn context_of(server: &Server) -> HashSet<String> {
    let seen = server.last();
    let is_of_traces = |name: &str| name.starts_with("trace") || name.contains("b3");
    seen.headers
        .iter()
        .filter(|(name, _)| is_of_traces(name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

fn lines(text: &str) -> HashSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_not_recorded_goes_on_as_it_is_decided() {
    let (collector, server) = (Collector::start().await, Server::start().await);
    let setup = traced(Setup::to(&server), &collector);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    let denied = [
        format!("traceparent: 00-{TRACE}-{SPAN}-00\ntracestate: a=1"),
        format!("b3: {TRACE}-{SPAN}-0"),
        "b3: 0".to_owned(),
        format!("x-b3-traceid: {TRACE}\nx-b3-spanid: {SPAN}\nx-b3-sampled: 0"),
        "x-b3-sampled: 0".to_owned(),
    ];
    for came in &denied {
        client.ask(with(came)).await;
        assert_eq!(context_of(&server), lines(came), "as it came");
    }
    gateway
        .become_(&setup.clone().set("tracing/sample", 0))
        .await;
    client.get("/").await;
    let parent = server.last().header("traceparent").unwrap();
    assert!(
        parent.starts_with("00-") && parent.ends_with("-02"),
        "{parent}"
    );
    // Left open by whoever sent it, and decided here.
    client.ask(with(&format!("b3: {TRACE}-{SPAN}"))).await;
    let b3 = server.last().header("b3").unwrap();
    assert!(
        b3.starts_with(TRACE) && b3.ends_with(&format!("-0-{SPAN}")),
        "{b3}"
    );
    // Nothing of all that was recorded.
    client.ask(with("b3: 1")).await;
    collector.has(3).await;

    // Without traces headers pass.
    let gateway = Setup::to(&server).start().await;
    let mut client = gateway.h1().await;
    for came in denied.iter().map(String::as_str).chain([
        "traceparent: nonsense",
        "b3: T\ntracestate: =",
        "",
    ]) {
        client.ask(with(came)).await;
        assert_eq!(context_of(&server), lines(came));
    }
}

#[tokio::test]
async fn a_part_of_the_traces_is_recorded_and_what_is_malformed_is_not_believed() {
    let (collector, server) = (Collector::start().await, Server::start().await);
    let setup = traced(Setup::to(&server), &collector).set("tracing/sample", 0.25);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    for number in 0..400 {
        let headers = match number % 4 {
            0 => format!("traceparent: 00-{TRACE}-{SPAN}-1\ntracestate: a=1"),
            1 => format!("b3: {TRACE}-{SPAN}-yes"),
            2 => format!("traceparent: ff-{TRACE}-{SPAN}-01"),
            _ => String::new(),
        };
        client.ask(with(&headers)).await;
        assert_eq!(context_of(&server).len(), 1);
    }
    let sampled = |seen: &&support::Seen| {
        let parent = seen.header("traceparent").unwrap();
        assert!(!parent.contains(TRACE));
        parent.ends_with("-03")
    };
    let sampled = server.seen().iter().filter(sampled).count();
    assert!((50..150).contains(&sampled), "{sampled} of 400");
    let spans = collector.has(3 * sampled).await;
    let traces: HashSet<_> = spans.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), sampled);
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up_and_its_loss_is_counted_and_told_once() {
    let log = Log::start();
    let server = Server::start().await;
    let port = Port::reserve();
    let url = format!("http://{}", port.address());
    let setup = traced_to(Setup::to(&server), &url).set("tracing/queue", 100);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 200);
    }
    // 33 traces of three spans wait.
    assert_eq!(dropped(&gateway), 201.0);
    let mut told = String::new();
    eventually("the log tells of the collector", || {
        told += &log.take();
        told.contains("the collector takes no spans: connect")
    })
    .await;
    assert_eq!(told.matches("too many wait").count(), 1, "{told}");
    let collector = Collector::on(tokio::net::TcpListener::bind(port.address()).await.unwrap());
    collector.has(99).await;
    eventually("it is well again", || {
        told += &log.take();
        told.contains("takes spans again") && told.contains("room for spans again")
    })
    .await;
    assert_eq!(told.matches("takes no spans").count(), 1, "{told}");
    assert_eq!((exported(&gateway), dropped(&gateway)), (99.0, 201.0));
    client.get("/").await;
    collector.has(102).await;
}

#[tokio::test]
async fn what_a_collector_refuses_is_tried_again_where_that_may_help() {
    let server = Server::start().await;
    for (protocol, refusal, is_transient) in [
        ("http", Takes::Refuses(503), true),
        ("http", Takes::Refuses(400), false),
        ("grpc", Takes::RefusesGrpc(14), true),
        ("grpc", Takes::RefusesGrpc(3), false),
        ("grpc", Takes::Refuses(429), true),
        ("http", Takes::Hangs, true),
    ] {
        let collector = Collector::start().await;
        collector.set(refusal);
        let setup = traced(Setup::to(&server), &collector)
            .set("tracing/protocol", protocol)
            .set("tracing/timeout", "100ms");
        let gateway = setup.start().await;
        let mut client = gateway.h1().await;
        assert_eq!(client.get("/").await.status, 200);
        collector.was_asked(if is_transient { 2 } else { 1 }).await;
        if is_transient {
            collector.set(Takes::All);
            collector.has(3).await;
        } else {
            eventually("it is lost", || dropped(&gateway) == 3.0).await;
            collector.set(Takes::AllBut(1));
            client.get("/").await;
            eventually("a part is lost", || dropped(&gateway) == 4.0).await;
            assert_eq!(exported(&gateway), 2.0);
            assert_eq!(collector.asked().len(), 2);
        }
    }
}

#[tokio::test]
async fn a_reload_keeps_what_waits_and_another_collector_gets_what_comes_after() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let server = Server::start().await;
    let setup = traced(Setup::to(&server), &first);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    client.get("/").await;
    // The same words, and something else that is new.
    let same = setup.clone().route("more", "Path(`/more`)", "backend");
    gateway.become_(&same).await;
    client.get("/").await;
    first.has(6).await;
    assert_eq!(first.asked().len(), 1, "one batch: one exporter");
    client.get("/").await;
    gateway.become_(&traced(same.clone(), &second)).await;
    client.get("/").await;
    first.has(9).await;
    second.has(3).await;
    // None any more.
    let none = Setup::to(&server);
    gateway.become_(&none).await;
    client.get("/").await;
    assert_eq!(server.last().header("traceparent"), None);
    eventually("all are counted", || exported(&gateway) == 12.0).await;
    assert_eq!(dropped(&gateway), 0.0);
}

#[tokio::test]
async fn a_shutdown_sends_the_rest_and_waits_no_longer_than_it_may() {
    let (collector, server) = (Collector::start().await, Server::start().await);
    let setup = traced(Setup::to(&server), &collector);
    let gateway = setup.start().await;
    gateway.h1().await.get("/").await;
    within("a shutdown", gateway.shutdown()).await;
    assert_eq!(collector.spans().len(), 3);

    let log = Log::start();
    let asked = collector.asked().len();
    collector.set(Takes::Hangs);
    let gateway = setup.start().await;
    // The first batch is under way when the second comes.
    gateway.h1().await.get("/").await;
    eventually("spans are sent", || collector.asked().len() > asked).await;
    gateway.h1().await.get("/").await;
    within("a shutdown", gateway.shutdown()).await;
    assert_eq!(dropped(&gateway), 6.0);
    let log = log.take();
    let lost = "spans are lost: the collector has not taken them in time spans=6";
    assert!(log.contains(lost), "{log}");
}

#[tokio::test]
async fn a_collector_is_spoken_to_over_tls() {
    let server = Server::start().await;
    let authority = Authority::new();
    for (protocol, alpn) in [("grpc", "h2"), ("http", "http/1.1")] {
        let collector = Collector::https(authority.server("localhost", &[alpn], false)).await;
        let url = collector.url().replace("127.0.0.1", "localhost");
        let setup = traced_to(Setup::to(&server), &url)
            .set("tracing/protocol", protocol)
            .set("tracing/tls/ca_file", authority.file());
        let gateway = setup.start().await;
        gateway.h1().await.get("/").await;
        collector.has(3).await;
    }
}
