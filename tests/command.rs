//! The command, as an operator meets it: real processes, real files, real sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use process::{
    Backend, DEADLINE, PROGRAM, Process, Reaped, ask, eventually, file, get, run, serve, start,
};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

const MINIMAL: &str = include_str!("../examples/minimal.hcl");
const FULL: &str = include_str!("data/full.hcl");

/// One word wrong, in line 7, and one service that nobody uses.
const BROKEN: &str = r#"entrypoints "web" {
  address = "127.0.0.1:0"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backnd"
}

services "backend" {
  respond { }
}
"#;

/// On a port of the system's choice, with its own server.
fn minimal(backend: &Backend) -> String {
    let text = MINIMAL.replace("0.0.0.0:8080", "127.0.0.1:0");
    text.replace("127.0.0.1:8001", &backend.address.to_string())
}

fn validate(path: &Path, more: &[&str]) -> (i32, Process) {
    let path = path.to_str().unwrap();
    let mut process = start([&["validate", "--config", path], more].concat());
    (process.wait(), process)
}

#[test]
fn it_says_its_version_and_what_it_can_do() {
    let version = run(["--version"]);
    let expected = concat!("a3s-gateway ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(version.stdout, expected);
    let help = &run(["--help"]).stdout;
    for word in ["validate", "demo", "--config", "--var", "--log-level"] {
        assert!(help.contains(word), "{word} in {help}");
    }
}

#[test]
fn the_exit_status_says_valid_invalid_or_unreadable() {
    let (directory, good) = file(&MINIMAL.replace("${", "$${"));
    let broken = directory.path().join("broken.hcl");
    fs::write(&broken, BROKEN).unwrap();
    let pipe = directory.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let [good, broken, pipe] = [&good, &broken, &pipe].map(|path| path.to_str().unwrap());
    for (args, status, words) in [
        (&["validate", "--config", good][..], 0, "is valid"),
        (
            &[
                "validate",
                "-c",
                good,
                "--log-level",
                "info,a3s_gateway=debug",
            ],
            0,
            "is valid",
        ),
        (&["validate", "--config", broken], 1, "error[E012]"),
        (
            &["validate", "--config", "/no/such/file.hcl"],
            2,
            "No such file",
        ),
        (
            &["validate", "--config", pipe],
            2,
            "neither a file nor a directory",
        ),
        (&["--config", "/no/such/file.hcl"], 2, "No such file"),
        (&["validate", "--confgi", good], 2, "--confgi"),
        (
            &["validate", "--var", "nonsense", "--config", good],
            2,
            "NAME=VALUE",
        ),
        (
            &["validate", "--log-level", "dbug", "--config", good],
            2,
            "`dbug` is not one of",
        ),
        (&["nonsense"], 2, "nonsense"),
    ] {
        let mut process = start(args);
        assert_eq!(process.wait(), status, "{args:?}\n{process}");
        let said = [&*process.stdout, &*process.stderr].concat();
        assert!(said.contains(words), "{args:?}: {words} in\n{process}");
    }
}

#[test]
fn a_problem_is_shown_at_its_place() {
    let (_directory, path) = file(BROKEN);
    let (status, process) = validate(&path, &[]);
    assert_eq!(status, 1);
    for words in [
        "gateway.hcl:7:13",
        "  service = \"backnd\"",
        "help: did you mean `backend`?",
    ] {
        assert!(process.stderr.contains(words), "{words} in\n{process}");
    }
    assert_eq!(process.stdout, "", "what is wrong goes to standard error");
}

#[test]
fn json_and_sarif_say_the_same() {
    let (_directory, path) = file(BROKEN);
    let (status, process) = validate(&path, &["--format", "json"]);
    let json: Value = serde_json::from_str(&process.stdout).unwrap();
    assert_eq!((status, &json[0]["code"]), (1, &"E012".into()));
    assert_eq!(
        (&json[0]["line"], &json[0]["column"]),
        (&7.into(), &13.into())
    );

    let (status, process) = validate(&path, &["--format", "sarif"]);
    let sarif: Value = serde_json::from_str(&process.stdout).unwrap();
    assert_eq!((status, &sarif["version"]), (1, &"2.1.0".into()));
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "E012");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 7);
}

#[test]
fn what_only_compiling_finds_is_told_in_every_format() {
    let (directory, path) = file(&MINIMAL.replace(
        "servers  = [{ url = \"http://127.0.0.1:8001\" }]",
        "servers = [{ url = \"https://127.0.0.1:8001\" }]\n    tls { ca_file = \"ca.pem\" }",
    ));
    fs::write(directory.path().join("ca.pem"), "no certificate").unwrap();
    for format in ["text", "json", "sarif"] {
        let (status, process) = validate(&path, &["--format", format]);
        let said = [&*process.stdout, &*process.stderr].concat();
        assert_eq!(status, 1);
        assert!(
            said.contains("E018") && said.contains("ca.pem"),
            "{process}"
        );
    }
}

#[test]
fn what_only_compiling_finds_is_told_where_it_is() {
    let tls = MINIMAL.replace(
        "servers  = [{ url = \"http://127.0.0.1:8001\" }]",
        "servers = [{ url = \"https://127.0.0.1:8001\" }]\n    tls {\n      ca_file = \"ca.pem\"\n    }",
    );
    let log = format!("access_log {{\n  file = \"nowhere/a.log\"\n}}\n{MINIMAL}");
    for (text, line, column, excerpt) in [
        (&tls, None, 5, "    tls {"),
        (&log, Some(2), 10, "  file = \"nowhere/a.log\""),
    ] {
        let (directory, path) = file(text);
        fs::write(directory.path().join("ca.pem"), "no certificate").unwrap();
        let (status, process) = validate(&path, &["--format", "json"]);
        assert_eq!(status, 1, "{process}");
        let problems: Value = serde_json::from_str(&process.stdout).unwrap();
        let problem = &problems[0];
        assert_eq!(problem["code"], "E018", "{process}");
        assert_eq!(problem["column"], column, "{process}");
        if let Some(line) = line {
            assert_eq!(problem["line"], line, "{process}");
        }
        let (_, process) = validate(&path, &[]);
        assert!(process.stderr.contains(excerpt), "{process}");
    }
}

#[test]
fn a_line_of_a_file_of_keys_is_told_where_the_file_is_named() {
    let (directory, path) = file(&format!(
        "{}\nmiddlewares \"keys\" {{\n  type = \"api-key\"\n  keys_file = \"keys\"\n}}\n",
        MINIMAL.replace("rule ", "middlewares = [\"keys\"]\n  rule ")
    ));
    fs::write(directory.path().join("keys"), "one\nsha256:hunter2\n").unwrap();
    let told = "line 2: a digest is 64 hexadecimal digits";
    let (status, process) = validate(&path, &["--format", "json"]);
    assert_eq!(status, 1, "{process}");
    let problems: Value = serde_json::from_str(&process.stdout).unwrap();
    let problem = &problems[0];
    assert_eq!(problem["code"], "E018", "{process}");
    assert!(problem["message"].as_str().unwrap().ends_with(told));
    assert_eq!(problem["column"], 15, "{process}");
    let mut gateway = start(["--config", path.to_str().unwrap()]);
    assert_eq!(gateway.wait(), 1);
    for said in [&process.stdout, &gateway.stderr] {
        assert!(said.contains(told) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn warnings_are_told_and_may_be_denied() {
    let unused = "\nservices \"spare\" {\n  respond { }\n}\n";
    let (_directory, path) = file(&format!("{MINIMAL}{unused}"));
    let (status, process) = validate(&path, &[]);
    assert_eq!(status, 0, "{process}");
    assert!(process.stderr.contains("warning[W004]"), "{process}");
    let (status, process) = validate(&path, &["--deny-warnings"]);
    assert_eq!(status, 1);
    assert!(process.stderr.contains("warnings are denied"), "{process}");
}

#[test]
fn variables_come_from_the_command_line() {
    let backend = Backend::start("backend");
    let text = minimal(&backend).replace("`/api`", "`${var.prefix}`");
    let (_directory, path) = file(&format!("variables {{\n  prefix = \"/api\"\n}}\n{text}"));
    let path = path.to_str().unwrap();
    let mut gateway = start(["--config", path, "--var", "prefix=/other"]);
    let address = gateway.address("web");
    assert_eq!(get(&address, "/other").status, 200);
    assert_eq!(get(&address, "/api").status, 404);
}

#[test]
fn the_minimal_configuration_proxies() {
    let backend = Backend::start("backend");
    let (_directory, path) = file(&minimal(&backend));
    let mut gateway = serve(&path);
    let address = gateway.address("web");
    let reply = get(&address, "/api/things?a=b");
    assert_eq!(
        (reply.status, &*reply.body),
        (200, "backend: GET /api/things?a=b HTTP/1.1")
    );
    assert_eq!(get(&address, "/").status, 404);
    assert_eq!(gateway.terminate(), 0, "{gateway}");
}

/// What of the full configuration nothing serves yet, and what is told of the services that it names and has not.
const NOT_YET: [&str; 10] = [
    "`JWT_SECRET` is not set",
    "unknown service `shadow-backend`",
    "unknown service `backup-pool`",
    "warning has revisions, and these servers get no requests",
    "key `discovery`",
    "key `rollout`",
    "key `scaling`",
    "`cert_file` cannot be read",
    "`key_file` cannot be read",
    "warning directory does not exist",
];

/// Takes out the block that begins with a line, or the line itself.
fn without(text: &str, beginnings: &[&str]) -> String {
    let (mut kept, mut depth) = (String::new(), 0);
    for line in text.lines() {
        let begins = depth == 0 && beginnings.iter().any(|b| line.trim_start().starts_with(b));
        if depth > 0 || begins {
            let count = |bracket: &[char]| i32::try_from(line.matches(bracket).count()).unwrap();
            depth += count(&['{', '[']) - count(&['}', ']']);
        } else {
            kept += &format!("{line}\n");
        }
    }
    kept
}

#[test]
fn what_the_full_configuration_asks_for_is_served_or_refused() {
    let (_directory, path) = file(&FULL.replace("/etc/gateway", "/nonexistent"));
    let (status, process) = validate(&path, &["--format", "json"]);
    assert_eq!(status, 1);
    let problems: Vec<Value> = serde_json::from_str(&process.stdout).unwrap();
    let said: BTreeSet<String> = problems
        .iter()
        .map(|p| format!("{} {} {}", p["severity"], p["message"], p["line"]))
        .collect();
    for expected in NOT_YET {
        let words: Vec<&str> = expected.split(' ').collect();
        let is_it = |said: &&String| words.iter().all(|word| said.contains(word));
        assert!(
            said.iter().any(|said| is_it(&said)),
            "{expected} in {said:#?}"
        );
    }
    assert_eq!(said.len(), NOT_YET.len(), "{said:#?}");
}

#[test]
fn the_full_configuration_runs_without_what_is_still_to_come() {
    let backends = [Backend::start("one"), Backend::start("two")];
    let text = without(
        FULL,
        &[
            "entrypoints \"websecure\"",
            "entrypoints \"tcp-db\"",
            "entrypoints = [\"websecure\"]",
            "middlewares",
            "scaling",
            "rollout",
            "discovery",
        ],
    );
    let text = text
        .replace("0.0.0.0:80", "127.0.0.1:0")
        .replace("/etc/gateway/conf.d/", "conf.d")
        .replace("127.0.0.1:8001", &backends[0].address.to_string())
        .replace("127.0.0.1:8003", &backends[1].address.to_string());
    let others = ["shadow-backend", "backup-pool"]
        .map(|name| format!("services \"{name}\" {{\n  respond {{ }}\n}}\n"));
    let (directory, path) = file(&(text + &others.concat()));
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    let mut gateway = serve(&path);
    let address = gateway.address("web");
    let names = (0..20).map(|_| {
        let reply = ask(&address, "GET", "/v1/x", &["Host: api.example.com"]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body
    });
    assert_eq!(
        names.collect::<BTreeSet<_>>().len(),
        2,
        "both revisions answer"
    );
    assert_eq!(get(&address, "/v1/x").status, 404);

    let more = "routers \"more\" {\n  rule = \"Path(`/more`)\"\n  service = \"api-service\"\n}\n";
    fs::write(directory.path().join("conf.d/more.hcl"), more).unwrap();
    eventually("conf.d is followed", || {
        get(&address, "/more").status == 200
    });
}

#[test]
fn each_line_that_the_demo_prints_answers() {
    let mut demo = start(["demo", "--port", "0"]);
    demo.line("Ctrl-C ends it.");
    let lines: Vec<&str> = demo
        .stdout
        .lines()
        .filter(|line| line.contains(" curl "))
        .collect();
    assert!(lines.len() >= 5, "{demo}");
    for line in lines {
        let (_, url) = line.split_once("http://").unwrap();
        let (address, path) = url
            .split_whitespace()
            .next()
            .unwrap()
            .split_once('/')
            .unwrap();
        let path = format!("/{path}");
        let expected = if line.contains("no route") { 404 } else { 200 };
        let status = match line.split_once("-H '") {
            _ if line.contains("--http2-prior-knowledge") => h2_get(address, &path),
            Some((_, header)) => {
                let header = header.split_once('\'').unwrap().0;
                let reply = ask(address, "GET", &path, &[header]);
                assert!(reply.body.contains("green"), "{reply:?}");
                reply.status
            }
            None => get(address, &path).status,
        };
        assert_eq!(status, expected, "{line}");
    }
    demo.signal(Signal::INT);
    assert_eq!(demo.wait(), 0, "{demo}");
}

fn h2_get(address: &str, path: &str) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let io = TokioIo::new(stream);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://{address}{path}");
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        status.as_u16()
    })
}

#[test]
fn it_says_where_each_entrypoint_listens() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", directory.path().join("gateway.sock").display());
    // Not every machine has IPv6.
    let six = TcpListener::bind("[::1]:0").map_or("127.0.0.1", |_| "[::1]");
    let text = format!(
        r#"{}
entrypoints "six"  {{ address = "{six}:0" }}
entrypoints "unix" {{ address = "{socket}" }}
admin {{ address = "127.0.0.1:0" }}
"#,
        MINIMAL.replace("0.0.0.0:8080", "127.0.0.1:0"),
    );
    let path = directory.path().join("gateway.hcl");
    fs::write(&path, text).unwrap();
    let mut gateway = serve(&path);
    assert!(gateway.address("web").starts_with("127.0.0.1:"));
    assert!(gateway.address("six").starts_with(six));
    assert_eq!(gateway.address("unix"), socket);
    assert_eq!(get(gateway.address("admin@internal"), "/ready").status, 200);
    assert_eq!(gateway.terminate(), 0, "{gateway}");
    assert!(!directory.path().join("gateway.sock").exists());
}

#[test]
fn a_start_that_cannot_be_is_refused_with_its_reason() {
    let (_directory, broken) = file(BROKEN);
    let mut gateway = serve(&broken);
    assert_eq!(gateway.wait(), 1);
    assert!(gateway.stderr.contains("gateway.hcl:7:13"), "{gateway}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_directory, path) = file(&MINIMAL.replace("0.0.0.0:8080", &address));
    let mut gateway = serve(&path);
    assert_eq!(gateway.wait(), 1);
    let words = format!("entrypoint `web`: cannot listen on {address}");
    assert!(gateway.stderr.contains(&words), "{gateway}");
}

#[test]
fn one_core_is_enough() {
    let mut try_it = Command::new("taskset");
    let tried = try_it.args(["-c", "0", "true"]).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no `taskset`, or no first core for us");
        return;
    }
    let backend = Backend::start("backend");
    let (_directory, path) = file(&minimal(&backend));
    let mut command = Command::new("taskset");
    command.args(["-c", "0", PROGRAM, "--config"]).arg(&path);
    let mut gateway = Process::spawn(&mut command);
    let address = gateway.address("web");
    assert_eq!(get(&address, "/api").status, 200);
    assert_eq!(gateway.terminate(), 0, "{gateway}");
}

#[test]
fn a_saved_file_takes_effect_and_a_broken_one_does_not() {
    let backend = Backend::start("backend");
    let text = minimal(&backend);
    let (_directory, path) = file(&text);
    let mut gateway = serve(&path);
    let address = gateway.address("web");
    fs::write(&path, text.replace("`/api`", "`/v2`")).unwrap();
    eventually("the new rule holds", || get(&address, "/v2").status == 200);
    assert_eq!(get(&address, "/api").status, 404);
    fs::write(&path, text.replace("= \"backend\"", "= \"backnd\"")).unwrap();
    gateway.line("gateway.hcl:8:13: error[E012]");
    gateway.line("the new configuration is refused");
    assert_eq!(get(&address, "/v2").status, 200);
}

#[test]
fn sighup_reads_the_file_again() {
    let backend = Backend::start("backend");
    let text = format!(
        "{}\nproviders {{\n  file {{ watch = false }}\n}}\n",
        minimal(&backend)
    );
    let (_directory, path) = file(&text);
    let mut gateway = serve(&path);
    let address = gateway.address("web");
    fs::write(&path, text.replace("`/api`", "`/v2`")).unwrap();
    gateway.signal(Signal::HUP);
    eventually("the new rule holds", || get(&address, "/v2").status == 200);
}

#[test]
fn sigterm_lets_a_request_finish() {
    let backend = Backend::start("backend");
    let (_directory, path) = file(&minimal(&backend));
    let mut gateway = serve(&path);
    let address = gateway.address("web");
    let client = std::thread::spawn({
        let address = address.clone();
        move || get(address, "/api/held")
    });
    backend.wait_for_held(1);
    gateway.signal(Signal::TERM);
    gateway.line("draining");
    eventually("nobody listens", || TcpStream::connect(&address).is_err());
    backend.release();
    assert_eq!(client.join().unwrap().status, 200);
    assert_eq!(gateway.wait(), 0, "{gateway}");
}

#[test]
fn whoever_waits_in_the_queue_is_answered_before_the_end() {
    let backend = Backend::start("backend");
    let (_directory, path) = file(&minimal(&backend));
    let mut gateway = serve(&path);
    let address = gateway.address("web");
    // The kernel takes connections while the process stands still.
    gateway.signal(Signal::STOP);
    let request = b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n";
    let clients: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut client = TcpStream::connect(&address).unwrap();
            client.write_all(request).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client
        })
        .collect();
    gateway.signal(Signal::TERM);
    gateway.signal(Signal::CONT);
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    assert_eq!(gateway.wait(), 0, "{gateway}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let backend = Backend::start("backend");
    let (_directory, path) = file(&minimal(&backend));
    let mut gateway = serve(&path);
    let mut client = TcpStream::connect(gateway.address("web")).unwrap();
    client
        .write_all(b"GET /api/held HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    backend.wait_for_held(1);
    gateway.signal(Signal::TERM);
    gateway.line("draining");
    gateway.signal(Signal::INT);
    gateway.line("ended by a second signal");
    assert_eq!(gateway.wait(), 0, "{gateway}");
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn a_log_that_nobody_reads_ends_nothing() {
    let backend = Backend::start("backend");
    let text = minimal(&backend);
    let (_directory, path) = file(&text);
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(&path).stderr(Stdio::piped());
    let mut child = Reaped(command.spawn().unwrap());
    let mut line = String::new();
    let mut log = BufReader::new(child.0.stderr.take().unwrap());
    log.read_line(&mut line).unwrap();
    let address = line.split_once("address=").unwrap().1.trim().to_owned();
    drop(log);
    fs::write(&path, text.replace("`/api`", "`/v2`")).unwrap();
    eventually("the new rule holds", || {
        assert_eq!(child.0.try_wait().unwrap(), None, "it ended");
        get(&address, "/v2").status == 200
    });
}
