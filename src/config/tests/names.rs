//! Where servers are, how their names are looked up, and how long it may all take.

use super::{MINIMAL, good, told};
use std::time::Duration;

/// The minimal configuration with this server.
fn server(url: &str) -> String {
    MINIMAL.replace("http://127.0.0.1:8001", url)
}

#[test]
fn servers_are_at_hosts_and_unix_sockets() {
    for (url, name) in [
        ("http://127.0.0.1:8001", None),
        ("http://localhost:8001", None),
        ("http://backend.internal:8001", Some("backend.internal")),
        ("unix:/run/app.sock", None),
    ] {
        let config = good(&server(url));
        let backend = config.services["backend"].load_balancer.as_ref().unwrap();
        assert_eq!(backend.servers[0].url.to_string(), url);
        assert_eq!(backend.servers[0].url.name(), name);
        let written = serde_json::to_value(&config).unwrap();
        let servers = &written["services"]["backend"]["load_balancer"]["servers"];
        assert_eq!(servers[0]["url"], url);
    }
}

#[test]
fn what_is_wrong_with_a_server_is_told_in_its_url() {
    // The URL begins in column 26 of line 14.
    for (url, problem) in [
        (
            "unix:app.sock",
            "14:31 E006 the path of a socket must be absolute; write it like \"unix:/run/a.sock\"",
        ),
        (
            "unix://app.sock",
            "14:31 E006 a Unix socket has no host; write it like \"unix:/run/a.sock\"",
        ),
        (
            "quic://10.0.0.1:53",
            "14:26 E006 unknown scheme `quic`; the schemes are `http`, `https`, `h2c`, `ws`, `wss`, `tcp`, `udp` and `unix`",
        ),
    ] {
        assert_eq!(told(&server(url)), [problem]);
    }
    let long = server(&format!("unix:/{}", "a".repeat(107)));
    let problem = "14:31 E006 the path of a socket has at most 107 bytes";
    assert_eq!(told(&long), [problem]);
    let tls = "unix:/run/app.sock\" }]\n    tls { insecure = true }\n    servers = [{ url = \"";
    let both = server(tls);
    let only = both.replacen("    servers = [{ url = \"\" }]\n", "", 1);
    let problem = "15:5 E013 every server of service `backend` is a Unix socket, without TLS";
    assert_eq!(told(&only), [problem]);
}

#[test]
fn how_names_are_looked_up_has_bounds() {
    let config = good(&format!(
        "{MINIMAL}\ndns {{\n  servers = [\"127.0.0.1:8600\", \"::1\"]\n  min_ttl = \"5s\"\n}}\n"
    ));
    let servers = config.dns.servers.iter().map(ToString::to_string);
    assert!(servers.eq(["127.0.0.1:8600", "[::1]:53"]));
    assert_eq!(config.dns.min_ttl, Duration::from_secs(5));
    assert_eq!(config.dns.max_ttl, Duration::from_secs(300));
    assert_ne!(good(MINIMAL), config);
    let line = MINIMAL.lines().count() + 1;
    let nine: Vec<_> = (1..10).map(|n| format!("\"10.0.0.{n}\"")).collect();
    for (keys, column, problem) in [
        (
            "min_ttl = 0",
            17,
            "E008 `min_ttl` is out of range: 0s is not from 10ms to 1d",
        ),
        (
            "max_ttl = \"2d\"",
            17,
            "E008 `max_ttl` is out of range: 2d is not from 10ms to 1d",
        ),
        (
            "timeout = \"2m\"",
            17,
            "E008 `timeout` is out of range: 2m is not from 10ms to 1m",
        ),
        (
            "min_ttl = \"10m\"",
            17,
            "E013 `min_ttl` is longer than `max_ttl`",
        ),
        (
            "servers = [\"10.0.0.1\", \"10.0.0.1:53\"]",
            30,
            "E011 this DNS server is listed twice",
        ),
        (
            "servers = [\"dns.test\"]",
            18,
            "E006 `dns.test` is not the address of a DNS server; write an IP address, with a port or without: \"127.0.0.1:8600\"",
        ),
        (
            &format!("servers = [{}]", nine.join(", ")),
            114,
            "E008 there are more than 8 DNS servers",
        ),
        (
            "server = \"10.0.0.1\"",
            7,
            "E004 unknown key `server`; did you mean `servers`?",
        ),
    ] {
        let told = told(&format!("{MINIMAL}dns {{ {keys} }}\n"));
        assert_eq!(told, [format!("{line}:{column} {problem}")]);
    }
}

#[test]
fn a_router_says_how_long_its_requests_may_take() {
    let with =
        |timeout: &str| MINIMAL.replacen("  rule ", &format!("  timeout = {timeout}\n  rule "), 1);
    assert_eq!(good(MINIMAL).routers["api"].timeout, None);
    let config = good(&with("\"90s\""));
    let router = &config.routers["api"];
    assert_eq!(router.timeout, Some(Duration::from_secs(90)));
    assert_eq!(serde_json::to_value(router).unwrap()["timeout"], "1m30s");
    for timeout in ["0", "\"25h\""] {
        let problem = told(&with(timeout));
        assert!(
            problem[0].contains("`timeout` is out of range") && problem[0].starts_with("7:13 "),
            "{problem:?}"
        );
    }
}
