//! What is told of how servers are chosen.

use super::{good, told};
use crate::config::{LoadBalancerConfig, ServiceConfig, Strategy};
use a3s_layers::balance::HashOn;
use std::time::Duration;

/// A configuration whose service has these lines in its load balancer, the first of which is line 13 of the file.
fn with(lines: &str, scheme: &str) -> String {
    let (protocol, rule) = match scheme {
        "tcp" => ("tcp", "HostSNI(`*`)"),
        _ => ("http", "PathPrefix(`/`)"),
    };
    format!(
        r#"entrypoints "web" {{
  address  = ":80"
  protocol = "{protocol}"
}}
routers "r" {{
  rule        = "{rule}"
  entrypoints = ["web"]
  service     = "s"
}}
services "s" {{
  load_balancer {{
    servers = [{{ url = "{scheme}://a:1" }}]
{lines}
  }}
}}
"#
    )
}

fn balancer(lines: &str) -> LoadBalancerConfig {
    let ServiceConfig { load_balancer, .. } = good(&with(lines, "http")).services["s"].clone();
    load_balancer.unwrap()
}

#[test]
fn each_strategy_has_its_word() {
    for (word, strategy) in [
        ("round-robin", Strategy::RoundRobin),
        ("weighted", Strategy::Weighted),
        ("least-connections", Strategy::LeastConnections),
        ("random", Strategy::Random),
        ("p2c-ewma", Strategy::P2cEwma),
        ("consistent-hash", Strategy::ConsistentHash),
    ] {
        let balancer = balancer(&format!("  strategy = \"{word}\""));
        assert_eq!(balancer.strategy, strategy);
        assert_eq!(balancer.consistent_hash, None);
        assert_eq!(serde_json::to_value(strategy).unwrap(), word);
    }
}

#[test]
fn what_is_hashed_is_the_clients_address_unless_told() {
    let strategy = "  strategy = \"consistent-hash\"\n";
    for (block, on) in [
        ("consistent_hash { }", "client-ip"),
        ("consistent_hash { on = \"client-ip\" }", "client-ip"),
        (
            "consistent_hash = { on = \"header:X-Tenant\" }",
            "header:x-tenant",
        ),
        ("consistent_hash { on = \"cookie:Sid\" }", "cookie:Sid"),
        ("consistent_hash { on = \"path\" }", "path"),
    ] {
        let balancer = balancer(&format!("{strategy}{block}"));
        let on: HashOn = on.parse().unwrap();
        assert_eq!(balancer.consistent_hash.unwrap().on, on);
    }
}

#[test]
fn limits_are_off_by_default_and_have_their_ends() {
    let plain = balancer("");
    assert_eq!(plain.slow_start, Duration::ZERO);
    assert_eq!(plain.max_in_flight, None);
    assert_eq!(plain.panic_threshold_percent, 0);
    let most =
        balancer("slow_start = \"1h\"\nmax_in_flight = 1000000\npanic_threshold_percent = 100");
    assert_eq!(most.slow_start, Duration::from_secs(3_600));
    assert_eq!(most.max_in_flight, Some(1_000_000));
    assert_eq!(most.panic_threshold_percent, 100);
    balancer("max_in_flight = 1\nslow_start = 0");
}

#[test]
fn each_problem_is_told_where_it_is() {
    let mut wrong = Vec::new();
    let hash = "strategy = \"consistent-hash\"\nconsistent_hash { on";
    for (lines, scheme, expected) in [
        (
            "slow_start = \"61m\"\nmax_in_flight = 0\npanic_threshold_percent = 101",
            "http",
            &[
                "13:14 E008 `slow_start` is out of range: 1h1m is not from 0s to 1h",
                "14:17 E008 `max_in_flight` is out of range: 0 is not from 1 to 1000000",
                "15:27 E008 `panic_threshold_percent` is out of range: 101 is not from 0 to 100",
            ][..],
        ),
        (
            "max_in_flight = 1000001",
            "http",
            &["13:17 E008 `max_in_flight` is out of range: 1000001 is not from 1 to 1000000"],
        ),
        (
            "slow_start = \"-1s\"\nmax_in_flight = \"many\"",
            "http",
            &[
                "13:15 E006 expected a whole number; write it like \"750ms\", \"10s\", \"1m30s\" or \"2h\"",
                "14:17 E005 expected a whole number from 0 to 4294967295, found a string",
            ],
        ),
        (
            "consistent_hash { }",
            "http",
            &[
                "13:1 E013 `consistent_hash` is for the strategy `consistent-hash`; write `strategy = \"consistent-hash\"`, or leave it out",
            ],
        ),
        (
            "strategy = \"random\"\nconsistent_hash = { on = \"path\" }",
            "http",
            &[
                "14:19 E013 `consistent_hash` is for the strategy `consistent-hash`; write `strategy = \"consistent-hash\"`, or leave it out",
            ],
        ),
        // Nobody knows what it was to be.
        (
            "strategy = \"hash\"\nconsistent_hash { }",
            "http",
            &[
                "13:12 E006 `hash` is not one of `round-robin`, `weighted`, `least-connections`, `random`, `p2c-ewma`, `consistent-hash`",
            ],
        ),
        (
            "HASH = \"query:a\" }",
            "http",
            &[
                "14:24 E006 requests are not hashed on `query:a`; write `client-ip`, `header:NAME`, `cookie:NAME` or `path`",
            ],
        ),
        (
            "HASH = \"cookie:\" }",
            "http",
            &[
                "14:24 E006 requests are not hashed on `cookie:`; write `client-ip`, `header:NAME`, `cookie:NAME` or `path`",
            ],
        ),
        (
            "HASH = 7 }",
            "http",
            &["14:24 E005 expected what to hash, such as \"client-ip\", found 7"],
        ),
        (
            "HASH = \"header:Connection\" }",
            "http",
            &["14:24 E006 the server sets this header itself, for each connection"],
        ),
        (
            "HASHx = \"path\" }",
            "http",
            &["14:19 E004 unknown key `onx`; did you mean `on`?"],
        ),
        (
            "HASH = \"path\" }",
            "tcp",
            &["14:24 E021 `on` is for requests, and the servers are for connections"],
        ),
        ("HASH = \"client-ip\" }", "tcp", &[]),
        (
            "strategy = \"p2c-ewma\"\nslow_start = \"10s\"\nmax_in_flight = 9\npanic_threshold_percent = 50",
            "tcp",
            &[],
        ),
    ] {
        let told = told(&with(&lines.replace("HASH", hash), scheme));
        if told != expected {
            wrong.push(format!("{lines}\n{told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
