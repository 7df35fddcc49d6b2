//! WebSockets through the gateway, as the client and the server of others see them.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use std::process::Command;
#[cfg(feature = "otlp")]
use support::collector::{Collector, outline};
use support::tools::python;
use support::{Server, Setup, TestGateway, Witness, eventually, within};

/// Of a server that has not understood.
const NOT_SWITCHED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// An echo server of others, and a gateway before it.
struct Scene {
    server: Witness,
    setup: Setup,
    gateway: TestGateway,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|setup| setup).await
    }

    async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let mut server = Witness::start(python("websocket_server.py"));
        let port = server.line().await.expect("a port");
        let setup = change(Setup::to(format!("http://127.0.0.1:{port}")));
        let gateway = setup.start().await;
        Self {
            server,
            setup,
            gateway,
        }
    }

    fn port(&self) -> String {
        self.gateway.address().port().to_string()
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = python("websocket_client.py");
        command.arg(format!("ws://127.0.0.1:{}/chat", self.port()));
        command.args(arguments);
        command
    }

    fn h2_client(&self, mode: &str) -> Command {
        let mut command = python("websocket_h2.py");
        command.args([&self.port(), mode]);
        command
    }
}

#[tokio::test]
async fn everything_that_the_protocol_has_goes_through() {
    let mut scene = Scene::new().await;
    let host = format!("127.0.0.1:{}", scene.port());
    Witness::start(scene.client(&["talk"])).ends_well().await;
    for _ in 0..2 {
        let seen = format!("open /chat chat {host} http://origin.test c=1 - 127.0.0.1");
        scene.server.says(&seen).await;
        scene.server.says("closed 4000 enough").await;
    }
    let seen = format!("open /chat None {host} - - - 127.0.0.1");
    scene.server.says(&seen).await;
    scene.server.says("closed 4001 leave").await;
}

#[tokio::test]
async fn everything_goes_through_streams_of_http2_as_well() {
    let mut scene = Scene::new().await;
    Witness::start(scene.h2_client("talk")).ends_well().await;
    for _ in 0..2 {
        let seen = "open /chat chat chat.test http://o.test c=1; d=2 - 127.0.0.1";
        scene.server.says(seen).await;
    }
    let gateway = &scene.gateway;
    for _ in 0..2 {
        let line = scene.server.line().await.unwrap();
        assert!(["closed 4000 enough", "closed 4001 leave"].contains(&&*line));
    }
    eventually("they are counted", || {
        let counted = "gateway_router_requests_total{method=\"CONNECT\",code=\"101\"}";
        gateway.metric(counted) == Some(2.0)
    })
    .await;
}

#[cfg(feature = "otlp")]
#[tokio::test]
async fn a_stream_of_http2_is_told_of_by_the_method_that_the_client_sent() {
    let (server, collector) = (Server::says(NOT_SWITCHED).await, Collector::start().await);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let gateway = Setup::to(&server)
        .set("access_log/file", log.to_str().unwrap())
        .set("tracing/otlp_endpoint", collector.url())
        .set("tracing/sample", 1)
        .start()
        .await;
    let mut client = python("websocket_h2.py");
    client.args([&gateway.address().port().to_string(), "status"]);
    Witness::start(client).says("502").await;
    let spans = collector.has(3).await;
    assert_eq!(
        outline(&spans),
        "server CONNECT 502 !reset\n  internal router all\n    client GET !reset\n"
    );
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("a line", || text().ends_with('\n')).await;
    let line: serde_json::Value = serde_json::from_str(&text()).unwrap();
    assert_eq!(
        (&line["method"], &line["path"]),
        (&json!("CONNECT"), &json!("/chat"))
    );
    let counted = "gateway_router_requests_total{method=\"CONNECT\",code=\"502\"}";
    assert_eq!(gateway.metric(counted), Some(1.0));
}

#[tokio::test]
async fn a_shutdown_takes_leave_of_both_sides() {
    let mut scene = Scene::new().await;
    let mut h1 = Witness::start(scene.client(&["wait"]));
    let mut h2 = Witness::start(scene.h2_client("wait"));
    for client in [&mut h1, &mut h2] {
        client.says("open").await;
    }
    within("the shutdown", scene.gateway.shutdown()).await;
    for mut client in [h1, h2] {
        client.says("closed 1001").await;
        client.ends_well().await;
    }
    let mut lines = Vec::new();
    for _ in 0..4 {
        lines.push(scene.server.line().await.unwrap());
    }
    let closed = lines.iter().filter(|line| line.starts_with("closed 1001"));
    assert_eq!(closed.count(), 2, "{lines:?}");
}

#[tokio::test]
async fn open_ones_live_through_reloads() {
    let scene = Scene::new().await;
    let mut clients = Witness::start(scene.client(&["hold", "5"]));
    clients.says("open").await;
    for round in 0..500 {
        // Nothing of what they began with is there afterwards.
        let setup = match round % 2 {
            0 => Setup::new()
                .route("other", "Path(`/other`)", "gone")
                .set("services/gone/respond/status", 410),
            _ => scene.setup.clone(),
        };
        scene.gateway.become_(&setup).await;
        if round % 100 == 0 {
            clients.tell("still");
            clients.says("echoed still").await;
        }
    }
    clients.tell("still");
    clients.says("echoed still").await;
}

#[tokio::test]
async fn who_may_not_come_in_gets_no_tunnel() {
    let mut scene = Scene::with(|setup| {
        setup
            .set(
                "middlewares/keys",
                json!({ "type": "api-key", "keys": { "ada": "sesame" } }),
            )
            .set("routers/all/middlewares", json!(["keys"]))
    })
    .await;
    let ask = |key: &str| {
        format!(
            "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    };
    let mut wire = scene.gateway.wire().await;
    wire.send(ask("")).await;
    assert_eq!(wire.answer().await.status(), 401);
    // The connection is as good as any for the next try.
    wire.send(ask("X-API-Key: sesame\r\n")).await;
    assert_eq!(wire.head().await.status(), 101);
    let line = scene.server.line().await.unwrap();
    assert!(line.starts_with("open /chat"), "{line}");
}

#[tokio::test]
async fn a_server_that_has_not_understood_is_told_as_it_is_to_a_stream_of_http2() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        NOT_SWITCHED,
    ] {
        let server = Server::says(answer).await;
        let gateway = Setup::to(&server).start().await;
        let mut client = python("websocket_h2.py");
        client.args([&gateway.address().port().to_string(), "status"]);
        Witness::start(client).says("502").await;
        eventually("it is counted", || {
            gateway.metric("gateway_router_requests_total{router=\"all\",code=\"502\"}")
                == Some(1.0)
        })
        .await;
        let failed =
            gateway.metric("gateway_service_failures_total{service=\"backend\",reason=\"reset\"}");
        assert_eq!(failed, Some(1.0));
    }
}
