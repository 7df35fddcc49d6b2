//! `plan` says what a reload does: it is compared with what a gateway that runs then does.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use process::{file, run};

const BASE: &str = r#"
entrypoints "web" { address = "127.0.0.1:0" }
entrypoints "other" { address = "127.0.0.1:0" }
routers "all" {
  rule        = "PathPrefix(`/`)"
  service     = "backend"
  middlewares = ["limit", "key"]
}
services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:1" }, { url = "http://server.internal:2" }]
  }
}
middlewares "limit" {
  type = "rate-limit"
  rate = 10
}
middlewares "key" {
  type = "api-key"
  keys = ["a-key-that-is-not-shown"]
}
"#;

/// A change of the configuration, and what is said of it.
const CHANGES: [(&str, &str, &[&str]); 9] = [
    ("", "", &[]),
    (
        "entrypoints \"other\" { address = \"127.0.0.1:0\" }",
        "entrypoints \"other\" {\n address = \"127.0.0.1:0\"\n max_connections = 5\n}",
        &[
            "~ entrypoints.other: max_connections",
            "the socket is kept: 127.0.0.1:0",
        ],
    ),
    (
        "entrypoints \"other\" {",
        "entrypoints \"third\" {",
        &[
            "+ entrypoints.third",
            "bound: 127.0.0.1:0",
            "- entrypoints.other",
            "closed and drained",
        ],
    ),
    (
        "PathPrefix(`/`)",
        "PathPrefix(`/x`)",
        &["~ routers.all: rule"],
    ),
    (
        "http://127.0.0.1:1\"",
        "http://127.0.0.1:3\"",
        &[
            "~ services.backend: load_balancer.servers",
            "http://127.0.0.1:3 is new",
            "http://server.internal:2 is kept, with its state and its connections",
            "http://127.0.0.1:1 gets no new requests",
        ],
    ),
    (
        "load_balancer {",
        "load_balancer {\n timeouts { connect = \"1s\" }",
        &["http://127.0.0.1:1 is kept with its state, and is connected to anew"],
    ),
    (
        "rate = 10",
        "rate = 20",
        &[
            "~ middlewares.limit",
            "begins anew: full buckets for every client",
        ],
    ),
    (
        "a-key-that-is-not-shown",
        "another-that-is-not",
        &["~ middlewares.key: a secret"],
    ),
    (
        "entrypoints \"web\"",
        "shutdown_timeout_secs = 3\nentrypoints \"web\"",
        &["~ shutdown_timeout_secs"],
    ),
];

#[test]
fn the_command_tells_what_would_change_and_never_a_secret() {
    let (_before, running) = file(BASE);
    for (from, to, expected) in CHANGES {
        let (_after, new) = file(&BASE.replacen(from, to, 1));
        let mut process = run([
            "plan".as_ref(),
            "--config".as_ref(),
            new.as_os_str(),
            "--against".as_ref(),
            running.as_os_str(),
        ]);
        let status = process.wait();
        let said = &process.stdout;
        assert_eq!(
            status,
            if expected.is_empty() { 0 } else { 2 },
            "{said}{}",
            process.stderr
        );
        for words in expected {
            assert!(said.contains(words), "{words}\nnot in\n{said}");
        }
        assert!(
            !said.contains("not-shown") && !said.contains("another-that"),
            "{said}"
        );
    }
    let (_broken, broken) = file("entrypoints");
    for pair in [[&broken, &running], [&running, &broken]] {
        let arguments = [
            "plan",
            "--config",
            pair[0].to_str().unwrap(),
            "--against",
            pair[1].to_str().unwrap(),
        ];
        assert_eq!(run(arguments).wait(), 1);
    }
}

#[test]
fn routers_are_looked_at_with_examples() {
    let (_before, running) = file(BASE);
    let more = "routers \"lost\" {\n rule = \"Host(`a.com`) && Path(`/x`)\"\n service = \"backend\"\n priority = 1\n}\n";
    let (_after, new) = file(&format!("{BASE}{more}"));
    let arguments = [
        "plan",
        "--json",
        "--config",
        new.to_str().unwrap(),
        "--against",
        running.to_str().unwrap(),
    ];
    let mut process = run(arguments);
    assert_eq!(process.wait(), 2);
    let told: serde_json::Value = serde_json::from_str(&process.stdout).unwrap();
    assert_eq!(told["changes"][0]["block"], "routers.lost");
    assert_eq!(told["routers"][0]["code"], "W002");
    assert_eq!(told["routers"][0]["example"]["url"], "http://a.com/x");
}

/// Sockets are what a plan says of them.
#[tokio::test]
async fn sockets_are_kept_where_the_plan_says_so() {
    for (from, to, _) in CHANGES {
        let before: GatewayConfig = BASE.parse().unwrap();
        let after: GatewayConfig = BASE.replacen(from, to, 1).parse().unwrap();
        let plan = Gateway::plan(&before, &after).unwrap();
        let gateway = Gateway::new(before).unwrap();
        gateway.start().await.unwrap();
        let names = ["web", "other", "third"];
        let mut was = Vec::new();
        for name in names {
            was.push(
                gateway
                    .local_address(name)
                    .await
                    .map(|bind| bind.to_string()),
            );
        }
        gateway.reload(after).await.unwrap();
        for (name, was) in names.iter().zip(was) {
            let is = gateway
                .local_address(name)
                .await
                .map(|bind| bind.to_string());
            let block = format!("entrypoints.{name}");
            let change = plan.changes.iter().find(|change| change.block == block);
            let is_kept = change.is_none_or(|change| {
                change
                    .effects
                    .iter()
                    .any(|effect| effect.starts_with("the socket is kept"))
            });
            assert_eq!(was == is, is_kept, "{name}: {was:?} {is:?} {plan}");
        }
        gateway.shutdown().await;
    }
}
