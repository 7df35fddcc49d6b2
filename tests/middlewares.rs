//! Middlewares in a gateway: their order, their lists, and types of the program's own.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use a3s_layers::headers::{HeaderEdits, HeadersLayer};
use serde_json::json;
use support::{Client, Server, Setup, connect, request};

/// Adds a line to `x-trace`, of requests and of responses.
fn trace(setup: Setup, name: &str) -> Setup {
    setup.set(
        &format!("middlewares/{name}"),
        json!({
            "type": "headers",
            "add_request_headers": { "x-trace": name },
            "add_response_headers": { "x-trace": name },
        }),
    )
}

#[tokio::test]
async fn entrypoint_middlewares_come_before_the_routers_and_chains_unfold_in_place() {
    let server = Server::start().await;
    let mut setup = Setup::to(&server);
    for name in ["a", "b", "c", "d", "e"] {
        setup = trace(setup, name);
    }
    let gateway = setup
        .set(
            "middlewares/inner",
            json!({ "type": "chain", "middlewares": ["c"] }),
        )
        .set(
            "middlewares/outer",
            json!({ "type": "chain", "middlewares": ["b", "inner", "d"] }),
        )
        .set("entrypoints/web/middlewares", json!(["a"]))
        .set("routers/all/middlewares", json!(["outer", "e"]))
        .start()
        .await;
    let reply = gateway.h1().await.get("/").await;
    assert_eq!(server.last().header("x-trace").unwrap(), "a, b, c, d, e");
    let lines: Vec<_> = reply.headers.get_all("x-trace").iter().collect();
    assert_eq!(lines, ["e", "d", "c", "b", "a"]);
}

#[tokio::test]
async fn a_refusal_goes_back_through_those_before_it() {
    let server = Server::start().await;
    let gateway = trace(trace(Setup::to(&server), "before"), "behind")
        .set(
            "middlewares/nobody",
            json!({ "type": "ip-allow", "allowed_ips": ["192.0.2.1"] }),
        )
        .set(
            "routers/all/middlewares",
            json!(["before", "nobody", "behind"]),
        )
        .start()
        .await;
    let reply = gateway.h2().await.get("/").await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.headers["x-trace"], "before");
    assert_eq!(server.requests(), 0);
    assert_eq!(
        gateway.metric("gateway_router_requests_total{router=\"all\",code=\"403\"}"),
        Some(1.0),
        "{}",
        gateway.metrics()
    );
}

#[tokio::test]
async fn only_the_entrypoint_that_names_a_middleware_has_it() {
    let server = Server::start().await;
    let gateway = trace(Setup::to(&server), "a")
        .set(
            "entrypoints/other",
            json!({ "address": "127.0.0.1:0", "middlewares": ["a"] }),
        )
        .start()
        .await;
    let reply = gateway.h1().await.get("/").await;
    assert!(!reply.headers.contains_key("x-trace"));
    let other = gateway.address_of("other").await;
    let reply = Client::h1(connect(other).await).await.get("/").await;
    assert_eq!(reply.headers["x-trace"], "a");
}

#[tokio::test]
async fn addresses_are_allowed_and_denied() {
    let server = Server::start().await;
    let setup = Setup::to(&server)
        .set("entrypoints/web/trusted_proxies", json!(["127.0.0.1"]))
        .set("routers/all/middlewares", json!(["office"]));
    let filter = |filter| setup.clone().set("middlewares/office", filter);
    let office = json!({ "type": "ip-allow", "allowed_ips": ["192.0.2.0/24"], "denied_ips": ["192.0.2.66"] });
    let gateway = filter(office).start().await;
    let mut client = gateway.h1().await;
    let mut asked = async |address: &str| {
        let mut request = request("GET", "/");
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", address.parse().unwrap());
        headers.insert("accept", "text/plain".parse().unwrap());
        client.ask(request).await
    };
    assert_eq!(asked("192.0.2.7").await.status, 200);
    assert_eq!(asked("::ffff:192.0.2.7").await.status, 200);
    let refused = asked("192.0.2.66").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(asked("198.51.100.1").await.status, 403);
    assert_eq!(asked("192.0.2.7, 198.51.100.1").await.status, 403);
    let deep = json!({ "type": "ip-allow", "allowed_ips": ["192.0.2.7"], "depth": 2 });
    gateway.become_(&filter(deep)).await;
    assert_eq!(asked("192.0.2.7, 198.51.100.1").await.status, 200);
    assert_eq!(asked("192.0.2.7").await.status, 403);
}

#[tokio::test]
async fn prefixes_are_stripped_and_told() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set(
            "middlewares/strip",
            json!({ "type": "strip-prefix", "prefixes": ["/api"] }),
        )
        .set("routers/all/middlewares", json!(["strip"]))
        .start()
        .await;
    let mut request = request("GET", "/api/%75sers?q=1");
    let forged = "/forged".parse().unwrap();
    request.headers_mut().insert("x-forwarded-prefix", forged);
    gateway.h1().await.ask(request).await;
    let seen = server.last();
    assert_eq!(seen.target, "/users?q=1");
    assert_eq!(seen.header("x-forwarded-prefix").unwrap(), "/api");
}

#[tokio::test]
async fn the_admin_api_lists_middlewares_and_hides_values_for_requests() {
    let gateway = Setup::to("http://127.0.0.1:1")
        .admin()
        .set(
            "middlewares/token",
            json!({ "type": "headers", "request_headers": { "authorization": "hunter2" } }),
        )
        .set("routers/all/middlewares", json!(["token"]))
        .start()
        .await;
    let list = gateway.admin("/api/gateway/middlewares").await;
    let expected = json!([{
        "name": "token", "type": "headers", "routers": ["all"], "entrypoints": [], "chains": [], "uses": 1,
    }]);
    assert_eq!(list, expected);
    let config = gateway.admin("/api/gateway/config").await;
    assert_eq!(config["middlewares"]["token"]["type"], "headers");
    assert!(!config.to_string().contains("hunter2"));
}

const CUSTOM: &str = r#"
entrypoints "web" { address = "127.0.0.1:0" }
routers "all" {
  rule        = "PathPrefix(`/`)"
  service     = "hello"
  middlewares = ["stage"]
}
services "hello" {
  respond { body = "hello" }
}
middlewares "stage" {
  type = "stage"
  name = "test"
}
"#;

#[tokio::test]
async fn a_program_brings_its_own_type_of_middleware() {
    let config = GatewayConfig::from_hcl(CUSTOM).unwrap();
    // Nobody else knows what it is.
    let error = Gateway::new(config.clone()).unwrap_err().to_string();
    let expected =
        "configuration:12:10: error[E020]: middleware `stage` is of the unknown type `stage`;";
    assert!(error.starts_with(expected), "{error}");
    let gateway = Gateway::builder(config)
        .layer("stage", |settings| {
            let name = settings["name"].as_str().ok_or("`name` is missing")?;
            Ok(HeadersLayer::new().response(HeaderEdits::new().set("x-stage", name)?))
        })
        .build()
        .unwrap();
    gateway.start().await.unwrap();
    let ask = async || {
        let bind = gateway.local_address("web").await.unwrap();
        let a3s_gateway::serve::listener::Bind::Tcp(address) = bind else {
            panic!("no port")
        };
        Client::h1(connect(address).await).await.get("/").await
    };
    assert_eq!(ask().await.headers["x-stage"], "test");
    // A reload knows it too; what the program refuses is refused.
    let changed = CUSTOM.replace("\"test\"", "\"live\"");
    gateway.reload(changed.parse().unwrap()).await.unwrap();
    assert_eq!(ask().await.headers["x-stage"], "live");
    let nameless = CUSTOM.replace("name = \"test\"", "");
    let refused = gateway.reload(nameless.parse().unwrap()).await.unwrap_err();
    assert_eq!(refused.to_string(), "middleware `stage`: `name` is missing");
    assert_eq!(ask().await.headers["x-stage"], "live");
    gateway.shutdown().await;
}

#[test]
fn every_example_of_the_manual_is_valid() {
    let manual = include_str!("../docs/middlewares.md");
    let mut count = 0;
    for block in manual.split("```hcl\n").skip(1) {
        let example = block.split("```").next().unwrap();
        if cfg!(not(feature = "redis")) && example.contains("rate-limit-redis") {
            continue;
        }
        // What comes from the environment there.
        let mut text = example
            .replace("${STAFF_PASSWORD}", "for this example only")
            .replace("${JWT_SECRET}", "for this example only, and long enough");
        if !example.contains("entrypoints \"") {
            let names: Vec<_> = example
                .lines()
                .filter_map(|line| line.strip_prefix("middlewares \"")?.split('"').next())
                .collect();
            text += &format!(
                "entrypoints \"web\" {{ address = \":80\" }}\nrouters \"r\" {{\n rule = \"PathPrefix(`/`)\"\n service = \"s\"\n middlewares = {names:?}\n}}\n"
            );
        }
        if !text.contains("services \"s\"") {
            text += "services \"s\" {\n respond { }\n}\n";
        }
        let config = GatewayConfig::from_hcl(&text);
        let config = config.unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
        Gateway::validate(&config).unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
        count += 1;
    }
    assert!(count > 3);
}
