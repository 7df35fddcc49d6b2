//! What is told of health checks.

use super::{good, told};
use crate::config::{HealthCheckKind, Scheme};
use crate::rule::Protocol;

/// A service of these servers with a check of these keys, the first of which is on line 14.
fn text(scheme: &str, keys: &str) -> String {
    let (protocol, rule) = match scheme {
        "tcp" => ("tcp", "HostSNI(`*`)"),
        _ => ("http", "PathPrefix(`/`)"),
    };
    let url = match scheme {
        "unix" => "unix:/run/app.sock".to_owned(),
        _ => format!("{scheme}://127.0.0.1:81"),
    };
    format!(
        r#"entrypoints "web" {{
  address  = ":80"
  protocol = "{protocol}"
}}
routers "all" {{
  rule = "{rule}"
  service = "backend"
  entrypoints = ["web"]
}}
services "backend" {{
  load_balancer {{
    servers = [{{ url = "{url}" }}]
    health_check {{
{keys}
    }}
  }}
}}
"#
    )
}

#[test]
fn what_is_not_written_follows_from_the_servers() {
    for (scheme, kind) in [
        ("http", HealthCheckKind::Http),
        ("https", HealthCheckKind::Http),
        ("tcp", HealthCheckKind::Tcp),
    ] {
        let config = good(&text(scheme, ""));
        let service = &config.services["backend"];
        let check = service.load_balancer.as_ref().unwrap();
        let check = check.health_check.as_ref().unwrap();
        assert_eq!(check.kind(service.protocol()), kind, "{scheme}");
        assert_eq!(check.status[0].range(), 200..=399);
        let is_tcp = service.servers().all(|s| s.url.scheme() == Scheme::Tcp);
        assert_eq!(is_tcp, service.protocol() == Protocol::Tcp);
    }
}

#[test]
fn each_problem_is_told_where_it_is() {
    let useless = "this check is of kind `tcp`";
    let add = "add `kind`: servers of TCP are asked for a connection only";
    let cases: [(&str, &str, &[String]); 16] = [
        (
            "http",
            "path = \"/health?deep=1\"\nstatus = [200, \"204-299\"]\nhost = \"[::1]:80\"\nport = 9000\nheaders = { \"X-Key\" = \"a b\" }",
            &[],
        ),
        (
            "http",
            "interval = \"99ms\"\ntimeout = \"0s\"\nunhealthy_threshold = 0\nhealthy_threshold = 101\nport = 0",
            &[
                "14:12 E008 `interval` is out of range: 99ms is not from 100ms to 1d".to_owned(),
                "15:11 E008 `timeout` is out of range: 0s is not from 1ms to 1h".to_owned(),
                "16:23 E008 `unhealthy_threshold` is out of range: 0 is not from 1 to 100".to_owned(),
                "17:21 E008 `healthy_threshold` is out of range: 101 is not from 1 to 100".to_owned(),
                "18:8 E008 `port` is out of range: 0 is not from 1 to 65535".to_owned(),
            ],
        ),
        (
            "http",
            "path = \"health\"",
            &["14:8 E006 `path` is not a path that begins with `/`, and perhaps a query".to_owned()],
        ),
        (
            "http",
            "path = \"/a b\"",
            &["14:8 E006 `path` is not a path that begins with `/`, and perhaps a query".to_owned()],
        ),
        (
            "http",
            "path = \"/#x\"\nhost = \"a@b\"",
            &[
                "14:8 E006 `path` is not a path that begins with `/`, and perhaps a query".to_owned(),
                "15:8 E006 `host` is not a host, with or without a port".to_owned(),
            ],
        ),
        (
            "http",
            "host = \"a:99999\"",
            &["14:8 E006 `host` is not a host, with or without a port".to_owned()],
        ),
        (
            "http",
            "status = []",
            &["14:10 E006 no status would be a good answer".to_owned()],
        ),
        (
            "http",
            "status = [101, \"2xx\"]",
            &[
                "14:11 E006 `101` is neither the status of an answer nor a range of them; write it like 204 or \"200-399\", from 200 to 599".to_owned(),
                "14:16 E006 `2xx` is neither the status of an answer nor a range of them; write it like 204 or \"200-399\", from 200 to 599".to_owned(),
            ],
        ),
        (
            "http",
            "headers = {\n\"Host\" = \"a\"\n\"Content-Length\" = \"1\"\n\"a b\" = \"c\"\n\"X-A\" = \"1\"\n\"x-a\" = \"2\"\n\"Content-Type\" = \"text/html\"\n\"X-B\" = \"a\\nb\"\n}",
            &[
                "15:1 E006 the key for this is `host`".to_owned(),
                "16:1 E006 the gateway writes `Content-Length` itself".to_owned(),
                "17:1 E006 this is not the name of a header".to_owned(),
                "19:1 E011 `x-a` and `X-A` are one header".to_owned(),
                "21:9 E006 the value of `X-B` has characters that a header cannot have".to_owned(),
            ],
        ),
        (
            "h2c",
            "kind = \"grpc\"\npath = \"shop.Cart\"\nstatus = [200]\nhost = \"shop\"\nheaders = { \"Content-Type\" = \"a\", \"Grpc-Timeout\" = \"b\", \"X-Key\" = \"c\" }",
            &[
                "16:10 E013 `status` is for `http`, and this check is of kind `grpc`".to_owned(),
                "18:13 E006 the gateway itself says what is in `Content-Type`".to_owned(),
                "18:35 E006 the gateway itself says what is in `Grpc-Timeout`".to_owned(),
            ],
        ),
        (
            "h2c",
            "kind = \"grpc\"\npath = \"a\\nb\"",
            &["15:8 E006 `path` is not the name of a gRPC service".to_owned()],
        ),
        (
            "http",
            "kind = \"tcp\"\npath = \"/\"\nstatus = [200]\nhost = \"a\"\nheaders = { \"X\" = \"y\" }\nport = 5",
            &[
                format!("15:8 E013 `path` is for `http` and `grpc`, and {useless}"),
                format!("16:10 E013 `status` is for `http`, and {useless}"),
                format!("17:8 E013 `host` is for `http` and `grpc`, and {useless}"),
                format!("18:11 E013 `headers` is for `http` and `grpc`, and {useless}"),
            ],
        ),
        (
            "tcp",
            "path = \"/\"",
            &[format!("14:8 E013 `path` is for `http` and `grpc`, and {useless}; {add}")],
        ),
        ("tcp", "kind = \"http\"\npath = \"/\"\nport = 8081", &[]),
        (
            "unix",
            "port = 8081",
            &["14:8 E013 a Unix socket has no port".to_owned()],
        ),
        (
            "http",
            "kind = \"udp\"\npath = \"\"\nexpect = 200",
            &[
                "14:8 E006 `udp` is not one of `http`, `grpc`, `tcp`".to_owned(),
                "16:1 E004 unknown key `expect`; known here: `kind`, `path`, `interval`, `timeout`, `unhealthy_threshold`, `healthy_threshold`, `status`, `headers`, `host`, `port`".to_owned(),
            ],
        ),
    ];
    for (scheme, keys, expected) in cases {
        assert_eq!(told(&text(scheme, keys)), expected, "{keys}");
    }
}

#[test]
fn what_is_sent_with_a_question_is_not_shown() {
    let config = good(&text(
        "http",
        "headers = { Authorization = \"Bearer sesame\" }",
    ));
    let shown = serde_json::to_string(&config).unwrap();
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(!format!("{config:?}").contains("sesame"));
}
