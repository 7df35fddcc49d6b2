//! What operators write, and what they are told.

mod access_log;
mod balancing;
mod credentials;
mod directories;
mod failover;
mod forward_auth;
mod health_checks;
mod hostile;
mod http2;
mod log;
mod many;
mod metrics;
mod middlewares;
mod names;
mod outlier;
mod outside;
mod own_tests;
mod paths;
mod proxy_protocol;
mod quoted;
mod redirects;
mod resilience;
mod revisions;
mod schema;
mod services;
mod shown;
mod sticky;
mod tcp;
mod tls;
mod traces;
mod typos;
mod udp;
mod websocket_hub;

use super::load::{load_in, load_text};
use super::*;
use std::time::Duration;

const MINIMAL: &str = r#"# gateway.hcl — minimal reverse proxy
entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backend"
}

services "backend" {
  load_balancer {
    strategy = "round-robin"
    servers  = [{ url = "http://127.0.0.1:8001" }]
  }
}
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("hunter2".to_owned()),
        "PORT" => Some("8080".to_owned()),
        "JSON" => Some(
            r#"{"hunter2": 1, "strategy": "hunter2", "servers": [{"url": "hunter2"}]}"#.to_owned(),
        ),
        // Of the manuals.
        "STAFF_PASSWORD" | "JWT_SECRET" => Some("long enough to be a secret of HS256".to_owned()),
        "LIMIT" => Some("12".to_owned()),
        _ => None,
    }
}

pub(in crate::config) fn loaded(text: &str) -> Loaded {
    load_text(text, &environment)
}

/// A configuration that lacks nothing, with `more` behind it.
fn with(more: &str) -> String {
    format!("{MINIMAL}{more}")
}

fn good(text: &str) -> GatewayConfig {
    let loaded = loaded(text);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    loaded.config.unwrap()
}

/// Every problem as `line:column code message; help`.
fn told(text: &str) -> Vec<String> {
    lines(&loaded(text).diagnostics)
}

fn lines(diagnostics: &Diagnostics) -> Vec<String> {
    let line = |d: &Diagnostic| {
        let place = d
            .place
            .as_ref()
            .map_or(String::new(), |p| format!("{}:{} ", p.line, p.column));
        let help = d
            .help
            .as_ref()
            .map_or(String::new(), |help| format!("; {help}"));
        format!("{place}{} {}{help}", d.code.as_str(), d.message)
    };
    diagnostics.iter().map(line).collect()
}

/// What is told of a configuration with these middlewares, the first line of which is line 17 of the file; the one
/// called `x` is used.
pub(in crate::config) fn told_of(middlewares: &str) -> Vec<String> {
    told(&with_middlewares(middlewares))
}

fn with_middlewares(middlewares: &str) -> String {
    let used = MINIMAL.replace("rule ", "middlewares = [\"x\"]\n  rule ");
    format!("{}{middlewares}", used.replacen("\n\n", "\n", 1))
}

#[test]
fn the_minimal_file_loads_with_every_default() {
    let config = good(MINIMAL);
    let web = &config.entrypoints["web"];
    assert_eq!(
        web,
        &EntrypointConfig::new("0.0.0.0:8080".parse::<Address>().unwrap())
    );
    assert_eq!(web.http.header_timeout, Duration::from_secs(10));
    let backend = config.services["backend"].load_balancer.as_ref().unwrap();
    assert_eq!(
        backend.servers,
        [ServerConfig::new("http://127.0.0.1:8001".parse().unwrap())]
    );
    assert!(backend.pass_host);
    assert_eq!(config.shutdown_timeout_secs, 30);
    assert_eq!(config.admin, None);
    assert!(config.providers.file.watch);
}

#[test]
fn the_example_of_the_manual_is_printed_to_the_letter() {
    let text = r#"entrypoints "web" {
  address = ":80"
}

services "backend" {
  respond {
    body = "hello"
  }
}


routers "api" {
  rule    = "PathPrefix(`/api`)"
  service = "backnd"
}
"#;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("gateway.hcl"), text).unwrap();
    let source = Source::new(directory.path().join("gateway.hcl"));
    let rendered = load_in(&source, &environment).diagnostics.render(false);
    let rendered = rendered.replace(&format!("{}/", directory.path().display()), "");
    let expected = "error[E012]: router `api` names the unknown service `backnd`
  --> gateway.hcl:14:13
   |
14 |   service = \"backnd\"
   |             ^^^^^^^^ help: did you mean `backend`?";
    assert_eq!(rendered, expected);
}

#[test]
fn blocks_objects_and_repeated_blocks_are_equal() {
    let objects = r#"
entrypoints = { web = { address = "0.0.0.0:8080" } }
routers = { api = { rule = "PathPrefix(`/api`)", service = "backend" } }
services = { backend = { load_balancer = { servers = [{ url = "http://a" }, { url = "http://b" }] } } }
"#;
    let blocks = r#"
entrypoints web { address = "0.0.0.0:8080" }
routers "api" {
  rule = "PathPrefix(`/api`)"
  service = "backend"
}
services "backend" {
  load_balancer {
    servers { url = "http://a" }
    servers { url = "http://b" }
  }
}
"#;
    assert_eq!(good(objects), good(blocks));
    let one = blocks.replace("    servers { url = \"http://b\" }\n", "");
    assert_eq!(
        good(&one).services["backend"]
            .load_balancer
            .as_ref()
            .unwrap()
            .servers
            .len(),
        1
    );
}

#[test]
fn expressions_are_evaluated() {
    let text = r#"
variables {
  host  = "a.example"
  base  = "${var.host}:80"
  ports = [8001, 8002]
}
entrypoints "web" {
  address         = ":${PORT}"
  max_connections = "${LIMIT}"
  trusted_proxies = concat(["10.0.0.0/8"], jsondecode("[\"::1\"]"))
}
admin { token = "${TOKEN}" }
routers "api" {
  rule    = format("Host(`%s`)", lower("EXAMPLE.org"))
  service = "backend"
  priority = 2 * 3 + 1
}
routers "two" {
  rule    = "Header(`x`, `$${x}`)"
  service = env("NAME", "backend")
}
routers "three" {
  rule = <<-EOT
    Host(`b`)
    && Path(`/c`)
  EOT
  service = false ? "x" : "backend"
}
services "backend" {
  load_balancer {
    servers  = [for port in var.ports : { url = "http://${var.host}:${port}" }]
    timeouts { connect = "1m30s" }
  }
}
"#;
    let config = good(text);
    let web = &config.entrypoints["web"];
    assert_eq!(
        (web.address.to_string().as_str(), web.max_connections),
        ("[::]:8080", Some(12))
    );
    assert_eq!(web.trusted_proxies.len(), 2);
    assert_eq!(config.admin.unwrap().token.unwrap().expose(), "hunter2");
    assert_eq!(config.routers["api"].rule.as_str(), "Host(`example.org`)");
    assert_eq!(config.routers["api"].priority, Some(7));
    assert_eq!(config.routers["two"].rule.as_str(), "Header(`x`, `${x}`)");
    assert_eq!(
        config.routers["three"].rule.as_str(),
        "Host(`b`)\n&& Path(`/c`)\n"
    );
    let servers = &config.services["backend"]
        .load_balancer
        .as_ref()
        .unwrap()
        .servers;
    assert_eq!(servers[1].url.to_string(), "http://a.example:8002");
}

#[test]
fn each_problem_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (more, expected) in [
        (
            "routes \"x\" {}",
            "17:1 E004 unknown key `routes`; did you mean `routers`?",
        ),
        (
            "metrcs \"x\" {}",
            "17:1 E004 unknown key `metrcs`; did you mean `metrics`?",
        ),
        (
            "shutdown_timeout_secs = \"x\"",
            "17:25 E005 expected a whole number from 0, found a string",
        ),
        (
            "shutdown_timeout_secs = -1",
            "17:25 E008 expected a whole number from 0, found -1",
        ),
        (
            "shutdown_timeout_secs = 1.5",
            "17:25 E008 expected a whole number from 0, found 1.5",
        ),
        (
            "shutdown_timeout_secs = 90000",
            "17:25 E008 `shutdown_timeout_secs` is out of range: 90000 is not from 0 to 86400",
        ),
        (
            "admin { adress = \":1\" }",
            "17:9 E004 unknown key `adress`; did you mean `address`?",
        ),
        (
            "admin { address = localhost }",
            "17:19 E010 `localhost` is not a value; put it in quotes: \"localhost\"",
        ),
        (
            "admin { address = a.example }",
            "17:19 E010 `a.example` is not a value; put it in quotes: \"a.example\"",
        ),
        (
            "admin { address = \"a:99999\" }",
            "17:22 E006 a port is a number from 0 to 65535",
        ),
        (
            "admin { address = \"\\u0061:x\" }",
            "17:27 E006 a port is a number from 0 to 65535",
        ),
        (
            "admin { allowed_ips = [\"::1\", \"x\"] }",
            "17:31 E006 `x` is neither an IP address nor a network; write it like \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"",
        ),
        (
            "admin { allowed_ips = \"::1\" }",
            "17:23 E005 expected a list, found a string",
        ),
        (
            "admin { address = 80 }",
            "17:19 E005 expected an address such as \"0.0.0.0:8080\", found 80",
        ),
        (
            "admin { address = \":8080\" }",
            "17:19 E014 the admin API listens on `[::]:8080`, and so does entrypoint `web`",
        ),
        (
            "admin { token = \"${NOPE}\" }",
            "17:20 E009 the environment variable `NOPE` is not set; set it, or give a default: `${env(\"NOPE\", \"...\")}`",
        ),
        (
            "admin { token = \"a${NOPE}b\" }",
            "17:21 E009 the environment variable `NOPE` is not set; set it, or give a default: `${env(\"NOPE\", \"...\")}`",
        ),
        (
            "admin { token = var.x }",
            "17:17 E009 variable `x` is not declared",
        ),
        (
            "admin { token = lowr(\"x\") }",
            "17:17 E010 there is no function `lowr`; did you mean `lower`?",
        ),
        (
            "admin { token = file(\"/nonexistent\") }",
            "17:17 E009 `/nonexistent`: no such file",
        ),
        (
            "admin { token = file(\"/dev/zero\") }",
            "17:17 E009 `/dev/zero`: it is not a regular file",
        ),
        (
            "admin { token = file(\"/\") }",
            "17:17 E009 `/`: it is a directory",
        ),
        (
            "admin { address = \"${TOKEN}\" }",
            "17:19 E006 the value is not an address such as \"0.0.0.0:8080\"; it comes from outside this file, and is not shown",
        ),
        ("admin { }\nadmin { }", "18:1 E011 the block is given twice"),
        (
            "admin { token = \"a\\u0000b\" }",
            "17:17 E006 a string has no NUL in it",
        ),
        (
            "routers \"b\" {\n  rule = \"Path(`/`)\"\n}",
            "17:1 E007 `service` is missing",
        ),
        (
            "routers \"b\" {\n  rule = \"Path(`/`) && Hots(`x`)\"\n  service = \"backend\"\n}",
            "18:24 E006 unknown matcher `Hots`; did you mean `Host`?",
        ),
        (
            "routers \"b\" {\n  rule = \"PathPrefix(`//`)\"\n  service = \"backend\"\n}",
            "18:22 W001 router `b`: `//` can never match: empty segments are removed from a request's path",
        ),
        (
            "routers \"b\" {\n  rule = \"Path(`/`)\"\n  service = \"backend\"\n  entrypoints = [\"wbe\"]\n}",
            "20:18 E012 router `b` names the unknown entrypoint `wbe`; did you mean `web`?",
        ),
        (
            "routers \"b\" {\n  rule = \"PathPrefix( `/api` )\"\n  service = \"backend\"\n}",
            "7:13 W002 router `api` is never reached: `b` takes all of its requests at a higher priority; for example, `b` takes: GET http://example.com/api",
        ),
        (
            "routers \"b\" {\n  rule = \"PathPrefix(`/api`)\"\n  service = \"backend\"\n}",
            "18:10 W003 router `b` is never reached: `api` is declared before it at the same priority and takes all of its requests; for example, `api` takes: GET http://example.com/api",
        ),
        (
            "services \"b\" {}",
            "17:1 E013 service `b` has none of `load_balancer`, `revisions`, `respond` and `websocket_hub`",
        ),
        (
            "services \"b\" {\n respond {}\n}",
            "17:10 W004 no router uses service `b`",
        ),
        (
            "services \"a@b\" {\n respond { status = 199 }\n}",
            "17:10 E006 the name `a@b` has an `@`, which is reserved",
        ),
        (
            "services \"b\" {\n load_balancer { servers = [] }\n}",
            "18:28 E006 service `b` has no servers",
        ),
        (
            "services \"b\" {\n load_balancer { servers = [{url=\"http://a/x\"}] }\n}",
            "18:43 E006 the URL of a server has no path",
        ),
        (
            "services \"b\" {\n load_balancer {\n strategy = \"rundom\"\n servers = [{ url = \"http://a\" }]\n }\n}",
            "19:13 E006 `rundom` is not one of `round-robin`, `weighted`, `least-connections`, `random`, `p2c-ewma`, `consistent-hash`; did you mean `random`?",
        ),
        (
            "entrypoints \"t\" {\n address = \":1\"\n protocol = \"quic\"\n}",
            "19:13 E006 `quic` is not one of `http`, `tcp`, `udp`",
        ),
        (
            "entrypoints \"t\" {\n address = \"unix:/t\"\n tcp_allowed_ips = [\"::1\"]\n}",
            "19:20 E013 the clients of a Unix socket have no address to be judged by",
        ),
        (
            "entrypoints \"t\" {\n address = \":1\"\n tcp_allowed_ips = [\"::1\", \"x\"]\n}",
            "19:28 E006 `x` is neither an IP address nor a network; write it like \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"",
        ),
        ("entrypoints = 3", "17:1 E011 `entrypoints` is given twice"),
    ] {
        let told = told(&with(more));
        if told.first().map(String::as_str) != Some(expected) {
            wrong.push(format!("{more}\n  told {told:#?}\n  not  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
