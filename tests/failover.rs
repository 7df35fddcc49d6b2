//! Failover in a gateway: who answers while servers die and come back, and what is sent where.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use support::body::long;
use support::server::Recorded;
use support::{
    Load, Port, Question, Server, Setup, TestGateway, Told, Upload, Wire, connect_from, eventually,
    request, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// A server that reads everything, and answers with its name and the status that it is given.
async fn named(name: &'static str, status: &Arc<AtomicU16>) -> Server {
    let status = Arc::clone(status);
    Server::http(move |request: Request<Recorded>| {
        let status = Arc::clone(&status);
        async move {
            let _ = request.into_body().collect().await;
            let response = Response::builder().status(status.load(Ordering::SeqCst));
            response.body(Body::from(name)).unwrap()
        }
    })
    .await
}

fn status(status: u16) -> Arc<AtomicU16> {
    Arc::new(AtomicU16::new(status))
}

/// `backend` with a failover to `other`.
fn failover(primary: impl std::fmt::Display, secondary: impl std::fmt::Display) -> Setup {
    Setup::to(primary)
        .service("other", secondary)
        .set("services/backend/failover", json!({ "service": "other" }))
        // What is tested here is the failover alone.
        .balancer("outlier", json!({ "consecutive_errors": 0 }))
}

/// A server of HTTP/1.1 at a port, which answers everything with `name`, until it is dropped.
fn at(port: &Port, name: &'static str) -> JoinSet<()> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(port.address()).unwrap();
    let listener = socket.listen(64).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut wire = Wire::new(stream);
                while wire.request().await.is_some() {
                    let length = name.len();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    if wire.try_send(answer + name).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    tasks
}

async fn die(mut server: JoinSet<()>) {
    server.shutdown().await;
}

async fn ask(gateway: &TestGateway, method: &str, body: impl Into<Body>) -> (u16, String) {
    let mut asked = request(method, "/");
    *asked.body_mut() = body.into();
    let reply = gateway.h1().await.ask(asked).await;
    (reply.status.as_u16(), reply.text())
}

fn from(name: &str) -> (u16, String) {
    (200, name.to_owned())
}

#[tokio::test]
async fn a_primary_that_dies_is_stood_in_for_until_it_is_back() {
    let port = Port::reserve();
    let secondary = named("secondary", &status(200)).await;
    let mut primary = at(&port, "primary");
    let gateway = failover(format!("http://{}", port.address()), &secondary)
        .admin()
        .start()
        .await;
    let requests = "gateway_service_failovers_total{service=\"backend\"}";
    let is_active = "gateway_service_failover_active{service=\"backend\"}";
    for round in 1..=3 {
        assert_eq!(ask(&gateway, "GET", "").await, from("primary"));
        assert_eq!(gateway.metric(is_active), Some(0.0));
        die(primary).await;
        // Nothing can be sent to it: a POST of any size goes on as well.
        for (method, body) in [
            ("GET", Body::empty()),
            ("POST", Body::from("short")),
            ("POST", long(1 << 20)),
        ] {
            assert_eq!(ask(&gateway, method, body).await, from("secondary"));
        }
        assert_eq!(secondary.last().upload, Upload::Complete);
        assert_eq!(gateway.metric(requests), Some(f64::from(3 * round)));
        assert_eq!(gateway.metric(is_active), Some(1.0));
        primary = at(&port, "primary");
    }
    assert_eq!(ask(&gateway, "POST", "body").await, from("primary"));
    let services = gateway.admin("/api/gateway/services").await;
    assert_eq!(
        services[0]["failover"],
        json!({ "service": "other", "active": false, "requests": 9 })
    );
    assert_eq!(services[1]["failover"], Value::Null);
}

#[tokio::test]
async fn a_primary_without_a_server_that_takes_requests_passes_everything_on() {
    let (primary, secondary) = (
        named("primary", &status(200)).await,
        named("secondary", &status(200)).await,
    );
    let gateway = failover(&primary, &secondary)
        .balancer(
            "servers",
            json!([{ "url": primary.to_string(), "weight": 0 }]),
        )
        .start()
        .await;
    for h2 in [false, true] {
        let mut client = match h2 {
            true => gateway.h2().await,
            false => gateway.h1().await,
        };
        for (method, body) in [("GET", Body::empty()), ("POST", long(3 << 20))] {
            let mut asked = request(method, "/");
            *asked.body_mut() = body;
            assert_eq!(client.ask(asked).await.text(), "secondary");
        }
    }
    assert_eq!(primary.accepted(), 0);
    assert_eq!(secondary.requests(), 4);
}

#[tokio::test]
async fn an_answer_that_is_no_good_is_asked_for_elsewhere_where_that_is_safe() {
    let primary_status = status(503);
    let primary = named("primary", &primary_status).await;
    let secondary = named("secondary", &status(200)).await;
    let gateway = failover(&primary, &secondary)
        .set("services/backend/failover/on_status", json!(["502-504"]))
        .set("services/backend/failover/max_replay_bytes", "1KiB")
        .start()
        .await;
    let primary_says = |status: u16| (status, "primary".to_owned());
    for (method, length, of_primary, expected) in [
        ("GET", 0, 503, from("secondary")),
        ("PUT", 1024, 503, from("secondary")),
        ("PUT", 1025, 503, primary_says(503)),
        ("PUT", 1 << 20, 503, primary_says(503)),
        ("POST", 0, 503, primary_says(503)),
        ("GET", 0, 500, primary_says(500)),
        ("GET", 0, 505, primary_says(505)),
        ("GET", 0, 200, primary_says(200)),
    ] {
        primary_status.store(of_primary, Ordering::SeqCst);
        let body = vec![b'x'; length];
        let answer = ask(&gateway, method, body.clone()).await;
        assert_eq!(answer, expected, "{method} {length} {of_primary}");
        if expected == from("secondary") {
            assert_eq!(secondary.last().body, body);
        }
    }
    assert_eq!(secondary.requests(), 2);
    // Answers that were thrown away cost no connection.
    assert_eq!(primary.accepted(), 1);
}

#[tokio::test]
async fn the_answer_of_the_primary_is_better_than_none() {
    let primary = named("primary", &status(503)).await;
    let gateway = failover(&primary, "http://127.0.0.1:1")
        .set("services/backend/failover/on_status", json!([503]))
        .start()
        .await;
    assert_eq!(ask(&gateway, "GET", "").await, (503, "primary".to_owned()));
    // Where both are gone it is as if there were one.
    let gateway = failover("http://127.0.0.1:1", "http://127.0.0.1:1")
        .start()
        .await;
    assert_eq!(ask(&gateway, "POST", "body").await.0, 502);
}

#[tokio::test]
async fn what_breaks_off_at_the_primary_is_sent_elsewhere_only_where_it_may_be() {
    let primary = Server::raw(|mut wire, _| async move {
        wire.request().await;
        wire.reset();
    })
    .await;
    let secondary = named("secondary", &status(200)).await;
    let gateway = failover(&primary, &secondary).start().await;
    assert_eq!(ask(&gateway, "GET", "").await, from("secondary"));
    assert_eq!(ask(&gateway, "PUT", "body").await, from("secondary"));
    assert_eq!(secondary.last().body, b"body");
    assert_eq!(ask(&gateway, "POST", "body").await.0, 502);
    assert_eq!(ask(&gateway, "PUT", long(1 << 20)).await.0, 502);
    assert_eq!(secondary.requests(), 2);
}

#[tokio::test]
async fn every_server_of_the_primary_is_tried_before_the_secondary() {
    let good = named("primary", &status(200)).await;
    let secondary = named("secondary", &status(200)).await;
    let gone = json!({ "url": "http://127.0.0.1:1" });
    let gateway = failover(&good, &secondary)
        .balancer(
            "servers",
            json!([gone, { "url": "http://127.0.0.1:2" }, { "url": good.to_string() }]),
        )
        .start()
        .await;
    for method in ["GET", "POST"] {
        for _ in 0..6 {
            assert_eq!(ask(&gateway, method, "body").await, from("primary"));
        }
    }
    assert_eq!(secondary.accepted(), 0);
}

#[tokio::test]
async fn failovers_may_follow_one_another() {
    let last = named("last", &status(200)).await;
    let gone = "http://127.0.0.1:1";
    let gateway = failover(gone, gone)
        .service("third", &last)
        .set("services/other/failover", json!({ "service": "third" }))
        .start()
        .await;
    assert_eq!(ask(&gateway, "POST", long(1 << 20)).await, from("last"));
}

#[tokio::test]
async fn a_fixed_answer_may_stand_in() {
    let gateway = failover("http://127.0.0.1:1", "http://127.0.0.1:1")
        .without("services/other/load_balancer")
        .set("services/other/respond", json!({ "body": "back soon" }))
        .start()
        .await;
    assert_eq!(ask(&gateway, "POST", "body").await, from("back soon"));
}

#[tokio::test]
async fn a_retry_above_asks_both_once_more() {
    let primary = named("primary", &status(503)).await;
    let secondary = named("secondary", &status(502)).await;
    let gateway = failover(&primary, &secondary)
        .set("services/backend/failover/on_status", json!(["500-599"]))
        .set(
            "middlewares/again",
            json!({ "type": "retry", "max_retries": 2, "retry_interval_ms": 0 }),
        )
        .set("routers/all/middlewares", json!(["again"]))
        .start()
        .await;
    let answer = ask(&gateway, "PUT", "the whole body").await;
    assert_eq!(answer, (502, "secondary".to_owned()));
    for server in [&primary, &secondary] {
        assert_eq!(server.requests(), 3);
        assert!(
            server
                .seen()
                .iter()
                .all(|seen| seen.body == b"the whole body")
        );
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_is_not_asked_for_elsewhere() {
    let primary = named("primary", &status(200)).await;
    let secondary = named("secondary", &status(200)).await;
    let gateway = failover(&primary, &secondary).start().await;
    let answer = gateway
        .ask("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .await;
    assert_eq!(answer.status(), 400);
    let mut wire = gateway.wire().await;
    wire.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    eventually("the upload is seen", || {
        primary.seen().iter().any(|seen| seen.body == b"half")
    })
    .await;
    drop(wire);
    assert_eq!(primary.upload_over().await, Upload::Broken);
    assert_eq!(ask(&gateway, "GET", "").await, from("primary"));
    assert_eq!(secondary.accepted(), 0);
}

/// Any of these may answer.
struct AnyOf(&'static [&'static str]);

impl Question for AnyOf {
    type Asked = ();

    fn ask(&self, number: u64) -> (String, ()) {
        (format!("/{number}"), ())
    }

    fn check(&self, _: &str, (): (), body: &str) -> Result<(), String> {
        match self.0.contains(&body) {
            true => Ok(()),
            false => Err(format!("one of {:?}", self.0)),
        }
    }
}

#[tokio::test]
async fn nobody_notices_a_primary_that_dies_and_comes_back_while_reloads_go_on() {
    let port = Port::reserve();
    let secondary = named("secondary", &status(200)).await;
    let mut primary = at(&port, "primary");
    let setup = failover(format!("http://{}", port.address()), &secondary).with_all_workers();
    let gateway = setup.start().await;
    let load = Load::start(
        gateway.address(),
        (4, 4),
        Told::Reconnects,
        AnyOf(&["primary", "secondary"]),
    )
    .await;
    for round in 0..10_u32 {
        match round % 4 {
            1 => {
                die(std::mem::take(&mut primary)).await;
                load.more(20).await;
            }
            3 => primary = at(&port, "primary"),
            _ => {}
        }
        // One changes the failover, one another service, and one nothing.
        let changed = match round % 3 {
            0 => setup
                .clone()
                .set("services/backend/failover/max_replay_bytes", 1024 + round),
            1 => setup.clone().service("more", "http://127.0.0.1:1"),
            _ => setup.clone(),
        };
        gateway.become_(&changed).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let tally = load.stop().await;
    tally.is_clean();
    println!("{}", tally.numbers());
    assert!(secondary.requests() > 0);
    let requests = "gateway_service_failovers_total{service=\"backend\"}";
    let seen = secondary.requests() as f64;
    assert_eq!(gateway.metric(requests), Some(seen), "counts go on");
}

/// A TCP server that says its name to everybody.
async fn saying(name: &'static str) -> (Server, String) {
    let server = Server::raw(move |mut wire, _| async move {
        let _ = wire.try_send(name).await;
        wire.hang().await;
    })
    .await;
    let url = server.url("tcp");
    (server, url)
}

async fn hears(gateway: &TestGateway) -> String {
    let address = gateway.address_of("db").await;
    let mut heard = String::new();
    // It may be reset before the client knows of it.
    if let Ok(mut stream) = connect_from([127, 0, 0, 1], address).await {
        let _ = stream.shutdown().await;
        let _ = within("the answer", stream.read_to_string(&mut heard)).await;
    }
    heard
}

#[tokio::test]
async fn connections_are_led_to_the_secondary_where_nobody_can_be_dialled() {
    let setup = |primary: &[&str], secondary: &str| {
        let servers: Vec<_> = primary.iter().map(|url| json!({ "url": url })).collect();
        Setup::new()
            .route("all", "PathPrefix(`/`)", "web")
            .set("services/web/respond", json!({}))
            .set(
                "entrypoints/db",
                json!({ "address": "127.0.0.1:0", "protocol": "tcp" }),
            )
            .set(
                "routers/db",
                json!({ "rule": "HostSNI(`*`)", "service": "db", "entrypoints": ["db"] }),
            )
            .set("services/db/load_balancer/servers", json!(servers))
            .set("services/db/failover/service", "replica")
            .service("replica", secondary)
    };
    let (_one, primary) = saying("primary").await;
    let (_two, secondary) = saying("secondary").await;
    let gone = "tcp://127.0.0.1:1";
    let gateway = setup(&[gone, &primary], &secondary).start().await;
    for _ in 0..4 {
        assert_eq!(hears(&gateway).await, "primary");
    }
    gateway.become_(&setup(&[gone], &secondary)).await;
    assert_eq!(hears(&gateway).await, "secondary");
    let active = "gateway_service_failover_active{service=\"db\"}";
    assert_eq!(gateway.metric(active), Some(1.0));
    gateway.become_(&setup(&[&primary], &secondary)).await;
    assert_eq!(hears(&gateway).await, "primary");
    assert_eq!(gateway.metric(active), Some(0.0));
    // Nobody anywhere: reset, as without a failover.
    gateway.become_(&setup(&[gone], gone)).await;
    assert_eq!(hears(&gateway).await, "");
}
