//! What the README says about configurations, and shows as code, is so.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use a3s_gateway::config::GatewayConfig;
use process::{Backend, file, get, serve, start};

const README: &str = include_str!("../README.md");

/// The blocks of code in a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let after = README.split(&*begin).skip(1);
    after
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_configuration_is_valid_without_a_warning() {
    let blocks = blocks("hcl");
    assert_eq!(blocks.len(), 2);
    let examples = [
        include_str!("../examples/minimal.hcl"),
        include_str!("../examples/gateway.hcl"),
    ];
    for text in blocks.into_iter().chain(examples) {
        let (_directory, path) = file(text);
        let args = ["validate", "--deny-warnings", "--config"];
        let mut process = start(args.iter().copied().chain(path.to_str()));
        assert_eq!(process.wait(), 0, "{process}\n{text}");
    }
}

#[test]
fn the_first_configuration_runs_when_pasted() {
    let backend = Backend::start("server");
    let text = blocks("hcl")[0]
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:8001", &backend.address.to_string())
        .replace("127.0.0.1:9090", "127.0.0.1:0");
    let (_directory, path) = file(&text);
    let mut gateway = serve(&path);
    let web = gateway.address("web");
    assert_eq!(get(&web, "/hello").body, "Hello from the gateway\n");
    assert_eq!(get(&web, "/").body, "server: GET / HTTP/1.1");
    let admin = gateway.address("admin@internal");
    assert_eq!(get(admin, "/api/gateway/health").status, 200);
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let written = GatewayConfig::from_hcl(blocks("hcl")[1]).unwrap();
    let required = GatewayConfig::from_hcl(
        r#"
entrypoints "web" { address = "127.0.0.1:8080" }
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "backend"
}
routers "maintenance" {
  rule    = "Host(`old.example.com`)"
  service = "maintenance"
}
routers "channels" {
  rule    = "Path(`/channels`)"
  service = "hub"
}
services "backend" {
  load_balancer { servers = [{ url = "http://127.0.0.1:8001" }] }
}
services "maintenance" {
  respond { }
}
services "hub" {
  websocket_hub { }
}
test "the page is there" {
  request { url = "http://example.com:8080/" }
  expect { router = "all" }
}
admin { }
access_log { }
tracing {
  otlp_endpoint = "http://127.0.0.1:4317"
}
"#,
    );
    assert_eq!(written, required.unwrap());
}

#[test]
fn the_mistake_is_printed_to_the_letter() {
    let text = "entrypoints \"web\" {\n  address = \"127.0.0.1:0\"\n}\n\nrouters \"api\" {\n  rule    = \"PathPrefix(`/`)\"\n  service = \"backnd\"\n}\n\nservices \"backend\" {\n  respond { }\n}\n";
    let (directory, path) = file(text);
    let mut process = start(["validate", "--config", path.to_str().unwrap()]);
    assert_eq!(process.wait(), 1);
    let prefix = format!("{}/", directory.path().display());
    assert_eq!(process.stderr.replace(&prefix, ""), blocks("text")[0]);
}

#[test]
fn the_code_is_the_example() {
    let example = include_str!("../examples/embed.rs");
    // What stands above the code says how to run it.
    let start = example.find("\nuse ").unwrap() + 1;
    let code = &example[start..];
    assert_eq!(blocks("rust"), [code]);
}
