//! What a server does wrong gives 502 or 504, or a broken-off response, and the gateway goes on.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::server::Recorded;
use support::{End, Server, Setup, TestGateway, Wire, eventually, frames, request, within};
use tokio::sync::{Notify, Semaphore};

const GET: &str = "GET /x HTTP/1.1\r\nHost: test.example\r\n\r\n";

/// A gateway with a bad server at `/`, and a good one at `/good`.
async fn beside_a_good_server(bad: &str) -> (Server, TestGateway) {
    let good = Server::start().await;
    let gateway = setup(bad, &good).start().await;
    (good, gateway)
}

fn setup(bad: &str, good: &Server) -> Setup {
    Setup::to(bad)
        .route("good", "PathPrefix(`/good`)", "good")
        .service("good", good)
}

async fn goes_on(gateway: &TestGateway) {
    let answer = gateway
        .ask("GET /good HTTP/1.1\r\nHost: test.example\r\n\r\n")
        .await;
    assert_eq!((answer.status(), answer.text()), (200, "/good".to_owned()));
}

#[tokio::test]
async fn a_server_that_refuses_connections_gives_502() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for scheme in ["http", "h2c", "https"] {
        let (_good, gateway) = beside_a_good_server(&format!("{scheme}://{address}")).await;
        let answer = gateway.ask(GET).await;
        assert_eq!(answer.status(), 502, "{scheme}");
        let text = answer.text();
        assert!(!text.contains("127.0.0.1"), "names the server: {text}");
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn a_server_name_that_does_not_resolve_gives_503() {
    let (_good, gateway) = beside_a_good_server("http://no-such-host.invalid:80").await;
    assert_eq!(gateway.ask(GET).await.status(), 503);
    goes_on(&gateway).await;
}

#[tokio::test]
async fn a_server_that_does_not_accept_in_time_gives_504() {
    // A full backlog drops what comes next.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let connect = tokio::net::TcpStream::connect(address);
        waiting.push(tokio::time::timeout(Duration::from_millis(50), connect).await);
    }
    let good = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = setup(&format!("{scheme}://{address}"), &good)
            .balancer("timeouts", serde_json::json!({ "connect": "300ms" }))
            .start()
            .await;
        let began = Instant::now();
        let mut wires = Vec::new();
        for _ in 0..10 {
            let mut wire = gateway.wire().await;
            wire.send(GET).await;
            wires.push(wire);
        }
        for wire in &mut wires {
            assert_eq!(wire.answer().await.status(), 504, "{scheme}");
        }
        // They do not wait for each other's attempts, though one HTTP/2 connection would be enough for all.
        assert!(began.elapsed() < Duration::from_millis(1500), "{scheme}");
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn a_server_that_ends_before_its_head_is_whole_gives_502() {
    for resets in [true, false] {
        for says in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n",
        ] {
            let server = Server::raw(move |mut wire, _| async move {
                wire.try_head().await;
                wire.send(says).await;
                if resets {
                    wire.reset();
                }
            })
            .await;
            let (_good, gateway) = beside_a_good_server(&server.to_string()).await;
            let answer = gateway.ask(GET).await;
            assert_eq!(answer.status(), 502, "{says:?} {resets}");
            // A new connection that fails is not tried again.
            assert_eq!(server.accepted(), 1, "{says:?} {resets}");
            goes_on(&gateway).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_gives_502() {
    let large = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "a".repeat(2 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: 1\r\n".repeat(10_000));
    for says in [
        "rubbish\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x01\x00\x02\x02\x28\r\n\r\n",
        "200 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n1\r\na\r\n0\r\n\r\n",
        // Nobody asked for another protocol.
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        &large,
        &many,
    ] {
        println!("{:?}", &says[..says.len().min(100)]);
        let server = Server::says(says.to_owned()).await;
        let (_good, gateway) = beside_a_good_server(&server.to_string()).await;
        assert_eq!(gateway.ask(GET).await.status(), 502);
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn a_grpc_request_gets_its_failure_as_a_grpc_status() {
    let server = Server::says("rubbish\r\n\r\n").await;
    let gateway = Setup::to(&server).start().await;
    let mut call = request("POST", "/package.Service/Method");
    let grpc = "application/grpc".parse().unwrap();
    call.headers_mut().insert("content-type", grpc);
    let reply = gateway.h2().await.ask(call).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
}

#[tokio::test]
async fn an_answer_with_two_framings_reaches_the_client_with_one() {
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let server = Server::raw(move |mut wire, _| async move {
            while wire.try_head().await.is_some() {
                let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nab\r\n0\r\n\r\n");
                let _ = wire.try_send(answer).await;
            }
        })
        .await;
        let gateway = Setup::to(&server).start().await;
        let mut wire = gateway.wire().await;
        for _ in 0..3 {
            wire.send(GET).await;
            let answer = wire.answer().await;
            assert!(matches!(answer.status(), 200 | 502), "{answer:?}");
            if answer.status() == 200 {
                assert_eq!(answer.header("content-length"), None);
                assert_eq!(answer.text(), "ab");
            }
        }
    }
}

#[tokio::test]
async fn one_length_said_twice_reaches_the_client_once() {
    for head in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
    ] {
        let server = Server::says(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nab")).await;
        let gateway = Setup::to(&server).start().await;
        let answer = gateway.ask(GET).await;
        assert!(matches!(answer.status(), 200 | 502), "{head}: {answer:?}");
        if answer.status() == 200 {
            assert_eq!(answer.header("content-length").as_deref(), Some("2"));
            assert_eq!(answer.text(), "ab");
        }
    }
}

#[tokio::test]
async fn a_server_that_never_answers_gives_504_and_is_left() {
    let server = Server::raw(|wire, _| wire.hang()).await;
    let h2 = Server::http(|_: Request<Recorded>| std::future::pending::<Response<Body>>()).await;
    for (url, server) in [
        (server.to_string(), &server),
        (h2.url("http"), &h2),
        (h2.url("h2c"), &h2),
    ] {
        let good = Server::start().await;
        let gateway = setup(&url, &good)
            .balancer("timeouts", serde_json::json!({ "response": "300ms" }))
            .start()
            .await;
        let began = Instant::now();
        let answer = gateway.ask(GET).await;
        assert_eq!(answer.status(), 504, "{url}");
        assert!(began.elapsed() >= Duration::from_millis(300));
        if !url.starts_with("h2c") {
            eventually("its connection is closed", || server.open() == 0).await;
        }
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_gives_504_and_is_left() {
    let server = Server::raw(|wire, _| wire.hang()).await;
    let h2 = Server::http(|request: Request<Recorded>| async move {
        let _body = request;
        std::future::pending::<Response<Body>>().await
    })
    .await;
    for (url, server) in [(server.to_string(), &server), (h2.url("h2c"), &h2)] {
        let good = Server::start().await;
        let gateway = setup(&url, &good)
            .balancer("timeouts", serde_json::json!({ "response": "300ms" }))
            .start()
            .await;
        let mut client = gateway.h2().await;
        let mut upload = request("POST", "/");
        *upload.body_mut() = support::body::long(64 << 20);
        assert_eq!(client.ask(upload).await.status, 504, "{url}");
        if !url.starts_with("h2c") {
            eventually("its connection is closed", || server.open() == 0).await;
        }
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn the_time_to_answer_begins_when_the_request_has_been_sent() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .balancer("timeouts", serde_json::json!({ "response": "300ms" }))
        .start()
        .await;
    let mut wire = gateway.wire().await;
    wire.send("POST /x HTTP/1.1\r\nHost: test.example\r\nContent-Length: 8\r\n\r\n")
        .await;
    for _ in 0..8 {
        // Slower in all than the server may be.
        let (heard, _) = wire.listen(Duration::from_millis(100)).await;
        assert!(heard.is_empty(), "{:?}", String::from_utf8_lossy(&heard));
        wire.send("x").await;
    }
    assert_eq!(wire.answer().await.status(), 200);
}

/// Reads a response that is broken off, when it has begun and the server is told to `go` on.
async fn is_broken_off(gateway: &TestGateway, go: &Notify, what: &str) {
    let mut wire = gateway.wire().await;
    wire.send(GET).await;
    let head = wire.head().await;
    assert_eq!(head.status(), 200, "{what}");
    go.notify_one();
    let (body, _) = wire.rest().await;
    let text = String::from_utf8_lossy(&body);
    match head.header("content-length") {
        Some(length) => assert!(body.len() < length.parse().unwrap(), "{what}: {text}"),
        None => {
            let coding = head.header("transfer-encoding");
            assert_eq!(coding.as_deref(), Some("chunked"), "{what}");
            assert!(!text.ends_with("0\r\n\r\n"), "{what}: {text}");
        }
    }
    let mut h2 = gateway.h2().await;
    let response = h2.send(request("GET", "/x")).await;
    assert_eq!(response.status(), 200, "{what}");
    go.notify_one();
    let reply = support::client::read(response).await;
    assert!(reply.is_err(), "{what}: {reply:?}");
}

#[tokio::test]
async fn a_body_that_ends_early_breaks_off_the_client() {
    for resets in [true, false] {
        for says in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: 1\r\n",
            // Read until the connection ends: only a reset tells that it should not have.
            "HTTP/1.1 200 OK\r\n\r\nabc",
        ] {
            if !resets && !says.contains("Content-Length") && !says.contains("chunked") {
                continue;
            }
            let go = Arc::new(Notify::new());
            let server = Server::raw({
                let go = Arc::clone(&go);
                move |mut wire, _| {
                    let go = Arc::clone(&go);
                    async move {
                        wire.head().await;
                        wire.send(says).await;
                        go.notified().await;
                        if resets {
                            wire.reset();
                        }
                    }
                }
            })
            .await;
            let (_good, gateway) = beside_a_good_server(&server.to_string()).await;
            is_broken_off(&gateway, &go, &format!("{says:?} {resets}")).await;
            goes_on(&gateway).await;
        }
    }
}

#[tokio::test]
async fn rubbish_within_a_body_breaks_off_the_client() {
    let says = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nrubbish";
    let server = Server::raw(move |mut wire, _| async move {
        wire.head().await;
        wire.send(says).await;
    })
    .await;
    let (_good, gateway) = beside_a_good_server(&server.to_string()).await;
    let mut wire = gateway.wire().await;
    wire.send(GET).await;
    // The end may be known before a byte has gone out.
    let (all, _) = wire.rest().await;
    let text = String::from_utf8_lossy(&all);
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
    goes_on(&gateway).await;
}

#[tokio::test]
async fn a_body_that_stalls_breaks_off_the_client() {
    for says in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\n\r\nabc",
    ] {
        let server = Server::raw(move |mut wire, _| async move {
            wire.head().await;
            wire.send(says).await;
            wire.hang().await;
        })
        .await;
        let good = Server::start().await;
        let gateway = setup(&server.to_string(), &good)
            .balancer("timeouts", serde_json::json!({ "idle": "200ms" }))
            .start()
            .await;
        is_broken_off(&gateway, &Notify::new(), says).await;
        eventually("its connections are closed", || server.open() == 0).await;
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_reaches_the_client() {
    let server = Server::raw(|mut wire, _| async move {
        wire.head().await;
        wire.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge",
        )
        .await;
        wire.end().await;
        wire.hang().await;
    })
    .await;
    let (_good, gateway) = beside_a_good_server(&server.to_string()).await;
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut wire = gateway.wire().await;
        wire.send(format!(
            "POST /x HTTP/1.1\r\nHost: test.example\r\n{framing}\r\n\r\n5\r\nhello\r\n"
        ))
        .await;
        // While most of the body is still to come.
        let answer = wire.answer().await;
        assert_eq!(
            (answer.status(), answer.text()),
            (413, "large".to_owned()),
            "{framing}"
        );
        // The connection is in the middle of a body: no request can be read from it any more.
        let _ = wire.try_send(GET).await;
        let (more, _) = wire.rest().await;
        assert_eq!(String::from_utf8_lossy(&more), "", "{framing}");
        goes_on(&gateway).await;
    }
    // Two requests, two connections: neither can be used again.
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn an_early_answer_on_a_connection_that_stays_open_harms_nobody() {
    let server = Server::raw(|mut wire, _| async move {
        while let Some(head) = wire.try_head().await {
            let path = head.line.split(' ').nth(1).unwrap().to_owned();
            let length = path.len();
            let _ = wire
                .try_send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}"
                ))
                .await;
        }
    })
    .await;
    let gateway = Setup::to(&server).start().await;
    let mut upload = gateway.wire().await;
    upload
        .send("POST /upload HTTP/1.1\r\nHost: test.example\r\nContent-Length: 1000\r\n\r\nGET /evil HTTP/1.1\r\n\r\n")
        .await;
    assert_eq!(upload.answer().await.text(), "/upload");
    let mut honest = gateway.h1().await;
    for n in 0..10 {
        let path = format!("/honest/{n}");
        assert_eq!(honest.get(&path).await.text(), path);
    }
}

#[tokio::test]
async fn what_a_server_says_unasked_answers_nobody() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for says in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood{evil}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n{evil}"
        ),
        format!("HTTP/1.1 204 No Content\r\n\r\n{evil}"),
        format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n{evil}"),
    ] {
        let says = Arc::new(says);
        let server = Server::raw({
            let says = Arc::clone(&says);
            move |mut wire, _| {
                let says = Arc::clone(&says);
                async move {
                    while wire.try_head().await.is_some() {
                        let _ = wire.try_send(says.as_bytes()).await;
                    }
                }
            }
        })
        .await;
        let gateway = Setup::to(&server).start().await;
        let mut clients = [gateway.h1().await, gateway.h1().await];
        for n in 0..20 {
            let reply = clients[n % 2].get("/").await;
            assert!(reply.text() != "evil", "{says:?}: request {n}");
            let status = reply.status.as_u16();
            assert!(
                matches!(status, 200 | 204 | 304 | 502),
                "{says:?}: {reply:?}"
            );
        }
    }
}

/// Answers the first request of each connection and then, on the first connection, reads one more and closes.
async fn closes_on_reuse(heads: Arc<AtomicUsize>, resets: bool) -> Server {
    Server::raw(move |mut wire: Wire, number| {
        let heads = Arc::clone(&heads);
        async move {
            let mut answered = 0;
            while let Some(_request) = wire.request().await {
                heads.fetch_add(1, Ordering::SeqCst);
                if number == 0 && answered == 1 {
                    if resets {
                        wire.reset();
                    }
                    return;
                }
                answered += 1;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_request_that_meets_a_closed_connection_is_sent_on_a_fresh_one_if_it_may_be() {
    for resets in [false, true] {
        for (method, body, status, heads_seen) in [
            ("GET", "", 200, 3),
            ("HEAD", "", 200, 3),
            ("OPTIONS", "", 200, 3),
            ("DELETE", "", 200, 3),
            ("POST", "", 502, 2),
            ("PATCH", "", 502, 2),
            ("POST", "body", 502, 2),
            ("PUT", "body", 502, 2),
        ] {
            let what = format!("{method} {body:?} {resets}");
            let heads = Arc::new(AtomicUsize::new(0));
            let server = closes_on_reuse(Arc::clone(&heads), resets).await;
            let gateway = Setup::to(&server).start().await;
            let mut client = gateway.h1().await;
            assert_eq!(client.get("/").await.status, 200, "{what}");
            let mut again = request(method, "/");
            *again.body_mut() = Body::from(body);
            assert_eq!(client.ask(again).await.status, status, "{what}");
            assert_eq!(heads.load(Ordering::SeqCst), heads_seen, "{what}");
            assert_eq!(client.get("/").await.status, 200, "{what}");
        }
    }
}

#[tokio::test]
async fn a_request_that_a_server_dies_of_is_sent_twice_at_most() {
    let killers = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let (count, opens) = (Arc::clone(&killers), Arc::clone(&gate));
    let server = Server::raw(move |mut wire: Wire, _| {
        let (count, opens) = (Arc::clone(&count), Arc::clone(&opens));
        async move {
            while let Some(request) = wire.request().await {
                if request.line.contains("/die") {
                    count.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                opens.acquire().await.unwrap().forget();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await;
    let gateway = Setup::to(&server).start().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut wire = gateway.wire().await;
        wire.send(GET).await;
        clients.push(wire);
    }
    eventually("each has its connection", || server.open() == 5).await;
    gate.add_permits(clients.len());
    for wire in &mut clients {
        assert_eq!(wire.answer().await.status(), 200);
    }
    let answer = gateway
        .ask("GET /die HTTP/1.1\r\nHost: test.example\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 502);
    assert_eq!(killers.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_was_idle_is_not_used() {
    let server = Server::raw(|mut wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
    })
    .await;
    let gateway = Setup::to(&server)
        .route("ping", "PathPrefix(`/ping`)", "ping")
        .set("services/ping/respond/status", 200)
        .start()
        .await;
    let mut client = gateway.h1().await;
    for n in 1..=20 {
        // Each may be sent once only.
        let mut post = request("POST", "/");
        *post.body_mut() = Body::from("body");
        assert_eq!(client.ask(post).await.status, 200, "request {n}");
        assert_eq!(server.accepted(), n);
        eventually("the server has closed", || server.open() == 0).await;
        // The only worker hears of that no later than of this.
        assert_eq!(client.get("/ping").await.status, 200);
    }
}

#[tokio::test]
async fn an_h2_server_that_breaks_streams_or_connections_gives_502() {
    let says: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        (
            "HTTP/1.1",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        ("RST_STREAM", frames::frame(3, 0, 1, &2u32.to_be_bytes())),
        ("GOAWAY", frames::frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2])),
        ("half a frame", vec![0, 0, 9, 1]),
        (
            "a bad header block",
            frames::frame(1, 5, 1, &[0xff, 0xff, 0xff]),
        ),
    ];
    for (what, says) in says {
        let settings = what != "HTTP/1.1";
        let says = Arc::new(says);
        let server = Server::raw(move |mut wire, _| {
            let says = Arc::clone(&says);
            async move {
                if settings {
                    wire.send(frames::frame(4, 0, 0, &[])).await;
                }
                wire.until(b"SM\r\n\r\n").await;
                while frames::read(&mut wire)
                    .await
                    .is_some_and(|frame| frame.0 != frames::HEADERS)
                {}
                let _ = wire.try_send(&*says).await;
                let _ = wire.end().await;
                wire.hang().await;
            }
        })
        .await;
        let (_good, gateway) = beside_a_good_server(&server.url("h2c")).await;
        let answer = within(what, gateway.ask(GET)).await;
        assert_eq!(answer.status(), 502, "{what}");
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn an_h2_body_that_is_reset_breaks_off_the_client() {
    let go = Arc::new(Notify::new());
    let server = Server::http({
        let go = Arc::clone(&go);
        move |_: Request<Recorded>| {
            let go = Arc::clone(&go);
            let (feed, body) = support::body::feed();
            tokio::spawn(async move {
                feed.data("abc").await;
                go.notified().await;
                feed.break_off().await;
            });
            std::future::ready(Response::new(body))
        }
    })
    .await;
    for scheme in ["h2c", "http"] {
        let (_good, gateway) = beside_a_good_server(&server.url(scheme)).await;
        is_broken_off(&gateway, &go, scheme).await;
        goes_on(&gateway).await;
    }
}

#[tokio::test]
async fn a_body_without_length_ends_with_its_connection() {
    for says in ["HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.0 200 OK\r\n\r\nabc"] {
        let server = Server::says(says).await;
        let gateway = Setup::to(&server).start().await;
        let mut wire = gateway.wire().await;
        for _ in 0..2 {
            wire.send(GET).await;
            let answer = wire.answer().await;
            assert_eq!((answer.status(), answer.text()), (200, "abc".to_owned()));
        }
        drop(wire);
        let old = "GET / HTTP/1.0\r\nHost: test.example\r\n\r\n";
        let (answer, rest, end) = gateway.ask_to_end(old).await;
        assert_eq!((answer.status(), answer.text()), (200, "abc".to_owned()));
        assert_eq!((rest.len(), end), (0, End::Closed));
    }
}

#[tokio::test]
async fn an_h2_server_that_says_goodbye_after_each_answer_loses_no_request() {
    let server = Server::raw(|mut wire, _| async move {
        wire.send(frames::frame(frames::SETTINGS, 0, 0, &[])).await;
        wire.until(b"SM\r\n\r\n").await;
        while let Some((kind, _, stream, _)) = frames::read(&mut wire).await {
            if kind == frames::HEADERS {
                let answer = frames::frame(frames::HEADERS, 5, stream, &[0x88]);
                let goodbye = [stream.to_be_bytes(), [0; 4]].concat();
                let goodbye = frames::frame(frames::GOAWAY, 0, 0, &goodbye);
                let _ = wire.try_send([answer, goodbye].concat()).await;
            }
        }
    })
    .await;
    let gateway = Setup::to(server.url("h2c")).start().await;
    let mut client = gateway.h1().await;
    for n in 1..=20 {
        // Each may be sent once only.
        let mut post = request("POST", "/");
        *post.body_mut() = Body::from("body");
        assert_eq!(client.ask(post).await.status, 200, "request {n}");
        assert_eq!(server.accepted(), n);
    }
}

#[tokio::test]
async fn a_server_that_never_comes_to_the_point_fails_and_holds_nobody_up() {
    // 103, as a literal that no table remembers.
    let early = frames::frame(frames::HEADERS, 4, 1, b"\x08\x03103");
    let says = [
        ("http", b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)),
        ("h2c", early.repeat(100)),
    ];
    for (scheme, says) in says {
        let says = Arc::new(says);
        let server = Server::raw(move |mut wire, _| {
            let says = Arc::clone(&says);
            async move {
                if scheme == "h2c" {
                    wire.send(frames::frame(4, 0, 0, &[])).await;
                    wire.until(b"SM\r\n\r\n").await;
                    while frames::read(&mut wire)
                        .await
                        .is_some_and(|frame| frame.0 != frames::HEADERS)
                    {}
                } else {
                    wire.try_head().await;
                }
                while wire.try_send(&*says).await.is_ok() {}
            }
        })
        .await;
        let good = Server::start().await;
        let gateway = setup(&server.url(scheme), &good).start().await;
        let mut wire = gateway.wire().await;
        wire.send(GET).await;
        // The gateway has one worker, and it is not held up.
        for _ in 0..20 {
            goes_on(&gateway).await;
        }
        assert_eq!(wire.answer().await.status(), 502, "{scheme}");
        eventually("it is left", || server.open() == 0).await;
    }
}
