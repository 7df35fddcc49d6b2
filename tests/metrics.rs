//! Metrics: what each kind of traffic counts as, and that others can read it.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::tls::Authority;
use support::{
    Client, Server, Setup, TestGateway, UdpClient, UdpServer, Wire, connect, eventually, request,
    tools,
};

/// A series of a scrape.
#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Every series of a scrape whose label values need no escape.
fn series(text: &str) -> Vec<Series> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",");
        let labels = labels.filter_map(|label| {
            let (name, value) = label.split_once("=\"")?;
            Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        Series {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value.parse().unwrap(),
        }
    };
    lines.map(read).collect()
}

/// A gateway with something of everything.
struct Scene {
    gateway: TestGateway,
    authority: Authority,
    _servers: Vec<Server>,
    _udp: UdpServer,
}

const UPGRADE: &str = "GET /hub HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Scene {
    async fn start() -> Self {
        let backend = Server::start().await;
        let silent = Server::raw(|wire, _| wire.hang()).await;
        let echo = Server::raw(|mut wire, _| async move {
            let bytes = wire.exactly(4).await;
            wire.send(bytes).await;
            wire.ended().await;
        })
        .await;
        let failing = Server::http(|_: Request<_>| async {
            Response::builder().status(503).body(Body::empty()).unwrap()
        })
        .await;
        let udp = UdpServer::echo("echo").await;
        let authority = Authority::new();
        let (cert_file, key_file) = authority.files("a.test");
        let any = "HostSNI(`*`)";
        let setup = Setup::to(&backend)
            .admin()
            .set("metrics/compat", "traefik")
            .set("routers/all/middlewares", json!(["edge"]))
            .set(
                "middlewares/edge",
                json!({ "type": "in-flight", "max": 100 }),
            )
            .set(
                "middlewares/one",
                json!({ "type": "rate-limit", "rate": 1, "period": "1h" }),
            )
            .set(
                "middlewares/breaker",
                json!({ "type": "circuit-breaker", "failure_threshold": 2 }),
            )
            .set(
                "middlewares/again",
                json!({ "type": "retry", "max_retries": 2, "retry_interval_ms": 0 }),
            )
            .set(
                "entrypoints/safe",
                json!({
                    "address": "127.0.0.1:0",
                    "tls": { "cert_file": cert_file, "key_file": key_file },
                }),
            )
            .set(
                "entrypoints/bytes",
                json!({ "address": "127.0.0.1:0", "protocol": "tcp" }),
            )
            .set(
                "entrypoints/datagrams",
                json!({ "address": "127.0.0.1:0", "protocol": "udp" }),
            )
            .route("limited", "Path(`/limited`)", "backend")
            .set("routers/limited/middlewares", json!(["one"]))
            .route("gone", "Path(`/gone`)", "gone")
            .set("routers/gone/middlewares", json!(["again"]))
            .service("gone", "http://127.0.0.1:1")
            .route("failing", "Path(`/failing`)", "failing")
            .set("routers/failing/middlewares", json!(["breaker"]))
            .service("failing", &failing)
            .route("silent", "Path(`/silent`)", "silent")
            .service("silent", &silent)
            .route("hub", "Path(`/hub`)", "hub")
            .set("services/hub/websocket_hub", json!({}))
            .route("events", "Path(`/events`)", "events")
            .set(
                "services/events/respond",
                json!({
                    "body": "data: 1\n\n",
                    "headers": { "content-type": "text/event-stream" },
                }),
            )
            .route("only", "Host(`only.test`)", "backend")
            .set(
                "routers/all/rule",
                "PathPrefix(`/`) && !PathPrefix(`/nowhere`)",
            )
            .set("routers/all/priority", 1)
            .route("tcp", any, "tcp")
            .set("routers/tcp/entrypoints", json!(["bytes"]))
            .service("tcp", echo.url("tcp"))
            .route("udp", any, "udp")
            .set("routers/udp/entrypoints", json!(["datagrams"]))
            .service("udp", udp.url());
        Self {
            gateway: setup.start().await,
            authority,
            _servers: vec![backend, silent, echo, failing],
            _udp: udp,
        }
    }

    /// Traffic of each kind, once or a few times.
    async fn traffic(&self) {
        let gateway = &self.gateway;
        let mut client = gateway.h1().await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.status, 200);
        }
        assert_eq!(client.get("/nowhere").await.status, 404);
        assert_eq!(client.get("/gone").await.status, 502);
        assert_eq!(client.get("/limited").await.status, 200);
        assert_eq!(client.get("/limited").await.status, 429);
        for _ in 0..3 {
            assert_eq!(client.get("/failing").await.status, 503);
        }
        assert_eq!(client.get("/events").await.status, 200);
        let mut upload = request("POST", "/upload");
        *upload.body_mut() = Body::from("12345");
        assert_eq!(client.ask(upload).await.status, 200);
        let mut grpc = request("POST", "http://a/pkg.Service/Method");
        let headers = grpc.headers_mut();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        assert_eq!(gateway.h2().await.ask(grpc).await.status, 200);

        let mut gone = gateway.wire().await;
        gone.send("GET /silent HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let in_flight = "gateway_in_flight{service=\"silent\"}";
        eventually("it is asked", || gateway.metric(in_flight) == Some(1.0)).await;
        drop(gone);
        eventually("it is gone", || gateway.metric(in_flight) == Some(0.0)).await;

        let mut hub = gateway.wire().await;
        hub.send(UPGRADE).await;
        assert_eq!(hub.head().await.status(), 101);
        drop(hub);

        let safe = gateway.address_of("safe").await;
        let trusting = self.authority.trusting(&[]);
        let stream = support::tls::connect(trusting, safe, "a.test")
            .await
            .unwrap();
        assert_eq!(Client::h1(stream).await.get("/").await.status, 200);

        let mut bytes = Wire::new(connect(gateway.address_of("bytes").await).await);
        bytes.send("ping").await;
        assert_eq!(bytes.exactly(4).await, b"ping");
        drop(bytes);
        let udp = UdpClient::to(gateway.address_of("datagrams").await).await;
        udp.ask(b"ping").await;

        let hub = "gateway_router_requests_total{router=\"hub\"}";
        eventually("the WebSocket has ended", || {
            gateway.metric(hub) == Some(1.0)
        })
        .await;
        let ended = "gateway_service_ended_connections_total{service=\"tcp\",end=\"whole\"}";
        eventually("the connection has ended", || {
            gateway.metric(ended) == Some(1.0)
        })
        .await;
        let web = "gateway_entrypoint_requests_total{entrypoint=\"web\"}";
        eventually("all is counted", || gateway.metric(web) == Some(15.0)).await;
    }
}

async fn run(mut command: Command, input: String) -> Output {
    let output = tokio::task::spawn_blocking(move || {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
        // Whoever reads to the end before it says anything cannot be in our way.
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output()
    });
    output.await.unwrap().unwrap()
}

fn promtool() -> Command {
    Command::new(tools::program("promtool", "prometheus"))
}

fn assert_success(output: &Output) {
    let said = [&*output.stdout, &*output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn traffic_of_each_kind_is_counted() {
    let scene = Scene::start().await;
    scene.traffic().await;
    let gateway = &scene.gateway;
    for (series, expected) in [
        (
            r#"gateway_entrypoint_requests_total{entrypoint="web",code="200",method="GET",protocol="http"}"#,
            4.0,
        ),
        (
            r#"gateway_entrypoint_requests_total{entrypoint="web",code="404"}"#,
            1.0,
        ),
        (
            r#"gateway_entrypoint_requests_total{entrypoint="web",code="499"}"#,
            1.0,
        ),
        (
            r#"gateway_entrypoint_requests_total{entrypoint="safe",code="200"}"#,
            1.0,
        ),
        (
            r#"gateway_router_requests_total{router="gone",service="gone",code="502"}"#,
            1.0,
        ),
        (
            r#"gateway_router_requests_total{router="limited",code="429"}"#,
            1.0,
        ),
        (
            r#"gateway_router_requests_total{router="hub",code="101",protocol="websocket"}"#,
            1.0,
        ),
        (
            r#"gateway_router_requests_total{router="silent",code="499"}"#,
            1.0,
        ),
        (
            r#"gateway_service_requests_total{service="events",protocol="sse"}"#,
            1.0,
        ),
        (
            r#"gateway_service_requests_total{service="backend",method="POST",protocol="grpc"}"#,
            1.0,
        ),
        (
            r#"gateway_service_requests_total{service="backend",method="POST",protocol="http"}"#,
            1.0,
        ),
        (
            r#"gateway_router_request_duration_seconds_count{router="all",protocol="http"}"#,
            5.0,
        ),
        (
            r#"gateway_router_request_duration_seconds_bucket{router="hub",protocol="websocket",le="+Inf"}"#,
            1.0,
        ),
        (
            r#"gateway_entrypoint_request_bytes_total{method="POST",protocol="http"}"#,
            5.0,
        ),
        (
            r#"gateway_service_response_bytes_total{service="events"}"#,
            9.0,
        ),
        (r#"gateway_in_flight{entrypoint="web"}"#, 0.0),
        (r#"gateway_service_retries_total{service="gone"}"#, 2.0),
        (
            r#"gateway_service_failures_total{service="gone",reason="connect"}"#,
            1.0,
        ),
        (
            r#"gateway_middleware_requests_total{middleware="one",type="rate-limit",result="passed"}"#,
            1.0,
        ),
        (
            r#"gateway_middleware_requests_total{middleware="one",result="refused"}"#,
            1.0,
        ),
        (
            r#"gateway_middleware_requests_total{middleware="breaker",result="passed"}"#,
            2.0,
        ),
        (
            r#"gateway_middleware_requests_total{middleware="breaker",result="refused"}"#,
            1.0,
        ),
        (
            r#"gateway_middleware_requests_total{middleware="edge",result="passed"}"#,
            6.0,
        ),
        (r#"gateway_middleware_in_flight{middleware="edge"}"#, 0.0),
        (
            r#"gateway_rate_limit_requests_total{middleware="one",result="allowed"}"#,
            1.0,
        ),
        (
            r#"gateway_rate_limit_requests_total{middleware="one",result="limited"}"#,
            1.0,
        ),
        (
            r#"gateway_circuit_breaker_state{middleware="breaker",state="open"}"#,
            1.0,
        ),
        (
            r#"gateway_circuit_breaker_state{middleware="breaker",state="closed"}"#,
            0.0,
        ),
        (
            r#"gateway_circuit_breaker_transitions_total{middleware="breaker",state="open"}"#,
            1.0,
        ),
        (
            r#"gateway_tls_handshakes_total{entrypoint="safe",version="TLSv1.3",result="success"}"#,
            1.0,
        ),
        (
            r#"gateway_service_server_requests_total{service="backend"}"#,
            7.0,
        ),
        (
            r#"gateway_service_server_requests_total{service="gone"}"#,
            3.0,
        ),
        (
            r#"gateway_service_server_opened_connections_total{service="backend"}"#,
            1.0,
        ),
        (
            r#"gateway_service_server_reused_connections_total{service="backend"}"#,
            6.0,
        ),
        (
            r#"gateway_service_server_open_connections{service="backend"}"#,
            1.0,
        ),
        (
            r#"gateway_service_server_idle_connections{service="backend"}"#,
            1.0,
        ),
        (r#"gateway_service_connections_total{service="tcp"}"#, 1.0),
        (
            r#"gateway_service_connection_received_bytes_total{service="tcp"}"#,
            4.0,
        ),
        (r#"gateway_udp_sessions_total{entrypoint="datagrams"}"#, 1.0),
        (
            r#"gateway_udp_datagrams_total{entrypoint="datagrams",direction="received"}"#,
            1.0,
        ),
        (
            r#"gateway_open_connections{entrypoint="datagrams",protocol="udp"}"#,
            1.0,
        ),
        (r#"gateway_config_reloads_total{result="success"}"#, 0.0),
        (r#"gateway_build_info"#, 1.0),
    ] {
        assert_eq!(
            gateway.metric(series),
            Some(expected),
            "{series}\n{}",
            gateway.metrics()
        );
    }
    for series in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "gateway_config_running_since_timestamp_seconds",
        r#"gateway_tls_certificate_not_after_seconds{entrypoint="safe",name="a.test"}"#,
    ] {
        assert!(gateway.metric(series) > Some(0.0), "{series}");
    }
}

#[tokio::test]
async fn the_series_of_traefik_have_the_names_that_its_users_know() {
    let scene = Scene::start().await;
    scene.traffic().await;
    let gateway = &scene.gateway;
    for (series, expected) in [
        (
            r#"traefik_entrypoint_requests_total{code="404",method="GET",protocol="http",entrypoint="web"}"#,
            1.0,
        ),
        (
            r#"traefik_router_requests_total{code="502",method="GET",protocol="http",router="gone",service="gone"}"#,
            1.0,
        ),
        (
            r#"traefik_service_requests_total{code="101",protocol="websocket",service="hub"}"#,
            1.0,
        ),
        (
            r#"traefik_service_request_duration_seconds_bucket{code="200",method="POST",protocol="grpc",service="backend",le="+Inf"}"#,
            1.0,
        ),
        (
            r#"traefik_service_request_duration_seconds_count{service="backend",code="200",method="POST",protocol="grpc"}"#,
            1.0,
        ),
        (
            r#"traefik_entrypoint_requests_bytes_total{method="POST",protocol="http"}"#,
            5.0,
        ),
        (
            r#"traefik_service_responses_bytes_total{service="events"}"#,
            9.0,
        ),
        (r#"traefik_service_retries_total{service="gone"}"#, 2.0),
        (
            r#"traefik_service_server_up{service="tcp",url="tcp://"#,
            1.0,
        ),
        (
            r#"traefik_open_connections{entrypoint="datagrams",protocol="UDP"}"#,
            1.0,
        ),
        ("traefik_config_reloads_total", 0.0),
    ] {
        // The last label of a server has a port of chance.
        let series = series.replace(",url=\"tcp://", "");
        assert_eq!(
            gateway.metric(&series),
            Some(expected),
            "{series}\n{}",
            gateway.metrics()
        );
    }
    for series in [
        "traefik_config_last_reload_success",
        r#"traefik_tls_certs_not_after{cn="a.test",sans="a.test"}"#,
    ] {
        assert!(gateway.metric(series) > Some(0.0), "{series}");
    }
    let bounds: BTreeSet<_> = series(&gateway.metrics())
        .into_iter()
        .filter(|each| each.name.starts_with("traefik_") && each.labels.contains_key("le"))
        .map(|each| each.labels["le"].clone())
        .collect();
    assert_eq!(
        bounds,
        ["+Inf", "0.1", "0.3", "1.2", "5.0"]
            .map(str::to_owned)
            .into()
    );
    let plain = Setup::new().start().await;
    assert!(!plain.metrics().contains("traefik_"));
}

#[tokio::test]
async fn others_read_both_forms() {
    let scene = Scene::start().await;
    scene.traffic().await;
    let text = scene.gateway.metrics();
    let mut check = promtool();
    check.args(["check", "metrics"]);
    // What it says of style is for our own names.
    let own: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("traefik_"))
        .collect();
    assert_success(&run(check, own.join("\n") + "\n").await);

    let admin = scene.gateway.address_of("admin@internal").await;
    let mut client = Client::admin(connect(admin).await).await;
    let mut asks = request("GET", "/api/gateway/metrics");
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    asks.headers_mut().insert("accept", accept.parse().unwrap());
    let reply = client.ask(asks).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.headers["content-type"], content_type);
    let output = run(tools::python("openmetrics.py"), reply.text()).await;
    assert_success(&output);
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    for family in [
        "gateway_entrypoint_requests counter",
        "gateway_entrypoint_request_duration_seconds histogram",
        "gateway_in_flight gauge",
        "traefik_service_requests counter",
    ] {
        assert!(
            read.lines().any(|line| line == family),
            "{family} in\n{read}"
        );
    }
}

#[tokio::test]
async fn a_reload_ends_series_of_what_is_no_more_and_goes_on_with_the_rest() {
    let server = Server::start().await;
    let limit = json!({ "type": "rate-limit", "rate": 100 });
    let setup = Setup::to(&server)
        .service("other", &server)
        .route("old", "Path(`/old`)", "other")
        .set("routers/old/priority", 100)
        .set("middlewares/kept", limit.clone())
        .set("middlewares/leaves", limit)
        .set("routers/all/middlewares", json!(["kept"]))
        .set("routers/old/middlewares", json!(["leaves"]));
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    for _ in 0..4 {
        client.get("/").await;
        client.get("/old").await;
    }
    let web = r#"gateway_entrypoint_requests_total{entrypoint="web"}"#;
    eventually("all are counted", || gateway.metric(web) == Some(8.0)).await;
    let setup = setup
        .without("routers/old")
        .without("services/other")
        .without("middlewares/leaves");
    gateway.become_(&setup).await;
    client.get("/").await;
    eventually("one more", || gateway.metric(web) == Some(9.0)).await;
    let text = gateway.metrics();
    for gone in ["\"old\"", "\"other\"", "\"leaves\""] {
        assert!(!text.contains(gone), "{gone} in\n{text}");
    }
    for (series, expected) in [
        (
            r#"gateway_router_requests_total{router="all",service="backend"}"#,
            5.0,
        ),
        (
            r#"gateway_middleware_requests_total{middleware="kept",result="passed"}"#,
            5.0,
        ),
        (
            r#"gateway_rate_limit_requests_total{middleware="kept",result="allowed"}"#,
            5.0,
        ),
        (
            r#"gateway_service_server_reused_connections_total{service="backend"}"#,
            4.0,
        ),
    ] {
        assert_eq!(gateway.metric(series), Some(expected), "{series}");
    }
    // A router that leads elsewhere has other series.
    let moved = setup
        .service("new", &server)
        .set("routers/all/service", "new");
    let moved = moved.without("services/backend");
    gateway.become_(&moved).await;
    client.get("/").await;
    eventually("one more", || gateway.metric(web) == Some(10.0)).await;
    assert_eq!(
        gateway.metric(r#"gateway_router_requests_total{router="all"}"#),
        Some(1.0)
    );
}

#[tokio::test]
async fn no_client_makes_series_at_will() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let mut client = gateway.h1().await;
    client.get("/").await;
    for index in 0..10_000 {
        let method = format!("ODD{index}");
        let mut request = request(&method, &format!("/{index}"));
        let host = format!("h{index}.test").parse().unwrap();
        request.headers_mut().insert("host", host);
        assert_eq!(client.ask(request).await.status, 200);
    }
    let odd = r#"gateway_router_requests_total{router="all",method="other"}"#;
    eventually("all are counted", || gateway.metric(odd) == Some(10_000.0)).await;
    let text = gateway.metrics();
    let count = |name: &str| {
        series(&text)
            .iter()
            .filter(|each| each.name == name)
            .count()
    };
    assert_eq!(count("gateway_router_requests_total"), 2);
    assert_eq!(count("gateway_entrypoint_requests_total"), 2);
    assert!(!text.contains("ODD") && !text.contains("h1.test"));
}

#[tokio::test]
async fn names_end_where_they_end() {
    let odd = r#"a "b" \ c"#;
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let mut config = gateway.config().as_ref().clone();
    let router = config.routers.shift_remove("all").unwrap();
    config.routers.insert(odd.to_owned(), router);
    gateway.reload(config).await.unwrap();
    gateway.h1().await.get("/").await;
    let line = r#"router="a \"b\" \\ c",service="backend"} 1"#;
    eventually("it is counted", || gateway.metrics().contains(line)).await;
    let mut check = promtool();
    check.args(["check", "metrics"]);
    assert_success(&run(check, gateway.metrics()).await);
}

#[tokio::test]
async fn eight_clients_lose_no_count() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).with_all_workers().start().await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = gateway.address();
            tokio::spawn(async move {
                let mut client = Client::h1(connect(address).await).await;
                for _ in 0..250 {
                    assert_eq!(client.get("/x").await.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    for of in ["entrypoint", "router", "service"] {
        let requests = format!("gateway_{of}_requests_total");
        eventually("all are counted", || {
            gateway.metric(&requests) == Some(2000.0)
        })
        .await;
        for (series, expected) in [
            ("response_bytes_total", 4000.0),
            ("request_duration_seconds_count", 2000.0),
        ] {
            assert_eq!(
                gateway.metric(&format!("gateway_{of}_{series}")),
                Some(expected),
                "{of} {series}"
            );
        }
    }
    let in_flight = || gateway.metric("gateway_in_flight") == Some(0.0);
    eventually("nothing is under way", in_flight).await;
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/grafana")
        .join(file)
}

/// Every expression of a dashboard, wherever it stands.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (&**key, value) {
                    ("expr" | "definition", Value::String(text)) => found.push(text.clone()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// The metrics that an expression names with the labels that it selects them by, and the labels that it groups by.
fn named(expression: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = |text: &str| -> Vec<String> {
        let words = text.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect()
    };
    let (mut metrics, mut groups, mut rest) = (Vec::new(), Vec::new(), expression);
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let word;
        (word, rest) = rest.split_at(end);
        let behind = rest.trim_start();
        if let ("by" | "on" | "ignoring" | "without" | "group_left", Some(list)) =
            (word, behind.strip_prefix('('))
        {
            let (list, after) = list.split_once(')').unwrap();
            groups.extend(words(list));
            rest = after;
        } else if word.starts_with("gateway_") || word.starts_with("process_") {
            let mut labels = Vec::new();
            if let Some(selector) = behind.strip_prefix('{') {
                let (selector, after) = selector.split_once('}').unwrap();
                labels = words(selector)
                    .iter()
                    .map(|one| one.split(['=', '!']).next().unwrap().trim().to_owned())
                    .collect();
                rest = after;
            }
            // `label_values(metric, label)`.
            if let (true, Some(list)) = (
                expression.starts_with("label_values"),
                rest.strip_prefix(','),
            ) {
                let (label, after) = list.split_once(')').unwrap();
                labels.push(label.trim().to_owned());
                rest = after;
            }
            metrics.push((word.to_owned(), labels));
        }
    }
    (metrics, groups)
}

#[tokio::test]
async fn dashboard_and_alerts_name_what_is_there() {
    let scene = Scene::start().await;
    scene.traffic().await;
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Series {
        name,
        labels,
        value,
    } in series(&scene.gateway.metrics())
    {
        assert!(value.is_finite(), "{name}");
        known.entry(name).or_default().extend(labels.into_keys());
    }
    let text = std::fs::read_to_string(deploy("dashboard.json")).unwrap();
    let mut all = Vec::new();
    expressions(&serde_json::from_str(&text).unwrap(), &mut all);
    assert!(all.len() > 20, "{} expressions in the dashboard", all.len());
    let alerts = std::fs::read_to_string(deploy("alerts.yaml")).unwrap();
    let rules: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert!(rules.len() > 8 && rules.len() == alerts.matches("alert: ").count());
    all.extend(rules.into_iter().map(str::to_owned));
    for expression in &all {
        let (metrics, groups) = named(expression);
        assert!(!metrics.is_empty(), "{expression}");
        let mut has = BTreeSet::new();
        for (metric, labels) in metrics {
            let there = known.get(&metric);
            let there = there.unwrap_or_else(|| panic!("no {metric}, which `{expression}` names"));
            for label in labels {
                assert!(
                    there.contains(&label),
                    "no {label} of {metric}: `{expression}`"
                );
            }
            has.extend(there.iter().cloned());
        }
        for label in groups {
            assert!(has.contains(&label), "no {label}: `{expression}`");
        }
    }
    let mut check = promtool();
    check.args(["check", "rules"]).arg(deploy("alerts.yaml"));
    assert_success(&run(check, String::new()).await);
}
