//! `headers` in a gateway: what a server is told, and what a browser is.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use support::{Server, Setup, client::TEST_HOST, request};

fn with_headers(server: &Server, mut settings: Value) -> Setup {
    settings["type"] = "headers".into();
    Setup::to(server)
        .set("middlewares/headers", settings)
        .set("routers/all/middlewares", json!(["headers"]))
}

#[tokio::test]
async fn a_server_is_told_another_host_and_the_clients_beside_it() {
    let server = Server::start().await;
    let settings = json!({ "request_headers": { "Host": "internal.example:8080" } });
    let gateway = with_headers(&server, settings).start().await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        client.get("/").await;
        let seen = server.last();
        assert_eq!(seen.host, "internal.example:8080");
        assert_eq!(seen.header("x-forwarded-host").unwrap(), TEST_HOST);
    }
}

#[tokio::test]
async fn what_an_operator_says_of_a_client_stands_and_what_a_client_says_does_not() {
    let server = Server::start().await;
    let settings = json!({
        "request_headers": {
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Host": "told.example",
            "X-Forwarded-Port": "8443",
            "X-Forwarded-Proto": "https",
            "X-Real-Ip": "203.0.113.9",
        },
    });
    let names = ["for", "host", "port", "proto"].map(|name| format!("x-forwarded-{name}"));
    let told = |server: &Server| {
        let seen = server.last();
        let names = names.iter().map(String::as_str).chain(["x-real-ip"]);
        names
            .map(|name| seen.header(name).unwrap())
            .collect::<Vec<_>>()
    };
    let forged = || {
        let mut request = request("GET", "/");
        for name in names.iter().map(String::as_str).chain(["x-real-ip"]) {
            let name: http::HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .insert(name, "192.0.2.66".parse().unwrap());
        }
        request
    };
    let setup = with_headers(&server, settings);
    let gateway = setup.start().await;
    gateway.h1().await.ask(forged()).await;
    let said = [
        "203.0.113.9, 127.0.0.1",
        "told.example",
        "8443",
        "https",
        "203.0.113.9",
    ];
    assert_eq!(told(&server), said);
    gateway
        .become_(&setup.set("routers/all/middlewares", json!([])))
        .await;
    gateway.h1().await.ask(forged()).await;
    let port = gateway.address().port().to_string();
    assert_eq!(
        told(&server),
        ["127.0.0.1", TEST_HOST, &port, "http", "127.0.0.1"]
    );
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_hsts_only_over_tls() {
    let server = Server::start().await;
    let setup = with_headers(&server, json!({ "security": true }))
        .set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]))
        .route("away", "Path(`/away-from-here`)", "away")
        .service("away", "http://127.0.0.1:1")
        .set("routers/away/middlewares", json!(["headers"]));
    let gateway = setup.start().await;
    for (target, proto, status, hsts) in [
        ("/", "https", 200, true),
        ("/", "http", 200, false),
        ("/away-from-here", "https", 502, true),
    ] {
        let mut request = request("GET", target);
        let proto = proto.parse().unwrap();
        request.headers_mut().insert("x-forwarded-proto", proto);
        let reply = gateway.h1().await.ask(request).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(
            reply.headers["content-security-policy"],
            "frame-ancestors 'none'"
        );
        assert_eq!(
            reply.headers.contains_key("strict-transport-security"),
            hsts
        );
    }
}

#[tokio::test]
async fn what_is_set_or_removed_does_not_come_under_a_name_that_only_looks_like_it() {
    let server = Server::start().await;
    let settings = json!({
        "request_headers": { "X-Stage": "test" },
        "remove_request_headers": ["X-Secret"],
    });
    let gateway = with_headers(&server, settings)
        .set("middlewares/id", json!({ "type": "request-id" }))
        .set(
            "middlewares/path",
            json!({ "type": "replace-path", "path": "/a" }),
        )
        .set("routers/all/middlewares", json!(["id", "headers", "path"]))
        .start()
        .await;
    let forged = [
        "X_Stage",
        "X_Secret",
        "X-Secret",
        "X_Request_Id",
        "X_Replaced_Path",
    ];
    let lines: String = forged.map(|name| format!("{name}: forged\r\n")).concat();
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX_Other: 1\r\n{lines}\r\n");
    assert_eq!(gateway.ask(text).await.status(), 200);
    let on_h1 = server.last();
    let mut up = request("GET", "/");
    up.headers_mut().insert("x_other", "1".parse().unwrap());
    for name in forged {
        let name: http::HeaderName = name.parse().unwrap();
        up.headers_mut().insert(name, "forged".parse().unwrap());
    }
    gateway.h2().await.ask(up).await;
    for seen in [on_h1, server.last()] {
        assert!(seen.headers.values().all(|value| value != "forged"));
        assert_eq!(seen.header("x-stage").unwrap(), "test");
        assert_eq!(seen.header("x-replaced-path").unwrap(), "/");
        assert_eq!(seen.header("x_other").unwrap(), "1");
        assert!(seen.header("x_request_id").is_none());
    }
}
