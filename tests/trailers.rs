//! Trailers of requests: they say nothing of a client that its head would not be let say.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;
#[path = "../layers/tests/tokens/mod.rs"]
mod tokens;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use support::body::feed;
use support::server::Recorded;
use support::{Server, Setup, TestGateway, request};
use tokens::{SECRET, Signer};

/// A middleware, the header field that makes it let a request pass, and what a client must not say then.
struct Case {
    middleware: Value,
    head: (&'static str, String),
    forbidden: &'static [&'static str],
}

/// Lets everybody pass, and says who it is, but not to whom it belongs.
async fn door() -> Server {
    Server::http(|_: Request<Recorded>| async move {
        let response = Response::builder().header("x-user", "ann");
        response.body(Body::empty()).unwrap()
    })
    .await
}

fn cases(door: &Server, files: &Path) -> Vec<Case> {
    let (users, keys) = (files.join("users"), files.join("keys"));
    fs::write(&users, "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    fs::write(&keys, "s3cret\n").unwrap();
    let token = Signer::new("HS256").token(json!({ "sub": "ann" }));
    vec![
        Case {
            middleware: json!({
                "type": "api-key",
                "keys": { "acme": "s3cret" },
                "identity_header": "X-Consumer",
                "hide": true,
            }),
            head: ("x-api-key", "s3cret".to_owned()),
            forbidden: &["x-consumer", "x_consumer", "x-api-key", "x_api_key"],
        },
        // A key without a name: the head does not have the header.
        Case {
            middleware: json!({
                "type": "api-key",
                "keys_file": keys.to_str().unwrap(),
                "identity_header": "X-Consumer",
            }),
            head: ("x-api-key", "s3cret".to_owned()),
            forbidden: &["x-consumer", "x-api-key"],
        },
        Case {
            middleware: json!({
                "type": "basic-auth",
                "users_file": users.to_str().unwrap(),
                "identity_header": "X-User",
                "hide": true,
            }),
            // `ann:secret`
            head: ("authorization", "Basic YW5uOnNlY3JldA==".to_owned()),
            forbidden: &["x-user", "x_user", "authorization"],
        },
        Case {
            middleware: json!({
                "type": "jwt",
                "value": SECRET,
                "claims_to_headers": { "sub": "X-Sub", "role": "X-Role" },
                "cookie": "session",
                "hide": true,
            }),
            head: ("authorization", format!("Bearer {token}")),
            forbidden: &["x-sub", "x-role", "x_role", "authorization", "cookie"],
        },
        Case {
            middleware: json!({
                "type": "forward-auth",
                "forward_auth_url": format!("{door}/"),
                "forward_auth_response_headers": ["X-User", "X-Tenant"],
            }),
            head: ("x-head", "1".to_owned()),
            forbidden: &["x-user", "x_user", "x-tenant", "x-head"],
        },
        Case {
            middleware: json!({
                "type": "headers",
                "request_headers": { "X-Stage": "test" },
                "remove_request_headers": ["X-Secret"],
            }),
            head: ("x-secret", "1".to_owned()),
            forbidden: &["x-stage", "x_stage", "x-secret", "x_secret"],
        },
        Case {
            middleware: json!({ "type": "request-id" }),
            head: ("x-head", "1".to_owned()),
            forbidden: &["x-request-id", "x_request_id"],
        },
        Case {
            middleware: json!({ "type": "replace-path", "regex": "^/other", "replacement": "/a" }),
            head: ("x-head", "1".to_owned()),
            forbidden: &["x-replaced-path", "x_replaced_path"],
        },
    ]
}

/// A client that says over HTTP/1 or HTTP/2 what `names` are, behind a body.
async fn post(gateway: &TestGateway, is_h2: bool, head: &(&'static str, String), names: &[&str]) {
    let trailer = names.join(", ");
    if is_h2 {
        let (feed, body) = feed();
        let mut up = request("POST", "/");
        *up.body_mut() = body;
        let headers = up.headers_mut();
        headers.insert(head.0, head.1.parse().unwrap());
        headers.insert("trailer", trailer.parse().unwrap());
        let names = names.iter().map(|name| name.parse().unwrap());
        let fields = names.map(|name: HeaderName| (name, HeaderValue::from_static("root")));
        let trailers: HeaderMap = fields.collect();
        tokio::spawn(async move {
            feed.data("up").await;
            feed.trailers(trailers).await;
        });
        assert_eq!(gateway.h2().await.ask(up).await.status, 200);
    } else {
        let (name, value) = head;
        let lines: String = names
            .iter()
            .map(|name| format!("{name}: root\r\n"))
            .collect();
        let text = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: {trailer}\r\n\
             {name}: {value}\r\n\r\n2\r\nup\r\n0\r\n{lines}\r\n"
        );
        assert_eq!(gateway.ask(text).await.status(), 200);
    }
}

#[tokio::test]
async fn what_a_middleware_sets_or_removes_does_not_come_as_a_trailer() {
    let (server, door) = (Server::start().await, door().await);
    let whole = json!({ "type": "buffering" });
    let again = json!({ "type": "retry", "non_idempotent": true });
    let files = tempfile::tempdir().unwrap();
    for case in cases(&door, files.path()) {
        for (scheme, is_h2, before) in [
            ("http", false, None),
            ("http", true, None),
            ("h2c", false, None),
            ("h2c", true, None),
            // The trailers have come before anything is known of the client.
            ("http", false, Some(&whole)),
            ("h2c", true, Some(&again)),
        ] {
            let what = format!("{} {scheme} {is_h2} {before:?}", case.middleware);
            let first = before.map_or(json!({ "type": "headers", "security": true }), Value::clone);
            let gateway = Setup::to(server.url(scheme))
                .set("middlewares/first", first)
                .set("middlewares/it", case.middleware.clone())
                .set("entrypoints/web/middlewares", json!(["first"]))
                .set("routers/all/middlewares", json!(["it"]))
                .start()
                .await;
            let names: Vec<&str> = case.forbidden.iter().copied().chain(["x-sum"]).collect();
            post(&gateway, is_h2, &case.head, &names).await;
            let seen = server.last();
            let trailers = seen.trailers.unwrap_or_default();
            let left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
            assert_eq!(left, ["x-sum"], "{what}");
            assert_eq!(seen.body, b"up", "{what}");
        }
    }
}
