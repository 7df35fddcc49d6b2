//! `request-id` in a gateway.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use support::{Server, Setup, request};

fn setup(server: &Server, settings: Value) -> Setup {
    Setup::to(server)
        .set("middlewares/id", settings)
        .set(
            "middlewares/nobody",
            json!({ "type": "ip-allow", "allowed_ips": ["192.0.2.1"] }),
        )
        .route("closed", "PathPrefix(`/closed`)", "backend")
        .set("routers/closed/middlewares", json!(["nobody"]))
        .set("entrypoints/web/middlewares", json!(["id"]))
}

#[tokio::test]
async fn the_server_and_the_client_are_told_one_id() {
    let server = Server::start().await;
    let gateway = setup(&server, json!({ "type": "request-id" }))
        .start()
        .await;
    let mut client = gateway.h2().await;
    let first = client.get("/").await.headers["x-request-id"].clone();
    assert_eq!(server.last().header("x-request-id").unwrap(), first);
    assert_eq!(first.len(), 36);
    let refused = client.get("/closed").await;
    assert_eq!(refused.status, 403);
    assert_ne!(refused.headers["x-request-id"], first);
}

#[tokio::test]
async fn a_client_cannot_choose_the_id_and_a_trusted_proxy_can() {
    let server = Server::start().await;
    let setup = setup(&server, json!({ "type": "request-id" }));
    let trusting = (setup.clone()).set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]));
    let always = json!({ "type": "request-id", "keep": "always" });
    let always = setup.clone().set("middlewares/id", always);
    for (setup, given, is_kept) in [
        (&setup, "given", false),
        (&trusting, "given", true),
        (&trusting, "two words", false),
        (&always, "given", true),
        (&always, &"a".repeat(1000), false),
    ] {
        let gateway = setup.start().await;
        let mut request = request("GET", "/");
        let value = given.parse().unwrap();
        request.headers_mut().insert("x-request-id", value);
        let reply = gateway.h1().await.ask(request).await;
        let seen = server.last().header("x-request-id").unwrap();
        assert_eq!(seen == given, is_kept, "{given}");
        assert_eq!(reply.headers["x-request-id"], seen);
    }
}

#[tokio::test]
async fn another_header_may_have_it() {
    let server = Server::start().await;
    let settings = json!({ "type": "request-id", "header": "X-Correlation-Id" });
    let gateway = setup(&server, settings).start().await;
    let reply = gateway.h1().await.get("/").await;
    let seen = server.last().header("x-correlation-id").unwrap();
    assert_eq!(reply.headers["x-correlation-id"], seen);
    assert!(!reply.headers.contains_key("x-request-id"));
}
