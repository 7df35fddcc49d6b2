//! What is told of revisions.

use super::*;

/// A service, the lines of which begin with line 18.
fn with_service(lines: &str) -> String {
    with(&format!(
        "services \"r\" {{\n{lines}\n}}\nrouters \"r\" {{\n  rule = \"Path(`/r`)\"\n  service = \"r\"\n}}\n"
    ))
}

const HELP: &str = "together they have 100; `traffic_percent` is 100 where it is not set";

#[test]
fn each_problem_is_told_where_it_is() {
    let sum = |sum| {
        format!("18:15 E008 the revisions of service `r` share {sum} % of its requests; {HELP}")
    };
    for (lines, expected) in [
        // Nothing is wrong.
        (
            r#"  revisions = [{ name = "v1", servers = [{ url = "http://a" }] }]"#,
            vec![],
        ),
        (
            r#"  revisions = [
    { name = "v1", traffic_percent = 100, servers = [{ url = "http://a" }] },
    { name = "v2", traffic_percent = 0, strategy = "random", servers = [{ url = "http://a", weight = 0 }] },
  ]
  load_balancer {
    pass_host = false
  }"#,
            vec![],
        ),
        // Shares.
        (
            r#"  revisions = [
    { name = "v1", servers = [{ url = "http://a" }] },
    { name = "v2", servers = [{ url = "http://b" }] },
  ]"#,
            vec![sum("200")],
        ),
        (
            r#"  revisions = [
    { name = "v1", traffic_percent = 90, servers = [{ url = "http://a" }] },
    { name = "v2", traffic_percent = 9, servers = [{ url = "http://b" }] },
  ]"#,
            vec![sum("99")],
        ),
        (
            r#"  revisions = [{ name = "v1", traffic_percent = 0, servers = [{ url = "http://a" }] }]"#,
            vec![sum("0")],
        ),
        (
            r#"  revisions = [
    { name = "v1", traffic_percent = 101, servers = [{ url = "http://a" }] },
    { name = "v2", traffic_percent = 0, servers = [{ url = "http://b" }] },
  ]"#,
            vec![
                "19:38 E008 `traffic_percent` is out of range: 101 is not from 0 to 100".to_owned(),
            ],
        ),
        (
            r#"  revisions = [
    { name = "v1", traffic_percent = 12.5, servers = [{ url = "http://a" }] },
    { name = "v2", traffic_percent = 50, servers = [{ url = "http://b" }] },
  ]"#,
            vec!["19:38 E008 expected a whole number from 0 to 255, found 12.5".to_owned()],
        ),
        // Names.
        (
            r#"  revisions = [
    { name = "v1", traffic_percent = 50, servers = [{ url = "http://a" }] },
    { name = "v1", traffic_percent = 50, servers = [{ url = "http://b" }] },
  ]"#,
            vec!["20:14 E011 service `r` has two revisions of the name `v1`".to_owned()],
        ),
        (
            r#"  revisions = [{ name = "", servers = [{ url = "http://a" }] }]"#,
            vec!["18:25 E006 the revision has no name".to_owned()],
        ),
        (
            r#"  revisions = [{ name = "a@b", servers = [{ url = "http://a" }] }]"#,
            vec!["18:25 E006 the name `a@b` has an `@`, which is reserved".to_owned()],
        ),
        (
            r#"  revisions = [{ servers = [{ url = "http://a" }] }]"#,
            vec!["18:16 E007 `name` is missing".to_owned()],
        ),
        // Servers.
        (
            r#"  revisions = [{ name = "v1", servers = [] }]"#,
            vec!["18:41 E006 revision `v1` of service `r` has no servers".to_owned()],
        ),
        (
            r#"  revisions = [{ name = "v1" }]"#,
            vec!["18:16 E007 `servers` is missing".to_owned()],
        ),
        (
            r#"  revisions = [{ name = "v1", servers = [{ url = "http://a" }, { url = "http://a" }] }]"#,
            vec![
                "18:72 E011 revision `v1` of service `r` lists one server twice; give it more `weight` instead".to_owned(),
            ],
        ),
        (
            r#"  revisions = [{ name = "v1", servers = [{ url = "http://a", weight = 0 }] }]"#,
            vec![
                "18:41 W007 every server of revision `v1` of service `r` has weight 0: none takes new requests".to_owned(),
            ],
        ),
        (
            r#"  revisions = [
    { name = "v1", traffic_percent = 50, servers = [{ url = "http://a" }] },
    { name = "v2", traffic_percent = 50, servers = [{ url = "http://b" }, { url = "tcp://a:1" }] },
  ]"#,
            vec![
                "20:83 E021 revisions share requests, and this server is for connections".to_owned(),
            ],
        ),
        (
            r#"  revisions = [{ name = "v1", servers = [{ url = "tcp://a:1" }] }]"#,
            vec![
                "18:50 E021 revisions share requests, and this server is for connections".to_owned(),
            ],
        ),
        // Beside them.
        (
            r#"  load_balancer { servers = [{ url = "http://a" }] }
  revisions = [{ name = "v1", servers = [{ url = "http://a" }] }]"#,
            vec![
                "18:29 W004 service `r` has revisions, and these servers get no requests; list them in a revision".to_owned(),
            ],
        ),
        (
            r#"  respond { status = 200 }
  revisions = [{ name = "v1", servers = [{ url = "http://a" }] }]"#,
            vec!["18:3 E013 service `r` has both `revisions` and `respond`".to_owned()],
        ),
        (
            "  revisions = []",
            vec!["17:1 E013 service `r` has none of `load_balancer`, `revisions`, `respond` and `websocket_hub`".to_owned()],
        ),
        // What cannot be read has no sequels.
        (
            r#"  load_balancer { pass_host = false }
  revisions = [{ name = "v1", servers = [{ url = "nowhere" }] }]"#,
            vec![
                "19:50 E006 the scheme is missing; write it like \"http://127.0.0.1:8001\"".to_owned(),
            ],
        ),
        (
            r#"  load_balancer {
    sticky {
      cookie = "sid"
      to     = "revision"
    }
  }
  revisions = "v1""#,
            vec!["24:15 E005 expected a list, found a string".to_owned()],
        ),
    ] {
        assert_eq!(told(&with_service(lines)), expected, "{lines}");
    }
}

#[test]
fn blocks_are_revisions_too() {
    let config = good(&with_service(
        r#"  revisions {
    name            = "v1"
    traffic_percent = 90
    servers { url = "http://a" }
  }
  revisions {
    name            = "v2"
    traffic_percent = 10
    strategy        = "least-connections"
    servers { url = "http://b" }
    servers { url = "http://c" }
  }"#,
    ));
    let service = &config.services["r"];
    let shares: Vec<_> = (service.revisions.iter())
        .map(|each| {
            (
                &*each.name,
                each.traffic_percent,
                each.strategy,
                each.servers.len(),
            )
        })
        .collect();
    let least = Some(Strategy::LeastConnections);
    assert_eq!(shares, [("v1", 90, None, 1), ("v2", 10, least, 2)]);
    assert_eq!(*service.common(), LoadBalancerConfig::default());
}
