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

/// The status and the `Location` of the answer to a request for `host`.
async fn sent(gateway: &TestGateway, method: &str, host: &str, target: &str) -> (u16, String) {
    let mut request = request(method, target);
    let headers = request.headers_mut();
    headers.insert("host", host.parse().unwrap());
    let reply = gateway.h1().await.ask(request).await;
    let location = reply.headers.get("location");
    let location = location.map(|location| location.to_str().unwrap().to_owned());
    (reply.status.as_u16(), location.unwrap_or_default())
}

#[tokio::test]
async fn clients_are_sent_to_another_scheme() {
    let server = Server::start().await;
    let to_https = json!({ "type": "redirect", "scheme": "https", "permanent": true });
    let gateway = with(&server, to_https).await;
    let found = sent(&gateway, "GET", "A.example:8080", "/b/../c?d").await;
    assert_eq!(found, (301, "https://a.example/c?d".to_owned()));
    let found = sent(&gateway, "POST", "a.example", "/").await;
    assert_eq!(found, (308, "https://a.example/".to_owned()));
    // An absolute form, and HTTP/2, have their host elsewhere.
    let found = gateway
        .ask("GET http://b.example/x HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert_eq!(found.header("location").unwrap(), "https://b.example/x");
    let reply = gateway.h2().await.get("/x").await;
    assert_eq!(reply.headers["location"], "https://test.example/x");
    // HTTP/1.0 may have none.
    let refused = gateway.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(refused.status(), 400);
    // A client says nothing of proxies that we trust.
    let mut forged = request("GET", "/");
    let https = "https".parse().unwrap();
    forged.headers_mut().insert("x-forwarded-proto", https);
    assert_eq!(gateway.h1().await.ask(forged).await.status, 301);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_client_that_came_to_a_trusted_proxy_by_https_stays() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]))
        .set(
            "middlewares/x",
            json!({ "type": "redirect", "scheme": "https" }),
        )
        .set("routers/all/middlewares", json!(["x"]))
        .start()
        .await;
    for (proto, status) in [("https", 200), ("http", 302)] {
        let mut request = request("GET", "/");
        let proto = proto.parse().unwrap();
        request.headers_mut().insert("x-forwarded-proto", proto);
        assert_eq!(gateway.h1().await.ask(request).await.status, status);
    }
}

#[tokio::test]
async fn clients_are_sent_where_a_pattern_says_and_nowhere_else() {
    let server = Server::start().await;
    let moved = json!({
        "type": "redirect",
        "regex": "^http://old\\.example/?(.*)$",
        "replacement": "https://new.example$1",
    });
    let gateway = with(&server, moved).await;
    for (host, target, expected) in [
        ("old.example", "/", (302, "https://new.example")),
        ("old.example", "/a", (400, "")),
        ("old.example", "/.evil", (400, "")),
        ("old.example", "/@evil", (400, "")),
        ("old.example", "//%0d%0aa: b", (400, "")),
        ("other.example", "/a", (200, "")),
    ] {
        let target = target.replace(' ', "%20");
        let (status, location) = sent(&gateway, "GET", host, &target).await;
        assert_eq!((status, location.as_str()), expected, "{host} {target}");
    }
}

#[tokio::test]
async fn a_slash_is_added_to_paths_or_removed() {
    let server = Server::start().await;
    let slash = |what| json!({ "type": "redirect", "trailing_slash": what });
    let gateway = with(&server, slash("add")).await;
    let found = sent(&gateway, "GET", "a", "//evil.example//b?c").await;
    assert_eq!(found, (302, "/evil.example/b/?c".to_owned()));
    assert_eq!(sent(&gateway, "GET", "a", "/b/").await.0, 200);
    assert_eq!(sent(&gateway, "GET", "a", "/b.css").await.0, 200);
    let gateway = with(&server, slash("remove")).await;
    let found = sent(&gateway, "PUT", "a", "/\\evil.example/").await;
    assert_eq!(found, (307, "/evil.example".to_owned()));
    assert_eq!(sent(&gateway, "GET", "a", "/").await.0, 200);
}
