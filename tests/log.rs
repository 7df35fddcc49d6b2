//! What the gateway says of itself.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Client, Port, Process, Server, Setup, connect, eventually, within};

#[tokio::test]
async fn a_log_of_json_is_an_object_a_line() {
    let setup = Setup::new()
        .route("all", "PathPrefix(`/`)", "hello")
        .set("services/hello/respond/body", "hello");
    let arguments = ["--log-format", "json"];
    let mut process = Process::start_with(&setup.text(), &[], &arguments).await;
    process.logs("\"listening\"").await;
    process.signal(Signal::TERM);
    process.ended().await;
    process.logs("\"stopped\"").await;
    let log = process.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let listening = lines.iter().find(|line| line["message"] == "listening");
    let listening = listening.unwrap();
    assert_eq!(listening["entrypoint"], "web");
    assert_eq!(listening["level"], "INFO");
    assert!(
        listening["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
}

fn with_log(setup: &Setup, log: &Value) -> String {
    setup.clone().set("log", log.clone()).text()
}

fn hello() -> Setup {
    Setup::new()
        .route("all", "PathPrefix(`/`)", "hello")
        .set("services/hello/respond/body", "hello")
}

/// Reloads, and waits until a line is told as it should be from then on.
async fn comes_to_log(process: &Process, text: &str, is_told: impl Fn(&str) -> bool) {
    support::tls::write(&process.file(), text);
    eventually("it logs as its configuration says", || {
        // Which is told in a line at `info`.
        process.signal(Signal::HUP);
        process.log().lines().last().is_some_and(&is_told)
    })
    .await;
}

fn is_json(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok()
}

#[tokio::test]
async fn level_and_form_are_as_the_configuration_says_from_the_first_line() {
    let level = "error,a3s_gateway::gateway::entrypoint=info";
    let log = json!({ "format": "json", "level": level });
    let mut process = Process::start(&with_log(&hello(), &log), &[]).await;
    process.logs("\"listening\"").await;
    process.signal(Signal::TERM);
    process.ended().await;
    let log = process.log();
    assert!(log.lines().all(is_json), "{log}");
    assert!(!log.contains("the configuration is running"), "{log}");
    assert!(!log.contains("stopped"), "{log}");
}

#[tokio::test]
async fn a_reload_changes_the_form() {
    let setup = hello();
    let process = Process::start(&setup.text(), &["web"]).await;
    assert!(!process.log().lines().any(is_json), "{}", process.log());
    let json = with_log(&setup, &json!({ "format": "json" }));
    comes_to_log(&process, &json, is_json).await;
    comes_to_log(&process, &setup.text(), |line| !is_json(line)).await;
}

#[tokio::test]
async fn a_reload_changes_the_level() {
    let setup = hello();
    let level = "error,a3s_gateway::gateway::entrypoint=info";
    let quiet = with_log(&setup, &json!({ "level": level }));
    let process = Process::start(&quiet, &["web"]).await;
    comes_to_log(&process, &setup.text(), |line| line.contains("SIGHUP")).await;
}

#[tokio::test]
async fn the_command_line_wins() {
    let setup = hello();
    let text = with_log(&setup, &json!({ "level": "error", "format": "json" }));
    let process = Process::start_with(&text, &[], &["--log-level", "info"]).await;
    process.logs("\"message\":\"listening\"").await;
    let text = with_log(&setup, &json!({ "format": "json" }));
    let process = Process::start_with(&text, &["web"], &["--log-format", "text"]).await;
    assert!(!process.log().lines().any(is_json), "{}", process.log());
    // Over reloads, too.
    let arguments = ["--log-level", "info", "--log-format", "text"];
    let process = Process::start_with(&setup.text(), &["web"], &arguments).await;
    let other = with_log(&setup, &json!({ "level": "error", "format": "json" }));
    support::tls::write(&process.file(), &other);
    eventually("a reload", || {
        let log = process.log();
        log.matches("the configuration is running").count() == 2
    })
    .await;
    process.signal(Signal::HUP);
    process.logs("SIGHUP").await;
    assert!(!process.log().lines().any(is_json), "{}", process.log());
}

#[tokio::test]
async fn a_reload_says_what_it_changed_and_a_refused_one_that_nothing_did() {
    let setup = hello();
    let process = Process::start(&setup.text(), &["web"]).await;
    let more = setup.clone().route("more", "Path(`/more`)", "hello");
    support::tls::write(&process.file(), &more.text());
    process.logs("reloaded changes=router added: more").await;
    let lost = more.route("lost", "Path(`/lost`)", "nobody");
    support::tls::write(&process.file(), &lost.text());
    process.logs("is refused, the running one stays").await;
    let log = process.log();
    let problem = log.lines().find(|line| line.contains("nobody"));
    assert!(problem.unwrap().contains("ERROR"), "{log}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    let port = Port::reserve();
    // Nobody listens there.
    let server = Port::reserve();
    let setup = Setup::to(format!("http://{}", server.address()))
        .set("entrypoints/web/address", port.address().to_string());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.hcl");
    std::fs::write(&file, setup.text()).unwrap();
    let mut gateway = std::process::Command::new(env!("CARGO_BIN_EXE_a3s-gateway"))
        .arg("--config")
        .arg(&file)
        .args(["--log-level", "debug"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let connects = || std::net::TcpStream::connect(port.address()).is_ok();
    eventually("it listens", connects).await;
    let mut client = Client::h1(connect(port.address()).await).await;
    // Each of them has lines: more than the pipe holds.
    for _ in 0..2_000 {
        assert_eq!(client.get("/").await.status, 502);
    }
    let id = rustix::process::Pid::from_child(&gateway);
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    eventually("it ends", || gateway.try_wait().unwrap().is_some()).await;
}

/// The last line with these words.
fn line(log: &str, words: &str) -> String {
    let found = log.lines().rev().find(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("{words}: {log}")).to_owned()
}

#[tokio::test]
async fn a_request_without_an_answer_is_told_with_its_service_and_the_server_that_was_asked() {
    let again = json!({ "type": "retry", "max_retries": 1, "retry_interval_ms": 0 });
    let setup = Setup::to("http://127.0.0.1:1")
        .set("routers/all/priority", 1)
        .route("again", "Path(`/again`)", "backend")
        .set("middlewares/again", again)
        .set("routers/again/middlewares", json!(["again"]))
        .service("nobody", "http://127.0.0.1:2")
        .set(
            "services/nobody/load_balancer/servers",
            json!([{ "url": "http://127.0.0.1:2", "weight": 0 }]),
        )
        .route("nobody", "Path(`/nobody`)", "nobody");
    let arguments = ["--log-level", "debug"];
    let process = Process::start_with(&setup.text(), &["web"], &arguments).await;
    let mut client = Client::h1(connect(process.address("web")).await).await;
    let server = "service=\"backend\" server=\"http://127.0.0.1:1\"";
    let unanswered = "no answer from the upstream";
    assert_eq!(client.get("/").await.status, 502);
    process.logs(unanswered).await;
    let told = line(&process.log(), unanswered);
    assert!(told.contains("reason=\"connect\""), "{told}");
    assert!(told.contains(server), "{told}");
    assert_eq!(client.get("/again").await.status, 502);
    process.logs("a request is sent again").await;
    let told = line(&process.log(), "a request is sent again");
    assert!(told.contains(server), "{told}");
    // Nobody was asked.
    assert_eq!(client.get("/nobody").await.status, 503);
    process.logs("reason=\"unavailable\"").await;
    let told = line(&process.log(), "reason=\"unavailable\"");
    assert!(told.contains("service=\"nobody\""), "{told}");
    assert!(!told.contains("server="), "{told}");
}

#[tokio::test]
async fn a_circuit_breaker_is_called_by_its_name() {
    let breaker = json!({ "type": "circuit-breaker", "failure_threshold": 1, "cooldown_secs": 1 });
    let (server, port) = (Server::start().await, Port::reserve());
    let setup = Setup::to(format!("http://{}", port.address()))
        .set("middlewares/careful", breaker)
        .set("routers/all/middlewares", json!(["careful"]));
    let process = Process::start(&setup.text(), &["web"]).await;
    let mut client = Client::h1(connect(process.address("web")).await).await;
    assert_eq!(client.get("/").await.status, 502);
    let opened = "a circuit breaker opened middleware=\"careful\"";
    process.logs(opened).await;
    let well = setup.balancer("servers", json!([{ "url": server.to_string() }]));
    support::tls::write(&process.file(), &well.text());
    process.logs("reloaded").await;
    // Once the second is over, and before that as often as may be.
    within("the circuit is closed", async {
        while client.get("/").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    process
        .logs("a circuit breaker closed middleware=\"careful\"")
        .await;
}
