//! What is told of a server: by one name everywhere, what it did wrong last, and what was measured of it.

#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Question;
use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};
use support::collector::Collector;
use support::server::Recorded;
use support::{Server, Setup, TestGateway, eventually};

/// Where nobody listens.
const GONE: &str = "http://127.0.0.1:1";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// The first server of the service `backend`, as the admin API shows it.
async fn shown(gateway: &TestGateway) -> Value {
    let service = gateway.admin("/api/gateway/services/backend").await;
    service["servers"][0].clone()
}

async fn explained(gateway: &TestGateway) -> Value {
    let path = "/api/gateway/explain?url=http://test.example/";
    gateway.admin(path).await
}

#[tokio::test]
async fn one_that_nobody_watches_is_healthy_and_says_what_it_did_wrong_last() {
    let setup = Setup::to(GONE).balancer("outlier/consecutive_errors", 0);
    let setup = setup.admin();
    let gateway = setup.start().await;
    assert_eq!(shown(&gateway).await["last_failure"], Value::Null);
    let before = now();
    assert_eq!(gateway.h1().await.get("/").await.status, 502);
    let server = shown(&gateway).await;
    assert_eq!(
        (&server["state"], &server["failures"]),
        (&json!("healthy"), &json!(1))
    );
    let failure = &server["last_failure"];
    assert_eq!(failure["reason"], "connect");
    let at = failure["at"].as_u64().unwrap();
    assert!((before..=now()).contains(&at), "{failure}");
    assert_eq!(
        explained(&gateway).await["servers"][0]["last_failure"],
        *failure
    );
    let question = Question::new("GET", "http://test.example/").unwrap();
    let text = gateway.explain(&question).await.unwrap().to_string();
    assert!(text.contains(" s ago: connect\n"), "{text}");
    let more = setup.route("more", "Path(`/more`)", "backend");
    gateway.become_(&more).await;
    assert_eq!(shown(&gateway).await["last_failure"], *failure);
}

#[tokio::test]
async fn an_answer_that_says_that_it_failed_is_its_last_failure_until_the_next() {
    let server = Server::http(|request: Request<Recorded>| async move {
        let status = request.uri().path()[1..].parse::<u16>().unwrap();
        Response::builder()
            .status(status)
            .body(Body::empty())
            .unwrap()
    })
    .await;
    let gateway = Setup::to(&server).admin().start().await;
    let mut client = gateway.h1().await;
    for (status, told) in [
        (404, Value::Null),
        (503, json!("status 503")),
        (500, json!("status 500")),
        (200, json!("status 500")),
    ] {
        assert_eq!(client.get(&format!("/{status}")).await.status, status);
        assert_eq!(shown(&gateway).await["last_failure"]["reason"], told);
    }
}

#[tokio::test]
async fn what_a_failure_counts_as_is_shown_as_no_latency() {
    let latency = "gateway_service_server_latency_seconds";
    for strategy in ["round-robin", "p2c-ewma"] {
        let gateway = Setup::to(GONE)
            .balancer("strategy", strategy)
            .admin()
            .start()
            .await;
        assert_eq!(gateway.h1().await.get("/").await.status, 502);
        assert_eq!(shown(&gateway).await["failures"], 1);
        assert_eq!(shown(&gateway).await["ewma_ms"], Value::Null);
        assert_eq!(gateway.metric(latency), None, "{strategy}");
    }
    // Who answers and then fails has what was measured: a second is the least that a failure counts as.
    let server = Server::http(|request: Request<Recorded>| async move {
        match request.uri().path() {
            "/" => Response::new(Body::empty()),
            _ => std::future::pending().await,
        }
    })
    .await;
    let gateway = Setup::to(&server)
        .balancer("strategy", "p2c-ewma")
        .balancer("timeouts/response", "20ms")
        .admin()
        .start()
        .await;
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/").await.status, 200);
    let measured = shown(&gateway).await["ewma_ms"].clone();
    assert!(measured.is_number(), "{measured}");
    assert_eq!(client.get("/silent").await.status, 504);
    let server = shown(&gateway).await;
    assert_eq!(server["ewma_ms"], measured);
    assert_eq!(server["last_failure"]["reason"], "response_timeout");
}

#[tokio::test]
async fn it_has_one_name_everywhere() {
    let (collector, server) = (Collector::start().await, Server::start().await);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    // The name is the URL, whichever way it is written.
    let gateway = Setup::to(format!("{}/", server.url("HTTP")))
        .set("access_log/file", log.to_str().unwrap())
        .set("tracing/otlp_endpoint", collector.url())
        .set("tracing/sample", 1)
        .set("metrics/compat", "traefik")
        .admin()
        .start()
        .await;
    assert_eq!(gateway.h1().await.get("/").await.status, 200);
    let name = server.url("http");
    let spans = collector.has(3).await;
    let tried = spans.iter().find(|span| span.kind == 3).unwrap();
    assert_eq!(tried.get("gateway.server"), Some(&*name));
    let text = || fs::read_to_string(&log).unwrap_or_default();
    eventually("a line", || text().ends_with('\n')).await;
    let line: Value = serde_json::from_str(&text()).unwrap();
    assert_eq!(line["backend"], name);
    let shown = shown(&gateway).await;
    assert_eq!((&shown["url"], &shown["id"]), (&json!(name), &Value::Null));
    let told = explained(&gateway).await;
    assert_eq!(told["servers"][0]["url"], name);
    assert_eq!(told["upstream"]["server"], name);
    for series in [
        format!("gateway_service_server_requests_total{{server=\"{name}\"}}"),
        format!("traefik_service_server_up{{url=\"{name}\"}}"),
    ] {
        assert_eq!(gateway.metric(&series), Some(1.0), "{series}");
    }
}
