//! Middlewares that change paths, or send clients to others.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use support::{Server, Setup, TestGateway, request};

/// A gateway with one middleware before its server.
async fn with(server: &Server, middleware: Value) -> TestGateway {
    Setup::to(server)
        .set("middlewares/x", middleware)
        .set("routers/all/middlewares", json!(["x"]))
        .start()
        .await
}

#[tokio::test]
async fn a_prefix_is_added() {
    let server = Server::start().await;
    let gateway = with(&server, json!({ "type": "add-prefix", "prefix": "/v2/" })).await;
    for (target, expected) in [
        ("/users?q=1", "/v2/users?q=1"),
        ("/", "/v2/"),
        ("/a/../b", "/v2/b"),
        ("//a%2Fb", "/v2/a%2Fb"),
    ] {
        gateway.h1().await.get(target).await;
        assert_eq!(server.last().target, expected);
        gateway.h2().await.get(target).await;
        assert_eq!(server.last().target, expected);
    }
}

#[tokio::test]
async fn a_path_is_replaced_and_the_old_one_told() {
    let server = Server::start().await;
    let gateway = with(&server, json!({ "type": "replace-path", "path": "/app" })).await;
    let mut request = request("GET", "/any/%61?q=1");
    let forged = "/forged".parse().unwrap();
    request.headers_mut().insert("x-replaced-path", forged);
    gateway.h1().await.ask(request).await;
    let seen = server.last();
    assert_eq!(seen.target, "/app?q=1");
    assert_eq!(seen.header("x-replaced-path").unwrap(), "/any/a");
}

#[tokio::test]
async fn a_rewrite_by_pattern_leads_nowhere_else() {
    let server = Server::start().await;
    let rewrite = json!({
        "type": "replace-path",
        "regex": "^/files/(?P<name>.*)$",
        "replacement": "/public/$name",
    });
    let gateway = with(&server, rewrite).await;
    let mut client = gateway.h1().await;
    for (target, expected) in [
        ("/files/a/b?c", "/public/a/b?c"),
        ("/other", "/other"),
        ("/files//a", "/public/a"),
        ("/files/%2E%2E/secret", "/secret"),
        ("/files/..%2Fsecret", "/public/..%2Fsecret"),
    ] {
        assert_eq!(client.get(target).await.status, 200);
        assert_eq!(server.last().target, expected, "{target}");
    }
    let careless = json!({ "type": "replace-path", "regex": "[0-9]", "replacement": "" });
    let gateway = with(&server, careless).await;
    let requests = server.requests();
    for target in ["/a/.1./secret", "/a/%1", "/%2501a%2002"] {
        let refused = gateway.h1().await.get(target).await;
        assert_eq!(refused.status, 400, "{target}");
    }
    assert_eq!(server.requests(), requests);
}
