//! The PROXY protocol, on both sides.

use super::{good, told};
use crate::config::ProxyVersion;
use std::time::Duration;

const BOTH: &str = r#"entrypoints "web" {
  address = ":80"
  proxy_protocol {
    trusted_ips = ["10.0.0.0/8"]
  }
}
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "all"
}
services "all" {
  load_balancer {
    proxy_protocol = "v2"
    servers = [{ url = "http://127.0.0.1:81" }]
  }
}
"#;

#[test]
fn it_is_read_on_both_sides() {
    let config = good(BOTH);
    let proxy = config.entrypoints["web"].proxy_protocol.as_ref();
    let proxy = proxy.expect("what was written");
    assert_eq!(
        proxy.trusted_ips,
        ["10.0.0.0/8".parse().expect("a network")]
    );
    assert_eq!(proxy.header_timeout, Duration::from_secs(5));
    let balancer = config.services["all"].load_balancer.as_ref();
    assert_eq!(
        balancer.expect("servers").proxy_protocol,
        Some(ProxyVersion::V2)
    );
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    let trusted = "trusted_ips = [\"10.0.0.0/8\"]";
    for (replaced, by, expected) in [
        (
            trusted,
            "trusted_ips = []",
            &["4:19 E013 nobody is trusted, and every connection would be refused"][..],
        ),
        (trusted, "", &["3:3 E007 `trusted_ips` is missing"]),
        (
            trusted,
            "trusted_ips = [\"10.0.0.0/8\"]\n header_timeout = \"2m\"",
            &["5:19 E008 `header_timeout` is out of range: 2m is not from 1ms to 1m"],
        ),
        (
            "\"v2\"",
            "\"v3\"",
            &["13:22 E006 `v3` is not one of `v1`, `v2`; did you mean `v1`?"],
        ),
    ] {
        assert_eq!(told(&BOTH.replacen(replaced, by, 1)), expected, "{by}");
    }
    let udp = BOTH
        .replace(":80\"", ":80\"\n  protocol = \"udp\"")
        .replace(
            "PathPrefix(`/`)\"",
            "HostSNI(`*`)\"\n  entrypoints = [\"web\"]",
        )
        .replace("http://", "udp://");
    assert_eq!(
        told(&udp),
        [
            "4:3 E021 the PROXY protocol is for connections, and not for datagrams",
            "15:22 E021 the PROXY protocol is for connections, and the servers are for datagrams",
        ]
    );
}
