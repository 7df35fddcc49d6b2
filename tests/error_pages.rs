//! `error-pages` in a gateway.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::future::{pending, ready};
use support::{Client, Reply, Server, Setup, TestGateway, request};

/// A server that answers with the status that its path names, and a header that belongs to the error.
async fn failing() -> Server {
    Server::http(|request: Request<_>| {
        let status = request.uri().path().trim_start_matches('/');
        let response = Response::builder()
            .status(status.parse::<u16>().unwrap_or(200))
            .header("retry-after", "7")
            .header("content-type", "text/plain");
        ready(response.body(Body::from("the server's own")).unwrap())
    })
    .await
}

/// A server of pages: each says where it is.
async fn pages() -> Server {
    Server::http(|request: Request<_>| {
        let response = Response::builder()
            .header("content-type", "text/html")
            .header("cache-control", "max-age=3600")
            .header("set-cookie", "page=1");
        let page = format!("<p>{}</p>", request.uri());
        ready(response.body(Body::from(page)).unwrap())
    })
    .await
}

fn with_pages(server: &Server, pages: &Server, mut settings: Value) -> Setup {
    settings["type"] = "error-pages".into();
    settings["service"] = "pages".into();
    Setup::to(server)
        .service("pages", pages)
        .set("middlewares/pages", settings)
        .set("routers/all/middlewares", json!(["pages"]))
}

async fn clients(gateway: &TestGateway) -> [Client; 2] {
    [gateway.h1().await, gateway.h2().await]
}

#[tokio::test]
async fn an_error_has_a_page_and_keeps_its_status() {
    let (server, pages) = (failing().await, pages().await);
    let settings = json!({
        "status": [404, "500-503"],
        "query": "/errors/{status}.html?from={url}",
    });
    let gateway = with_pages(&server, &pages, settings).start().await;
    for mut client in clients(&gateway).await {
        for (target, status, page) in [
            (
                "/404?a=%0d%0aX:+1&b='p'",
                404,
                "/errors/404.html?from=%2F404%3Fa%3D%250d%250aX%3A%2B1%26b%3D%27p%27",
            ),
            ("/500", 500, "/errors/500.html?from=%2F500"),
        ] {
            let reply = client.get(target).await;
            assert_eq!(reply.status, status);
            assert_eq!(reply.text(), format!("<p>{page}</p>"));
            assert_eq!(reply.headers["content-type"], "text/html");
            assert_eq!(reply.headers["retry-after"], "7");
            assert!(!reply.headers.contains_key("set-cookie"));
            assert!(
                !reply.headers.contains_key("cache-control"),
                "an error is not as lasting as a page"
            );
        }
        for (target, status) in [("/504", 504), ("/400", 400), ("/200", 200)] {
            let reply = client.get(target).await;
            assert_eq!(
                (reply.status.as_u16(), &*reply.text()),
                (status, "the server's own")
            );
        }
        let reply = client.ask(request("HEAD", "/404")).await;
        assert_eq!((reply.status.as_u16(), &*reply.text()), (404, ""));
        assert_eq!(reply.headers["content-type"], "text/html");
        assert_eq!(pages.last().method, http::Method::HEAD);
    }
}

#[tokio::test]
async fn what_the_gateway_says_itself_has_a_page_too() {
    let (server, pages) = (Server::start().await, pages().await);
    let setup = with_pages(&server, &pages, json!({ "status": ["400-599"] }))
        .set(
            "middlewares/nobody",
            json!({ "type": "ip-allow", "allowed_ips": ["192.0.2.1"] }),
        )
        .set(
            "middlewares/secure",
            json!({ "type": "headers", "security": true }),
        );
    let refusing = setup.clone().set(
        "routers/all/middlewares",
        json!(["secure", "pages", "nobody"]),
    );
    let gateway = refusing.start().await;
    let reply = gateway.h1().await.get("/").await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.text()),
        (403, "<p>/403.html</p>")
    );
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    assert_eq!(server.requests(), 0);
    drop(server);
    gateway.become_(&setup).await;
    let reply = gateway.h1().await.get("/").await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.text()),
        (502, "<p>/502.html</p>")
    );
}

#[tokio::test]
async fn the_server_of_pages_is_shown_no_secrets() {
    let (server, pages) = (failing().await, pages().await);
    let gateway = with_pages(&server, &pages, json!({ "status": [404] }))
        .start()
        .await;
    let mut request = request("POST", "/404");
    *request.body_mut() = Body::from("password=1");
    for (name, value) in [
        ("host", "a.example"),
        ("accept-language", "de"),
        ("authorization", "Bearer 1"),
        ("cookie", "session=1"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-forwarded-for", "192.0.2.66"),
        ("x-api-key", "1"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let reply = gateway.h1().await.ask(request).await;
    assert_eq!(reply.status, 404);
    let seen = pages.last();
    assert_eq!(
        (seen.method.as_str(), &*seen.target, &*seen.host),
        ("GET", "/404.html", "a.example")
    );
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept-language",
            "host",
            "x-error-page-for",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-real-ip",
        ]
    );
    assert_eq!(seen.body, b"");
    let cookie = server.last().header("cookie");
    assert_eq!(
        cookie.as_deref(),
        Some("session=1"),
        "the server itself had it all"
    );
}

fn is_own(reply: &Reply) -> bool {
    reply.status == 503 && reply.text() == "the server's own" && reply.headers["retry-after"] == "7"
}

#[tokio::test]
async fn without_a_page_the_error_is_as_it_was() {
    let server = failing().await;
    let settings = json!({ "status": ["400-599"], "timeout": "50ms" });
    // It answers with errors, which have no page of their own.
    let pages = failing_pages().await;
    let gateway = with_pages(&server, &pages, settings.clone()).start().await;
    assert!(is_own(&gateway.h1().await.get("/503").await));
    assert_eq!(pages.requests(), 1);
    // It never answers.
    let stalled = Server::http(|_| pending()).await;
    gateway
        .become_(&with_pages(&server, &stalled, settings.clone()))
        .await;
    assert!(is_own(&gateway.h1().await.get("/503").await));
    assert_eq!(stalled.requests(), 1);
    // What it says is not HTTP.
    let rude = Server::says("what do you want?\r\n\r\n").await;
    gateway
        .become_(&with_pages(&server, &rude, settings.clone()))
        .await;
    assert!(is_own(&gateway.h1().await.get("/503").await));
    // It is not there.
    let gone = with_pages(&server, &rude, settings);
    drop(rude);
    gateway.become_(&gone).await;
    assert!(is_own(&gateway.h1().await.get("/503").await));
    // And the gateway is none the worse.
    assert_eq!(gateway.h1().await.get("/200").await.status, 200);
}

#[tokio::test]
async fn a_page_that_breaks_off_early_leaves_the_error_as_it_was() {
    let server = failing().await;
    let settings = json!({ "status": ["400-599"], "timeout": "200ms" });
    let gateway = with_pages(&server, &server, settings.clone()).start().await;
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ] {
        let broken = Server::says(answer).await;
        gateway
            .become_(&with_pages(&server, &broken, settings.clone()))
            .await;
        for mut client in clients(&gateway).await {
            assert!(is_own(&client.get("/503").await), "{answer:?}");
        }
    }
    // A head, and then silence.
    let silent = Server::raw(|mut wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
            .await;
        wire.hang().await;
    })
    .await;
    gateway
        .become_(&with_pages(&server, &silent, settings))
        .await;
    assert!(is_own(&gateway.h1().await.get("/503").await));
}

#[tokio::test]
async fn a_gateway_that_is_its_own_server_of_pages_asks_itself_once() {
    let server = failing_pages().await;
    let settings = json!({ "status": ["400-599"] });
    let gateway = with_pages(&server, &server, settings.clone()).start().await;
    let itself = format!("http://{}", gateway.address());
    let setup = with_pages(&server, &server, settings).service("pages", &itself);
    gateway.become_(&setup).await;
    for (count, mut client) in (1..).zip(clients(&gateway).await) {
        let reply = client.get("/a").await;
        assert_eq!((reply.status.as_u16(), &*reply.text()), (404, "no page"));
        assert_eq!(server.requests(), 2 * count);
        let asked = server.last();
        assert_eq!(asked.target, "/404.html");
        assert_eq!(asked.header("x-error-page-for").as_deref(), Some("404"));
    }
}

async fn failing_pages() -> Server {
    Server::http(|_| {
        ready(
            Response::builder()
                .status(404)
                .body(Body::from("no page"))
                .unwrap(),
        )
    })
    .await
}

#[tokio::test]
async fn a_reload_leads_to_the_new_server_of_pages() {
    let (server, first, second) = (failing().await, pages().await, pages().await);
    let settings = json!({ "status": [404] });
    let gateway = with_pages(&server, &first, settings.clone()).start().await;
    gateway.h1().await.get("/404").await;
    gateway
        .become_(&with_pages(&server, &second, settings))
        .await;
    gateway.h1().await.get("/404").await;
    assert_eq!((first.requests(), second.requests()), (1, 1));
}

#[tokio::test]
async fn a_page_is_compressed_where_the_errors_are() {
    let (server, pages) = (failing().await, pages().await);
    let gateway = with_pages(&server, &pages, json!({ "status": [404] }))
        .set(
            "middlewares/small",
            json!({ "type": "compress", "min_size": 1 }),
        )
        .set("routers/all/middlewares", json!(["small", "pages"]))
        .start()
        .await;
    let mut request = request("GET", "/404");
    request
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().unwrap());
    let reply = gateway.h1().await.ask(request).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["content-encoding"]),
        (404, &"gzip".parse().unwrap())
    );
}
