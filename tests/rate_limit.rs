//! `rate-limit` and `in-flight` in a gateway.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use a3s_gateway::serve::listener::Bind;
use a3s_gateway::stack::Next;
use a3s_layers::claims::Claims;
use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::body::{Feed, feed};
use support::{Client, Reply, Server, Setup, TestGateway, connect, eventually, request};
use tower::ServiceExt;
use tower::layer::layer_fn;

/// A gateway before `server`, whose router has the middleware `limit`.
fn limited(server: &Server, limit: Value) -> Setup {
    Setup::to(server)
        .set("middlewares/limit", limit)
        .set("routers/all/middlewares", json!(["limit"]))
}

/// A request with one more field.
fn with(name: &'static str, value: &str) -> Request<Body> {
    let mut request = request("GET", "/");
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// What a reply says of a limit: status, `RateLimit-Policy`, `RateLimit`.
fn told(reply: &Reply) -> (u16, Option<&str>, Option<&str>) {
    let field = |name| Some(reply.headers.get(name)?.to_str().unwrap());
    let status = reply.status.as_u16();
    (status, field("ratelimit-policy"), field("ratelimit"))
}

#[tokio::test]
async fn a_client_past_its_burst_gets_429_and_is_told_when_to_come_again() {
    let server = Server::start().await;
    let limit = json!({ "type": "rate-limit", "rate": 1, "period": "1h", "burst": 2 });
    let gateway = limited(&server, limit).start().await;
    let (mut h1, mut h2) = (gateway.h1().await, gateway.h2().await);
    let policy = Some(r#""default";q=2;w=7200"#);
    let first = h1.get("/").await;
    assert_eq!(told(&first), (200, policy, Some(r#""default";r=1;t=3600"#)));
    let second = h2.get("/").await;
    assert_eq!(
        told(&second),
        (200, policy, Some(r#""default";r=0;t=3600"#))
    );
    for client in [&mut h1, &mut h2] {
        let refused = client.get("/").await;
        assert_eq!(
            told(&refused),
            (429, policy, Some(r#""default";r=0;t=3600"#))
        );
        assert_eq!(refused.headers["retry-after"], "3600");
        assert_eq!(
            refused.text(),
            "{\"error\":\"too many requests\",\"status\":429}\n"
        );
    }
    let text = h1.ask(with("accept", "text/plain")).await;
    assert_eq!(text.text(), "too many requests\n");
    let grpc = h2.ask(with("content-type", "application/grpc")).await;
    assert_eq!(
        (grpc.status.as_u16(), grpc.headers["grpc-status"].as_bytes()),
        (200, &b"14"[..])
    );
    assert_eq!(grpc.headers["retry-after"], "3600");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn one_comes_back_each_interval() {
    let server = Server::start().await;
    let limit = json!({ "type": "rate-limit", "rate": 0.05, "period": "1ms", "burst": 1 });
    let gateway = limited(&server, limit).start().await;
    let mut client = gateway.h1().await;
    // One each 20 ms: whoever asks without a pause gets both answers, again and again.
    for status in [200, 429, 200, 429, 200] {
        while client.get("/").await.status != status {}
    }
}

#[tokio::test]
async fn a_client_is_its_address_as_a_trusted_proxy_tells_it() {
    let server = Server::start().await;
    let limit = json!({ "type": "rate-limit", "rate": 1, "period": "1h" });
    let trusting = limited(&server, limit);
    let gateway = trusting.start().await;
    let mut client = gateway.h1().await;
    assert_eq!(
        client
            .ask(with("x-forwarded-for", "192.0.2.1"))
            .await
            .status,
        200
    );
    assert_eq!(
        client
            .ask(with("x-forwarded-for", "192.0.2.2"))
            .await
            .status,
        429
    );
    let trusting = trusting.set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]));
    gateway.become_(&trusting).await;
    let mut client = gateway.h1().await;
    for (address, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("9.9.9.9, 192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("127.0.0.1", 429),
    ] {
        let reply = client.ask(with("x-forwarded-for", address)).await;
        assert_eq!(reply.status, status, "{address}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_a_header_a_path_or_all_together() {
    let server = Server::start().await;
    let limit = |key: &str| json!({ "type": "rate-limit", "rate": 1, "period": "1h", "key": key });
    let setup = |key| limited(&server, limit(key));
    let gateway = setup("header:X-Tenant").start().await;
    let mut client = gateway.h1().await;
    let huge = "x".repeat(16_000);
    for (tenant, status) in [
        ("a", 200),
        ("a", 429),
        ("b", 200),
        (&huge, 200),
        (&huge, 429),
    ] {
        assert_eq!(client.ask(with("x-tenant", tenant)).await.status, status);
    }
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 429);
    gateway.become_(&setup("path")).await;
    for (path, status) in [("/a", 200), ("/a?q", 429), ("/b/../%61", 429), ("/b", 200)] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    gateway.become_(&setup("global")).await;
    assert_eq!(client.get("/a").await.status, 200);
    assert_eq!(client.get("/b").await.status, 429);
}

#[tokio::test]
async fn requests_are_counted_by_a_claim_of_a_verified_token() {
    let text = r#"
        entrypoints "web" { address = "127.0.0.1:0" }
        routers "all" {
          rule        = "PathPrefix(`/`)"
          service     = "hello"
          middlewares = ["verified", "limit"]
        }
        services "hello" {
          respond { }
        }
        middlewares "verified" { type = "verified" }
        middlewares "limit" {
          type   = "rate-limit"
          rate   = 1
          period = "1h"
          key    = "claim:sub"
        }
    "#;
    // What `jwt` does, without a token.
    let verified = layer_fn(|inner: Next| {
        inner.map_request(|mut request: Request<Body>| {
            if let Some(sub) = request.headers().get("sub") {
                let sub = sub.to_str().unwrap().into();
                let claims = Claims::new([("sub".to_owned(), sub)].into_iter().collect());
                request.extensions_mut().insert(claims);
            }
            request
        })
    });
    let gateway = Gateway::builder(GatewayConfig::from_hcl(text).unwrap());
    let gateway = gateway
        .layer("verified", move |_| Ok(verified))
        .build()
        .unwrap();
    gateway.start().await.unwrap();
    let Some(Bind::Tcp(address)) = gateway.local_address("web").await else {
        panic!("no port")
    };
    let mut client = Client::h1(connect(address).await).await;
    for (sub, status) in [("ada", 200), ("ada", 429), ("bob", 200)] {
        assert_eq!(client.ask(with("sub", sub)).await.status, status, "{sub}");
    }
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 429);
}

#[tokio::test]
async fn routers_workers_and_connections_share_a_limit() {
    let server = Server::start().await;
    let limit = json!({ "type": "rate-limit", "rate": 10, "period": "1h" });
    let gateway = limited(&server, limit)
        .route("more", "PathPrefix(`/more`)", "backend")
        .set("routers/more/middlewares", json!(["limit"]))
        .with_all_workers()
        .start()
        .await;
    let mut passed = 0;
    for _ in 0..8 {
        let mut client = gateway.h1().await;
        for path in ["/", "/more", "/"] {
            passed += u32::from(client.get(path).await.status == 200);
        }
    }
    assert_eq!(passed, 10);
}

#[tokio::test]
async fn a_limit_that_is_to_keep_silent_or_only_to_watch_does_so() {
    let server = Server::start().await;
    let limit = |key: &str, value| {
        let mut limit = json!({ "type": "rate-limit", "rate": 1, "period": "1h" });
        limit[key] = value;
        limited(&server, limit)
    };
    let gateway = limit("headers", json!(false)).start().await;
    let mut client = gateway.h1().await;
    assert_eq!(told(&client.get("/").await), (200, None, None));
    let refused = client.get("/").await;
    assert_eq!(told(&refused), (429, None, None));
    assert_eq!(refused.headers["retry-after"], "3600");
    gateway.become_(&limit("shadow", json!(true))).await;
    for _ in 0..3 {
        let exhausted = Some(r#""default";r=0;t=3600"#);
        let reply = client.get("/").await;
        assert_eq!(
            told(&reply),
            (200, Some(r#""default";q=1;w=3600"#), exhausted)
        );
    }
    gateway
        .become_(&limit("policy", json!("per \"client\"")))
        .await;
    let policy = Some(r#""per \"client\"";q=1;w=3600"#);
    assert_eq!(told(&client.get("/").await).1, policy);
}

#[tokio::test]
async fn two_limits_are_told_beside_that_of_the_server() {
    let server = Server::http(|_| async {
        let response = Response::builder().header("ratelimit", "\"own\";r=1");
        response.body(Body::empty()).unwrap()
    })
    .await;
    let all = json!({ "type": "rate-limit", "rate": 5, "key": "global", "policy": "all" });
    let gateway = limited(&server, json!({ "type": "rate-limit", "rate": 9 }))
        .set("middlewares/all", all)
        .set("entrypoints/web/middlewares", json!(["all"]))
        .start()
        .await;
    let reply = gateway.h1().await.get("/").await;
    let lines: Vec<_> = reply.headers.get_all("ratelimit").iter().collect();
    assert_eq!(
        lines,
        [r#""own";r=1"#, r#""default";r=8;t=1"#, r#""all";r=4;t=1"#]
    );
}

#[tokio::test]
async fn a_bucket_stays_empty_over_a_reload_that_is_about_something_else() {
    let server = Server::start().await;
    let limit = json!({ "type": "rate-limit", "rate": 1, "period": "1h" });
    let setup = limited(&server, limit);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/").await.status, 200);
    let more = setup
        .route("more", "PathPrefix(`/more`)", "backend")
        .set("routers/more/middlewares", json!(["limit"]))
        .set(
            "middlewares/other",
            json!({ "type": "headers", "security": true }),
        )
        .set("routers/all/middlewares", json!(["other", "limit"]))
        .balancer("strategy", "random");
    gateway.become_(&more).await;
    for path in ["/", "/more"] {
        assert_eq!(client.get(path).await.status, 429, "{path}");
    }
    // Gone and back again is new, and so is one that is written otherwise.
    let without = more.clone().set("routers/all/middlewares", json!([]));
    let without = without.without("routers/more").without("middlewares/limit");
    gateway.become_(&without).await;
    gateway.become_(&more).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 429);
    gateway
        .become_(&more.set("middlewares/limit/burst", 2))
        .await;
    assert_eq!(client.get("/").await.status, 200);
}

/// A server whose answers end when a test lets them.
async fn streaming() -> (Server, Arc<Mutex<Vec<Feed>>>) {
    let feeds = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&feeds);
    let server = Server::http(move |_| {
        let (sender, body) = feed();
        kept.lock().unwrap().push(sender);
        async { Response::new(body) }
    });
    (server.await, feeds)
}

async fn status(gateway: &TestGateway) -> u16 {
    gateway
        .h1()
        .await
        .send(request("GET", "/"))
        .await
        .status()
        .as_u16()
}

#[tokio::test]
async fn a_request_is_under_way_until_the_end_of_its_answer() {
    let (server, feeds) = streaming().await;
    let limit = json!({ "type": "in-flight", "max": 2 });
    let gateway = limited(&server, limit).with_all_workers().start().await;
    let (mut one, mut two) = (gateway.h1().await, gateway.h2().await);
    let first = one.send(request("GET", "/")).await;
    let second = two.send(request("GET", "/")).await;
    let refused = gateway.h2().await.get("/").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(
        refused.text(),
        "{\"error\":\"too many requests are under way\",\"status\":503}\n"
    );
    // The first comes to its end, the client of the second goes away.
    feeds.lock().unwrap().remove(0);
    support::client::read(first).await.unwrap();
    let mut third = gateway.h1().await;
    let third = third.send(request("GET", "/")).await;
    assert_eq!(third.status(), 200);
    assert_eq!(status(&gateway).await, 503);
    drop((two, second));
    let mut last = 0;
    support::within("a place is free", async {
        while last != 200 {
            last = status(&gateway).await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_key_may_have_so_many_under_way() {
    let (server, feeds) = streaming().await;
    let limit = json!({ "type": "in-flight", "max": 1, "key": "header:x-tenant" });
    let gateway = limited(&server, limit).start().await;
    let ask = async |tenant| {
        let mut client = gateway.h1().await;
        let response = client.send(with("x-tenant", tenant)).await;
        (response.status().as_u16(), client, response)
    };
    let open = [ask("a").await, ask("b").await];
    assert!(open.iter().all(|(status, ..)| *status == 200));
    let (status, _, refused) = ask("a").await;
    assert_eq!(
        (status, &refused.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    feeds.lock().unwrap().clear();
    for (_, _client, response) in open {
        support::client::read(response).await.unwrap();
    }
    assert_eq!(ask("a").await.0, 200);
}

#[tokio::test]
async fn what_fails_is_under_way_no_longer() {
    let limit = json!({ "type": "in-flight", "max": 1 });
    let server = Server::says("nonsense\r\n\r\n").await;
    let gateway = limited(&server, limit).start().await;
    let mut client = gateway.h1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 502);
    }
}

#[tokio::test]
async fn who_is_under_way_is_counted_over_a_reload() {
    let (server, _feeds) = streaming().await;
    let setup = limited(&server, json!({ "type": "in-flight", "max": 1 }));
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    let _open = client.send(request("GET", "/")).await;
    gateway
        .become_(&setup.clone().balancer("strategy", "random"))
        .await;
    assert_eq!(status(&gateway).await, 503);
    // Written otherwise it starts afresh, and knows nothing of the one that is still open.
    gateway
        .become_(&setup.set("middlewares/limit/max", 2))
        .await;
    let mut clients = Vec::new();
    for expected in [200, 200, 503] {
        let mut client = Client::h1(connect(gateway.address()).await).await;
        let response = client.send(request("GET", "/")).await;
        assert_eq!(response.status(), expected);
        clients.push((client, response));
    }
    eventually("the server has them", || server.requests() == 3).await;
}
