//! Tunnels behind middlewares, at their servers, and at the end of connections.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::Response;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::switch::{ASK, GRANT, echo, says_and_hears, switched};
use support::{End, Process, Server, Setup, Wire, connect, eventually, within};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a server says to take leave, and a client.
const GOING_AWAY: [u8; 4] = [0x88, 2, 3, 0xe9];
const SO_AM_I: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe9];

/// A server that grants everything, and whose connections a test has in hand.
async fn in_hand() -> (Server, UnboundedReceiver<(Wire, UnboundedSender<()>)>) {
    let (tell, wires) = unbounded_channel();
    let server = Server::raw(move |mut wire, _| {
        let tell = tell.clone();
        async move {
            if wire.try_head().await.is_some() {
                wire.send(GRANT).await;
                // It counts as open until the test has done with it.
                let (open, mut done) = unbounded_channel();
                let _ = tell.send((wire, open));
                done.recv().await;
            }
        }
    })
    .await;
    (server, wires)
}

#[tokio::test]
async fn middlewares_see_the_handshake_and_leave_the_tunnel_alone() {
    let (server, mut heads) = echo(GRANT).await;
    let shadow = Server::start().await;
    let pages = Server::start().await;
    let middlewares = [
        ("breaker", json!({ "type": "circuit-breaker" })),
        (
            "buffering",
            json!({ "type": "buffering", "max_request_body": "1KiB", "max_response_body": "1KiB" }),
        ),
        ("compress", json!({ "type": "compress", "min_size": 1 })),
        (
            "cors",
            json!({ "type": "cors", "allowed_origins": ["http://a"] }),
        ),
        (
            "headers",
            json!({
                "type": "headers", "request_headers": { "X-Set": "1" }, "response_headers": { "X-Set": "2" },
            }),
        ),
        ("id", json!({ "type": "request-id" })),
        (
            "limit",
            json!({ "type": "body-limit", "max_body_bytes": 0 }),
        ),
        ("many", json!({ "type": "in-flight", "max": 10 })),
        (
            "pages",
            json!({ "type": "error-pages", "status": ["400-599"], "service": "pages", "query": "/{status}.html" }),
        ),
        ("retry", json!({ "type": "retry", "max_retries": 3 })),
        ("soon", json!({ "type": "timeout", "duration": "100ms" })),
        ("web", json!({ "type": "grpc-web" })),
    ];
    let names: Vec<_> = middlewares.iter().map(|(name, _)| *name).collect();
    let mut setup = Setup::to(&server)
        .service("shadow", &shadow)
        .service("pages", &pages)
        .set("services/backend/mirror/service", "shadow")
        .set("services/backend/failover/service", "shadow")
        .set("routers/all/timeout", "100ms")
        .set("routers/all/middlewares", json!(names));
    for (name, middleware) in middlewares {
        setup = setup.set(&format!("middlewares/{name}"), middleware);
    }
    let gateway = setup.start().await;
    let mut wire = gateway.wire().await;
    wire.send(ASK).await;
    let answer = wire.head().await;
    assert_eq!(
        (answer.status(), answer.header("x-set").as_deref()),
        (101, Some("2"))
    );
    let head = within("a head", heads.recv()).await.unwrap();
    assert_eq!(head.header("x-set").as_deref(), Some("1"));
    // For longer than any exchange may take.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(250) {
        says_and_hears(&mut wire, &"x".repeat(2000)).await;
    }
    assert_eq!(
        (server.accepted(), shadow.requests(), pages.requests()),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn what_is_refused_behind_a_retry_was_asked_once() {
    let server = Server::says("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy").await;
    let other = Server::says("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy").await;
    let gateway = Setup::to_each([&server, &other])
        .set(
            "middlewares/retry",
            json!({ "type": "retry", "max_retries": 3 }),
        )
        .set("routers/all/middlewares", json!(["retry"]))
        .start()
        .await;
    let answer = gateway.ask(ASK).await;
    assert_eq!((answer.status(), answer.text()), (503, "busy".into()));
    assert_eq!(server.accepted() + other.accepted(), 1);
}

#[tokio::test]
async fn another_service_decides_who_gets_a_tunnel() {
    let auth = Server::http(|request| async move {
        let is_known = request.headers().contains_key("cookie");
        let answer = Response::builder().header("x-user", "ada");
        let answer = answer.status(if is_known { 200 } else { 401 });
        answer.body(Body::empty()).unwrap()
    })
    .await;
    let (server, mut heads) = echo(GRANT).await;
    let settings = json!({
        "type": "forward-auth", "forward_auth_url": auth.url("http"), "forward_auth_response_headers": ["X-User"],
    });
    let gateway = Setup::to(&server)
        .set("middlewares/auth", settings)
        .set("routers/all/middlewares", json!(["auth"]))
        .start()
        .await;
    let mut wire = gateway.wire().await;
    wire.send(ASK.replace("Cookie: c=1\r\n", "X-User: root\r\n"))
        .await;
    assert_eq!(wire.answer().await.status(), 401);
    assert_eq!(auth.last().header("upgrade"), None);
    wire.send(format!("{ASK}early")).await;
    assert_eq!(wire.head().await.status(), 101);
    assert_eq!(wire.exactly(5).await, b"early");
    let head = within("a head", heads.recv()).await.unwrap();
    assert_eq!(head.header("x-user").as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_tunnel_has_a_place_at_its_server_until_it_ends() {
    let (server, _heads) = echo(GRANT).await;
    let gateway = Setup::to(&server)
        .balancer("max_in_flight", 1)
        .start()
        .await;
    let mut wire = switched(&gateway).await;
    says_and_hears(&mut wire, "here").await;
    assert_eq!(gateway.ask(ASK).await.status(), 503);
    wire.end().await;
    assert_eq!(wire.rest().await, (b"bye".to_vec(), End::Closed));
    within("a place", async {
        while gateway.ask(ASK).await.status() != 101 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_breaks_off_is_to_blame_and_a_client_is_not() {
    let breaks = Arc::new(AtomicBool::new(false));
    let server = Server::raw({
        let breaks = Arc::clone(&breaks);
        move |mut wire, _| {
            let breaks = breaks.load(Ordering::Relaxed);
            async move {
                wire.head().await;
                wire.send(GRANT).await;
                match breaks {
                    true => wire.reset(),
                    false => wire.hang().await,
                }
            }
        }
    })
    .await;
    let (good, _heads) = echo(GRANT).await;
    let outlier = json!({ "consecutive_errors": 2, "max_ejected_percent": 50 });
    let gateway = Setup::to_each([&server, &good])
        .balancer("outlier", outlier)
        .start()
        .await;
    for _ in 0..8 {
        switched(&gateway).await.reset();
    }
    eventually("all have left", || server.open() + good.open() == 0).await;
    assert_eq!((server.accepted(), good.accepted()), (4, 4));
    breaks.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        let mut client = switched(&gateway).await;
        client.end().await;
        client.rest().await;
    }
    eventually("the server is ejected", || server.open() == 0).await;
    for _ in 0..4 {
        let mut client = switched(&gateway).await;
        says_and_hears(&mut client, "here").await;
    }
    assert_eq!(server.accepted(), 6);
}

#[tokio::test]
async fn leave_is_taken_between_two_frames() {
    let (server, mut wires) = in_hand().await;
    let gateway = Setup::to(&server).start().await;
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..3 {
        clients.push(switched(&gateway).await);
        servers.push(within("a server", wires.recv()).await.unwrap());
    }
    let [idle, busy, lost] = &mut clients[..] else {
        unreachable!()
    };
    // Half of a frame, and something that is none.
    servers[1].0.send([0x81, 4, b'a', b'b']).await;
    assert_eq!(busy.exactly(4).await, [0x81, 4, b'a', b'b']);
    servers[2].0.send("SPDY?").await;
    assert_eq!(lost.exactly(5).await, b"SPDY?");
    let talk = async {
        // Who hears this knows that it has begun.
        assert_eq!(idle.exactly(4).await, GOING_AWAY);
        // What the client had to say before it hears of that is heard.
        idle.send([&[0x81, 0x81, 0, 0, 0, 0, b'x'][..], &SO_AM_I].concat())
            .await;
        assert_eq!(
            servers[0].0.exactly(15).await[..7],
            [0x81, 0x81, 0, 0, 0, 0, b'x']
        );
        servers[0].0.send(GOING_AWAY).await;
        servers[0].0.end().await;
        assert_eq!(idle.rest().await, (Vec::new(), End::Closed));

        servers[1]
            .0
            .send([&[b'c', b'd'][..], &[0x81, 1, b'y']].concat())
            .await;
        assert_eq!(busy.exactly(6).await, [b'c', b'd', 0x88, 2, 3, 0xe9]);
        // It does not answer: the server hears of it from us, in a frame as a client's are.
        let heard = servers[1].0.exactly(8).await;
        assert_eq!(heard[..2], [0x88, 0x82]);
        assert_eq!([heard[2] ^ heard[6], heard[3] ^ heard[7]], [3, 0xe9]);
        servers[1].0.send(GOING_AWAY).await;
        assert_eq!(busy.rest().await, (Vec::new(), End::Closed));
        busy.end().await;

        // Nobody puts words where they might be taken for something else.
        servers[2].0.send("more").await;
        assert_eq!(lost.exactly(4).await, b"more");
        servers[2].0.end().await;
        lost.end().await;
        assert_eq!(lost.rest().await, (Vec::new(), End::Closed));
    };
    within("the end", async { tokio::join!(gateway.shutdown(), talk) }).await;
}

#[tokio::test]
async fn who_has_not_ended_with_the_drain_is_cut_off() {
    let (server, _heads) = echo("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").await;
    let gateway = Setup::to(&server)
        .set("shutdown_timeout_secs", 0)
        .start()
        .await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.status(), 101);
    says_and_hears(&mut wire, "here").await;
    within("the shutdown", gateway.shutdown()).await;
    assert_eq!(wire.rest().await, (Vec::new(), End::Reset));
    eventually("the server is left", || server.open() == 0).await;
}

#[tokio::test]
async fn an_entrypoint_that_goes_takes_its_tunnels_along_and_no_other() {
    let (server, mut wires) = in_hand().await;
    let both = Setup::to(&server).set("entrypoints/other/address", "127.0.0.1:0");
    let gateway = both.start().await;
    let mut stays = switched(&gateway).await;
    let (mut at_stays, _open) = within("a server", wires.recv()).await.unwrap();
    let mut goes = Wire::new(connect(gateway.address_of("other").await).await);
    goes.send(ASK).await;
    assert_eq!(goes.head().await.status(), 101);
    gateway.become_(&Setup::to(&server)).await;
    assert_eq!(goes.exactly(4).await, GOING_AWAY);
    at_stays.send([0x81, 1, b'x']).await;
    assert_eq!(stays.exactly(3).await, [0x81, 1, b'x']);
}

#[tokio::test]
async fn tunnels_at_rest_cost_little() {
    const TUNNELS: usize = 200;
    let (server, _heads) = echo(GRANT).await;
    let text = Setup::to(&server).text();
    let process = Process::start(&text, &["web"]).await;
    let open = async || {
        let mut wire = Wire::new(connect(process.address("web")).await);
        wire.send(ASK).await;
        assert_eq!(wire.head().await.status(), 101);
        says_and_hears(&mut wire, &"x".repeat(100_000)).await;
        wire
    };
    // What is there once for all of them.
    let mut wires = vec![open().await, open().await];
    let before = process.resident_bytes();
    for _ in 0..TUNNELS {
        wires.push(open().await);
    }
    let each = process.resident_bytes().saturating_sub(before) / TUNNELS as u64;
    println!("{each} bytes each");
    assert!(each < 48 * 1024, "{each} bytes each");
    says_and_hears(&mut wires[0], "still here").await;
}

#[tokio::test]
async fn the_end_of_a_tunnel_is_logged() {
    let (server, _heads) = echo(GRANT).await;
    let text = Setup::to(&server).text();
    let level = ["--log-level", "a3s_gateway=debug"];
    let process = Process::start_with(&text, &["web"], &level).await;
    for resets in [false, true] {
        let mut wire = Wire::new(connect(process.address("web")).await);
        wire.send(ASK).await;
        assert_eq!(wire.head().await.status(), 101);
        says_and_hears(&mut wire, "hello").await;
        if resets {
            wire.reset();
            process.logs("why=\"the client broke off\"").await;
        } else {
            wire.end().await;
            wire.rest().await;
            process.logs("why=\"ended\"").await;
        }
    }
    let server = format!("service=\"backend\" server={} ", server.address());
    for words in [&*server, "peer=127.0.0.1:", "received=5 sent=8 seconds="] {
        assert!(process.has_logged(words), "{words} in {}", process.log());
    }
}
