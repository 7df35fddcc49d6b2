//! Datagrams: what goes with them, and what does not.

use super::{good, told};
use crate::rule::Protocol;

const DNS: &str = r#"entrypoints "dns" {
  address  = ":53"
  protocol = "udp"
}
entrypoints "tcp" {
  address  = ":53"
  protocol = "tcp"
}
routers "dns" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["dns"]
  service     = "dns"
}
services "dns" {
  load_balancer {
    servers = [{ url = "udp://127.0.0.1:5353" }]
  }
}
routers "tcp" {
  rule        = "HostSNI(`*`)"
  entrypoints = ["tcp"]
  service     = "tcp"
}
services "tcp" {
  load_balancer {
    servers = [{ url = "tcp://127.0.0.1:5353" }]
  }
}
"#;

#[test]
fn a_port_of_udp_is_another_one_than_that_of_tcp() {
    let config = good(DNS);
    let dns = &config.entrypoints["dns"];
    assert_eq!(
        (dns.udp_session_timeout_secs, dns.udp_max_sessions),
        (30, 10_000)
    );
    assert_eq!(config.services["dns"].protocol(), Protocol::Udp);
    let router = &config.routers["dns"];
    assert_eq!(config.protocol_of(router), Some(Protocol::Udp));
    assert_eq!(router.rank(Protocol::Udp), -1);
}

#[test]
fn what_is_not_for_datagrams_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (replaced, by, expected) in [
        // Entrypoints
        (
            "protocol = \"udp\"",
            "protocol = \"udp\"\n  udp_session_timeout_secs = 0\n  udp_max_sessions = 10000001",
            &[
                "4:30 E008 `udp_session_timeout_secs` is out of range: 0 is not from 1 to 86400",
                "5:22 E008 `udp_max_sessions` is out of range: 10000001 is not from 1 to 10000000",
            ][..],
        ),
        (
            "protocol = \"tcp\"",
            "protocol = \"tcp\"\n  udp_session_timeout_secs = 5\n  udp_max_sessions = 5",
            &[
                "8:30 E021 `udp_session_timeout_secs` is for entrypoints of UDP, and `tcp` is none",
                "9:22 E021 `udp_max_sessions` is for entrypoints of UDP, and `tcp` is none",
            ],
        ),
        (
            "protocol = \"udp\"",
            "protocol = \"udp\"\n  max_connections = 5\n  trusted_proxies = [\"::1\"]",
            &[
                "4:21 E021 entrypoint `dns` is for datagrams, and has no connections; write `udp_max_sessions`",
                "5:21 E021 `trusted_proxies` is for entrypoints of HTTP, and `dns` is one of UDP",
            ],
        ),
        (
            "\":53\"\n  protocol = \"udp\"",
            "\"unix:/run/dns\"\n  protocol = \"udp\"",
            &["2:14 E006 datagrams come to a port, and not to a Unix socket"],
        ),
        (
            "protocol = \"tcp\"",
            "protocol = \"udp\"",
            &[
                "6:14 E014 entrypoint `tcp` listens on `[::]:53`, and so does entrypoint `dns`",
                "22:17 E021 router `tcp` takes datagrams, and service `tcp` is for connections",
            ],
        ),
        // Rules
        (
            "HostSNI(`*`)\"\n  entrypoints = [\"dns\"]",
            "PathPrefix(`/`)\"\n  entrypoints = [\"dns\"]",
            &[
                "10:18 W001 router `dns`: a datagram has no path; write HostSNI(`*`) to take every datagram",
            ],
        ),
        (
            "HostSNI(`*`)\"\n  entrypoints = [\"dns\"]",
            "HostSNI(`a.com`)\"\n  entrypoints = [\"dns\"]",
            &["10:18 E006 a datagram has no server name; write HostSNI(`*`)"],
        ),
        (
            "HostSNI(`*`)\"\n  entrypoints = [\"dns\"]",
            "ALPN(`h3`)\"\n  entrypoints = [\"dns\"]",
            &["10:18 E006 `ALPN` is not for UDP routers"],
        ),
        // Services
        (
            "{ url = \"udp://127.0.0.1:5353\" }",
            "{ url = \"udp://127.0.0.1:5353\" }, { url = \"tcp://127.0.0.1:5353\" }",
            &["16:58 E021 service `dns` is for datagrams, and this server for connections"],
        ),
        (
            "udp://127.0.0.1:5353",
            "udp://127.0.0.1",
            &["16:31 E006 the port is missing; what is not HTTP has no usual port"],
        ),
        (
            "    servers = [{ url = \"udp://127.0.0.1:5353\" }]",
            "    servers = [{ url = \"udp://127.0.0.1:5353\" }]\n    health_check { }",
            &[
                "17:5 E013 no question is answered by every server of UDP; add `kind = \"tcp\"`, or another kind, and the `port` where it is answered",
            ],
        ),
        (
            "    servers = [{ url = \"udp://127.0.0.1:5353\" }]",
            "    servers = [{ url = \"udp://127.0.0.1:5353\" }]\n    health_check { kind = \"tcp\" }",
            &[],
        ),
        // Middlewares
        (
            "service     = \"dns\"",
            "service     = \"dns\"\n  middlewares = [\"few\"]",
            &[
                "13:18 E021 router `dns` takes datagrams, and `few` is for connections: `tcp-filter`",
            ],
        ),
    ] {
        assert!(DNS.contains(replaced), "{replaced}");
        let mut text = DNS.replacen(replaced, by, 1);
        if by.contains("middlewares") {
            text += "middlewares \"few\" {\n  type = \"tcp-filter\"\n  max_connections = 9\n}\n";
        }
        let told = told(&text);
        if told != expected {
            wrong.push(format!("{by}\n  told {told:#?}\n  not  {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
