//! A configuration that is shown can be read again.

use super::*;
use crate::config::de::Context;
use crate::config::eval::Evaluator;
use crate::config::read::Sections;
use crate::config::source::Files;
use crate::config::syntax;
use crate::config::tree::Map;
use crate::config::walk::Scope;
use serde_json::{Value, json};
use std::cell::RefCell;

/// Every configuration that the repository has, and one for each thing that is written in several ways.
const TEXTS: [(&str, &str); 9] = [
    ("full", include_str!("../../../tests/data/full.hcl")),
    ("gateway", include_str!("../../../examples/gateway.hcl")),
    ("grpc", include_str!("../../../examples/grpc.hcl")),
    ("minimal", include_str!("../../../examples/minimal.hcl")),
    ("tcp", include_str!("../../../examples/tcp.hcl")),
    ("tls", include_str!("../../../examples/tls.hcl")),
    ("udp", include_str!("../../../examples/udp.hcl")),
    ("websocket", include_str!("../../../examples/websocket.hcl")),
    ("odd", ODD),
];

const ODD: &str = r#"
entrypoints "web" {
  address = "127.0.0.1:0"
  http { header_timeout = "1500ms" }
}
entrypoints "unix" { address = "unix:/run/gateway.sock" }
routers "a" {
  rule    = "Path(`/$${x}`) || HeaderRegexp(`a`, `^\"%%{b}$`)"
  service = "backend"
  timeout = "90s"
  priority = -3
}
services "backend" {
  load_balancer {
    servers = [
      { url = "http://[::1]:80", weight = 3 },
      { url = "https://name.example" },
      { url = "unix:/run/app.sock" },
    ]
    health_check {
      path    = "/"
      status  = [204, "300-399"]
      headers = { Authorization = "Bearer s3cret" }
    }
    sticky {
      cookie = "c"
      secret = "0123456789abcdef0123456789abcdef"
    }
  }
}
middlewares "keys" {
  type = "api-key"
  keys = { one = "s3cret-1", two = "s3cret-2" }
}
middlewares "token" {
  type            = "jwt"
  value           = "0123456789abcdef0123456789abcdef"
  issuer          = "me"
  required_claims = { admin = true, age = [1, 2.5], "a.b" = "x" }
  claims_to_headers = { sub = "X-Sub" }
}
middlewares "limit" {
  type = "rate-limit"
  rate = 0.5
  key  = "header:X-Key"
}
middlewares "redis" {
  type      = "rate-limit-redis"
  rate      = 5
  redis_url = "redis://:s3cret@127.0.0.1:6379"
}
middlewares "again" {
  type = "retry"
  max_retries = 2
}
middlewares "set" {
  type = "headers"
  request_headers  = { X-Key = "s3cret" }
  response_headers = { X-A = "" }
}
middlewares "big" {
  type = "body-limit"
  max_body_bytes = "3MiB"
}
middlewares "breaker" {
  type = "circuit-breaker"
}
middlewares "small" {
  type = "compress"
}
middlewares "cross" {
  type = "cors"
  allowed_origins = ["https://a.example"]
}
admin {
  address     = "127.0.0.1:0"
  token       = "s3cret-of-the-admin"
  allowed_ips = ["127.0.0.1", "10.0.0.0/8"]
}
access_log {
  status = ["500-599"]
}
tracing {
  otlp_endpoint = "http://127.0.0.1:4318"
  headers  = { Authorization = "s3cret" }
}
"#;

/// What a text says, whether it can run or not: files that it names are not here, and some of it is not known.
fn read(text: &str) -> GatewayConfig {
    let mut files = Files::default();
    let file = files.add(PathBuf::from("configuration"), text.to_owned());
    let body = syntax::parse(&files, file).unwrap();
    let value = |name: &str| Some(format!("s3cret-{name}-0123456789abcdef"));
    let mut evaluator = Evaluator::new(files, PathBuf::new(), &value);
    evaluator.declare(&body, file);
    evaluator.read_variables();
    let mut root = Map::default();
    evaluator.walk_file(&mut root, &body, file, Scope::Whole);
    let context = Context {
        files: &evaluator.files,
        secrets: RefCell::default(),
    };
    let mut sections = Sections {
        context: &context,
        problems: Vec::new(),
    };
    let providers = sections.section(&mut root, "providers").unwrap_or_default();
    sections.config(&mut root, providers)
}

#[test]
fn what_is_shown_is_read_as_it_was_but_for_secrets() {
    for (name, text) in TEXTS {
        let config = read(text);
        assert!(!config.routers.is_empty(), "{name}");
        let shown = serde_json::to_value(&config).unwrap();
        assert!(!shown.to_string().contains("s3cret"), "{name}");
        let read = GatewayConfig::from_shown(&shown);
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_value(&read).unwrap(), shown, "{name}");
        let has_secrets = shown.to_string().contains("***");
        assert_eq!(read == config, !has_secrets, "{name}: {shown:#}");
    }
}

#[test]
fn the_odd_configuration_lacks_nothing() {
    // Else the test above would read less of it than it has.
    let loaded = load_text(ODD, &|_| None);
    assert!(!loaded.diagnostics.has_errors(), "{}", loaded.diagnostics);
}

#[test]
fn what_no_gateway_shows_is_told() {
    let whole = serde_json::to_value(GatewayConfig::default()).unwrap();
    let mut newer = whole.clone();
    newer["flux"] = json!({ "capacitor": 1 });
    let mut wrong = whole.clone();
    wrong["entrypoints"] = json!({ "web": { "address": 5 } });
    for (shown, words) in [
        (Value::Null, "not the configuration of a gateway"),
        (json!([1]), "not the configuration of a gateway"),
        (json!({}), "not the configuration of a gateway"),
        (
            json!({ "status": "ok" }),
            "not the configuration of a gateway",
        ),
        (newer, "unknown key `flux`"),
        (wrong, "expected"),
    ] {
        let error = GatewayConfig::from_shown(&shown).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(
        GatewayConfig::from_shown(&whole).unwrap(),
        GatewayConfig::default()
    );
}
