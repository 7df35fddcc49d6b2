//! A configuration that tests itself: when it is validated, at a start, and before a reload takes effect.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use process::{Process, eventually, file, get, run, serve};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

/// Everything that a test may look at.
const TEXT: &str = r#"entrypoints "web" {
  address = "127.0.0.1:0"
}

entrypoints "db" {
  address  = "127.0.0.1:0"
  protocol = "tcp"
}

admin {
  address = "127.0.0.1:0"
}

routers "page" {
  rule        = "Host(`example.com`) && PathPrefix(`/page`)"
  service     = "page"
  middlewares = ["tidy"]
}

routers "api" {
  rule        = "Host(`example.com`) && PathPrefix(`/api`)"
  service     = "backend"
  middlewares = ["keys", "limit", "tidy"]
}

routers "db" {
  rule        = "HostSNI(`db.example.com`)"
  service     = "database"
  entrypoints = ["db"]
  tls {
    passthrough = true
  }
}

services "page" {
  respond {
    status  = 203
    headers = { X-Page = "yes" }
  }
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://SERVER" }, { url = "http://no-such-name.invalid" }]
  }
}

services "database" {
  load_balancer {
    servers = [{ url = "tcp://SERVER" }]
  }
}

middlewares "keys" {
  type = "api-key"
  hashed_keys = { ada = "3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9" }
}

middlewares "limit" {
  type  = "rate-limit"
  rate  = 0.001
  burst = 1
}

middlewares "tidy" {
  type             = "headers"
  response_headers = { X-Frame-Options = "DENY" }
}
"#;

const GOOD: &str = r#"
test "the page is there" {
  request {
    url = "http://example.com/page/1"
  }
  expect {
    router  = "page"
    service = "page"
    status  = 203
    headers = { X-Frame-Options = "DENY", X-Page = "yes", X-Powered-By = "" }
  }
}

test "the API wants a key" {
  request {
    method = "POST"
    url    = "http://example.com/api"
  }
  expect {
    router = "api"
    status = 401
  }
}

test "with a key it goes to a server" {
  request {
    url       = "http://example.com/api"
    client_ip = "192.0.2.7"
    headers   = { X-API-Key = "0123456789abcdef0123456789abcdef" }
  }
  expect {
    service = "backend"
    headers = { X-Frame-Options = "DENY" }
  }
}

test "nobody else is served" {
  request {
    url = "http://example.org/page"
  }
  expect {
    router = "none"
    status = 404
  }
}

test "databases are found by name" {
  request {
    url = "tls://db.example.com:5432"
  }
  expect {
    router  = "db"
    service = "database"
  }
}
"#;

/// One that fails: its router, the status and a header.
const BAD: &str = r#"
test "the page is for everybody" {
  request {
    url = "http://example.org/page"
  }
  expect {
    router  = "page"
    status  = 203
    headers = { X-Page = "yes" }
  }
}
"#;

struct Setup {
    /// A server that nobody asks.
    server: TcpListener,
    text: String,
}

fn setup() -> Setup {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap().to_string();
    Setup {
        text: TEXT.replace("SERVER", &address),
        server,
    }
}

fn validate(path: &Path, more: &[&str]) -> (i32, Process) {
    let path = path.to_str().unwrap();
    let mut process = run([&["validate", "--config", path], more].concat());
    (process.wait(), process)
}

#[test]
fn tests_that_hold_are_silent_and_ask_nobody() {
    let Setup { server, text } = setup();
    let (_directory, path) = file(&format!("{text}{GOOD}"));
    let (status, process) = validate(&path, &["--deny-warnings"]);
    assert_eq!(status, 0, "{process}");
    assert!(process.stderr.is_empty(), "{process}");
    let mut gateway = serve(&path);
    let admin = gateway.address("admin@internal");
    let metrics = get(&admin, "/api/gateway/metrics").body;
    assert!(!metrics.contains("code=\"203\""), "{metrics}");
    assert!(server.accept().is_err());
}

#[test]
fn what_fails_is_told_at_the_expectation() {
    let Setup { text, .. } = setup();
    let (_directory, path) = file(&format!("{text}{BAD}"));
    let line = |words: &str| {
        let whole = format!("{text}{BAD}");
        whole.lines().position(|line| line.contains(words)).unwrap() + 1
    };
    let (status, process) = validate(&path, &["--format", "json"]);
    assert_eq!(status, 1, "{process}");
    let problems: Value = serde_json::from_str(&process.stdout).unwrap();
    let problems = problems.as_array().unwrap();
    let expected = [
        (
            "expected the router `page`, found none",
            "of `page` Host(`example.com`) fails: the host is `example.org`",
            line("router  = \"page\""),
        ),
        (
            "expected the status 203, found 404",
            "no router is found: no route matches",
            line("status  = 203\n".trim_end()),
        ),
        (
            "expected another header `x-page`: it is not there",
            "no router is found: no route matches",
            line("{ X-Page = \"yes\" }\n".trim_end()),
        ),
    ];
    assert_eq!(problems.len(), expected.len(), "{process}");
    for (problem, (message, help, _)) in problems.iter().zip(&expected) {
        assert_eq!(problem["code"], "E022");
        let message = format!("test `the page is for everybody`: {message}");
        assert_eq!(problem["message"], message, "{process}");
        assert_eq!(problem["help"], *help, "{process}");
    }
    assert_eq!(problems[0]["line"], expected[0].2, "{process}");
    let (status, process) = validate(&path, &[]);
    assert_eq!(status, 1);
    for words in [
        "error[E022]",
        "router  = \"page\"",
        "^^^^^^ help: of `page`",
    ] {
        assert!(process.stderr.contains(words), "{words} in {process}");
    }
}

/// A path alone has no host, and so finds nothing.
#[test]
fn a_test_without_a_host_is_told_what_to_write() {
    let Setup { text, .. } = setup();
    let test = "test \"page\" {\n  request {\n    url = \"/page\"\n  }\n  expect {\n    router = \"page\"\n  }\n}\n";
    let (_directory, path) = file(&format!("{text}{test}"));
    let (status, process) = validate(&path, &[]);
    assert_eq!(status, 1, "{process}");
    let words =
        "missing host; it names no host: ask for a whole URL, such as http://example.com/page";
    assert!(process.stderr.contains(words), "{process}");
}

#[test]
fn a_start_is_refused_unless_a_warning_is_enough() {
    let Setup { text, .. } = setup();
    let (_directory, path) = file(&format!("{text}{BAD}"));
    let mut gateway = serve(&path);
    assert_eq!(gateway.wait(), 1);
    assert!(gateway.stderr.contains("E022"), "{gateway}");
    assert!(!gateway.stderr.contains("listening"), "{gateway}");
    // As `validate` tells it: with the lines of the file.
    let (_, validated) = validate(&path, &[]);
    assert_eq!(gateway.stderr, validated.stderr);
    assert!(
        gateway.stderr.contains("^^^^^^ help: of `page`"),
        "{gateway}"
    );

    fs::write(&path, format!("on_test_failure = \"warn\"\n{text}{BAD}")).unwrap();
    let (status, process) = validate(&path, &[]);
    assert_eq!(status, 0, "{process}");
    assert!(process.stderr.contains("warning[W013]"), "{process}");
    assert_eq!(validate(&path, &["--deny-warnings"]).0, 1);
    let mut gateway = serve(&path);
    gateway.line("warning[W013]: test `the page is for everybody`");
    let web = gateway.address("web");
    assert_eq!(get(web, "/page").status, 404);
}

#[test]
fn a_reload_is_refused_and_the_running_configuration_stays() {
    let Setup { text, .. } = setup();
    let (_directory, path) = file(&format!("{text}{GOOD}"));
    let mut gateway = serve(&path);
    let admin = gateway.address("admin@internal");
    let config = || get(&admin, "/api/gateway/config").json();
    let health = || get(&admin, "/api/gateway/health").json();
    assert_eq!(
        config()["test"]["the page is there"]["expect"]["status"],
        203
    );

    // It moves the page, and its test knows nothing of that.
    let moved = text.replace("PathPrefix(`/page`)", "PathPrefix(`/pages`)");
    fs::write(&path, format!("{moved}{GOOD}")).unwrap();
    gateway.signal(Signal::HUP);
    eventually("it is refused", || {
        health()["last_reload"]["success"] == false
    });
    let problems = health()["last_reload"]["problems"].to_string();
    assert!(
        problems.contains("E022") && problems.contains("the page is there"),
        "{problems}"
    );
    assert!(config()["routers"]["page"].to_string().contains("`/page`"));

    // So is one whose rule is in the way of another, though each by itself is good.
    let shadow = "\nrouters \"all\" {\n  rule     = \"PathPrefix(`/`)\"\n  service  = \"page\"\n  priority = 1000\n}\n";
    fs::write(&path, format!("{text}{shadow}{GOOD}")).unwrap();
    gateway.signal(Signal::HUP);
    let words = "`api` matches as well, with the priority 41; `all` has 1000";
    eventually("it is refused", || {
        health()["last_reload"]["problems"]
            .to_string()
            .contains(words)
    });

    let fixed = GOOD.replace("/page/1", "/pages/1");
    fs::write(&path, format!("{moved}{fixed}")).unwrap();
    gateway.signal(Signal::HUP);
    eventually("it runs", || health()["last_reload"]["success"] == true);
    assert!(config()["routers"]["page"].to_string().contains("`/pages`"));
    gateway.terminate();
    assert!(!gateway.stderr.contains("0123456789abcdef"), "{gateway}");
}

#[test]
fn a_test_does_not_depend_on_what_runs() {
    let Setup { text, .. } = setup();
    let limited = GOOD.replace("keys", "none");
    let text = text.replace(
        "middlewares = [\"tidy\"]",
        "middlewares = [\"limit\", \"tidy\"]",
    );
    let (_directory, path) = file(&format!("{text}{limited}"));
    let mut gateway = serve(&path);
    let (web, admin) = (gateway.address("web"), gateway.address("admin@internal"));
    let ask = || process::ask(&web, "GET", "/page/1", &["Host: example.com"]).status;
    assert_eq!((ask(), ask()), (203, 429));
    // What is used up in the gateway that runs is not so in the test, and stays used up after it.
    fs::write(
        &path,
        format!("{text}{limited}\nshutdown_timeout_secs = 7\n"),
    )
    .unwrap();
    gateway.signal(Signal::HUP);
    eventually("it runs", || {
        get(&admin, "/api/gateway/config").json()["shutdown_timeout_secs"] == 7
    });
    assert_eq!(ask(), 429);
}

#[test]
fn what_cannot_be_asked_fails_at_the_request() {
    let Setup { text, .. } = setup();
    for (request, told) in [
        (
            "url = \"ftp://example.com/\"",
            "no entrypoint listens for ftp",
        ),
        ("url = \"not a url\"", "not a URL"),
        ("url = \"/\"\n method = \"G T\"", "is not a method"),
        (
            "url = \"/\"\n headers = { \"a b\" = \"c\" }",
            "not a header",
        ),
        (
            "url = \"/\"\n headers = { A = \"b\\r\\nC: d\" }",
            "no header can carry",
        ),
    ] {
        let test = format!(
            "test \"odd\" {{\n request {{\n {request}\n }}\n expect {{\n status = 404\n }}\n}}\n"
        );
        let (_directory, path) = file(&format!("{text}{test}"));
        let (status, process) = validate(&path, &[]);
        assert_eq!(status, 1, "{process}");
        assert!(process.stderr.contains(told), "{told} in {process}");
        assert!(
            process.stderr.contains("error[E022]: test `odd`"),
            "{process}"
        );
    }
}

#[test]
fn what_comes_from_outside_the_file_is_not_told_by_what_fails() {
    let text = r#"
entrypoints "web" {
  address = "127.0.0.1:0"
}

routers "moved" {
  rule        = "Host(`example.com`)"
  service     = "page"
  middlewares = ["move"]
}

services "page" {
  respond { }
}

middlewares "move" {
  type   = "redirect"
  scheme = "https"
}

test "by the url" {
  request {
    url = "http://example.com:80/${file("secret")}?q=${file("secret")}"
  }
  expect {
    headers = { Location = "https://example.com/" }
  }
}

test "by the method" {
  request {
    url    = "http://example.com:80/"
    method = join(" ", ["G", file("secret")])
  }
  expect {
    router = "moved"
  }
}

test "through a list" {
  request {
    url = join("/", ["http://example.com:80", file("secret")])
  }
  expect {
    headers = { Location = "https://example.com/" }
  }
}

test "by a header" {
  request {
    url     = "http://example.com:80/"
    headers = { Host = file("secret") }
  }
  expect {
    router = "moved"
  }
}
"#;
    let (directory, path) = file(text);
    fs::write(directory.path().join("secret"), "s3cret").unwrap();
    let (status, process) = validate(&path, &[]);
    assert_eq!(status, 1, "{process}");
    assert!(!process.stderr.contains("s3cret"), "{process}");
    // Nor what the configuration itself has from there, unless it is of a kind that no answer shows.
    for (block, told) in [
        (
            "services \"x\" {\n respond {\n headers = { X-A = join(\"\", [file(\"secret\")]) }\n }\n}",
            "found another, which is not shown, for what answers has",
        ),
        (
            "services \"x\" {\n respond {\n headers = { X-A = \"shown\" }\n }\n}",
            "found `shown`",
        ),
        (
            "services \"x\" {\n respond { }\n}\nmiddlewares \"m\" {\n type = \"headers\"\n response_headers = { X-A = \"a-${file(\"secret\")}\" }\n}",
            "found another, which is not shown, for what answers has",
        ),
        (
            "services \"x\" {\n respond { }\n}\nmiddlewares \"m\" {\n type = \"headers\"\n response_headers = { X-A = \"shown\" }\n}",
            "found `shown`",
        ),
    ] {
        let uses = match block.contains("\"m\"") {
            true => " middlewares = [\"m\"]\n",
            false => "",
        };
        let text = format!(
            "entrypoints \"web\" {{\n address = \"127.0.0.1:0\"\n}}\n{block}\n\
             routers \"by-rule\" {{\n rule = \"Path(`/${{file(\"secret\")}}`)\"\n service = \"x\"\n}}\n\
             routers \"x\" {{\n rule = \"Path(`/`)\"\n service = \"x\"\n{uses}}}\n\
             test \"it\" {{\n request {{\n url = \"http://h/\"\n }}\n expect {{\n router = \"by-rule\"\n headers = {{ X-A = \"b\" }}\n }}\n}}\n"
        );
        let (directory, path) = file(&text);
        fs::write(directory.path().join("secret"), "s3cret").unwrap();
        let (status, process) = validate(&path, &[]);
        assert_eq!(status, 1, "{process}");
        assert!(!process.stderr.contains("s3cret"), "{process}");
        for told in [told, "its rule is not shown"] {
            assert!(process.stderr.contains(told), "{told} in {process}");
        }
    }
    let (_directory, path) = file(text);
    fs::write(path.with_file_name("secret"), "s3cret").unwrap();
    let (_, process) = validate(&path, &[]);
    for told in [
        "expected another header `location`: found another",
        "of `moved` Host(`example.com`) fails",
        "test `by the method`: it cannot be asked",
    ] {
        assert!(process.stderr.contains(told), "{told} in {process}");
    }
}
