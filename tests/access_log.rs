//! Every exchange has its line in the access log, and nobody can write in it but the gateway.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "what is expected is written where it is used"
)]

mod support;

use axum::body::Body;
use http::{Request, Response};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use support::body::long;
use support::server::Recorded;
use support::switch::{ASK, GRANT, echo};
use support::tls::Authority;
use support::{
    Client, Load, Process, Question, Server, Setup, TestGateway, Told, Wire, eventually, request,
};
use tempfile::TempDir;

/// A file for the log.
struct LogFile {
    _directory: TempDir,
    path: PathBuf,
}

impl LogFile {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        Self {
            _directory: directory,
            path,
        }
    }

    fn of(&self, setup: Setup) -> Setup {
        setup.set("access_log/file", self.path.to_str().unwrap())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Every line, each of which is an object, once there are so many.
    async fn lines(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} lines"), || {
            self.text().lines().count() >= count
        })
        .await;
        let text = self.text();
        assert!(text.ends_with('\n'), "{text}");
        let lines: Vec<_> = text.lines().map(json_of).collect();
        assert_eq!(lines.len(), count, "{text}");
        lines
    }

    async fn line(&self) -> Value {
        self.lines(1).await.remove(0)
    }
}

fn json_of(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_object(), "{line}");
    value
}

#[track_caller]
fn has(line: &Value, expected: Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&line[key], value, "{key} of {line:#}");
    }
}

/// A gateway before a server that repeats, with its log.
async fn logged(set: impl FnOnce(Setup) -> Setup) -> (LogFile, Server, TestGateway) {
    let (log, server) = (LogFile::new(), Server::start().await);
    let gateway = set(log.of(Setup::to(&server))).start().await;
    (log, server, gateway)
}

#[tokio::test]
async fn a_line_tells_all_of_an_exchange() {
    let (log, server, gateway) = logged(|setup| {
        setup
            .set("middlewares/id/type", "request-id")
            .set("routers/all/middlewares", json!(["id"]))
    })
    .await;
    let mut client = gateway.h1().await;
    let mut post = request("POST", "/a%20b/../c?x=1&y=%22");
    *post.body_mut() = Body::from("hello");
    let headers = post.headers_mut();
    headers.insert("user-agent", "tests/1".parse().unwrap());
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    headers.insert("traceparent", parent.parse().unwrap());
    let reply = client.ask(post).await;
    let line = log.line().await;
    let keys: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys.join(" "),
        "timestamp client_ip method host path protocol status request_bytes response_bytes duration_ms \
         upstream_duration_ms entrypoint router service backend retries reason user_agent request_id trace_id \
         tls_version"
    );
    has(
        &line,
        json!({
            "client_ip": "127.0.0.1", "method": "POST", "host": "test.example", "path": "/a%20b/../c?x=1&y=%22",
            "protocol": "HTTP/1.1", "status": 200, "request_bytes": 5, "response_bytes": reply.body.len(),
            "entrypoint": "web", "router": "all", "service": "backend",
            "backend": server.url("http"), "retries": 0, "reason": null, "user_agent": "tests/1",
            "request_id": reply.headers["x-request-id"].to_str().unwrap(), "trace_id": trace,
            "tls_version": null
        }),
    );
    let took = line["duration_ms"].as_f64().unwrap();
    let upstream = line["upstream_duration_ms"].as_f64().unwrap();
    assert!(0.0 < upstream && upstream <= took, "{line}");
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(
        timestamp.len() == 24 && timestamp.ends_with('Z'),
        "{timestamp}"
    );
}

#[tokio::test]
async fn what_never_becomes_a_request_has_a_line_too() {
    let (log, _server, gateway) = logged(|setup| {
        setup
            .http("header_timeout", "50ms")
            .http("max_headers", 20)
            .http("h2c", true)
    })
    .await;
    let host = "Host: example.com\r\n";
    let long = "a".repeat(40_000);
    let many = "x: 1\r\n".repeat(30);
    let cases: [(String, u16, &str); 8] = [
        ("GET / HTTP/1.1\r\n".to_owned(), 408, "slow_head"),
        (
            format!("GET /{long} HTTP/1.1\r\n{host}\r\n"),
            414,
            "target_too_long",
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}x: {long}\r\n\r\n"),
            431,
            "head_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}{many}\r\n"),
            431,
            "head_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            400,
            "malformed",
        ),
        ("GET  / HTTP/1.1\r\n\r\n".to_owned(), 400, "malformed"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "malformed"),
        (format!("GET /%zz HTTP/1.1\r\n{host}\r\n"), 400, "malformed"),
    ];
    for (count, (sent, status, reason)) in cases.iter().enumerate() {
        let answer = gateway.ask(sent).await;
        assert_eq!(answer.status(), *status, "{reason}");
        let lines = log.lines(count + 1).await;
        has(
            lines.last().unwrap(),
            json!({ "client_ip": "127.0.0.1", "status": status, "reason": reason, "entrypoint": "web",
                    "router": null, "service": null, "backend": null }),
        );
    }
    let counted = gateway.metric("gateway_entrypoint_requests_total{entrypoint=\"web\"}");
    assert_eq!(counted, Some(cases.len() as f64));
}

#[tokio::test]
async fn refusals_say_which_part_of_the_gateway_refused() {
    let (log, _server, gateway) = logged(|setup| {
        setup
            .set(
                "middlewares/keys",
                json!({ "type": "api-key", "keys": ["right"] }),
            )
            .set(
                "middlewares/slowly",
                json!({ "type": "rate-limit", "rate": 1, "burst": 1, "period": "1h" }),
            )
            .set(
                "middlewares/away",
                json!({ "type": "redirect", "scheme": "https" }),
            )
            .set("routers/keys", json!({ "rule": "Path(`/keys`)", "service": "backend", "middlewares": ["slowly", "keys"] }))
            .set("routers/away", json!({ "rule": "Path(`/away`)", "service": "backend", "middlewares": ["away"] }))
            .set("routers/all/rule", "Path(`/`)")
    })
    .await;
    let mut client = gateway.h1().await;
    let cases = [
        (
            "/keys",
            json!({ "status": 401, "reason": "api_key", "router": "keys", "backend": null }),
        ),
        (
            "/keys",
            json!({ "status": 429, "reason": "rate_limit", "router": "keys" }),
        ),
        ("/away", json!({ "reason": "redirect", "router": "away" })),
        (
            "/nowhere",
            json!({ "status": 404, "reason": "no_route", "router": null, "service": null }),
        ),
        ("/", json!({ "status": 200, "reason": null })),
    ];
    for (count, (path, expected)) in cases.into_iter().enumerate() {
        client.get(path).await;
        has(&log.lines(count + 1).await[count], expected);
    }
}

#[tokio::test]
async fn failures_of_servers_are_told_apart() {
    let dead = Server::start().await;
    let gone = dead.url("http");
    drop(dead);
    let resets = Server::raw(|mut wire: Wire, _| async move {
        wire.try_head().await;
        wire.reset();
    })
    .await;
    let silent =
        Server::http(|_: Request<Recorded>| std::future::pending::<Response<Body>>()).await;
    let cuts = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello").await;
    let log = LogFile::new();
    let mut setup = log.of(Setup::new());
    for (name, url) in [
        ("gone", gone),
        ("resets", resets.url("http")),
        ("silent", silent.url("http")),
        ("cuts", cuts.url("http")),
    ] {
        setup = setup
            .service(name, url)
            .route(name, &format!("Path(`/{name}`)"), name);
    }
    let gateway = setup
        .set("services/silent/load_balancer/timeouts/response", "50ms")
        .start()
        .await;
    for (count, (name, status, reason)) in [
        ("gone", 502, "connect"),
        ("resets", 502, "reset"),
        ("silent", 504, "response_timeout"),
        ("cuts", 200, "response_cut"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = gateway.wire().await;
        wire.send(format!(
            "GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
        .await;
        wire.rest().await;
        has(
            &log.lines(count + 1).await[count],
            json!({ "status": status, "reason": reason, "service": name, "path": format!("/{name}") }),
        );
        // Metrics have the same word, and the server has failed as often.
        let failures = format!("gateway_service_failures_total{{service=\"{name}\"");
        let reasons = format!("{failures},reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&reasons), Some(1.0), "{name}");
        assert_eq!(
            gateway.metric(&format!("{failures}}}")),
            Some(1.0),
            "{name}"
        );
        let server = format!("gateway_service_server_failures_total{{service=\"{name}\"}}");
        assert_eq!(gateway.metric(&server), Some(1.0), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_the_gateway_ends_says_so_and_an_upload_that_its_client_ends_blames_no_server()
 {
    // It answers with the beginning of a body when it has read a request's head, and says no more.
    let server = Server::raw(|mut wire: Wire, _| async move {
        while wire.try_head().await.is_some() {
            let _ = wire
                .try_send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
                .await;
        }
    })
    .await;
    let reads = Server::http(|request: Request<Recorded>| async move {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(Body::empty())
    })
    .await;
    let log = LogFile::new();
    let gateway = log
        .of(Setup::to(&server))
        .set("routers/all/timeout", "1s")
        .service("reads", reads.url("http"))
        .route("reads", "Path(`/an/upload`)", "reads")
        .start()
        .await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wire.rest().await;
    let told = json!({ "status": 200, "reason": "response_timeout" });
    has(&log.lines(1).await[0], told);
    let failures = r#"gateway_service_failures_total{service="backend",reason="response_timeout"}"#;
    assert_eq!(gateway.metric(failures), Some(1.0));

    let mut wire = gateway.wire().await;
    wire.send("POST /an/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello")
        .await;
    eventually("the server is asked", || !reads.seen().is_empty()).await;
    drop(wire);
    let lines = log.lines(2).await;
    assert_eq!(lines[1]["service"], "reads");
    let failures = r#"gateway_service_server_failures_total{service="reads"}"#;
    assert_eq!(gateway.metric(failures), Some(0.0), "{}", lines[1]);
}

#[tokio::test]
async fn a_client_that_goes_away_has_499_or_what_it_was_told() {
    let silent =
        Server::http(|_: Request<Recorded>| std::future::pending::<Response<Body>>()).await;
    let endless = Server::http(|_: Request<Recorded>| async { Response::new(long(1 << 30)) }).await;
    let log = LogFile::new();
    let gateway = log
        .of(Setup::to(&silent))
        .service("endless", &endless)
        .route("endless", "Path(`/endless`)", "endless")
        .start()
        .await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    silent.has_seen(1).await;
    drop(wire);
    has(
        &log.line().await,
        json!({ "status": 499, "reason": "client_closed", "response_bytes": 0, "upstream_duration_ms": null,
                "backend": silent.url("http") }),
    );
    let mut wire = gateway.wire().await;
    wire.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wire.head().await;
    wire.exactly(100_000).await;
    drop(wire);
    let line = &log.lines(2).await[1];
    has(line, json!({ "status": 200, "reason": "client_closed" }));
    assert!(line["response_bytes"].as_u64().unwrap() >= 100_000);
}

#[tokio::test]
async fn nobody_is_blamed_for_a_body_that_is_not_to_be_read() {
    let (log, _server, gateway) = logged(|setup| {
        setup
            .set("services/fixed/respond/body", "hello")
            .route("fixed", "Path(`/fixed`)", "fixed")
    })
    .await;
    for (count, path) in ["/", "/fixed"].into_iter().enumerate() {
        for (more, mut client) in [gateway.h1().await, gateway.h2().await]
            .into_iter()
            .enumerate()
        {
            client.ask(request("HEAD", path)).await;
            let at = 2 * count + more;
            has(
                &log.lines(at + 1).await[at],
                json!({ "method": "HEAD", "status": 200, "reason": null }),
            );
        }
    }
}

#[tokio::test]
async fn a_tunnel_has_its_line_when_it_ends_with_its_bytes_both_ways() {
    let log = LogFile::new();
    let (server, _heads) = echo(GRANT).await;
    let gateway = log.of(Setup::to(&server)).start().await;
    let mut wire = gateway.wire().await;
    wire.send(ASK).await;
    wire.head().await;
    wire.send("hello").await;
    assert_eq!(wire.exactly(5).await, b"hello");
    assert_eq!(log.text(), "");
    wire.end().await;
    let (rest, _) = wire.rest().await;
    has(
        &log.line().await,
        json!({ "status": 101, "request_bytes": 5, "response_bytes": 5 + rest.len(), "reason": null }),
    );
}

#[tokio::test]
async fn no_client_can_forge_a_line() {
    for format in ["json", "clf"] {
        let (log, _server, gateway) = logged(|setup| setup.set("access_log/format", format)).await;
        let long = "%22".repeat(9_000);
        let mut sent = Vec::from(format!("GET /a\"b\\{{}}?{long} HTTP/1.1\r\nHost: a\r\n"));
        sent.extend(b"User-Agent: \"} \\ \x80\xff \xe4 {\"status\":200}\r\n\r\n");
        let answer = gateway.ask(&sent).await;
        eventually("a line", || !log.text().is_empty()).await;
        let text = log.text();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        if format == "json" {
            let line = log.line().await;
            has(
                &line,
                json!({ "status": answer.status(), "user_agent": "\"} \\ \u{fffd}\u{fffd} \u{fffd} {\"status\":200}" }),
            );
            assert!(line["path"].as_str().unwrap().ends_with(&long));
        } else {
            let agent = r#""\"} \\ \xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd {\"status\":200}""#;
            assert!(text.ends_with(&format!(" \"-\" {agent}\n")), "{text}");
            assert!(text.starts_with("127.0.0.1 - - ["), "{text}");
            assert!(text.contains(&format!(" +0000] \"GET /a\\\"b\\\\{{}}?{long} HTTP/1.1\" ")));
        }
    }
}

#[tokio::test]
async fn credentials_are_not_told() {
    let (log, _server, gateway) = logged(|setup| {
        setup
            .set(
                "middlewares/keys",
                json!({ "type": "api-key", "keys": ["s3cret"], "query": "mine", "header": "x-mine" }),
            )
            .set("routers/all/middlewares", json!(["keys"]))
            .set(
                "access_log/fields",
                json!({
                    "headers": ["Authorization", "X-Mine", "Accept", "X-Tenant", "Cookie"],
                    "redact": ["x-tenant", "user_agent", "visitor"], "reveal": ["code"], "drop": ["client_ip"]
                }),
            )
    })
    .await;
    let mut client = gateway.h1().await;
    let mut get = request(
        "GET",
        "/?mine=s3cret&%74oken=s3cret&visitor=s3cret&code=1&page=2",
    );
    for (name, value) in [
        ("authorization", "Bearer s3cret"),
        ("x-mine", "s3cret"),
        ("accept", "text/html"),
        ("x-tenant", "s3cret"),
        ("user-agent", "s3cret"),
    ] {
        get.headers_mut().insert(name, value.parse().unwrap());
    }
    get.headers_mut().append("accept", "*/*".parse().unwrap());
    client.ask(get).await;
    let line = log.line().await;
    has(
        &line,
        json!({
            "path": "/?mine=***&%74oken=***&visitor=***&code=1&page=2", "user_agent": "***",
            "headers": { "authorization": "***", "x-mine": "***", "accept": "text/html, */*", "x-tenant": "***" }
        }),
    );
    assert!(line.get("client_ip").is_none());
    // Neither in a list of one, nor before a host, be it malformed.
    for (head, host) in [
        ("GET /?token%5B%5D=s3cret HTTP/1.1\r\nHost: a\r\n", "a"),
        ("GET / HTTP/1.1\r\nHost: u:s3cret@b\r\n", "b"),
        ("GET http://u:s3cret@c/ HTTP/1.1\r\nHost: c\r\n", "c"),
    ] {
        gateway
            .ask(format!("{head}Connection: close\r\n\r\n"))
            .await;
        let lines = || log.text().contains(&format!("\"host\":\"{host}\""));
        eventually("a line", lines).await;
    }
    assert!(!log.text().contains("s3cret"), "{line}");
}

#[tokio::test]
async fn lines_are_chosen_by_status_by_duration_and_by_chance() {
    let (log, _server, gateway) = logged(|setup| {
        setup
            .set("access_log/status", json!(["400-499", 200]))
            .set("access_log/min_duration", "1h")
            .set("routers/all/rule", "Path(`/`)")
            .set("services/moved/respond/status", 204)
            .route("moved", "Path(`/moved`)", "moved")
            .set("services/broken/respond/status", 500)
            .route("broken", "Path(`/is-broken`)", "broken")
    })
    .await;
    let mut client = gateway.h1().await;
    for path in ["/moved", "/nowhere", "/moved", "/", "/is-broken"] {
        client.get(path).await;
    }
    let lines = log.lines(2).await;
    has(&lines[0], json!({ "status": 404 }));
    has(&lines[1], json!({ "status": 200 }));

    let (log, _server, gateway) = logged(|setup| {
        setup
            .set("access_log/sample", 1e-9)
            .set("services/broken/respond/status", 500)
            .route("broken", "Path(`/is-broken`)", "broken")
    })
    .await;
    let mut client = gateway.h1().await;
    for path in ["/", "/", "/is-broken", "/"] {
        client.get(path).await;
    }
    gateway.shutdown().await;
    has(&log.line().await, json!({ "status": 500 }));
}

#[tokio::test]
async fn the_version_of_tls_is_told() {
    let (log, server) = (LogFile::new(), Server::start().await);
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("example.com");
    let gateway = log
        .of(Setup::to(&server))
        .set(
            "entrypoints/web/tls",
            json!({ "cert_file": cert_file, "key_file": key_file }),
        )
        .start()
        .await;
    let trusting = authority.trusting(&["h2"]);
    let stream = support::tls::connect(trusting, gateway.address(), "example.com").await;
    let mut client = support::Client::h2(stream.unwrap()).await;
    client.get("/").await;
    has(
        &log.line().await,
        json!({ "tls_version": "TLSv1.3", "protocol": "HTTP/2.0", "host": "test.example" }),
    );
}

#[tokio::test]
async fn a_reload_keeps_the_file_or_goes_over_to_another() {
    let (first, second, server) = (LogFile::new(), LogFile::new(), Server::start().await);
    let gateway = first.of(Setup::to(&server)).start().await;
    let mut client = gateway.h1().await;
    client.get("/1").await;
    // The same file, by another format.
    let setup = first.of(Setup::to(&server));
    gateway
        .become_(&setup.set("access_log/fields/drop", json!(["timestamp"])))
        .await;
    client.get("/2").await;
    let lines = first.lines(2).await;
    assert!(lines[0].get("timestamp").is_some() && lines[1].get("timestamp").is_none());
    gateway.become_(&second.of(Setup::to(&server))).await;
    client.get("/3").await;
    has(&second.line().await, json!({ "path": "/3" }));
    gateway.become_(&Setup::to(&server)).await;
    client.get("/4").await;
    gateway.shutdown().await;
    assert_eq!(first.lines(2).await.len() + second.lines(1).await.len(), 3);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused() {
    let (log, server) = (LogFile::new(), Server::start().await);
    let gateway = log.of(Setup::to(&server)).start().await;
    for (file, why) in [
        ("/nowhere/access.log", "/nowhere/access.log: No such file"),
        ("/tmp", "/tmp: is a directory"),
    ] {
        let bad = Setup::to(&server).set("access_log/file", file);
        let error = gateway.reload(bad.config()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("access_log: {why}")), "{error}");
    }
    gateway.h1().await.get("/").await;
    log.line().await;
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_holds_up_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set("access_log/file", path.to_str().unwrap())
        .start()
        .await;
    let mut client = gateway.h1().await;
    // Some hundred of these fill the pipe and the buffer of the worker.
    let target = format!("/{}", "a".repeat(30_000));
    let dropped = || gateway.metric("gateway_access_log_dropped_total").unwrap();
    let mut asked = 0;
    while dropped() == 0.0 {
        assert_eq!(client.get(&target).await.status, 200);
        asked += 1;
        assert!(asked < 2_000, "nothing is dropped");
    }
    for _ in 0..10 {
        assert_eq!(client.get(&target).await.status, 200);
    }
    assert!(dropped() > 1.0);
    let _ = tokio::time::timeout(Duration::from_millis(1), gateway.shutdown()).await;
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_is_told_of_once_and_can_be_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let setup = Setup::new()
        .route("all", "PathPrefix(`/`)", "hello")
        .set("services/hello/respond/body", "hello");
    let to_pipe = setup.clone().set("access_log/file", path.to_str().unwrap());
    let mut process = Process::start(&to_pipe.text(), &["web"]).await;
    let mut client = Client::h1(support::connect(process.address("web")).await).await;
    // Some hundred of these fill the pipe and the buffer of a worker.
    let target = format!("/{}", "a".repeat(30_000));
    let lost = "lines of the access log are lost";
    let mut asked = 0;
    while !process.has_logged(lost) {
        assert_eq!(client.get(&target).await.status, 200);
        asked += 1;
        assert!(asked < 2_000, "nothing is dropped");
    }
    for _ in 0..10 {
        assert_eq!(client.get(&target).await.status, 200);
    }
    assert_eq!(process.log().matches(lost).count(), 1);

    let log = LogFile::new();
    std::fs::write(process.file(), log.of(setup).text()).unwrap();
    process.signal(Signal::HUP);
    process.logs("reloaded").await;
    client.get("/").await;
    log.line().await;
    // What was written to the pipe is given up, with the thread that did.
    let tasks = format!("/proc/{}/task", process.id());
    let writers = || {
        let tasks = std::fs::read_dir(&tasks).unwrap().flatten();
        let names = tasks.map(|task| std::fs::read_to_string(task.path().join("comm")));
        names
            .filter(|name| name.as_deref().is_ok_and(|name| name == "access-log\n"))
            .count()
    };
    eventually("one thread is left", || writers() == 1).await;
    process.signal(Signal::TERM);
    process.ended().await;
}

struct Numbers;

impl Question for Numbers {
    type Asked = ();

    fn ask(&self, _: u64) -> (String, ()) {
        ("/".to_owned(), ())
    }

    fn check(&self, _: &str, (): (), _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_away_loses_no_line() {
    let log = LogFile::new();
    let setup = log
        .of(Setup::new())
        .route("all", "PathPrefix(`/`)", "hello")
        .set("services/hello/respond/body", "hello");
    let mut process = Process::start(&setup.text(), &["web"]).await;
    let load = Load::start(process.address("web"), (4, 4), Told::Ends, Numbers).await;
    let mut moved = Vec::new();
    for number in 0..5 {
        load.more(100).await;
        let away = log.path.with_extension(number.to_string());
        std::fs::rename(&log.path, &away).unwrap();
        process.signal(Signal::USR1);
        eventually("another file", || log.path.exists()).await;
        moved.push(away);
    }
    let tally = load.stop().await;
    process.signal(Signal::TERM);
    process.ended().await;
    moved.push(log.path.clone());
    let mut lines = 0;
    for path in moved {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        lines += text.lines().map(json_of).count() as u64;
    }
    let answered = tally.answered.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(lines, answered, "{}", tally.numbers());
}
