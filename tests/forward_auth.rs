//! `forward-auth` in a gateway, with services that say yes and no, and others that say nothing.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::time::Duration;
use support::body::feed;
use support::server::Recorded;
use support::tls::Authority;
use support::{Client, Reply, Server, Setup, TestGateway, Wire, connect, eventually, request};

/// Lets `Bearer ann` pass, as `X-User: ann`, and sends everybody else to the login.
async fn door() -> Server {
    Server::http(|question: Request<Recorded>| async move {
        let token = question.headers().get("authorization").cloned();
        let response = Response::builder();
        match token {
            Some(token) if token == "Bearer ann" => response.header("x-user", "ann"),
            Some(token) if token == "Bearer nobody" => response.status(204),
            _ => response
                .status(302)
                .header("location", "/login?to=%2F")
                .header("set-cookie", "state=1; Path=/")
                .header("set-cookie", "csrf=2"),
        }
        .body(Body::from("the door"))
        .unwrap()
    })
    .await
}

fn settings(auth: &Server) -> Value {
    json!({
        "type": "forward-auth",
        "forward_auth_url": format!("{auth}/check?door=1"),
        "forward_auth_response_headers": ["X-User"],
    })
}

fn setup(server: &Server, settings: Value) -> Setup {
    Setup::to(server)
        .set("middlewares/auth", settings)
        .set("routers/all/middlewares", json!(["auth"]))
}

async fn start(server: &Server, settings: Value) -> TestGateway {
    setup(server, settings).start().await
}

fn ann(method: &str, target: &str) -> Request<Body> {
    let mut request = request(method, target);
    let token = "Bearer ann".parse().unwrap();
    request.headers_mut().insert("authorization", token);
    request
}

#[tokio::test]
async fn whoever_may_pass_passes_under_a_name_that_cannot_be_forged() {
    let (server, auth) = (Server::start().await, door().await);
    let gateway = start(&server, settings(&auth)).await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let mut request = ann("PUT", "/a/../b?c=d");
        for name in ["x-user", "x_user", "x-forwarded-uri", "x-forwarded-for"] {
            let forged = "root".parse().unwrap();
            request.headers_mut().insert(name, forged);
        }
        let reply = client.ask(request).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "/b"));
        assert_eq!(server.last().header("x-user").unwrap(), "ann");
        assert_eq!(server.last().header("x_user"), None);
        let question = auth.last();
        assert_eq!(question.method, "GET");
        assert_eq!(question.target, "/check?door=1");
        assert_eq!(question.host, auth.address().to_string());
        for (name, expected) in [
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "test.example"),
            ("x-forwarded-uri", "/b?c=d"),
            ("x-forwarded-for", "127.0.0.1"),
            ("authorization", "Bearer ann"),
        ] {
            assert_eq!(question.header(name).as_deref(), Some(expected), "{name}");
        }
        // An answer without the name leaves none.
        let mut request = ann("GET", "/");
        let headers = request.headers_mut();
        headers.insert("authorization", "Bearer nobody".parse().unwrap());
        headers.insert("x-user", "root".parse().unwrap());
        assert_eq!(client.ask(request).await.status, 200);
        assert_eq!(server.last().header("x-user"), None);
    }
    // One connection is enough for it all.
    assert_eq!(auth.accepted(), 1);
}

#[tokio::test]
async fn a_refusal_comes_as_it_is_and_is_not_followed() {
    let (server, auth) = (Server::start().await, door().await);
    let gateway = start(&server, settings(&auth)).await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let Reply {
            status,
            headers,
            body,
            ..
        } = client.get("/").await;
        assert_eq!((status.as_u16(), &*body), (302, &b"the door"[..]));
        assert_eq!(headers["location"], "/login?to=%2F");
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["state=1; Path=/", "csrf=2"]);
        let head = client.ask(request("HEAD", "/")).await;
        assert_eq!((head.status.as_u16(), &*head.body), (302, &b""[..]));
        assert_eq!(head.headers["content-length"], "8");
    }
    assert_eq!(auth.requests(), 4);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_service_that_fails_lets_nobody_pass_until_it_is_back() {
    let server = Server::start().await;
    // Each connection is another failure, and then it is well again.
    let auth = Server::raw(|mut wire: Wire, number| async move {
        if wire.try_head().await.is_none() {
            return;
        }
        match number {
            0 => wire.hang().await,
            1 => wire.reset(),
            2 => drop(wire),
            3 => wire.send("HTTP/1.1 200 OK\r\ncontent-le").await,
            4 => wire.send("no HTTP at all\r\n\r\n").await,
            5 => {
                wire.send(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
                )
                .await
            }
            6 => {
                // A head without an end.
                let line = format!("x: {}\r\n", "a".repeat(1000));
                let _ = wire.try_send("HTTP/1.1 200 OK\r\n").await;
                while wire.try_send(&line).await.is_ok() {}
            }
            7 => {
                let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 1048577\r\n\r\n";
                wire.send(answer).await;
                wire.hang().await;
            }
            8 => {
                // A refusal that breaks at its first chunk.
                let head = "HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n";
                wire.send(format!("{head}zz\r\nno\r\n")).await;
            }
            9 => {
                wire.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n")
                    .await;
            }
            10 => {
                // One of which nothing but the head comes.
                wire.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n")
                    .await;
                wire.hang().await;
            }
            _ => {
                wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
                wire.hang().await;
            }
        }
    })
    .await;
    let mut settings = settings(&auth);
    settings["timeout"] = json!("300ms");
    let gateway = start(&server, settings).await;
    let mut client = gateway.h1().await;
    for failure in 0..11 {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 503, "{failure}");
        assert_eq!(reply.headers["retry-after"], "1");
        let expected =
            "{\"error\":\"the authentication service cannot be asked\",\"status\":503}\n";
        assert_eq!(reply.text(), expected, "{failure}");
    }
    assert_eq!(server.requests(), 0);
    assert_eq!(client.get("/").await.status, 200);
    eventually("what failed is closed", || auth.open() == 1).await;
}

#[tokio::test]
async fn a_service_that_is_not_there_lets_nobody_pass() {
    let server = Server::start().await;
    let gone = support::Port::reserve();
    let url = format!("http://{}/", gone.address());
    let settings = json!({ "type": "forward-auth", "forward_auth_url": url });
    let gateway = start(&server, settings).await;
    assert_eq!(gateway.h1().await.get("/").await.status, 503);
    let mut grpc = request("POST", "/");
    let content_type = "application/grpc".parse().unwrap();
    grpc.headers_mut().insert("content-type", content_type);
    let reply = gateway.h2().await.ask(grpc).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
}

#[tokio::test]
async fn a_refusal_without_an_end_is_cut() {
    let server = Server::start().await;
    let auth = Server::raw(|mut wire, _| async move {
        wire.head().await;
        let _ = wire
            .try_send("HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
        while wire.try_send(&chunk).await.is_ok() {}
    })
    .await;
    let mut settings = settings(&auth);
    settings["max_answer_body"] = json!("64KiB");
    let gateway = start(&server, settings).await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.status(), 403);
    let (body, _) = wire.rest().await;
    // How much of it still comes is a matter of buffers; chunk sizes count in.
    assert!(body.len() < 80_000, "{}", body.len());
    assert!(!body.ends_with(b"0\r\n\r\n"));
    eventually("the service is left", || auth.open() == 0).await;
}

#[tokio::test]
async fn whoever_leaves_takes_the_question_along() {
    let server = Server::start().await;
    let auth = Server::raw(|mut wire, _| async move {
        wire.head().await;
        wire.hang().await;
    })
    .await;
    let mut settings = settings(&auth);
    settings["timeout"] = json!("60s");
    settings["max_in_flight"] = json!(2);
    let gateway = start(&server, settings).await;
    for _ in 0..3 {
        let mut clients = Vec::new();
        for count in 1..=2 {
            let mut wire = gateway.wire().await;
            wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            clients.push(wire);
            eventually("it is asked", || auth.open() == count).await;
        }
        // There is room for so many questions, and the next one is not asked.
        assert_eq!(gateway.h1().await.get("/").await.status, 503);
        drop(clients);
        eventually("nothing is asked any more", || auth.open() == 0).await;
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn an_upload_is_asked_for_after_the_decision() {
    let (server, auth) = (Server::start().await, door().await);
    let gateway = start(&server, settings(&auth)).await;
    let head = |token| {
        format!(
            "POST /a HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n"
        )
    };
    let mut wire = gateway.wire().await;
    wire.send(head("Bearer bob")).await;
    assert_eq!(wire.answer().await.status(), 302);
    assert_eq!(server.requests(), 0);
    let mut wire = gateway.wire().await;
    wire.send(head("Bearer ann")).await;
    assert_eq!(wire.head().await.status(), 100);
    wire.send("hello").await;
    assert_eq!(wire.answer().await.status(), 200);
    assert_eq!(server.last().body, b"hello");
    for question in auth.seen() {
        assert!(question.body.is_empty());
        assert_eq!(question.header("content-length"), None);
        assert_eq!(question.header("expect"), None);
    }
}

#[tokio::test]
async fn a_stream_is_judged_by_its_head() {
    let auth = door().await;
    let (feed, body) = feed();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let server = Server::http(move |_: Request<Recorded>| {
        let body = body.lock().unwrap().take().unwrap();
        async move {
            let response = Response::builder().header("content-type", "text/event-stream");
            response.body(body).unwrap()
        }
    })
    .await;
    let gateway = start(&server, settings(&auth)).await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ann\r\naccept: text/event-stream\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.status(), 200);
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        assert!(feed.data(event).await);
        wire.until(event.as_bytes()).await.unwrap();
    }
    // A WebSocket, too: what would make of the question something else is not in it.
    wire = gateway.wire().await;
    wire.send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status(), 302);
    let question = auth.last();
    assert_eq!(question.header("upgrade"), None);
    assert_eq!(question.header("connection"), None);
    assert_eq!(question.header("sec-websocket-key").unwrap(), "x");
}

#[tokio::test]
async fn answers_are_remembered_over_reloads_until_the_middleware_changes() {
    let (server, auth) = (Server::start().await, door().await);
    let mut settings = settings(&auth);
    settings["cache"] = json!({ "key": "header:Authorization", "ttl": "1h" });
    let setup = setup(&server, settings.clone()).with_all_workers();
    let gateway = setup.start().await;
    let ask = async |target: &str| {
        let mut client = Client::h1(connect(gateway.address()).await).await;
        let mut request = ann("GET", target);
        let forged = "root".parse().unwrap();
        request.headers_mut().insert("x-user", forged);
        assert_eq!(client.ask(request).await.status, 200);
        assert_eq!(server.last().header("x-user").unwrap(), "ann");
        auth.requests()
    };
    // Many connections: every worker has the same memory.
    for _ in 0..8 {
        assert_eq!(ask("/a").await, 1);
    }
    // What may be at one path may not be at another.
    assert_eq!(ask("/b").await, 2);
    // Whatever is refused is asked about each time.
    for count in 3..6 {
        let reply = gateway.h1().await.get("/a").await;
        assert_eq!((reply.status.as_u16(), auth.requests()), (302, count));
    }
    let unrelated = setup.clone().set("shutdown_timeout_secs", 29);
    gateway.become_(&unrelated).await;
    assert_eq!(ask("/a").await, 5);
    settings["timeout"] = json!("6s");
    gateway
        .become_(&setup.set("middlewares/auth", settings))
        .await;
    assert_eq!(ask("/a").await, 6);
    assert_eq!(ask("/a").await, 6);
}

#[tokio::test]
async fn a_service_over_tls_is_verified() {
    let server = Server::start().await;
    let authority = Authority::new();
    for (name, status) in [("localhost", 200), ("other.example", 503)] {
        let tls = authority.server(name, &["http/1.1"], false);
        let auth = Server::https(tls, |_: Request<Recorded>| async {
            Response::new(Body::empty())
        })
        .await;
        let settings = json!({
            "type": "forward-auth",
            "forward_auth_url": format!("https://localhost:{}/", auth.address().port()),
            "tls": { "ca_file": authority.file() },
        });
        let gateway = start(&server, settings).await;
        assert_eq!(gateway.h1().await.get("/").await.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_body_of_a_positive_answer_costs_no_connection() {
    let server = Server::start().await;
    let auth =
        Server::http(|_: Request<Recorded>| async { Response::new(support::body::long(10_000)) })
            .await;
    let gateway = start(&server, settings(&auth)).await;
    let mut client = gateway.h1().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(auth.accepted(), 1);
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_handed_on_where_it_is_to_be() {
    let (server, auth) = (Server::start().await, door().await);
    for (trusts, uri, host, chain) in [
        (false, "/b", "test.example", "192.0.2.7"),
        (true, "/a", "a.example", "192.0.2.7, 127.0.0.1"),
    ] {
        let mut settings = settings(&auth);
        settings["trust_forward_header"] = json!(trusts);
        settings["request_headers"] = json!(["X-Only", "X_Forwarded_Uri"]);
        let gateway = setup(&server, settings)
            .set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]))
            .start()
            .await;
        let mut request = ann("GET", "/b");
        for (name, value) in [
            ("x-only", "1"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-uri", "/a"),
            ("x-forwarded-host", "a.example"),
            ("x-forwarded-proto", "https"),
            ("x_forwarded_uri", "/forged"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        gateway.h1().await.ask(request).await;
        let question = auth.last();
        for (name, expected) in [
            ("x-forwarded-uri", Some(uri)),
            ("x-forwarded-host", Some(host)),
            ("x-forwarded-for", Some(chain)),
            ("x-forwarded-proto", Some("https")),
            ("x-only", Some("1")),
            ("authorization", None),
            ("x_forwarded_uri", None),
        ] {
            assert_eq!(question.header(name).as_deref(), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_slow_service_is_waited_for() {
    let server = Server::start().await;
    let auth = Server::http(|_: Request<Recorded>| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Response::new(Body::empty())
    })
    .await;
    let gateway = start(&server, settings(&auth)).await;
    let mut client = gateway.h2().await;
    let mut running = Vec::new();
    for _ in 0..50 {
        running.push(client.begin(request("GET", "/")).await);
    }
    for response in running {
        assert_eq!(response.await.unwrap().status(), 200);
    }
}
