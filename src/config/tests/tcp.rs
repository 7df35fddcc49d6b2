//! Requests and connections: what goes together.

use super::{good, loaded, told};
use crate::rule::Protocol;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use tempfile::TempDir;

const BOTH: &str = r#"entrypoints "web" { address = ":80" }
entrypoints "db" {
  address  = ":5432"
  protocol = "tcp"
}
routers "db" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["db"]
  service     = "db"
}
services "db" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:5433" }]
  }
}
routers "web" {
  rule    = "PathPrefix(`/`)"
  service = "web"
}
services "web" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:81" }]
  }
}
"#;

/// A middleware of connections, one of requests, and a chain of them.
const MIDDLEWARES: &str = r#"
middlewares "few" {
  type            = "tcp-filter"
  max_connections = 9
}
middlewares "bare" {
  type     = "strip-prefix"
  prefixes = ["/a"]
}
middlewares "mixed" {
  type        = "chain"
  middlewares = ["few", "bare"]
}
"#;

#[test]
fn an_entrypoint_decides_what_its_routers_take() {
    // Connections come before requests, so an entrypoint of HTTP has middlewares of both.
    let web = "{\n  address = \":80\"\n  middlewares = [\"few\", \"mixed\"]\n}";
    let both = BOTH.replace("{ address = \":80\" }", web);
    let config = good(&format!("{both}{MIDDLEWARES}"));
    for (router, protocol, entrypoint) in
        [("db", Protocol::Tcp, "db"), ("web", Protocol::Http, "web")]
    {
        assert_eq!(config.services[router].protocol(), protocol);
        let router = &config.routers[router];
        assert_eq!(config.protocol_of(router), Some(protocol));
        let names = config.entrypoints_of(router).map(|(name, _)| name);
        assert_eq!(names.collect::<Vec<_>>(), [entrypoint]);
    }
    assert_eq!(config.routers["db"].rank(Protocol::Tcp), -1);
}

#[test]
fn what_is_for_the_other_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (replaced, by, expected) in [
        // Rules
        (
            "HostSNI(`*`)",
            "PathPrefix(`/`)",
            &[
                "7:18 W001 router `db`: a connection has no path; write HostSNI(`*`) to take every connection",
            ][..],
        ),
        (
            "HostSNI(`*`)",
            "Host(`a`)",
            &["7:18 E006 `Host` is not for TCP routers; use `HostSNI`"],
        ),
        (
            "HostSNI(`*`)",
            "ClientIP(`::1`) && PathPrefix(`/a`)",
            &[
                "7:37 E006 `PathPrefix` is not for TCP routers; write HostSNI(`*`) to take every connection",
            ],
        ),
        (
            "HostSNI(`*`)",
            "ClientIP(`::1`) || !HostSNI(`a.com`)",
            &[
                "7:38 E006 what a TLS client says of itself is not looked at: entrypoint `db` has no `tls`, and the router passes none through; add `tls { passthrough = true }`, or write HostSNI(`*`), or ClientIP",
            ],
        ),
        (
            "HostSNI(`*`)",
            "HostSNIRegexp(`a`)",
            &[
                "7:18 E006 what a TLS client says of itself is not looked at: entrypoint `db` has no `tls`, and the router passes none through; add `tls { passthrough = true }`, or write HostSNI(`*`), or ClientIP",
            ],
        ),
        (
            "HostSNI(`*`)",
            "ALPN(`h2`)",
            &[
                "7:18 E006 what a TLS client says of itself is not looked at: entrypoint `db` has no `tls`, and the router passes none through; add `tls { passthrough = true }`, or write HostSNI(`*`), or ClientIP",
            ],
        ),
        (
            "PathPrefix(`/`)",
            "HostSNI(`a`)",
            &[
                "17:14 E006 `HostSNI` is not for HTTP routers; name an entrypoint of TCP: `entrypoints = [\"db\"]`",
            ],
        ),
        (
            "PathPrefix(`/`)\"",
            "HostSNI(`a`)\"\n entrypoints = [\"web\"]",
            &["17:14 E006 `HostSNI` is not for HTTP routers; use `Host`"],
        ),
        (
            "entrypoints = [\"db\"]",
            "entrypoints = [\"db\"]\n  timeout = \"5s\"",
            &["9:13 E021 `timeout` is for requests, and router `db` takes connections"],
        ),
        // TLS
        (
            "entrypoints = [\"db\"]",
            "entrypoints = [\"db\"]\n  tls { passthrough = 1 }",
            &["9:23 E005 expected true or false, found 1"],
        ),
        (
            "entrypoints = [\"db\"]",
            "entrypoints = [\"db\"]\n  tls { pass = true }",
            &["9:9 E004 unknown key `pass`; known here: `passthrough`, `client_auth`"],
        ),
        (
            "  service = \"web\"",
            "  service = \"web\"\n  tls { passthrough = true }",
            &["19:23 E021 TLS is passed through with connections, and router `web` takes requests"],
        ),
        // Entrypoints
        (
            "[\"db\"]",
            "[\"db\", \"web\"]",
            &["8:24 E021 router `db` takes connections, and entrypoint `web` is for requests"],
        ),
        (
            "  service = \"web\"",
            "  entrypoints = [\"web\", \"db\"]\n  service = \"web\"",
            &["18:25 E021 router `web` takes requests, and entrypoint `db` is for connections"],
        ),
        (
            "entrypoints \"web\" { address = \":80\" }",
            "",
            &[
                "16:1 W002 router `web` is never reached: no entrypoint speaks HTTP; name an entrypoint of TCP: `entrypoints = [\"db\"]`",
            ],
        ),
        (
            "  protocol = \"tcp\"",
            "  protocol = \"tcp\"\n  http { h2c = false }\n  trusted_proxies = [\"::1\"]",
            &[
                "5:3 E021 `http` is for entrypoints of HTTP, and `db` is one of TCP",
                "6:21 E021 `trusted_proxies` is for entrypoints of HTTP, and `db` is one of TCP",
            ],
        ),
        // An entrypoint that cannot be read says nothing of its routers.
        (
            "protocol = \"tcp\"",
            "protocol = \"tpc\"",
            &["4:14 E006 `tpc` is not one of `http`, `tcp`, `udp`; did you mean `tcp`?"],
        ),
        // Services
        (
            "service     = \"db\"",
            "service     = \"web\"",
            &["9:17 E021 router `db` takes connections, and service `web` is for requests"],
        ),
        (
            "service     = \"db\"",
            "service     = \"admin@internal\"",
            &[
                "9:17 E021 router `db` takes connections, and service `admin@internal` is for requests",
            ],
        ),
        (
            "service = \"web\"",
            "service = \"db\"",
            &["18:13 E021 router `web` takes requests, and service `db` is for connections"],
        ),
        (
            "{ url = \"tcp://127.0.0.1:5433\" }",
            "{ url = \"tcp://127.0.0.1:5433\" }, { url = \"http://a\" }",
            &["13:58 E021 service `db` is for connections, and this server for requests"],
        ),
        (
            "tcp://127.0.0.1:5433",
            "tcp://127.0.0.1",
            &["13:31 E006 the port is missing; what is not HTTP has no usual port"],
        ),
        (
            "    servers = [{ url = \"tcp://127.0.0.1:5433\" }]",
            "    servers = [{ url = \"tcp://127.0.0.1:5433\" }]\n    pass_host = false\n    tls { insecure = true }\n    timeouts {\n      response = \"1s\"\n      idle = \"1s\"\n    }",
            &[
                "14:17 E021 `pass_host` is for requests, and the servers are for connections",
                "15:5 E021 `tls` is for requests, and the servers are for connections",
                "17:18 E021 `response` is for requests, and the servers are for connections",
            ],
        ),
        // Middlewares
        (
            "service     = \"db\"",
            "service     = \"db\"\n  middlewares = [\"few\", \"bare\"]",
            &[
                "10:25 E021 router `db` takes connections, and `bare` is for requests: `strip-prefix`",
            ],
        ),
        (
            "service     = \"db\"",
            "service     = \"db\"\n  middlewares = [\"mixed\"]",
            &[
                "10:18 E021 router `db` takes connections, and `mixed` is for requests: `strip-prefix`",
            ],
        ),
        (
            "service = \"web\"",
            "service = \"web\"\n  middlewares = [\"mixed\"]",
            &[
                "19:18 E021 router `web` takes requests, and `mixed` is for connections: `tcp-filter`",
            ],
        ),
        (
            "protocol = \"tcp\"",
            "protocol = \"tcp\"\n  middlewares = [\"bare\"]",
            &[
                "5:18 E021 entrypoint `db` takes connections, and `bare` is for requests: `strip-prefix`",
            ],
        ),
    ] {
        let mut text = BOTH.replace(replaced, by);
        if by.contains("middlewares") {
            text += MIDDLEWARES;
        }
        let told = told(&text);
        if told != expected {
            wrong.push(format!("{by}\n  told {told:#?}\n  not  {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_tcp_filter_must_refuse_somebody_and_within_reason() {
    for (keys, expected) in [
        (
            "",
            &["26:8 E013 without a limit and `allowed_ips` nobody would be refused"][..],
        ),
        (
            "rate = \"x\"",
            &["27:8 E005 expected a whole number from 0 to 4294967295, found a string"],
        ),
        ("burst = 1", &["27:9 E013 `burst` needs `rate`"]),
        (
            "max_connections = 0\nmax_connections_per_ip = 10000001\nrate = 0\nburst = 1000001",
            &[
                "27:19 E008 `max_connections` is out of range: 0 is not from 1 to 10000000",
                "28:26 E008 `max_connections_per_ip` is out of range: 10000001 is not from 1 to 10000000",
                "29:8 E008 `rate` is out of range: 0 is not from 1 to 1000000",
                "30:9 E008 `burst` is out of range: 1000001 is not from 1 to 1000000",
            ],
        ),
        (
            "allowed_ips = [\"::1\", \"a\"]",
            &[
                "27:23 E006 `a` is neither an IP address nor a network; write it like \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"",
            ],
        ),
        (
            "max_conections = 1",
            &["27:1 E004 unknown key `max_conections`; did you mean `max_connections`?"],
        ),
    ] {
        let more = format!("middlewares \"x\" {{\ntype = \"tcp-filter\"\n{keys}\n}}\n");
        let told = told(&format!("{BOTH}{more}"));
        assert_eq!(told, expected, "{keys}");
    }
}

/// One entrypoint of HTTP in TLS, one of connections, and one of either in the clear.
const TLS: &str = r#"
entrypoints "web" { address = ":80" }
entrypoints "secure" {
  address = ":443"
  tls {
    cert_file = "cert.pem"
    key_file  = "key.pem"
  }
}
entrypoints "ended" {
  address  = ":5432"
  protocol = "tcp"
  tls {
    cert_file = "cert.pem"
    key_file  = "key.pem"
  }
}
entrypoints "bytes" {
  address  = ":5433"
  protocol = "tcp"
}
services "db" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:5434" }]
    timeouts { idle = "2h" }
  }
}
services "web" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:81" }]
  }
}
"#;

/// With a certificate that is there.
fn router(rule: &str, entrypoints: &str, service: &str, more: &str) -> String {
    static FILES: LazyLock<TempDir> = LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        let key = directory.path().join("key.pem");
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        directory
    });
    let directory = FILES.path().display();
    let entrypoints_and_services = TLS
        .replace("cert.pem", &format!("{directory}/cert.pem"))
        .replace("key.pem", &format!("{directory}/key.pem"));
    format!(
        "{entrypoints_and_services}routers \"r\" {{\n  rule = \"{rule}\"\n  entrypoints = {entrypoints}\n  service = \"{service}\"\n  {more}\n}}\n"
    )
}

#[test]
fn names_are_asked_for_where_tls_is_ended_or_passed_through() {
    const PASS: &str = "tls { passthrough = true }";
    for (rule, entrypoints, more, names) in [
        ("HostSNI(`a.test`)", "[\"ended\"]", "", &["ended"][..]),
        (
            "HostSNIRegexp(`^a`)",
            "[\"ended\", \"secure\"]",
            "",
            &["secure", "ended"],
        ),
        ("ALPN(`postgresql`)", "[\"secure\"]", "", &["secure"]),
        ("HostSNI(`*`)", "[\"secure\"]", PASS, &["secure"]),
        ("HostSNI(`a.test`)", "[\"bytes\"]", PASS, &["bytes"]),
        (
            "HostSNI(`a.test`) && ClientIP(`::1`)",
            "[\"bytes\", \"ended\", \"secure\"]",
            PASS,
            &["secure", "ended", "bytes"],
        ),
    ] {
        let config = loaded(&router(rule, entrypoints, "db", more));
        let config = config.into_result().unwrap();
        let router = &config.routers["r"];
        assert_eq!(config.protocol_of(router), Some(Protocol::Tcp), "{rule}");
        let listens = config.entrypoints_of(router).map(|(name, _)| name);
        assert_eq!(listens.collect::<Vec<_>>(), names, "{rule}");
    }
    // A rule that could be of requests is of requests.
    let config = loaded(&router("ClientIP(`::1`)", "[\"secure\"]", "web", ""));
    let config = config.into_result().unwrap();
    let protocol = config.protocol_of(&config.routers["r"]);
    assert_eq!(protocol, Some(Protocol::Http));
}

#[test]
fn names_that_nobody_hears_are_told() {
    for (rule, entrypoints, service, more, expected) in [
        (
            "HostSNI(`a.test`)",
            "[\"ended\", \"bytes\"]",
            "db",
            "",
            &[
                "34:11 E006 what a TLS client says of itself is not looked at: entrypoint `bytes` has no `tls`, and the router passes none through; add `tls { passthrough = true }`, or write HostSNI(`*`), or ClientIP",
            ][..],
        ),
        (
            "HostSNI(`a.test`)",
            "[\"web\"]",
            "db",
            "",
            &[
                "34:11 E006 `HostSNI` is not for HTTP routers; use `Host`",
                "36:13 E021 router `r` takes requests, and service `db` is for connections",
            ],
        ),
        (
            "HostSNI(`a.test`)",
            "[\"ended\", \"web\"]",
            "db",
            "",
            &["35:27 E021 router `r` takes connections, and entrypoint `web` is for requests"],
        ),
        (
            "HostSNI(`a.test`)",
            "[\"secure\"]",
            "web",
            "",
            &["36:13 E021 router `r` takes connections, and service `web` is for requests"],
        ),
        (
            "ClientIP(`::1`)",
            "[\"ended\", \"secure\"]",
            "db",
            "",
            &["35:27 E021 router `r` takes connections, and entrypoint `secure` is for requests"],
        ),
        (
            "Host(`a.test`)",
            "[\"secure\"]",
            "web",
            "tls { passthrough = true }",
            &["37:23 E021 TLS is passed through with connections, and router `r` takes requests"],
        ),
    ] {
        let told: Vec<_> = told(&router(rule, entrypoints, service, more));
        let of_router = told.iter().filter(|line| !line.contains("_file"));
        assert_eq!(
            of_router.collect::<Vec<_>>(),
            expected,
            "{rule} {entrypoints}"
        );
    }
}

#[test]
fn connections_may_be_idle_for_an_hour() {
    let config = good(BOTH);
    let idle = |name: &str| {
        let service = &config.services[name];
        let balancer = service.load_balancer.as_ref().expect("servers");
        balancer.timeouts.idle_of(service.protocol()).as_secs()
    };
    assert_eq!((idle("db"), idle("web")), (3600, 90));
}
