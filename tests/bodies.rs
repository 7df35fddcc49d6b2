//! `body-limit`, `buffering` and `timeout` in a gateway: how large, how whole, how soon.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::body::{Feed, feed};
use support::server::Recorded;
use support::{End, Server, Setup, Upload, eventually, request, within};

fn through(settings: &Value, url: impl std::fmt::Display) -> Setup {
    Setup::to(url)
        .set("middlewares/it", settings.clone())
        .set("routers/all/middlewares", json!(["it"]))
}

fn limit(max: &Value) -> Value {
    json!({ "type": "body-limit", "max_body_bytes": max })
}

fn post(body: impl Into<Body>) -> Request<Body> {
    let mut post = request("POST", "/");
    *post.body_mut() = body.into();
    post
}

const TOO_LARGE: &str = "{\"error\":\"the request body is too large\",\"status\":413}\n";

#[tokio::test]
async fn a_length_past_the_limit_is_refused_without_the_body() {
    let server = Server::start().await;
    let gateway = through(&limit(&json!("1KiB")), &server).start().await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        // Nothing of the body is sent, and nobody asks for it.
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n{expect}\r\n");
        let (answer, rest, end) = gateway.ask_to_end(head).await;
        assert_eq!((answer.status(), &*answer.text()), (413, TOO_LARGE));
        assert_eq!(answer.header("connection").unwrap(), "close");
        assert_eq!((rest.len(), end), (0, End::Closed));
    }
    for mut client in [gateway.h1().await, gateway.h2().await] {
        assert_eq!(client.ask(post(vec![b'x'; 1025])).await.status, 413);
    }
    assert_eq!(server.accepted(), 0);
    for mut client in [gateway.h1().await, gateway.h2().await] {
        for length in [0, 1, 1024] {
            assert_eq!(client.ask(post(vec![b'x'; length])).await.status, 200);
            assert_eq!(server.last().body.len(), length);
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_all_of_it_still_gets_its_answer() {
    let server = Server::start().await;
    let gateway = through(&limit(&json!("1KiB")), &server).start().await;
    let mut request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n".to_vec();
    request.resize(request.len() + 4_000_000, b'x');
    let answer = gateway.ask(request).await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_and_never_looks_whole() {
    for (max, first) in [(json!("1KiB"), 1024), (json!(0), 0)] {
        for scheme in ["http", "h2c"] {
            let server = Server::start().await;
            let gateway = through(&limit(&max), server.url(scheme)).start().await;
            for h2 in [false, true] {
                let before = server.requests();
                let mut client = match h2 {
                    true => gateway.h2().await,
                    false => gateway.h1().await,
                };
                let (feed, body) = feed();
                let asking = client.begin(post(body)).await;
                let feeding = async {
                    if first > 0 {
                        feed.data(vec![b'x'; first]).await;
                    }
                    feed.data("y").await;
                    // The client is still at it when it gets its answer.
                    feed.closed().await;
                };
                let (response, ()) = tokio::join!(within("a response", asking), feeding);
                let response = response.unwrap();
                assert_eq!(response.status(), 413, "{scheme} {h2}");
                // What the server saw, if it saw it, broke off.
                if server.requests() > before {
                    assert_eq!(server.upload_over().await, Upload::Broken);
                    assert!(server.last().body.len() <= first);
                }
            }
        }
    }
}

#[tokio::test]
async fn on_the_wire_a_cut_body_has_no_end() {
    let (sender, mut told) = tokio::sync::mpsc::channel(1);
    let server = Server::raw(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            let (body, _) = wire.rest().await;
            sender.send((head, body)).await.unwrap();
        }
    })
    .await;
    let gateway = through(&limit(&json!(10)), &server).start().await;
    let mut client = gateway.wire().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n")
        .await;
    eventually("the server is asked", || server.accepted() == 1).await;
    client.send("6\r\n56789x\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 413);
    let (head, body) = within("the server's end", told.recv()).await.unwrap();
    assert_eq!(head.header("transfer-encoding").unwrap(), "chunked");
    let body = String::from_utf8(body).unwrap();
    assert!(!body.contains("0\r\n\r\n"), "{body:?}");
    assert!(!body.contains('x'), "{body:?}");
}

#[tokio::test]
async fn an_answer_that_came_before_the_body_was_cut_stands() {
    let server = Server::http(|request: Request<Recorded>| async move {
        let (feed, body) = feed();
        tokio::spawn(async move {
            let _ = request.into_body().collect().await;
            feed.data("the end").await;
        });
        Response::builder().status(202).body(body).unwrap()
    })
    .await;
    let gateway = through(&limit(&json!(10)), &server).start().await;
    let mut client = gateway.h1().await;
    let (feed, body) = feed();
    let response = client.begin(post(body)).await;
    feed.data("01234").await;
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.status(), 202);
    feed.data("56789x").await;
    assert_eq!(server.upload_over().await, Upload::Broken);
}

#[tokio::test]
async fn a_slow_client_holds_no_server() {
    let server = Server::start().await;
    let gateway = through(&json!({ "type": "buffering" }), &server)
        .start()
        .await;
    for h2 in [false, true] {
        let before = server.requests();
        let mut client = match h2 {
            true => gateway.h2().await,
            false => gateway.h1().await,
        };
        let (feed, body) = feed();
        let asking = client.begin(post(body)).await;
        let feeding = async {
            for _ in 0..5 {
                feed.data("0123456789").await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert_eq!(server.requests(), before);
            }
            drop(feed);
        };
        let (response, ()) = tokio::join!(within("a response", asking), feeding);
        assert_eq!(response.unwrap().status(), 200);
        let seen = server.last();
        assert_eq!(seen.body.len(), 50);
        // It came in pieces, and goes on in one.
        assert_eq!(seen.header("content-length").unwrap(), "50");
        assert_eq!(seen.header("transfer-encoding"), None);
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_answered_for_and_no_server_asked() {
    let server = Server::start().await;
    let settings = json!({ "type": "buffering", "max_request_body": "1KiB" });
    let gateway = through(&settings, &server)
        .http("idle_timeout", "200ms")
        .start()
        .await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (rest, status) in [
        ("Content-Length: 1025\r\n\r\n".to_owned(), 413),
        (
            format!(
                "Transfer-Encoding: chunked\r\n\r\n401\r\n{}\r\n",
                "x".repeat(1025)
            ),
            413,
        ),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), 400),
        ("Content-Length: 10\r\n\r\nhalf".to_owned(), 408),
    ] {
        let (answer, _, end) = gateway.ask_to_end(format!("{head}{rest}")).await;
        assert_eq!(answer.status(), status, "{rest:.40}");
        assert_eq!(answer.header("connection").unwrap(), "close");
        assert_eq!(end, End::Closed);
    }
    let mut leaver = gateway.wire().await;
    leaver
        .send(format!("{head}Content-Length: 10\r\n\r\nhalf"))
        .await;
    drop(leaver);
    assert_eq!(gateway.h1().await.ask(post("whole")).await.status, 200);
    assert_eq!(server.requests(), 1);
}

/// A server whose answers a test feeds, with these header fields.
async fn fed(fields: &'static [(&'static str, &'static str)]) -> (Server, Arc<Mutex<Vec<Feed>>>) {
    let feeds: Arc<Mutex<Vec<Feed>>> = Arc::default();
    let given = Arc::clone(&feeds);
    let server = Server::http(move |_: Request<Recorded>| {
        let (feed, body) = feed();
        given.lock().unwrap().push(feed);
        let mut response = Response::new(body);
        for (name, value) in fields {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        std::future::ready(response)
    })
    .await;
    (server, feeds)
}

fn newest(feeds: &Mutex<Vec<Feed>>) -> Feed {
    feeds.lock().unwrap().pop().unwrap()
}

#[tokio::test]
async fn a_response_comes_when_it_is_whole_with_its_trailers() {
    let (server, feeds) = fed(&[("x-kept", "1"), ("trailer", "x-sum")]).await;
    let settings = json!({ "type": "buffering", "max_response_body": "1KiB" });
    let gateway = through(&settings, server.url("h2c")).start().await;
    let mut client = gateway.h2().await;
    let asking = client.begin(request("GET", "/")).await;
    let feeding = async {
        server.has_seen(1).await;
        let feed = newest(&feeds);
        feed.data("ab").await;
        feed.data("cd").await;
        let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        feed.trailers(sum).await;
    };
    let (response, ()) = tokio::join!(within("a response", asking), feeding);
    let reply = support::client::read(response.unwrap()).await.unwrap();
    assert_eq!(reply.headers["x-kept"], "1");
    assert_eq!(reply.text(), "abcd");
    assert_eq!(reply.trailers.unwrap()["x-sum"], "1");

    // Without trailers it has a length, whatever it had before; and one that breaks off or grows too large is never
    // begun.
    let mut client = gateway.h1().await;
    for (pieces, breaks, status) in [
        (&["ab", "cd"][..], false, 200),
        (&["ab"], true, 502),
        (&[], true, 502),
    ] {
        let before = server.requests();
        let asking = client.begin(request("GET", "/")).await;
        let feeding = async {
            server.has_seen(before + 1).await;
            let feed = newest(&feeds);
            for piece in pieces {
                feed.data(*piece).await;
            }
            if breaks {
                feed.break_off().await;
            }
        };
        let (response, ()) = tokio::join!(within("a response", asking), feeding);
        let response = response.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("content-length"));
        support::client::read(response).await.unwrap();
    }
    let asking = client.begin(request("GET", "/")).await;
    let feeding = async {
        eventually("it is asked", || !feeds.lock().unwrap().is_empty()).await;
        let feed = newest(&feeds);
        while feed.data(vec![b'x'; 1000]).await {}
    };
    let (response, ()) = tokio::join!(within("a response", asking), feeding);
    assert_eq!(response.unwrap().status(), 502);
}

#[tokio::test]
async fn events_are_not_held_back() {
    let (server, feeds) = fed(&[("content-type", "text/event-stream")]).await;
    let gateway = through(&json!({ "type": "buffering" }), &server)
        .start()
        .await;
    let mut client = gateway.h1().await;
    let response = client.send(request("GET", "/")).await;
    let feed = newest(&feeds);
    let mut body = response.into_body();
    for n in 0..3 {
        feed.data(format!("data: {n}\n\n")).await;
        let frame = within("an event", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {n}\n\n"));
    }
}

#[tokio::test]
async fn grpc_streams_both_ways() {
    let server = Server::http(|request: Request<Recorded>| async move {
        let response = Response::builder().header("content-type", "application/grpc");
        response.body(Body::new(request.into_body())).unwrap()
    })
    .await;
    let gateway = through(&json!({ "type": "buffering" }), server.url("h2c"))
        .start()
        .await;
    let mut client = gateway.h2().await;
    let (feed, body) = feed();
    let mut call = post(body);
    let headers = call.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    let response = client.send(call).await;
    let mut body = response.into_body();
    for n in 0..3 {
        feed.data(n.to_string()).await;
        let frame = within("an answer", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), n.to_string());
    }
}

#[tokio::test]
async fn an_answer_to_head_keeps_the_length_that_it_tells() {
    let server = Server::start().await;
    let gateway = through(&json!({ "type": "buffering" }), &server)
        .start()
        .await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let reply = client.ask(request("HEAD", "/four")).await;
        assert_eq!(reply.headers["content-length"], "5");
    }
}

#[tokio::test]
async fn many_slow_clients_hold_no_more_than_they_may_together() {
    let server = Server::start().await;
    let settings = json!({ "type": "buffering", "max_request_body": "64KiB", "max_response_body": 0, "max_memory": "64KiB" });
    let setup = through(&settings, &server);
    let gateway = setup.start().await;
    let mut half = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n".to_vec();
    half.resize(half.len() + 65_535, b'x');
    // What is asked meanwhile may take what the slow one needs; then that is refused, and another comes.
    let filling = async {
        loop {
            let mut slow = gateway.wire().await;
            slow.send(&half).await;
            let is_refused = async |slow: &mut support::Wire| {
                let (said, _) = slow.listen(Duration::from_millis(20)).await;
                !said.is_empty()
            };
            while !is_refused(&mut slow).await {
                if gateway.h1().await.ask(post("x")).await.status == 503 {
                    return slow;
                }
            }
        }
    };
    let mut slow = within("the memory is full", filling).await;
    // An unrelated reload frees nothing, and a change begins with nothing held.
    let other = setup.clone().route("other", "Path(`/other`)", "backend");
    gateway.become_(&other).await;
    let reply = gateway.h1().await.ask(post("x")).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.headers["retry-after"], "1");
    let changed = setup.set("middlewares/it/max_memory", "65KiB");
    gateway.become_(&changed).await;
    assert_eq!(gateway.h1().await.ask(post("x")).await.status, 200);
    slow.send("x").await;
    assert_eq!(slow.answer().await.status(), 200);
}

/// More than the system keeps for a connection that nobody reads.
const LONG: usize = 8 << 20;

fn two_long_ones() -> Value {
    json!({
        "type": "buffering",
        "max_request_body": LONG,
        "max_response_body": LONG,
        "max_memory": 2 * LONG,
    })
}

#[tokio::test]
async fn slow_readers_hold_no_more_than_they_may_together() {
    let server =
        Server::http(|_: Request<Recorded>| async { Response::new(Body::from(vec![b'x'; LONG])) })
            .await;
    let gateway = through(&two_long_ones(), &server).start().await;
    let ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut readers = Vec::new();
    for _ in 0..2 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut reader = support::Wire::new(socket.connect(gateway.address()).await.unwrap());
        reader.send(ask).await;
        assert_eq!(reader.head().await.status(), 200);
        readers.push(reader);
    }
    for _ in 0..3 {
        assert_eq!(gateway.ask(ask).await.status(), 503);
    }
    drop(readers);
    within("there is room again", async {
        while gateway.ask(ask).await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn servers_that_do_not_read_hold_no_more_than_they_may_together() {
    let (sender, mut heads) = tokio::sync::mpsc::channel(2);
    let server = Server::raw(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            wire.head().await;
            let _ = sender.send(()).await;
            std::future::pending().await
        }
    })
    .await;
    let gateway = through(&two_long_ones(), &server).start().await;
    let mut long =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LONG}\r\n\r\n").into_bytes();
    long.resize(long.len() + LONG, b'x');
    let mut askers = Vec::new();
    for _ in 0..2 {
        let mut asker = gateway.wire().await;
        asker.send(&long).await;
        within("the server is asked", heads.recv()).await.unwrap();
        askers.push(asker);
    }
    let short = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(gateway.ask(short).await.status(), 503);
    drop(askers);
    within("there is room again", async {
        loop {
            let mut wire = gateway.wire().await;
            wire.send(short).await;
            tokio::select! {
                _ = heads.recv() => break,
                answer = wire.head() => assert_eq!(answer.status(), 503),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_must_begin_in_time_and_may_then_take_its_own() {
    let (server, feeds) = fed(&[]).await;
    let settings = json!({ "type": "timeout", "duration": "200ms" });
    let gateway = through(&settings, &server).start().await;
    let mut client = gateway.h1().await;
    let response = client.send(request("GET", "/")).await;
    assert_eq!(response.status(), 200);
    let feed = newest(&feeds);
    let mut body = response.into_body();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        feed.data("x").await;
        within("a piece", body.frame()).await.unwrap().unwrap();
    }
    drop((feed, body, client));

    let silent = Server::raw(|wire, _| wire.hang()).await;
    let gateway = through(&settings, &silent).start().await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 504);
        assert_eq!(
            reply.text(),
            "{\"error\":\"the upstream server took too long\",\"status\":504}\n"
        );
    }
    // The server is not kept busy with what nobody waits for.
    eventually("the server is left alone", || silent.open() == 0).await;
    // A client that does not send what it promised is late itself.
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
    let (answer, _, _) = gateway.ask_to_end(half).await;
    assert_eq!(answer.status(), 408);
    // It is not where the server takes nothing of what it sends.
    let deaf = Server::raw(|wire, _| async move {
        let _kept = wire;
        std::future::pending().await
    })
    .await;
    let settings = json!({ "type": "timeout", "duration": "1s" });
    let gateway = through(&settings, &deaf).start().await;
    let endless = support::body::long(1 << 40);
    assert_eq!(gateway.h1().await.ask(post(endless)).await.status, 504);
}
