//! `cors` in a gateway.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{HeaderMap, Request, Response};
use serde_json::json;
use support::{Reply, Server, Setup, TestGateway, request};

const PAGE: &str = "https://app.example.com";

fn with_cors(server: &Server) -> Setup {
    Setup::to(server)
        .set(
            "middlewares/cors",
            json!({
                "type": "cors",
                "allowed_origins": [PAGE],
                "allowed_origin_regex": "https://pr-[0-9]+\\.example\\.com",
                "allowed_methods": ["GET", "PUT"],
                "exposed_headers": ["X-Seen"],
                "allow_credentials": true,
                "max_age": "1h",
            }),
        )
        .set("routers/all/middlewares", json!(["cors"]))
}

fn from(method: &str, origin: &str) -> Request<Body> {
    let mut request = request(method, "/");
    request
        .headers_mut()
        .insert("origin", origin.parse().unwrap());
    request
}

fn preflight(origin: &str) -> Request<Body> {
    let mut request = from("OPTIONS", origin);
    let put = "PUT".parse().unwrap();
    request
        .headers_mut()
        .insert("access-control-request-method", put);
    let asked = "content-type".parse().unwrap();
    request
        .headers_mut()
        .insert("access-control-request-headers", asked);
    request
}

async fn ask(gateway: &TestGateway, request: Request<Body>) -> Reply {
    gateway.h1().await.ask(request).await
}

/// The fields that speak of CORS, in the order of their names.
fn said(headers: &HeaderMap) -> Vec<String> {
    let mut said: Vec<_> = headers
        .iter()
        .filter(|(name, _)| *name == "vary" || name.as_str().starts_with("access-control-"))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    said.sort();
    said
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_gateway() {
    let server = Server::start().await;
    let gateway = with_cors(&server).start().await;
    for origin in [PAGE, "https://pr-12.example.com"] {
        let reply = ask(&gateway, preflight(origin)).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, String::new()));
        let expected = [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: content-type",
            "access-control-allow-methods: GET, PUT",
            &format!("access-control-allow-origin: {origin}"),
            "access-control-max-age: 3600",
            "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ];
        assert_eq!(said(&reply.headers), expected);
    }
    let reply = gateway.h2().await.ask(preflight("https://bad.com")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        said(&reply.headers),
        ["vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]
    );
    assert_eq!(server.requests(), 0);
    ask(&gateway, from("OPTIONS", PAGE)).await;
    assert_eq!(server.requests(), 1, "this one was no preflight");
}

#[tokio::test]
async fn what_the_server_says_of_cors_is_replaced() {
    let server = Server::http(|_| async {
        Response::builder()
            .header("access-control-allow-origin", "*")
            .header("access-control-expose-headers", "X-Own")
            .header("vary", "Accept-Language")
            .body(Body::empty())
            .unwrap()
    })
    .await;
    let gateway = with_cors(&server).start().await;
    assert_eq!(
        said(&ask(&gateway, from("GET", PAGE)).await.headers),
        [
            "access-control-allow-credentials: true",
            &format!("access-control-allow-origin: {PAGE}"),
            "access-control-expose-headers: X-Seen",
            "vary: Accept-Language, Origin",
        ]
    );
    for request in [
        from("GET", "null"),
        from("GET", "https://bad.com"),
        request("GET", "/"),
    ] {
        let reply = ask(&gateway, request).await;
        assert_eq!(said(&reply.headers), ["vary: Accept-Language, Origin"]);
    }
    // As Origin: null and friends, what is no origin at all must do no harm.
    for origin in [
        "",
        "https://",
        "https://app.example.com, https://app.example.com",
        "\u{fc}",
    ] {
        let reply = ask(&gateway, from("GET", origin)).await;
        assert_eq!(
            said(&reply.headers),
            ["vary: Accept-Language, Origin"],
            "{origin}"
        );
    }
}

#[tokio::test]
async fn a_page_can_read_refusals_of_whatever_stands_behind() {
    let server = Server::start().await;
    let setup = with_cors(&server)
        .set(
            "middlewares/nobody",
            json!({ "type": "ip-allow", "allowed_ips": ["192.0.2.1"] }),
        )
        .set(
            "middlewares/secure",
            json!({ "type": "headers", "security": true }),
        )
        .set(
            "routers/all/middlewares",
            json!(["secure", "cors", "nobody"]),
        );
    let gateway = setup.start().await;
    let reply = ask(&gateway, from("GET", PAGE)).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.headers["access-control-allow-origin"], PAGE);
    assert_eq!(reply.headers["vary"], "Origin");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    // A preflight carries nothing by which it could be let through.
    let reply = ask(&gateway, preflight(PAGE)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["access-control-allow-methods"], "GET, PUT");
    // Behind a service that is not there, too.
    drop(server);
    let gateway = setup
        .set("routers/all/middlewares", json!(["secure", "cors"]))
        .start()
        .await;
    let reply = ask(&gateway, from("GET", PAGE)).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.headers["access-control-allow-origin"], PAGE);
    assert_eq!(reply.headers["x-frame-options"], "DENY");
}

#[tokio::test]
async fn without_keys_every_page_may_read() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set("middlewares/cors", json!({ "type": "cors" }))
        .set("routers/all/middlewares", json!(["cors"]))
        .start()
        .await;
    for request in [from("GET", PAGE), request("GET", "/")] {
        let reply = ask(&gateway, request).await;
        assert_eq!(said(&reply.headers), ["access-control-allow-origin: *"]);
    }
}
