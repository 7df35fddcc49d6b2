//! A connection goes on in another protocol where both ends want that, and stays what it was where one does not.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use support::switch::{ASK, GRANT, echo, says_and_hears, switched};
use support::tls::{Authority, connect};
use support::{Answer, End, Server, Setup, Wire, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::test]
async fn both_ends_see_the_handshake_and_then_bytes() {
    let (server, mut heads) = echo(GRANT).await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    // Whoever is in a hurry does not wait for the answer.
    wire.send(format!("{ASK}early")).await;
    let answer = wire.head().await;
    assert_eq!(answer.line, "HTTP/1.1 101 Switching Protocols");
    let field = |answer: &Answer, name| answer.header(name).unwrap_or_default();
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(field(&answer, name), value, "{name}");
    }
    for name in ["content-length", "transfer-encoding"] {
        assert_eq!(answer.header(name), None);
    }
    let head = within("a head", heads.recv()).await.unwrap();
    assert_eq!(head.line, "GET /chat?x=1 HTTP/1.1");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "http://a"),
        ("cookie", "c=1"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(field(&head, name), value, "{name}");
    }
    assert_eq!(wire.exactly(5).await, b"early");
    says_and_hears(&mut wire, "more").await;
    // It ends, and hears the server out.
    wire.end().await;
    assert_eq!(wire.rest().await, (b"bye".to_vec(), End::Closed));
    eventually("it is counted", || {
        gateway.metric("gateway_router_requests_total{router=\"all\",code=\"101\"}") == Some(1.0)
    })
    .await;
    let bytes = gateway.metric("gateway_router_response_bytes_total{router=\"all\"}");
    assert_eq!(bytes, Some(12.0));
}

#[tokio::test]
async fn what_a_server_says_with_its_answer_is_not_lost() {
    let (server, _heads) = echo(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome",
    )
    .await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = switched(&gateway).await;
    assert_eq!(wire.exactly(7).await, b"welcome");
    says_and_hears(&mut wire, "hello").await;
}

#[tokio::test]
async fn a_large_exchange_arrives_whole() {
    let (server, _heads) = echo(GRANT).await;
    let gateway = Setup::to(&server).start().await;
    let mut stream = switched(&gateway).await.into_io();
    let (mut reading, mut writing) = stream.split();
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut heard = Vec::new();
    let talk = async {
        let write = async {
            writing.write_all(&sent).await.unwrap();
            writing.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(write, reading.read_to_end(&mut heard));
        read.unwrap();
    };
    within("all of it", talk).await;
    assert_eq!(heard.len(), sent.len() + 3);
    assert_eq!(heard[..sent.len()], sent);
}

#[tokio::test]
async fn what_a_server_says_no_to_is_an_ordinary_exchange() {
    let server = Server::raw(|mut wire, _| async move {
        while let Some(request) = wire.request().await {
            let body = request.line.split(' ').nth(1).unwrap().to_owned();
            let status = match request.header("upgrade") {
                Some(_) => "426 Upgrade Required\r\nSec-WebSocket-Version: 13",
                None => "200 OK",
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            wire.send(answer).await;
        }
    })
    .await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    // The next one is in the same bytes.
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    wire.send(format!("{ASK}{next}{ASK}{next}")).await;
    for _ in 0..2 {
        let refusal = wire.answer().await;
        assert_eq!(
            (refusal.status(), refusal.text()),
            (426, "/chat?x=1".into())
        );
        assert_eq!(
            refusal.header("sec-websocket-version").as_deref(),
            Some("13")
        );
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.text()), (200, "/next".into()));
    }
    // What it says later, too, is minded as ever.
    wire.send(ASK).await;
    assert_eq!(wire.answer().await.status(), 426);
    wire.send("GET / HTTP/1.1\nHost: a\n\n").await;
    assert_eq!(wire.answer().await.status(), 400);
    // Each connection that asked in vain has served others.
    assert!(server.accepted() <= 4, "{}", server.accepted());
}

#[tokio::test]
async fn nothing_is_smuggled_past_a_server_that_takes_no_notice() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .route("closed", "PathPrefix(`/admin`)", "closed")
        .set("services/closed/respond/status", 403)
        .start()
        .await;
    let admin = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut wire = gateway.wire().await;
    wire.send(format!("{ASK}{admin}")).await;
    assert_eq!(wire.answer().await.text(), "/chat");
    assert_eq!(wire.answer().await.status(), 403);
    let bad =
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(format!("{ASK}{bad}")).await;
    assert_eq!(wire.answer().await.text(), "/chat");
    assert_eq!(wire.answer().await.status(), 400);
    assert!(server.seen().iter().all(|seen| seen.target == "/chat?x=1"));
}

#[tokio::test]
async fn what_is_no_upgrade_is_passed_on_as_none() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let ask = |line: &str, fields: &str, body: &str| {
        format!("{line}\r\nHost: a\r\n{fields}\r\n\r\n{body}")
    };
    let get = |fields: &str| ask("GET / HTTP/1.1", fields, "");
    let both = "Connection: upgrade\r\nUpgrade: websocket";
    for request in [
        get("Upgrade: websocket"),
        get("Connection: upgrade"),
        get("Connection: close\r\nUpgrade: websocket"),
        get("Connection: upgrade\r\nUpgrade: websocket, x"),
        get("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket"),
        get("Connection: upgrade\r\nUpgrade:"),
        get("Connection: upgrade\r\nUpgrade: a b"),
        get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x"),
        get("Connection: upgrade\r\nUpgrade: H2"),
        get("Connection: upgrade\r\nUpgrade: h2c-17"),
        get("Connection: upgrade\r\nUpgrade: H2C/1"),
        get("Connection: upgrade\r\nUpgrade: HTTP/2.0"),
        get("Connection: upgrade\r\nUpgrade: TLS/1.2"),
        ask("GET / HTTP/1.0", both, ""),
        ask(
            "POST / HTTP/1.1",
            &format!("{both}\r\nContent-Length: 2"),
            "ab",
        ),
        ask(
            "POST / HTTP/1.1",
            &format!("{both}\r\nTransfer-Encoding: chunked"),
            "2\r\nab\r\n0\r\n\r\n",
        ),
    ] {
        let answer = gateway.ask(&request).await;
        assert_eq!((answer.status(), answer.text()), (200, "/".into()));
        let seen = server.last();
        assert_eq!(seen.header("upgrade"), None, "{request:?}");
        assert_eq!(seen.header("connection"), None, "{request:?}");
    }
}

#[tokio::test]
async fn a_protocol_that_was_not_asked_for_is_no_answer() {
    for (request, grant) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            ASK,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        ),
        (
            ASK,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        ),
        (
            ASK,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nUpgrade: x\r\n\r\n",
        ),
    ] {
        let (server, _heads) = echo(grant).await;
        let gateway = Setup::to(&server).start().await;
        assert_eq!(gateway.ask(request).await.status(), 502, "{grant:?}");
        eventually("the server is left", || server.open() == 0).await;
    }
}

#[tokio::test]
async fn any_other_protocol_goes_through_as_well() {
    let grant =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: spdy/3.1\r\n\r\n";
    let (server, _heads) = echo(grant).await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    let fields = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0";
    wire.send(format!(
        "POST /exec HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"
    ))
    .await;
    let answer = wire.head().await;
    assert_eq!(answer.header("upgrade").as_deref(), Some("SPDY/3.1"));
    says_and_hears(&mut wire, "\0\u{1}anything").await;
}

#[tokio::test]
async fn who_is_gone_is_gone_for_the_other() {
    let (server, _heads) = echo(GRANT).await;
    let gateway = Setup::to(&server).start().await;
    let wire = switched(&gateway).await;
    assert_eq!(server.open(), 1);
    wire.reset();
    eventually("the server is left", || server.open() == 0).await;

    let server = Server::raw(|mut wire, number| async move {
        wire.head().await;
        wire.send(GRANT).await;
        match number {
            0 => wire.reset(),
            _ => drop(wire),
        }
    })
    .await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = switched(&gateway).await;
    assert_eq!(wire.rest().await, (Vec::new(), End::Reset));
    let mut wire = switched(&gateway).await;
    assert_eq!(wire.rest().await, (Vec::new(), End::Closed));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_the_server() {
    let server = Server::raw(|mut wire, _| async move {
        wire.head().await;
        wire.hang().await;
    })
    .await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    wire.send(ASK).await;
    eventually("the server is asked", || server.open() == 1).await;
    drop(wire);
    eventually("the server is left", || server.open() == 0).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_late() {
    let server = Server::raw(|wire, _| wire.hang()).await;
    let gateway = Setup::to(&server)
        .balancer("timeouts/response", "50ms")
        .start()
        .await;
    assert_eq!(gateway.ask(ASK).await.status(), 504);
    // It was asked once.
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn where_nothing_moves_both_are_left() {
    let (server, _heads) = echo(GRANT).await;
    let gateway = Setup::to(&server)
        .balancer("timeouts/idle", "150ms")
        .start()
        .await;
    let mut wire = switched(&gateway).await;
    says_and_hears(&mut wire, "still here").await;
    assert_eq!(wire.rest().await, (Vec::new(), End::Closed));
    eventually("the server is left", || server.open() == 0).await;
}

#[tokio::test]
async fn who_does_not_read_holds_up_the_other_and_no_memory() {
    let server = Server::raw(|mut wire, _| async move {
        wire.head().await;
        wire.send(GRANT).await;
        let chunk = vec![7; 64 * 1024];
        while wire.try_send(&chunk).await.is_ok() {}
    })
    .await;
    let gateway = Setup::to(&server)
        .balancer("timeouts/idle", "200ms")
        .start()
        .await;
    let mut wire = switched(&gateway).await;
    assert_eq!(wire.exactly(100_000).await, vec![7; 100_000]);
    // It reads no more, and nothing moves.
    eventually("the server is left", || server.open() == 0).await;
}

#[tokio::test]
async fn a_server_of_http2_alone_cannot_be_asked() {
    let server = Server::start().await;
    let gateway = Setup::to(server.url("h2c")).start().await;
    let answer = gateway.ask(ASK).await;
    assert_eq!(answer.status(), 501);
    assert!(answer.text().contains("HTTP/2"), "{}", answer.text());
    assert_eq!(server.accepted(), 0);
}

/// A server that speaks TLS, and lets a connection go on; then it says what it is told.
async fn echo_over_tls(config: rustls::ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut wire = Wire::new(stream);
            if wire.try_head().await.is_some() && wire.try_send(GRANT).await.is_ok() {
                let (mut reading, mut writing) = tokio::io::split(wire.into_io());
                let _ = tokio::io::copy(&mut reading, &mut writing).await;
                let _ = writing.shutdown().await;
            }
        }
    });
    address
}

#[tokio::test]
async fn both_ends_may_speak_tls() {
    let authority = Authority::new();
    let (cert, key) = authority.pair("a", &["a.test"]);
    // It would rather speak HTTP/2, in which there is no such handshake.
    let server = echo_over_tls(authority.server("127.0.0.1", &["h2", "http/1.1"], false)).await;
    let setup = Setup::to(format!("https://{server}"))
        .balancer("tls", json!({ "ca_file": authority.file() }))
        .set(
            "entrypoints/web/tls",
            json!({ "cert_file": cert, "key_file": key }),
        );
    let gateway = setup.start().await;
    let config = authority.trusting(&["http/1.1"]);
    let stream = connect(config, gateway.address(), "a.test").await.unwrap();
    let mut wire = Wire::new(stream);
    wire.send(format!("{ASK}early")).await;
    assert_eq!(wire.head().await.status(), 101);
    assert_eq!(wire.exactly(5).await, b"early");
    let long = "x".repeat(100_000);
    wire.send(&long).await;
    assert_eq!(wire.exactly(long.len()).await, long.as_bytes());
    wire.end().await;
    assert_eq!(wire.rest().await, (Vec::new(), End::Closed));
}
