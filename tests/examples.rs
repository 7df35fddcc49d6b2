//! The programs in `examples/` do what they say.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use process::{Process, ask, file, get};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Starts an example. Cargo builds them before all tests; where only this test is built, it is asked to.
fn example(name: &str) -> Command {
    let mut path = PathBuf::from(process::PROGRAM);
    path.pop();
    path.push("examples");
    path.push(name);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/");
    let changed = |path: &Path| fs::metadata(path)?.modified();
    let of_source = changed(Path::new(&format!("{source}{name}.rs"))).unwrap();
    if changed(&path).is_ok_and(|built| built >= of_source) {
        return Command::new(path);
    }
    let build = ["build", "--all-features", "--example", name];
    let status = Command::new(env!("CARGO")).args(build).status().unwrap();
    assert!(status.success());
    Command::new(path)
}

/// Where a program says that it listens.
fn address(process: &mut Process) -> String {
    let line = process.line("listening on http://");
    line.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn an_axum_app_has_six_layers_in_front_of_it() {
    let mut app = Process::spawn(example("custom_axum").arg("127.0.0.1:0"));
    let address = address(&mut app);
    let key = "X-API-Key: 5e0c-a1f7";

    let refused = get(&address, "/");
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("x-content-type-options: nosniff"));
    assert_eq!(refused.json()["status"], 401);

    let origin = "Origin: https://app.example";
    let hello = ask(&address, "GET", "/", &[key, origin, "X-Consumer: forged"]);
    assert_eq!(hello.body, "hello build\n");
    let allowed = "access-control-allow-origin: https://app.example";
    assert!(hello.head.contains(allowed), "{hello:?}");

    let large = ask(&address, "POST", "/upload", &[key, "Content-Length: 1025"]);
    assert_eq!(large.status, 413);

    // The rest of the five for this minute, and one too many: connections share the limit.
    for expected in [200, 200, 429] {
        assert_eq!(ask(&address, "GET", "/", &[key]).status, expected);
    }
}

#[test]
fn a_client_is_made_of_layers() {
    let mut program = Process::spawn(&mut example("service_builder"));
    assert_eq!(program.wait(), 0);
    let expected = "\
        /api/users: 200 OK after 1 retries: this is /users\n\
        /api/groups: 200 OK after 1 retries: this is /groups\n";
    assert_eq!(program.stdout, expected);
}

#[test]
fn a_program_runs_a_gateway_with_a_middleware_of_its_own() {
    let (_directory, path) = file(
        r#"
entrypoints "web" {
  address = "127.0.0.1:0"
}
routers "all" {
  rule        = "PathPrefix(`/`)"
  service     = "hello"
  middlewares = ["stage"]
}
services "hello" {
  respond {
    body = "hello"
  }
}
middlewares "stage" {
  type = "stage"
  name = "test"
}
"#,
    );
    let mut program = Process::spawn(example("embed").arg(&path));
    let address = address(&mut program);
    let reply = get(&address, "/");
    assert_eq!(reply.body, "hello");
    assert!(reply.head.contains("x-stage: test"), "{reply:?}");
}
