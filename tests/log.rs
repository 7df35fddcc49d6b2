//! What the gateway says of itself.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{Process, Setup};

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
