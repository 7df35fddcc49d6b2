//! What is spoken to clients and to servers, and over what.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Gateway;
use axum::body::Body;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::body::Feed;
use support::server::Recorded;
use support::tls::Authority;
use support::{
    Client, End, Outcome, Server, Setup, TestGateway, Wire, eventually, request, within,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

const GET: &str = "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";

// To clients.

#[tokio::test]
async fn http_1_1_keeps_its_connection_until_told() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    for n in 0..10 {
        wire.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let answer = wire.answer().await;
        assert_eq!(
            (answer.line.as_str(), answer.text()),
            ("HTTP/1.1 200 OK", format!("/{n}"))
        );
        assert_eq!(answer.header("connection"), None);
    }
    wire.send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let answer = wire.answer().await;
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
    assert_eq!(wire.rest().await, (Vec::new(), End::Closed));
    // All of them went over one connection.
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn http_1_0_closes_unless_asked_to_stay() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    for head in [
        "GET /x HTTP/1.0\r\n\r\n",
        "GET /x HTTP/1.0\r\nHost: a\r\n\r\n",
    ] {
        let (answer, rest, end) = gateway.ask_to_end(head).await;
        assert_eq!((answer.status(), answer.text()), (200, "/x".to_owned()));
        assert_eq!((rest.len(), end), (0, End::Closed));
        assert_eq!(server.last().version, Version::HTTP_11);
    }
    let mut wire = gateway.wire().await;
    for _ in 0..2 {
        wire.send("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let answer = wire.answer().await;
        let stays = answer.header("connection").unwrap_or_default();
        assert_eq!(stays.to_ascii_lowercase(), "keep-alive");
    }
}

#[tokio::test]
async fn http_1_0_gets_a_body_of_unknown_length_until_the_end() {
    let server = Server::says(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )
    .await;
    let gateway = Setup::to(&server).start().await;
    let (answer, _, end) = gateway
        .ask_to_end("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        .await;
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!((answer.text(), end), ("abcde".to_owned(), End::Closed));
}

const OLD: &str = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_body_that_nobody_reads_ends_its_connection_and_a_short_one_does_not() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set(
            "middlewares/ours",
            json!({"type": "ip-allow", "allowed_ips": ["192.0.2.1"]}),
        )
        .set("routers/all/middlewares", json!(["ours"]))
        .start()
        .await;
    let post =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
    let length = |length| format!("Content-Length: {length}");
    for unread in [
        post(&length(100_000_000), &"x".repeat(1000)),
        post(&length(8193), ""),
        post("Transfer-Encoding: chunked", "3\r\nabc\r\n"),
        post("Expect: 100-continue\r\nContent-Length: 3", ""),
    ] {
        let (answer, rest, _) = gateway.ask_to_end(&unread).await;
        let told = answer.header("connection");
        assert_eq!((answer.status(), told.as_deref()), (403, Some("close")));
        assert!(rest.is_empty(), "{unread:?}");
    }
    let mut wire = gateway.wire().await;
    for kept in [
        post(&length(3), "abc"),
        post(&length(4000), &"x".repeat(4000)),
        GET.to_owned(),
    ] {
        wire.send(&kept).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status(), answer.header("connection")), (403, None));
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_body_that_a_server_reads_keeps_its_connection() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    let body = "x".repeat(100_000);
    for fields in [
        "Content-Length: 100000\r\n\r\n".to_owned(),
        "Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n186a0\r\n".to_owned(),
    ] {
        let end = if fields.contains("chunked") {
            "\r\n0\r\nt: x\r\n\r\n"
        } else {
            ""
        };
        wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}{body}{end}"))
            .await;
        let mut answer = wire.answer().await;
        if answer.status() == 100 {
            answer = wire.answer().await;
        }
        assert_eq!((answer.status(), answer.header("connection")), (200, None));
        assert_eq!(server.last().body.len(), 100_000);
    }
}

/// A server whose answers a test feeds.
async fn fed() -> (Server, Arc<Mutex<Vec<Feed>>>) {
    let feeds = Arc::new(Mutex::new(Vec::new()));
    let server = Server::http({
        let feeds = Arc::clone(&feeds);
        move |_: Request<Recorded>| {
            let (feed, body) = support::body::feed();
            feeds.lock().unwrap().push(feed);
            std::future::ready(Response::new(body))
        }
    });
    (server.await, feeds)
}

/// Asks in HTTP/1.0, and reads the head and the first three bytes of the answer.
async fn begun(gateway: &TestGateway, feeds: &Mutex<Vec<Feed>>) -> (Wire, Feed) {
    let mut wire = gateway.wire().await;
    wire.send(OLD).await;
    let head = wire.head().await;
    assert_eq!(head.header("content-length"), None);
    let feed = feeds.lock().unwrap().pop().unwrap();
    assert!(feed.data("abc").await);
    assert_eq!(wire.exactly(3).await, b"abc");
    (wire, feed)
}

#[tokio::test]
async fn http_1_0_gets_a_reset_where_a_body_of_unknown_length_breaks_off() {
    let (server, feeds) = fed().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme)).start().await;
        let (mut wire, feed) = begun(&gateway, &feeds).await;
        feed.break_off().await;
        assert_eq!(wire.rest().await, (Vec::new(), End::Reset), "{scheme}");
        let (mut wire, feed) = begun(&gateway, &feeds).await;
        assert!(feed.data("de").await);
        drop(feed);
        assert_eq!(wire.rest().await, (b"de".to_vec(), End::Closed), "{scheme}");
    }
    // What has a length is seen to be cut, and needs no reset.
    let server = Server::says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    wire.send(OLD).await;
    assert_eq!(wire.rest().await.1, End::Closed);
}

#[tokio::test]
async fn http_1_0_gets_a_reset_where_a_body_of_unknown_length_is_cut_off() {
    let (server, feeds) = fed().await;
    let setup = Setup::to(&server).set("shutdown_timeout_secs", 0);
    let gateway = setup.start().await;
    let (mut wire, _feed) = begun(&gateway, &feeds).await;
    gateway.shutdown().await;
    assert_eq!(wire.rest().await, (Vec::new(), End::Reset));
}

#[tokio::test]
async fn nothing_comes_behind_a_body_that_ends_with_its_connection() {
    let server = Server::says("HTTP/1.1 200 OK\r\n\r\nabc").await;
    let gateway = Setup::to(&server).start().await;
    for nonsense in ["GET\n\n", "GET / HTTP/1.1\nHost: a\n\n"] {
        let mut wire = gateway.wire().await;
        wire.send([OLD, nonsense].concat()).await;
        let (told, _) = wire.rest().await;
        let told = String::from_utf8(told).unwrap();
        assert!(told.ends_with("\r\n\r\nabc"), "{told}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::http({
        let gate = Arc::clone(&gate);
        move |request: Request<Recorded>| {
            let gate = Arc::clone(&gate);
            async move {
                let path = request.uri().path().to_owned();
                if path == "/slow" {
                    gate.acquire().await.unwrap().forget();
                }
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Response::new(Body::from([path.as_bytes(), &body].concat()))
            }
        }
    })
    .await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    wire.send(
        "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\
         POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n\
         GET /last HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    .await;
    server.has_seen(1).await;
    let (early, _) = wire.listen(Duration::from_millis(50)).await;
    assert!(early.is_empty());
    gate.add_permits(1);
    for body in ["/slow", "/lengthbody", "/chunkedbody", "/last"] {
        assert_eq!(wire.answer().await.text(), body);
    }
}

#[tokio::test]
async fn an_empty_line_before_a_request_is_nothing() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    for _ in 0..2 {
        wire.send(format!("\r\n{GET}")).await;
        assert_eq!(wire.answer().await.status(), 200);
    }
}

#[tokio::test]
async fn a_head_in_pieces_is_one_head() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let mut wire = gateway.wire().await;
    let post =
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    for _ in 0..2 {
        for byte in post.bytes() {
            wire.send([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.answer().await.status(), 200);
        assert_eq!(server.last().body, b"body");
    }
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let (mut h1, mut h2) = (gateway.h1().await, gateway.h2().await);
    for n in 0..5 {
        let path = format!("/{n}");
        assert_eq!(h1.get(&path).await.text(), path);
        let reply = h2.get(&path).await;
        assert_eq!(reply.text(), path);
    }
}

#[tokio::test]
async fn the_streams_of_one_connection_do_not_wait_for_each_other() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::http({
        let gate = Arc::clone(&gate);
        move |_: Request<Recorded>| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Response::new(Body::empty())
            }
        }
    })
    .await;
    for (scheme, connections) in [("http", 50), ("h2c", 1)] {
        let (seen, accepted) = (server.requests(), server.accepted());
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut frames = gateway.frames().await;
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "test.example"),
            (":path", "/"),
        ];
        for stream in 0..50 {
            frames.headers(2 * stream + 1, &fields, true).await;
        }
        server.has_seen(seen + 50).await;
        assert_eq!(server.accepted() - accepted, connections, "{scheme}");
        gate.add_permits(50);
        assert_eq!(frames.outcome(99).await, Outcome::Status(200), "{scheme}");
    }
}

#[tokio::test]
async fn an_h2c_server_with_all_its_streams_in_use_is_asked_on_another_connection() {
    // hyper's servers allow 200 streams.
    let server = Server::http(|_: Request<Recorded>| std::future::pending()).await;
    let gateway = Setup::to(server.url("h2c")).start().await;
    let mut frames = gateway.frames().await;
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test.example"),
        (":path", "/"),
    ];
    for stream in 0..210 {
        frames.headers(2 * stream + 1, &fields, true).await;
    }
    server.has_seen(210).await;
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let server = Server::raw(|wire, _| wire.hang()).await;
    let gateway = Setup::to(&server).http("h2_max_streams", 2).start().await;
    let mut frames = gateway.frames().await;
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test.example"),
        (":path", "/"),
    ];
    for stream in [1, 3, 5] {
        frames.headers(stream, &fields, true).await;
    }
    // REFUSED_STREAM.
    assert_eq!(frames.outcome(5).await, Outcome::Reset(7));
}

#[tokio::test]
async fn http_2_is_not_spoken_where_it_is_turned_off() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).http("h2c", false).start().await;
    let (answer, _, end) = gateway.ask_to_end("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!((answer.status(), end), (400, End::Closed));
    assert_eq!(gateway.h1().await.get("/x").await.text(), "/x");
}

// To servers.

#[tokio::test]
async fn a_server_over_tls_is_verified() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let handler = |_: Request<Recorded>| std::future::ready(Response::new(Body::from("secret")));
    for (what, name, alpn, tls, status) in [
        (
            "ours",
            "127.0.0.1",
            &["h2", "http/1.1"][..],
            json!({ "ca_file": authority.file() }),
            200,
        ),
        (
            "h1 only",
            "127.0.0.1",
            &["http/1.1"],
            json!({ "ca_file": authority.file() }),
            200,
        ),
        (
            "no ALPN",
            "127.0.0.1",
            &[],
            json!({ "ca_file": authority.file() }),
            200,
        ),
        ("the system's authorities", "127.0.0.1", &[], json!({}), 502),
        (
            "another authority",
            "127.0.0.1",
            &[],
            json!({ "ca_file": stranger.file() }),
            502,
        ),
        (
            "another name",
            "inside.example",
            &[],
            json!({ "ca_file": authority.file() }),
            502,
        ),
        (
            "another name, asked for",
            "inside.example",
            &["h2"],
            json!({ "ca_file": authority.file(), "server_name": "inside.example" }),
            200,
        ),
        (
            "another name than asked for",
            "inside.example",
            &[],
            json!({ "ca_file": authority.file(), "server_name": "outside.example" }),
            502,
        ),
        (
            "not verified",
            "inside.example",
            &[],
            json!({ "insecure": true }),
            200,
        ),
    ] {
        let server = Server::https(authority.server(name, alpn, false), handler).await;
        let gateway = Setup::to(&server).balancer("tls", tls).start().await;
        let mut client = gateway.h1().await;
        for _ in 0..2 {
            let reply = client.get("/").await;
            assert_eq!(reply.status.as_u16(), status, "{what}: {}", reply.text());
        }
        if status == 200 {
            let seen = server.last();
            let h2 = alpn.contains(&"h2");
            assert_eq!(seen.version == Version::HTTP_2, h2, "{what}");
            assert_eq!(
                (&*seen.host, server.accepted()),
                ("test.example", 1),
                "{what}"
            );
        } else {
            assert_eq!(server.requests(), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it() {
    let authority = Authority::new();
    let handler = |_: Request<Recorded>| std::future::ready(Response::new(Body::from("secret")));
    let server = Server::https(authority.server("127.0.0.1", &[], true), handler).await;
    let (cert_file, key_file) = authority.files("gateway.example");
    for (tls, status) in [
        (json!({ "ca_file": authority.file() }), 502),
        (
            json!({ "ca_file": authority.file(), "cert_file": cert_file, "key_file": key_file }),
            200,
        ),
    ] {
        let gateway = Setup::to(&server).balancer("tls", tls).start().await;
        let reply = gateway.h1().await.get("/").await;
        assert_eq!(reply.status.as_u16(), status);
    }
}

#[tokio::test]
async fn tls_to_a_server_without_it_gives_502() {
    let authority = Authority::new();
    let server = Server::start().await;
    let gateway = Setup::to(server.url("https"))
        .balancer("tls", json!({ "ca_file": authority.file() }))
        .start()
        .await;
    assert_eq!(gateway.h1().await.get("/").await.status, 502);
}

#[tokio::test]
async fn an_h2c_server_is_sent_everything_over_one_connection() {
    let server = Server::start().await;
    let gateway = Setup::to(server.url("h2c")).start().await;
    for h2 in [false, true] {
        let mut client = if h2 {
            gateway.h2().await
        } else {
            gateway.h1().await
        };
        for n in 0..20 {
            let path = format!("/{n}");
            let mut post = request("POST", &path);
            *post.body_mut() = Body::from("body");
            assert_eq!(client.ask(post).await.text(), path);
            let seen = server.last();
            assert_eq!((seen.version, &*seen.body), (Version::HTTP_2, &b"body"[..]));
        }
    }
    assert_eq!(server.accepted(), 1);
}

// Sockets.

#[tokio::test]
async fn a_unix_socket_is_listened_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.sock");
    let server = Server::start().await;
    let setup = Setup::to(&server).set(
        "entrypoints/web/address",
        format!("unix:{}", path.display()),
    );
    // The second time the path is taken by a socket that nobody listens on.
    for _ in 0..2 {
        let gateway = setup.start().await;
        let mut client = Client::h1(UnixStream::connect(&path).await.unwrap()).await;
        assert_eq!(client.get("/x").await.text(), "/x");
        let seen = server.last();
        assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        let mut client = Client::h2(UnixStream::connect(&path).await.unwrap()).await;
        assert_eq!(client.get("/x").await.text(), "/x");
        drop(client);
        gateway.shutdown().await;
        eventually("the path is free", || !path.exists()).await;
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    }
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_not_replaced_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let address = format!("unix:{}", path.display());
        let setup = Setup::to("http://127.0.0.1:1").set("entrypoints/web/address", address);
        let gateway = Gateway::new(setup.config()).unwrap();
        let error = gateway.start().await.unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
    }
}

async fn ask_at(address: SocketAddr, server: &Server) -> String {
    let stream = within("connecting", TcpStream::connect(address))
        .await
        .unwrap();
    let reply = Client::h1(stream).await.get("/x").await;
    assert_eq!(reply.text(), "/x");
    server.last().header("x-forwarded-for").unwrap()
}

#[tokio::test]
async fn ipv6_is_listened_on() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set("entrypoints/web/address", "[::1]:0")
        .start()
        .await;
    assert_eq!(ask_at(gateway.address(), &server).await, "::1");
}

#[tokio::test]
async fn an_address_without_a_host_is_both_ipv4_and_ipv6() {
    let server = Server::start().await;
    for address in [":0", "[::]:0"] {
        let gateway = Setup::to(&server)
            .set("entrypoints/web/address", address)
            .start()
            .await;
        let port = gateway.address().port();
        assert_eq!(
            ask_at(format!("[::1]:{port}").parse().unwrap(), &server).await,
            "::1"
        );
        // And a client of the old kind is called by its old name.
        let old = format!("127.0.0.1:{port}").parse().unwrap();
        assert_eq!(ask_at(old, &server).await, "127.0.0.1");
    }
}

#[tokio::test]
async fn a_host_name_is_resolved_and_listened_on() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set("entrypoints/web/address", "localhost:0")
        .start()
        .await;
    ask_at(gateway.address(), &server).await;
}

// Limits.

#[tokio::test]
async fn past_max_connections_a_client_waits_for_its_turn() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set("entrypoints/web/max_connections", 2)
        .start()
        .await;
    let mut first = gateway.h1().await;
    let mut second = gateway.h2().await;
    assert_eq!(first.get("/1").await.status, 200);
    assert_eq!(second.get("/2").await.status, 200);
    let mut third = gateway.wire().await;
    third.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (early, ended) = third.listen(Duration::from_millis(100)).await;
    assert!(early.is_empty() && !ended);
    assert_eq!(server.requests(), 2);
    // Those who are in are served meanwhile.
    assert_eq!(first.get("/1").await.status, 200);
    drop(first);
    assert_eq!(third.answer().await.text(), "/3");
    assert_eq!(second.get("/2").await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .http("idle_timeout", "1s")
        .http("header_timeout", "1s")
        .start()
        .await;
    // One that has never said a word, one that has had its answer.
    let mut silent = gateway.wire().await;
    let mut idle = gateway.wire().await;
    let h2 = gateway.h2().await;
    idle.send(GET).await;
    assert_eq!(idle.answer().await.status(), 200);
    let began = Instant::now();
    assert_eq!(idle.rest().await, (Vec::new(), End::Closed));
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(silent.rest().await, (Vec::new(), End::Closed));
    h2.closed().await;
}

#[tokio::test]
async fn a_connection_that_waits_for_its_answer_is_not_idle() {
    let server = Server::http(|_: Request<Recorded>| async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        Response::new(Body::from("late"))
    })
    .await;
    let gateway = Setup::to(&server).http("idle_timeout", "1s").start().await;
    let (mut h1, mut h2) = (gateway.h1().await, gateway.h2().await);
    let (one, two) = tokio::join!(h1.get("/"), h2.get("/"));
    assert_eq!(
        (one.text(), two.text()),
        ("late".to_owned(), "late".to_owned())
    );
}

#[tokio::test]
async fn a_request_body_that_takes_too_long_gets_408() {
    let server = Server::start().await;
    for scheme in ["http", "h2c"] {
        let gateway = Setup::to(server.url(scheme))
            .http("request_timeout", "1s")
            .start()
            .await;
        let before = server.requests();
        let mut wire = gateway.wire().await;
        wire.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
            .await;
        let began = Instant::now();
        let mut heard = Vec::new();
        while heard.is_empty() {
            let _ = wire.try_send("x").await;
            heard = wire.listen(Duration::from_millis(50)).await.0;
            assert!(
                began.elapsed() < Duration::from_secs(8),
                "{scheme}: it goes on"
            );
        }
        let text = String::from_utf8_lossy(&heard);
        assert!(text.starts_with("HTTP/1.1 408 "), "{scheme}: {text}");
        wire.ended().await;
        server.has_seen(before + 1).await;
        assert_eq!(
            server.upload_over().await,
            support::Upload::Broken,
            "{scheme}"
        );
    }
}

#[tokio::test]
async fn a_request_body_that_stalls_gets_408() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).http("idle_timeout", "1s").start().await;
    let mut wire = gateway.wire().await;
    wire.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
        .await;
    assert_eq!(wire.answer().await.status(), 408);
    assert_eq!(wire.rest().await, (Vec::new(), End::Closed));
    assert_eq!(server.upload_over().await, support::Upload::Broken);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let server = Server::http(|_: Request<Recorded>| {
        std::future::ready(Response::new(support::body::long(1 << 30)))
    })
    .await;
    let setup = Setup::to(&server).http("idle_timeout", "1s");
    let gateway = setup.http("header_timeout", "300ms").start().await;
    // What it has sent already keeps the parser from reading on.
    for (seen, more) in [
        "",
        GET,
        "GET / HT",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = Wire::new(gateway.connect().await);
        wire.send([GET, more].concat()).await;
        server.has_seen(seen + 1).await;
        let what = format!("the server's connection is closed, behind {more:?}");
        eventually(&what, || server.open() == 0).await;
        drop(wire);
    }
}
