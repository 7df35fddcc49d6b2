//! What would become of a request: told by the command and by the admin API, and seen by nobody else.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use process::{Process, Reply, ask, file, get, run, serve};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

/// A gateway with a route through whatever has an effect, and the places where that would be seen.
const STATEFUL: &str = r#"
entrypoints "web" {
  address = "127.0.0.1:0"
}

admin {
  address = "127.0.0.1:0"
}

routers "api" {
  rule        = "PathPrefix(`/api`)"
  service     = "backend"
  middlewares = ["limit", "cap", "auth", "breaker", "again", "whole", "pages"]
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://SERVER" }, { url = "http://127.0.0.1:1", weight = 0 }]
    sticky {
      cookie = "at"
    }
  }
  mirror {
    service = "shadow"
  }
  failover {
    service = "shadow"
  }
}

services "shadow" {
  load_balancer {
    servers = [{ url = "http://SERVER/" }]
  }
}

middlewares "limit" {
  type  = "rate-limit"
  rate  = 0.001
  burst = 2
}

middlewares "cap" {
  type = "in-flight"
  max  = 1
}

middlewares "auth" {
  type                          = "forward-auth"
  forward_auth_url              = "http://SERVER/check?secret=1"
  forward_auth_response_headers = ["X-User"]
}

middlewares "breaker" {
  type              = "circuit-breaker"
  failure_threshold = 1
}

middlewares "again" {
  type = "retry"
}

middlewares "whole" {
  type = "buffering"
}

middlewares "pages" {
  type    = "error-pages"
  status  = ["400-599"]
  service = "shadow"
}
"#;

/// A server that nobody asks: it says whether somebody has tried.
struct Untouched(TcpListener);

impl Untouched {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    fn is_untouched(&self) -> bool {
        self.0
            .accept()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

fn command(path: &Path, args: &[&str]) -> (i32, Process) {
    let path = path.to_str().unwrap();
    let mut process = run([&["explain", "--config", path], args].concat());
    (process.wait(), process)
}

/// As the command tells it in JSON.
fn told(path: &Path, args: &[&str]) -> Value {
    let (status, process) = command(path, &[args, &["--json"]].concat());
    assert!(status < 2, "{process}");
    let told: Value = serde_json::from_str(&process.stdout).unwrap();
    assert_eq!(status == 0, told["router"].is_string(), "{process}");
    told
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn page(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)));
    format!(
        "/api/gateway/explain?{}",
        pairs.collect::<Vec<_>>().join("&")
    )
}

fn live(admin: &str, pairs: &[(&str, &str)]) -> Value {
    let reply = get(admin, &page(pairs));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn layer<'v>(told: &'v Value, name: &str) -> &'v Value {
    let layers = told["layers"].as_array().unwrap();
    let found = layers.iter().find(|layer| layer["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {told:#}"))
}

#[test]
fn each_router_is_told_with_the_first_matcher_that_failed() {
    let (_directory, path) = file(
        r#"
entrypoints "web" {
  address = "0.0.0.0:80"
}

routers "admin" {
  rule     = "Host(`admin.example.com`) && ClientIP(`10.0.0.0/8`)"
  service  = "here"
  priority = 1000
}

routers "posts" {
  rule    = "Host(`www.example.com`) && PathPrefix(`/posts`) && !Method(`DELETE`)"
  service = "here"
}

routers "spare" {
  rule    = "Host(`www.example.com`) || Header(`X-Tenant`, `one`)"
  service = "here"
}

services "here" {
  respond {
    status = 418
  }
}
"#,
    );
    let told = told(&path, &["DELETE", "http://www.example.com/posts/1?page=2"]);
    assert_eq!(told["entrypoint"], "web");
    assert_eq!(told["router"], "spare");
    assert_eq!(told["service"], "here");
    let candidates = told["candidates"].as_array().unwrap();
    let names: Vec<_> = candidates.iter().map(|each| &each["router"]).collect();
    assert_eq!(names, ["admin", "posts", "spare"]);
    let expected = json!([{
        "matcher": "Host(`admin.example.com`)",
        "start": 0,
        "end": 25,
        "found": "the host is `www.example.com`",
    }]);
    assert_eq!(candidates[0]["failed"], expected);
    assert_eq!(candidates[0]["priority"], 1000);
    let failed = &candidates[1]["failed"][0];
    assert_eq!(failed["matcher"], "Method(`DELETE`)");
    assert_eq!(failed["found"], "the method is `DELETE`");
    let rule = candidates[1]["rule"].as_str().unwrap();
    let (start, end) = (
        failed["start"].as_u64().unwrap(),
        failed["end"].as_u64().unwrap(),
    );
    assert_eq!(&rule[start as usize..end as usize], "Method(`DELETE`)");
    assert_eq!(
        (&candidates[2]["matches"], &candidates[2]["chosen"]),
        (&true.into(), &true.into())
    );
    assert_eq!(told["answer"]["by"], "gateway");
    assert_eq!(told["answer"]["status"], 418);

    let (status, process) = command(&path, &["GET", "http://b.org/x", "-H", "X-Tenant: two"]);
    assert_eq!(status, 1, "{process}");
    for words in [
        "no: Host(`www.example.com`), the host is `b.org` (nor 1 others)",
        "route: none",
        "answer: 404",
    ] {
        assert!(process.stdout.contains(words), "{words} in {process}");
    }
}

#[test]
fn malformed_requests_are_told_as_they_are_refused() {
    let (_directory, path) = file(
        r#"
entrypoints "web" {
  address = "0.0.0.0:80"
  tcp_allowed_ips = ["127.0.0.0/8"]
}

routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "here"
}

services "here" {
  respond { }
}
"#,
    );
    for (args, status) in [
        (&["GET", "http://a/%zz"][..], 400),
        (&["GET", "http://a/../.."], 400),
        (&["GET", "/", "--entrypoint", "web"], 400),
        (&["GET", "http://u:p@a/"], 400),
        (&["GET", "http://a/", "-H", "Host: a", "-H", "Host: b"], 400),
        (&["CONNECT", "http://a/"], 405),
    ] {
        let told = told(&path, args);
        assert_eq!(told["answer"]["status"], status, "{args:?} {told:#}");
        assert_eq!(told["router"], Value::Null);
        assert!(!told.to_string().contains("u:p"), "{told}");
    }
    let told = told(&path, &["GET", "http://a/", "--client-ip", "192.0.2.1"]);
    let reason = told["answer"]["reason"].as_str().unwrap();
    assert!(reason.contains("tcp_allowed_ips"), "{told:#}");
}

#[test]
fn heads_that_an_entrypoint_refuses_are_told_as_it_refuses_them() {
    let (_directory, path) = file(
        r#"
entrypoints "web" {
  address = "127.0.0.1:0"
  http {
    max_headers      = 5
    max_header_bytes = "8KiB"
  }
}

routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "here"
}

services "here" {
  respond { }
}

admin {
  address = "127.0.0.1:0"
}
"#,
    );
    let mut gateway = serve(&path);
    let (web, admin) = (gateway.address("web"), gateway.address("admin@internal"));
    let fields = |count: usize| -> Vec<String> { (0..count).map(|i| format!("A{i}: b")).collect() };
    // Beside `Host: localhost` and `Connection: close`.
    let long = |bytes: usize| vec![format!("A: {}", "x".repeat(bytes))];
    let target = |bytes: usize| format!("/{}", "x".repeat(bytes));
    let head = "GET / HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nA: \r\n\r\n".len();
    for (target, fields, status, reason) in [
        (target(0), fields(3), 200, None),
        (
            target(0),
            fields(4),
            431,
            Some("the request has too many header fields"),
        ),
        (
            target(0),
            fields(20),
            431,
            Some("the request has too many header fields"),
        ),
        (target(0), long(8192 - head), 200, None),
        (
            target(0),
            long(8193 - head),
            431,
            Some("the request header is too large"),
        ),
        (
            target(0),
            long(20_000),
            431,
            Some("the request header is too large"),
        ),
        (target(8000), vec![], 200, None),
        (
            target(20_000),
            vec![],
            414,
            Some("the request target is too long"),
        ),
    ] {
        let sent: Vec<_> = fields.iter().map(String::as_str).collect();
        let came = ask(&web, "GET", &target, &sent).status;
        assert_eq!(came, status, "{} {}", target.len(), fields.len());
        let url = format!("http://localhost{target}");
        let mut asked = vec![("url", &*url), ("header", "Connection: close")];
        asked.extend(sent.iter().map(|field| ("header", *field)));
        if target.len() < 100 {
            let told = live(&admin, &asked);
            assert_eq!(told["answer"]["status"], status, "{told:#}");
            assert_eq!(told["answer"]["reason"], json!(reason), "{told:#}");
        }
        let mut args = vec!["GET", &*url, "-H", "Connection: close"];
        args.extend(sent.iter().flat_map(|field| ["-H", *field]));
        let told = told(&path, &args);
        assert_eq!(told["answer"]["status"], status, "{told:#}");
        assert_eq!(told["answer"]["reason"], json!(reason), "{told:#}");
        assert_eq!(told["answer"]["by"], "gateway");
        assert_eq!(told["router"].is_null(), status != 200, "{told:#}");
    }
}

#[test]
fn what_is_no_method_is_told_as_it_was_written() {
    let (_directory, path) = file("entrypoints \"web\" {\n  address = \":80\"\n}\n");
    let (status, process) = command(&path, &["G\u{1b}T", "http://a/"]);
    assert_eq!(status, 2, "{process}");
    assert!(!process.stderr.contains('\u{1b}'), "{process}");
    let (_, process) = command(&path, &["G T", "http://a/"]);
    assert!(
        process.stderr.contains("`G T` is not a method"),
        "{process}"
    );
}

#[test]
fn what_cannot_be_asked_is_a_matter_of_usage() {
    let (_directory, path) = file(
        "entrypoints \"web\" {\n  address = \":80\"\n}\nentrypoints \"other\" {\n  address = \":81\"\n}\n",
    );
    let huge = format!("http://a/{}", "x".repeat(70_000));
    let long = format!("A: {}", "x".repeat(70_000));
    for args in [
        &["GET"][..],
        &["G T", "http://a/"],
        &["GET", "a.com:82"],
        &["GET", "ftp://a.com/"],
        &["GET", ":80/"],
        &["GET", "http:/a.com"],
        &["/"],
        &["/", "GET"],
        &["GET", "http://a b/"],
        &["GET", &huge],
        &["GET", "https://a/"],
        &["GET", "http://a:82/"],
        &["GET", "http://a/", "--entrypoint", "none"],
        &["GET", "http://a/", "--client-ip", "here"],
        &["GET", "http://a/", "-H", "no header"],
        &["GET", "http://a/", "-H", "a b: c"],
        &["GET", "http://a/", "-H", "a : c"],
        &["GET", "http://a/", "-H", "a: b\r\nc: d"],
        &["GET", "http://a/", "-H", &long],
        &["GET", "http://a/", "-H", "Transfer-Encoding: gzip"],
        &["GET", "http://a/", "-H", "Content-Length: 5"],
    ] {
        let (status, process) = command(&path, args);
        assert_eq!(status, 2, "{process}");
        assert!(
            process.stdout.is_empty() && !process.stderr.is_empty(),
            "{process}"
        );
    }
    let (status, process) = command(Path::new("/nowhere.hcl"), &["GET", "http://a/"]);
    assert_eq!(status, 2, "{process}");
}

/// As a person writes them: without a method, a scheme, or a host.
#[test]
fn a_url_may_lack_what_goes_without_saying() {
    let entrypoints = |more: &str| {
        format!(
            r#"
entrypoints "web" {{
  address = "0.0.0.0:8080"
}}
{more}
routers "page" {{
  rule    = "Host(`example.org`) && PathPrefix(`/path`)"
  service = "here"
}}
services "here" {{
  respond {{ }}
}}
"#
        )
    };
    let (_one, one) = file(&entrypoints(""));
    let (_two, two) = file(&entrypoints(
        "entrypoints \"other\" { address = \":8081\" }",
    ));
    for (args, url) in [
        (&["example.org/path"][..], "http://example.org/path"),
        (&["http://example.org/path"], "http://example.org/path"),
        (&["example.org:8080/path"], "http://example.org:8080/path"),
        (&["POST", "example.org/path"], "http://example.org/path"),
        (&["/path", "-H", "Host: example.org"], "/path"),
    ] {
        let told = told(&one, args);
        assert_eq!(told["request"]["url"], url, "{told:#}");
        assert_eq!(told["router"], "page", "{told:#}");
        let method = if args[0] == "POST" { "POST" } else { "GET" };
        assert_eq!(told["request"]["method"], method);
    }
    let other = told(&two, &["localhost:8081/path"]);
    assert_eq!(other["entrypoint"], "other", "{other:#}");
    let none = told(&one, &["/path"]);
    let note = "it names no host: ask for a whole URL, such as http://example.org:8080/path, or give it a header `Host`";
    assert_eq!(none["notes"], serde_json::json!([note]), "{none:#}");

    for (path, args, words) in [
        (
            &two,
            &["/path"][..],
            "a path alone does not say which entrypoint it comes to; write a whole URL, or name one (`entrypoint`): `web` (http://example.org:8080/path), `other` (http://example.org:8081/path)",
        ),
        (
            &two,
            &["example.org/path"],
            "no entrypoint listens for http on port 80; write the port of one, or name it (`entrypoint`): `web` (http on port 8080), `other` (http on port 8081)",
        ),
        (
            &one,
            &["https://example.org/path"],
            "no entrypoint listens for https on port 443; write the port of one, or name it (`entrypoint`): `web` (http on port 8080)",
        ),
        (&one, &["GET"], "it is a method; write the URL behind it"),
        (
            &one,
            &["G T", "/"],
            "`G T` is not a method: that comes first",
        ),
        (
            &one,
            &["http:/example.org"],
            "two slashes stand behind its scheme",
        ),
        (
            &one,
            &[":8080/path"],
            "write it as http://localhost:8080/path",
        ),
        (&one, &["http://example.org/a b"], "which is written %20"),
    ] {
        let (status, process) = command(path, args);
        assert_eq!(status, 2, "{process}");
        assert!(process.stderr.contains(words), "{words}\n{process}");
    }
}

#[test]
fn connections_are_told_by_their_server_name() {
    let (_directory, path) = file(
        r#"
entrypoints "db" {
  address  = "0.0.0.0:5432"
  protocol = "tcp"
}

entrypoints "dns" {
  address  = "0.0.0.0:53"
  protocol = "udp"
}

routers "one" {
  rule        = "HostSNI(`one.example.com`) && ALPN(`postgresql`)"
  service     = "postgres"
  entrypoints = ["db"]
  tls {
    passthrough = true
  }
}

routers "rest" {
  rule        = "HostSNI(`*`) && ClientIP(`10.0.0.0/8`)"
  service     = "postgres"
  entrypoints = ["db"]
}

routers "names" {
  rule        = "HostSNI(`*`)"
  service     = "names"
  entrypoints = ["dns"]
}

services "postgres" {
  load_balancer {
    servers = [{ url = "tcp://postgres.internal:5432" }]
  }
}

services "names" {
  load_balancer {
    servers = [{ url = "udp://127.0.0.1:5353" }]
  }
}
"#,
    );
    let url = "tls://192.0.2.9:5432";
    for (args, router, found) in [
        (
            &["--sni", "one.example.com", "--alpn", "postgresql"][..],
            json!("one"),
            "",
        ),
        (
            &["--sni", "One.example.com"],
            Value::Null,
            "no protocol is offered",
        ),
        (
            &["--sni", "two.example.com"],
            Value::Null,
            "the server name is `two.example.com`",
        ),
        (
            &["--client-ip", "10.1.1.1"],
            json!("rest"),
            "there is no server name",
        ),
    ] {
        let told = told(&path, &[&["GET", url], args].concat());
        assert_eq!(
            (&told["router"], &told["protocol"]),
            (&router, &"tcp".into()),
            "{told:#}"
        );
        let failed = &told["candidates"][0]["failed"];
        assert!(failed.to_string().contains(found), "{found} in {failed}");
        if router.is_string() {
            assert_eq!(told["servers"][0]["url"], "tcp://postgres.internal:5432");
        }
    }
    let told = told(&path, &["GET", "udp://192.0.2.9:53"]);
    assert_eq!(
        (&told["router"], &told["protocol"]),
        (&"names".into(), &"udp".into())
    );
    assert_eq!(told["servers"][0]["picked"], "possible");
}

#[test]
fn layers_tell_what_they_do_and_hide_credentials() {
    let (_directory, path) = file(
        r#"
entrypoints "web" {
  address         = "0.0.0.0:80"
  trusted_proxies = ["10.0.0.0/8"]
  middlewares     = ["ids"]
}

routers "api" {
  rule        = "PathPrefix(`/v1`)"
  service     = "backend"
  middlewares = ["keys", "private", "both", "jwt"]
  timeout     = "10s"
}

routers "old" {
  rule        = "PathPrefix(`/old`)"
  service     = "backend"
  middlewares = ["tidy", "move"]
}

services "backend" {
  revisions = [
    { name = "blue", traffic_percent = 90, servers = [{ url = "http://blue.internal:80" }] },
    { name = "green", traffic_percent = 10, servers = [{ url = "http://127.0.0.1:2" }] },
    { name = "grey", traffic_percent = 0, servers = [{ url = "http://127.0.0.1:3" }] },
  ]
  load_balancer {
    pass_host = false
  }
}

middlewares "ids" {
  type = "request-id"
}

middlewares "keys" {
  type            = "api-key"
  header          = "X-Door"
  query           = "door"
  identity_header = "X-Consumer"
  keys            = { ada = "0123456789abcdef0123456789abcdef" }
}

middlewares "private" {
  type        = "ip-allow"
  allowed_ips = ["192.0.2.0/24"]
}

middlewares "both" {
  type        = "chain"
  middlewares = ["strip", "tidy"]
}

middlewares "strip" {
  type     = "strip-prefix"
  prefixes = ["/v1"]
}

middlewares "tidy" {
  type             = "headers"
  request_headers  = { X-Env = "test", Accept-Language = "" }
  response_headers = { X-Frame-Options = "DENY" }
}

middlewares "jwt" {
  type     = "jwt"
  jwks_url = "http://127.0.0.1:1/keys"
}

middlewares "move" {
  type   = "redirect"
  scheme = "https"
}
"#,
    );
    let key = "0123456789abcdef0123456789abcdef";
    // {"alg":"RS256","kid":"a"} . {"exp":9999999999} . no signature of anybody's
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJleHAiOjk5OTk5OTk5OTl9.AAAA";
    let (door, bearer) = (
        format!("X-Door: {key}"),
        format!("Authorization: Bearer {token}"),
    );
    let args = [
        "GET",
        "http://example.com/v1/users?page=2&token=hunter2",
        "--client-ip",
        "10.0.0.1",
        "-H",
        "X-Forwarded-For: 192.0.2.7",
        "-H",
        "Accept-Language: de",
        "-H",
        &door,
        "-H",
        &bearer,
    ];
    let said = told(&path, &args);
    let text = said.to_string();
    assert!(
        !text.contains(key) && !text.contains(token) && !text.contains("hunter2"),
        "{said:#}"
    );
    let layers = said["layers"].as_array().unwrap().iter();
    let names: Vec<_> = layers
        .map(|layer| layer["name"].as_str().unwrap())
        .collect();
    let expected = [
        "ids",
        "timeout of the router",
        "keys",
        "private",
        "strip",
        "tidy",
        "jwt",
    ];
    assert_eq!(names, expected);
    assert_eq!(said["request"]["client_ip"], "192.0.2.7");
    let consumer = json!([{ "what": "x-consumer", "before": null, "after": "ada" }]);
    assert_eq!(layer(&said, "keys")["request"], consumer);
    assert_eq!(layer(&said, "private")["effect"], "passes");
    assert_eq!(layer(&said, "private")["request"], json!([]));
    let target = json!({
        "what": "target",
        "before": "/v1/users?page=2&token=***",
        "after": "/users?page=2&token=***",
    });
    assert_eq!(layer(&said, "strip")["request"][0], target);
    let tidy = layer(&said, "tidy");
    let gone = json!({ "what": "accept-language", "before": "de", "after": null });
    assert!(
        tidy["request"].as_array().unwrap().contains(&gone),
        "{tidy:#}"
    );
    assert_eq!(tidy["response"][0]["after"], "DENY");
    let fetches = layer(&said, "jwt")["notes"][0].as_str().unwrap();
    assert!(fetches.contains("fetches the keys"), "{fetches}");
    let upstream = &said["upstream"];
    assert_eq!(upstream["target"], "/users?page=2&token=***");
    let header = |name: &str| {
        let headers = upstream["headers"].as_array().unwrap();
        headers
            .iter()
            .find(|header| header["name"] == name)
            .map(|header| header["value"].clone())
    };
    assert_eq!(header("host"), Some("blue.internal".into()));
    assert_eq!(
        header("x-forwarded-for"),
        Some("192.0.2.7, 10.0.0.1".into())
    );
    assert_eq!(header("x-door"), Some("***".into()));
    let servers = said["servers"].as_array().unwrap().iter();
    let servers: Vec<_> = servers
        .map(|server| {
            let of = |key: &str| server[key].to_string();
            [of("revision"), of("share"), of("picked")].join(" ")
        })
        .collect();
    let expected = [
        "\"blue\" 90 \"possible\"",
        "\"green\" 10 \"possible\"",
        "\"grey\" 0 \"no\"",
    ];
    assert_eq!(servers, expected);
    assert_eq!(said["servers"][0]["url"], "http://blue.internal");
    assert_eq!(
        (&said["answer"]["by"], &said["answer"]["status"]),
        (&"server".into(), &Value::Null)
    );

    let refused = told(&path, &["GET", "http://example.com/v1/users"]);
    let keys = layer(&refused, "keys");
    assert_eq!(
        (&keys["effect"], &keys["answer"]["status"]),
        (&"answers".into(), &401.into())
    );
    assert_eq!(layer(&refused, "jwt")["effect"], "not-reached");
    assert_eq!(refused["answer"]["status"], 401);
    assert_eq!(refused["upstream"], Value::Null);

    let moved = told(&path, &["GET", "http://example.com/old"]);
    assert_eq!(moved["answer"]["status"], 302);
    let location = json!({ "name": "location", "value": "https://example.com/old" });
    assert!(
        moved["answer"]["headers"]
            .as_array()
            .unwrap()
            .contains(&location),
        "{moved:#}"
    );
    assert_eq!(
        layer(&moved, "tidy")["response"][0]["what"],
        "x-frame-options"
    );
}

#[test]
fn a_secret_is_hidden_wherever_and_however_it_stands() {
    let (_directory, path) = file(
        r#"
entrypoints "web" {
  address = ":80"
}

routers "keys" {
  rule        = "PathPrefix(`/keys`)"
  service     = "backend"
  middlewares = ["keys", "set"]
}

routers "moved" {
  rule        = "PathPrefix(`/moved`)"
  service     = "backend"
  middlewares = ["move"]
}

services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:1" }]
  }
}

middlewares "keys" {
  type  = "api-key"
  query = "kk"
  keys  = ["s3cret-0123456789abcdef0123456789"]
}

middlewares "set" {
  type                = "headers"
  request_headers     = { X-Upstream = "s3cret" }
  add_request_headers = { X-More = "s3cret" }
}

middlewares "move" {
  type   = "redirect"
  scheme = "https"
}
"#,
    );
    for (url, route) in [
        (
            "http://a/keys?%6b%6b=s3cret-0123456789abcdef0123456789&code=s3cret&KEY=s3cret&sig=s3cret&%74oken=s3cret&a_token[]=s3cret",
            "keys",
        ),
        ("http://u:s3cret@a/keys?kk=s3cret", "none"),
        ("http://a/moved?kk=s3cret&pwd=s3cret&page=2", "moved"),
    ] {
        let headers = [
            "Referer: http://u:s3cret@r/?token=s3cret",
            "X-Original-URI: /a?access_token=s3cret",
        ];
        let [referer, original] = headers;
        for form in [&["--json"][..], &[]] {
            let args = [&["GET", url, "-H", referer, "-H", original], form].concat();
            let (_, process) = command(&path, &args);
            assert!(!process.stdout.contains("s3cret"), "{process}");
            assert!(!process.stderr.contains("s3cret"), "{process}");
            assert!(
                route == "none" || process.stdout.contains(route),
                "{process}"
            );
        }
    }
}

#[test]
fn nothing_of_a_rehearsal_is_seen_or_sent() {
    let server = Untouched::new();
    let (_directory, path) = file(&STATEFUL.replace("SERVER", &server.address()));
    let mut gateway = serve(&path);
    let (web, admin) = (gateway.address("web"), gateway.address("admin@internal"));
    let seen = || {
        let pages = [
            "metrics",
            "services",
            "routers",
            "middlewares",
            "entrypoints",
        ];
        pages.map(|page| get(&admin, &format!("/api/gateway/{page}")).body)
    };
    // What counts the scrapes themselves, or time, is no matter of rehearsals.
    let lasting = |pages: [String; 5]| {
        let lines = pages.join("\n");
        let lines = lines.lines().filter(|line| {
            !["process_", "admin@internal", "uptime"]
                .iter()
                .any(|word| line.contains(word))
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = lasting(seen());
    let url = format!("http://{web}/api/x");
    for _ in 0..20 {
        let said = live(
            &admin,
            &[("method", "GET"), ("url", &url), ("header", "Cookie: at=x")],
        );
        assert_eq!(said["router"], "api");
        assert_eq!(said["answer"]["by"], "server", "{said:#}");
        for (name, words) in [
            ("limit", "then 1 are left"),
            ("cap", "one of 1 places by global, of which 0 are taken"),
            ("auth", "asks http://127.0.0.1"),
            ("breaker", "the circuit is closed"),
            ("again", "sends it again"),
            ("whole", "reads the whole request"),
        ] {
            let notes = layer(&said, name)["notes"].to_string();
            assert!(notes.contains(words), "{words} in {notes}");
        }
        assert!(!said.to_string().contains("secret=1"), "{said}");
        assert!(said["notes"].to_string().contains("mirror"), "{said:#}");
        let servers = &said["servers"];
        assert_eq!(
            (&servers[0]["picked"], &servers[1]["picked"]),
            (&"possible".into(), &"no".into())
        );
        assert_eq!(servers[0]["in_flight"], 0);
    }
    assert_eq!(lasting(seen()), before);
    assert!(server.is_untouched());
    gateway.terminate();
    assert!(!gateway.stderr.contains("/api/x"), "{gateway}");
}

#[test]
fn live_state_is_told() {
    let (_directory, path) = file(
        r#"
entrypoints "web" {
  address = "127.0.0.1:0"
}

admin {
  address = "127.0.0.1:0"
  token   = "0123456789abcdef0123456789abcdef"
}

routers "limited" {
  rule        = "PathPrefix(`/limited`)"
  service     = "here"
  middlewares = ["limit"]
}

routers "broken" {
  rule        = "PathPrefix(`/broken`)"
  service     = "gone"
  middlewares = ["breaker"]
}

routers "away" {
  rule    = "PathPrefix(`/away`)"
  service = "drained"
}

services "here" {
  respond { }
}

services "gone" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:1" }]
  }
}

services "drained" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:2" }]
  }
}

middlewares "limit" {
  type  = "rate-limit"
  rate  = 0.001
  burst = 2
}

middlewares "breaker" {
  type              = "circuit-breaker"
  failure_threshold = 1
}
"#,
    );
    let mut gateway = serve(&path);
    let (web, admin) = (gateway.address("web"), gateway.address("admin@internal"));
    let token = "Authorization: Bearer 0123456789abcdef0123456789abcdef";
    let said = |place: &str| {
        let url = format!("http://{web}{place}");
        let reply: Reply = ask(&admin, "GET", &page(&[("url", &url)]), &[token]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    };
    assert_eq!(get(&admin, &page(&[("url", "http://a/")])).status, 401);

    assert_eq!(get(&web, "/limited").status, 200);
    let note =
        |said: &Value, name: &str| layer(said, name)["notes"][0].as_str().unwrap().to_owned();
    assert!(note(&said("/limited"), "limit").ends_with("then 0 are left"));
    assert_eq!(said("/limited")["answer"]["status"], 200);
    assert_eq!(get(&web, "/limited").status, 200);
    let refused = said("/limited");
    assert!(note(&refused, "limit").ends_with("too many"), "{refused:#}");
    assert_eq!(refused["answer"]["status"], 429);
    assert_eq!(layer(&refused, "limit")["effect"], "answers");

    assert!(note(&said("/broken"), "breaker").contains("closed"));
    assert_eq!(get(&web, "/broken").status, 502);
    let open = said("/broken");
    assert!(note(&open, "breaker").contains("open"), "{open:#}");
    assert_eq!(open["answer"]["status"], 503);

    let server = "/api/gateway/services/drained/servers/http%3A%2F%2F127.0.0.1%3A2";
    let drain = drain(&admin, server, token);
    assert!(drain < 300, "{drain}");
    let drained = said("/away");
    assert_eq!(drained["servers"][0]["state"], "drained", "{drained:#}");
    assert_eq!(drained["servers"][0]["picked"], "no");
    assert_eq!(drained["answer"]["status"], 503);
    assert_eq!(drained["answer"]["reason"], "unavailable");
}

/// Has a server drained by hand.
fn drain(admin: &str, page: &str, token: &str) -> u16 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    let body = r#"{"state":"drain"}"#;
    let length = body.len();
    let request = format!(
        "PUT {page} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn it_finds_the_router_that_the_gateway_finds() {
    let rules = [
        "Host(`a.com`)",
        "Host(`a.com`) && PathPrefix(`/x`)",
        "HostRegexp(`^[ab]`) && Path(`/x/y`)",
        "PathPrefix(`/x/`) && !Method(`POST`)",
        "Query(`q`, `1`) || Header(`X-A`, `b`)",
        "ClientIP(`127.0.0.0/8`) && PathRegexp(`z$`)",
    ];
    let mut text = "entrypoints \"web\" {\n  address = \"127.0.0.1:0\"\n}\nadmin {\n  address = \"127.0.0.1:0\"\n}\n".to_owned();
    for (index, rule) in rules.iter().enumerate() {
        text += &format!(
            "routers \"r{index}\" {{\n  rule = \"{}\"\n  service = \"s{index}\"\n}}\nservices \"s{index}\" {{\n  respond {{\n    body = \"r{index}\"\n  }}\n}}\n",
            rule.replace('"', "\\\"")
        );
    }
    let (_directory, path) = file(&text);
    let mut gateway = serve(&path);
    let (web, admin) = (gateway.address("web"), gateway.address("admin@internal"));
    let (mut found, mut none) = (0, 0);
    for host in ["a.com", "A.com.", "b.org", "c.net"] {
        for target in [
            "/",
            "/x",
            "/x/y",
            "/x/%7a",
            "/x/../x/y",
            "/z?q=1",
            "/w?q=%31&r",
            "/%2Fz",
        ] {
            for (method, header) in [("GET", "X-A: a"), ("POST", "X-A: b")] {
                let host_line = format!("Host: {host}");
                let reply = ask(&web, method, target, &[&host_line, header]);
                let said = live(
                    &admin,
                    &[
                        ("method", method),
                        ("url", target),
                        ("entrypoint", "web"),
                        ("header", &host_line),
                        ("header", header),
                    ],
                );
                let what = format!("{method} {host} {target}: {reply:?} {said:#}");
                assert_eq!(said["answer"]["status"], reply.status, "{what}");
                match said["router"].as_str() {
                    Some(router) => assert_eq!(router, reply.body, "{what}"),
                    None => assert_ne!(reply.status, 200, "{what}"),
                }
                *if reply.status == 200 {
                    &mut found
                } else {
                    &mut none
                } += 1;
            }
        }
    }
    assert!(found > 20 && none > 2, "{found} {none}");
}
