//! `circuit-breaker` in a gateway: when a service is left alone, and for how long.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;
use support::server::Recorded;
use support::{Client, DEADLINE, Server, Setup, request};

/// A server that answers as it is told, after as many milliseconds as it is told.
struct Moody {
    server: Server,
    status: Arc<AtomicU16>,
    delay: Arc<AtomicU64>,
}

impl Moody {
    async fn new(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let delay = Arc::new(AtomicU64::new(0));
        let (now, wait) = (Arc::clone(&status), Arc::clone(&delay));
        let server = Server::http(move |_: Request<Recorded>| {
            let (now, wait) = (Arc::clone(&now), Arc::clone(&wait));
            async move {
                tokio::time::sleep(Duration::from_millis(wait.load(Ordering::SeqCst))).await;
                let builder = Response::builder().status(now.load(Ordering::SeqCst));
                builder.body(Body::from("the server")).unwrap()
            }
        })
        .await;
        Self {
            server,
            status,
            delay,
        }
    }

    fn becomes(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.server.requests()
    }
}

fn guarded(server: &Server, settings: &Value) -> Setup {
    let mut breaker = json!({ "type": "circuit-breaker" });
    let more = settings.as_object().unwrap().clone();
    breaker.as_object_mut().unwrap().extend(more);
    Setup::to(server)
        .set("middlewares/breaker", breaker)
        .set("routers/all/middlewares", json!(["breaker"]))
}

async fn fail(client: &mut Client, times: usize) {
    for _ in 0..times {
        assert_eq!(client.get("/").await.text(), "the server");
    }
}

/// Asks until the server answers again.
async fn until_it_closes(client: &mut Client) {
    let closes = async {
        while client.get("/").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, closes).await.unwrap();
}

#[tokio::test]
async fn a_service_that_fails_is_left_alone_until_the_cooldown_is_over() {
    let moody = Moody::new(500).await;
    let gateway = guarded(&moody.server, &json!({ "cooldown_secs": 1 }))
        .with_all_workers()
        .start()
        .await;
    let mut client = gateway.h1().await;
    fail(&mut client, 5).await;
    // For every connection and worker alike.
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 503);
        assert_eq!(reply.headers["retry-after"], "1");
        assert_eq!(reply.headers["content-type"], "application/json");
        assert!(!reply.text().contains("the server"));
    }
    assert_eq!(moody.requests(), 5);
    // A probe that fails opens it again; one that does not closes it.
    let probed = async {
        while moody.requests() == 5 {
            client.get("/").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, probed).await.unwrap();
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(moody.requests(), 6);
    moody.becomes(200);
    until_it_closes(&mut client).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn failures_before_an_answer_open_it_and_those_of_clients_do_not() {
    let rude = Server::raw(|mut wire, _| async move {
        wire.try_head().await;
        wire.reset();
    })
    .await;
    let gateway = guarded(&rude, &json!({})).start().await;
    let mut client = gateway.h1().await;
    for status in [502, 502, 502, 502, 502, 503, 503] {
        assert_eq!(client.get("/").await.status, status);
    }
    assert_eq!(rude.accepted(), 5);

    let moody = Moody::new(500).await;
    let gateway = guarded(&moody.server, &json!({})).start().await;
    let mut client = gateway.h1().await;
    fail(&mut client, 4).await;
    // A body that is no body, and a client that goes away: neither failures nor successes.
    moody.delay.store(60_000, Ordering::SeqCst);
    for n in 0..8 {
        let answer = gateway
            .ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
            .await;
        assert_eq!(answer.status(), 400);
        let mut leaver = gateway.wire().await;
        leaver.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        moody.server.has_seen(4 + n + 1).await;
    }
    moody.delay.store(0, Ordering::SeqCst);
    fail(&mut client, 1).await;
    assert_eq!(client.get("/").await.status, 503);
}

#[tokio::test]
async fn a_share_of_failures_and_slowness_open_it() {
    let moody = Moody::new(200).await;
    let settings = json!({ "error_ratio": 0.5, "min_requests": 10, "failure_threshold": 1000 });
    let gateway = guarded(&moody.server, &settings).start().await;
    let mut client = gateway.h1().await;
    fail(&mut client, 5).await;
    moody.becomes(502);
    fail(&mut client, 5).await;
    assert_eq!(client.get("/").await.status, 503);

    let moody = Moody::new(200).await;
    moody.delay.store(50, Ordering::SeqCst);
    let settings = json!({ "latency_ms": 10, "failure_threshold": 2 });
    let gateway = guarded(&moody.server, &settings).start().await;
    let mut client = gateway.h1().await;
    fail(&mut client, 2).await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(moody.requests(), 2);
}

#[tokio::test]
async fn an_open_circuit_may_answer_something_else() {
    let moody = Moody::new(500).await;
    let fallback = json!({ "status": 200, "content_type": "application/json", "body": "[]" });
    let settings = json!({ "failure_threshold": 1, "fallback": fallback });
    let gateway = guarded(&moody.server, &settings).start().await;
    let mut client = gateway.h1().await;
    fail(&mut client, 1).await;
    let reply = client.get("/").await;
    assert_eq!((reply.status.as_u16(), &*reply.text()), (200, "[]"));
    assert_eq!(reply.headers["content-type"], "application/json");
    let head = client.ask(request("HEAD", "/")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let mut grpc = request("POST", "/");
    let headers = grpc.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    let reply = gateway.h2().await.ask(grpc).await;
    assert_eq!(reply.headers["grpc-status"], "14");
    assert_eq!(moody.requests(), 1);
}

#[tokio::test]
async fn a_probe_whose_client_goes_away_gives_its_place_to_another() {
    let moody = Moody::new(500).await;
    let settings = json!({ "failure_threshold": 1, "cooldown_secs": 1 });
    let gateway = guarded(&moody.server, &settings).start().await;
    let mut client = gateway.h1().await;
    fail(&mut client, 1).await;
    moody.becomes(200);
    moody.delay.store(60_000, Ordering::SeqCst);
    // It is let through when the cooldown is over, and waits.
    let mut probe;
    let probing = async {
        loop {
            let mut wire = gateway.wire().await;
            wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let (said, _) = wire.listen(Duration::from_millis(50)).await;
            if said.is_empty() && moody.requests() == 2 {
                break wire;
            }
        }
    };
    probe = tokio::time::timeout(DEADLINE, probing).await.unwrap();
    assert_eq!(client.get("/").await.status, 503);
    probe.end().await;
    drop(probe);
    moody.delay.store(0, Ordering::SeqCst);
    until_it_closes(&mut client).await;
}

const STALLED: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc";

#[tokio::test]
async fn clients_that_stall_their_bodies_do_not_open_it() {
    for below in [
        json!({ "type": "timeout", "duration": "100ms" }),
        json!({ "type": "retry", "per_try_timeout": "100ms" }),
    ] {
        // One that answers a body only when it has come, and one that is behind HTTP/2.
        for scheme in ["http", "h2c"] {
            let server = Server::start().await;
            let gateway = guarded(&server, &json!({ "failure_threshold": 1 }))
                .balancer("servers", json!([{ "url": server.url(scheme) }]))
                .set("middlewares/below", below.clone())
                .set("routers/all/middlewares", json!(["breaker", "below"]))
                .start()
                .await;
            for n in 1..4 {
                let (answer, _, _) = gateway.ask_to_end(STALLED).await;
                assert_eq!(answer.status(), 408, "{below}");
                assert_eq!(server.requests(), n);
            }
            assert_eq!(gateway.h1().await.get("/").await.status, 200);
        }
    }
}

#[tokio::test]
async fn nor_does_their_slowness() {
    let server = Server::start().await;
    let settings = json!({ "failure_threshold": 1, "latency_ms": 300 });
    let gateway = guarded(&server, &settings).start().await;
    let mut slow = gateway.wire().await;
    slow.send(STALLED).await;
    server.has_seen(1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    slow.send([b'x'; 97]).await;
    assert_eq!(slow.answer().await.status(), 200);
    assert_eq!(gateway.h1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_probe_that_stalls_its_body_does_not_hold_it_for_a_cooldown() {
    let moody = Moody::new(500).await;
    let settings = json!({ "failure_threshold": 1, "cooldown_secs": 5 });
    let gateway = guarded(&moody.server, &settings).start().await;
    let mut client = gateway.h1().await;
    fail(&mut client, 1).await;
    moody.becomes(200);
    moody.delay.store(60_000, Ordering::SeqCst);
    let probing = async {
        loop {
            let mut wire = gateway.wire().await;
            wire.send(STALLED).await;
            let (said, _) = wire.listen(Duration::from_millis(50)).await;
            if said.is_empty() && moody.requests() == 2 {
                break wire;
            }
        }
    };
    let _probe = tokio::time::timeout(DEADLINE, probing).await.unwrap();
    moody.delay.store(0, Ordering::SeqCst);
    // Less than the cooldown that it would hold otherwise.
    tokio::time::timeout(Duration::from_secs(4), until_it_closes(&mut client))
        .await
        .unwrap();
}

#[tokio::test]
async fn routers_that_name_one_breaker_share_it() {
    let moody = Moody::new(500).await;
    let gateway = guarded(&moody.server, &json!({}))
        .route("other", "Path(`/other`)", "backend")
        .set("routers/other/middlewares", json!(["breaker"]))
        .start()
        .await;
    let mut client = gateway.h1().await;
    fail(&mut client, 3).await;
    client.get("/other").await;
    client.get("/other").await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(client.get("/other").await.status, 503);
}

#[tokio::test]
async fn a_retry_does_not_insist_on_an_open_circuit() {
    let moody = Moody::new(503).await;
    let gateway = guarded(&moody.server, &json!({}))
        .set(
            "middlewares/again",
            json!({ "type": "retry", "retry_interval_ms": 0 }),
        )
        .set("routers/all/middlewares", json!(["again", "breaker"]))
        .start()
        .await;
    let mut client = gateway.h1().await;
    // Four tries, and one more opens it.
    assert_eq!(client.get("/").await.text(), "the server");
    let reply = client.get("/").await;
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(moody.requests(), 5);
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 503);
    }
    assert_eq!(moody.requests(), 5);
}

#[tokio::test]
async fn an_unrelated_reload_keeps_it_open_and_a_change_closes_it() {
    let moody = Moody::new(500).await;
    let setup = guarded(&moody.server, &json!({}));
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    fail(&mut client, 5).await;
    moody.becomes(200);
    // Not even a change of the service behind it closes it.
    let other = setup
        .clone()
        .route("other", "Path(`/other`)", "backend")
        .balancer("pass_host", false);
    gateway.become_(&other).await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(moody.requests(), 5);
    gateway
        .become_(&setup.set("middlewares/breaker/failure_threshold", 4))
        .await;
    assert_eq!(client.get("/").await.status, 200);
}
