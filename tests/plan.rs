//! `plan` says what a reload does: it is compared with what a gateway that runs then does.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use process::{Backend, ask, file, get, run, serve};
use std::io::{Read, Write};
use std::net::TcpStream;

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

/// What needs a secret of some form, a file, or a program that knows it.
const SECRETS: &str = r#"
services "secure" {
  load_balancer {
    servers = [{ url = "https://secure.internal" }]
    tls { ca_file = "DIR/ca.pem" }
  }
}
middlewares "digests" {
  type        = "api-key"
  hashed_keys = ["DIGEST-1", "DIGEST-2"]
}
middlewares "users" {
  type       = "basic-auth"
  users_file = "DIR/users"
}
middlewares "asks" {
  type    = "forward-auth"
  forward_auth_url = "https://auth.internal/"
  tls { ca_file = "DIR/ca.pem" }
}
middlewares "token" {
  type  = "jwt"
  value = "0123456789abcdef0123456789abcdef"
}
access_log { file = "DIR/access.log" }
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

/// The same as of files, but for what a running gateway does not show.
#[test]
fn a_running_gateway_is_asked_for_what_it_runs() {
    let admin = "admin { address = \"127.0.0.1:0\" }\n";
    let (_before, running) = file(&format!("{BASE}{admin}"));
    let mut gateway = serve(&running);
    let address = gateway.address("admin@internal");
    for ((from, to, expected), path) in
        (CHANGES.iter()).zip(["", "/", "/api/gateway"].iter().cycle())
    {
        let (_after, new) = file(&format!("{}{admin}", BASE.replacen(from, to, 1)));
        let against = format!("http://{address}{path}");
        let new = new.to_str().unwrap();
        let mut process = run(["plan", "--config", new, "--against", &against]);
        let status = process.wait();
        let said = &process.stdout;
        let is_secret = from.contains("not-shown");
        let is_change = !expected.is_empty() && !is_secret;
        assert_eq!(status, if is_change { 2 } else { 0 }, "{process}");
        for words in expected.iter().filter(|_| is_change) {
            assert!(said.contains(words), "{words}\nnot in\n{said}");
        }
        assert_eq!(said.contains("nothing changes"), !is_change, "{said}");
        assert!(
            said.contains("a secret that alone is another one is not seen"),
            "{said}"
        );
        assert!(
            !said.contains("not-shown") && !said.contains("another-that"),
            "{said}"
        );
    }
    let running = running.to_str().unwrap();
    let arguments = ["plan", "--json", "--config", running, "--against"];
    let mut process = run(arguments.into_iter().chain([&*format!("http://{address}")]));
    assert_eq!(process.wait(), 0, "{process}");
    let told: serde_json::Value = serde_json::from_str(&process.stdout).unwrap();
    assert_eq!(told["changes"], serde_json::json!([]));
    assert!(told["unseen"].is_string(), "{told}");
}

/// No file of the gateway that runs is here, and none of its secrets is known.
#[test]
fn neither_a_secret_nor_a_file_of_the_running_gateway_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::new([]).unwrap();
    std::fs::write(path("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(path("users"), "me:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\n").unwrap();
    std::fs::copy(path("users"), path("others")).unwrap();
    let text = format!("{BASE}{SECRETS}")
        .replace("DIR", directory.path().to_str().unwrap())
        .replace("DIGEST-1", &"1".repeat(64))
        .replace("DIGEST-2", &"2".repeat(64));
    let new: GatewayConfig = text.parse().unwrap();
    let plan = |shown: &serde_json::Value, new: &GatewayConfig| {
        Gateway::plan_against(shown, new).unwrap().to_string()
    };
    assert_eq!(plan(&serde_json::to_value(&new).unwrap(), &new), "");
    assert!(!path("access.log").exists(), "nothing is written");
    for (from, to, expected) in [
        ("11111111", "33333333", ""),
        ("0123456789abcdef\"", "0123456789abcdee\"", ""),
        (
            "users\"\n}",
            "others\"\n}",
            "~ middlewares.users: users_file\n    begins anew: no password is remembered\n",
        ),
        ("access.log", "other.log", "~ access_log: file\n"),
        (
            "https://auth.internal/\"",
            "https://auth.internal/x\"",
            "~ middlewares.asks: forward_auth_url\n    begins anew: no answer is remembered\n",
        ),
        (
            "value = ",
            "leeway = \"1s\"\n value = ",
            "~ middlewares.token: leeway\n    begins anew: keys are fetched and read again\n",
        ),
        (
            "servers = [{ url = \"https",
            "strategy = \"random\"\n servers = [{ url = \"https",
            "~ services.secure: load_balancer.strategy\n    https://secure.internal is kept, with its state and its connections\n",
        ),
    ] {
        let after: GatewayConfig = text.replacen(from, to, 1).parse().unwrap();
        assert_eq!(plan(&serde_json::to_value(&new).unwrap(), &after), expected);
        // The other way about, with files that only the running one names, and that are gone.
        let shown = serde_json::to_value(&after).unwrap().to_string();
        let elsewhere = shown.replace(directory.path().to_str().unwrap(), "/nowhere/at/all");
        let said = plan(&serde_json::from_str(&elsewhere).unwrap(), &new);
        for words in [
            "~ middlewares.users: users_file\n",
            "https://secure.internal is kept with its state, and is connected to anew",
        ] {
            assert!(said.contains(words), "{words}\nnot in\n{said}");
        }
    }
    let mut shown = serde_json::to_value(&new).unwrap();
    shown["middlewares"]["own"] = serde_json::json!({ "type": "own", "settings": "***" });
    assert_eq!(plan(&shown, &new), "- middlewares.own\n");
}

#[test]
fn what_is_made_anew_because_of_another_service_is_told() {
    let more = r#"
services "first" {
  load_balancer { servers = [{ url = "http://127.0.0.1:9" }] }
  failover { service = "backend" }
}
services "calm" {
  respond { body = "calm" }
}
middlewares "pages" {
  type    = "error-pages"
  status  = [502]
  service = "backend"
}
"#;
    let before = format!("{BASE}{more}");
    let plan = |to: &str| {
        let before: GatewayConfig = before.parse().unwrap();
        let after = GatewayConfig::from_hcl(to).unwrap();
        let shown = serde_json::to_value(&before).unwrap();
        let plans = [
            Gateway::plan(&before, &after).unwrap(),
            Gateway::plan_against(&shown, &after).unwrap(),
        ];
        let [of_file, of_gateway] = plans.map(|plan| plan.to_string());
        assert_eq!(of_file, of_gateway);
        of_file
    };
    assert_eq!(plan(&before), "");
    let said = plan(&before.replace("http://127.0.0.1:1\"", "http://127.0.0.1:3\""));
    for words in [
        "~ services.first\n    made anew, because of `backend`\n    its servers go on",
        "~ middlewares.pages\n    made anew, because of `backend`\n",
    ] {
        assert!(said.contains(words), "{words}\nnot in\n{said}");
    }
    assert!(!said.contains("calm"), "{said}");
    let said = plan(&before.replace("\"calm\" }", "\"calmer\" }"));
    assert_eq!(said, "~ services.calm: respond.body\n");
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

const STATE: &str = r#"
entrypoints "web" { address = "127.0.0.1:0" }
entrypoints "other" { address = "127.0.0.1:0" }
routers "limited" {
  rule        = "Path(`/limited`)"
  service     = "calm"
  middlewares = ["limit"]
}
routers "calm" {
  rule    = "Path(`/calm-enough`)"
  service = "calm"
}
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "backend"
}
services "calm" {
  respond { body = "calm" }
}
services "backend" {
  load_balancer {
    servers = [{ url = "http://SERVER" }]
  }
}
middlewares "limit" {
  type   = "rate-limit"
  rate   = 1
  period = "1h"
}
admin {
  address = "127.0.0.1:0"
  token   = "a-token"
}
"#;

/// Changes of it, and whether each keeps the socket of `other`, the server, and the count of the limit.
const STATES: [(&str, &str, [bool; 3]); 9] = [
    ("", "", [true, true, true]),
    ("a-token", "another-token", [true, true, true]),
    ("\"calm\" }", "\"calmer\" }", [true, true, true]),
    (
        "Path(`/limited`)",
        "Path(`/limited`) || Path(`/more`)",
        [true, true, true],
    ),
    ("period = \"1h\"", "period = \"2h\"", [true, true, false]),
    (
        "\"limit\" {",
        "\"limit\" {\n headers = false",
        [true, true, false],
    ),
    (
        "load_balancer {",
        "load_balancer {\n timeouts { connect = \"2s\" }",
        [true, true, true],
    ),
    ("http://SERVER", "http://127.0.0.1:1", [true, false, true]),
    (
        "entrypoints \"other\" {",
        "entrypoints \"third\" {",
        [false, true, true],
    ),
];

/// What is asked through the admin API of a gateway, and what that gateway then does.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_against_a_running_gateway_comes_true() {
    let backend = Backend::start("backend");
    let base = STATE.replace("SERVER", &backend.address.to_string());
    for (from, to, [socket, server, count]) in STATES {
        let from = from.replace("SERVER", &backend.address.to_string());
        let gateway = Gateway::new(base.parse().unwrap()).unwrap();
        gateway.start().await.unwrap();
        let address = async |name: &str| match gateway.local_address(name).await {
            Some(bind) => bind.to_string(),
            None => String::new(),
        };
        let [web, other] = [address("web").await, address("other").await];
        let page = |page: &str, admin: &str, token: &str| {
            let token = format!("Authorization: Bearer {token}");
            let reply = ask(admin, "GET", &format!("/api/gateway/{page}"), &[&token]);
            assert_eq!(reply.status, 200, "{reply:?}");
            reply.json()
        };
        assert_eq!(get(&*web, "/limited").status, 200);
        assert_eq!(get(&*web, "/limited").status, 429);
        assert_eq!(get(&*web, "/x").status, 200);
        let mut open = TcpStream::connect(&*other).unwrap();
        let lives = |open: &mut TcpStream| {
            let request = "GET /calm-enough HTTP/1.1\r\nHost: localhost\r\n\r\n";
            // The other side may have closed it already.
            let _ = open.write_all(request.as_bytes());
            let (mut text, mut piece) = (String::new(), [0; 1024]);
            while !text.contains("calm") {
                match open.read(&mut piece) {
                    Ok(length @ 1..) => text += std::str::from_utf8(&piece[..length]).unwrap(),
                    _ => return false,
                }
            }
            true
        };
        open.set_read_timeout(Some(process::DEADLINE)).unwrap();
        assert!(lives(&mut open));

        let after: GatewayConfig = base.replacen(&from, to, 1).parse().unwrap();
        let admin = address("admin@internal").await;
        let plan = Gateway::plan_against(&page("config", &admin, "a-token"), &after).unwrap();
        gateway.reload(after).await.unwrap();

        let says = |words: &str| plan.to_string().contains(words);
        let is_closed = says("- entrypoints.other\n    closed and drained");
        assert_eq!(!is_closed, socket, "{plan}");
        assert_eq!(address("other").await == other, socket, "{plan}");
        match socket {
            true => assert!(lives(&mut open), "{plan}"),
            // It is idle, and so it has nothing to end first.
            false => assert!(matches!(open.read(&mut [0]), Ok(0)), "{plan}"),
        }
        assert_eq!(address("web").await, web, "{plan}");

        let is_gone = says(&format!("http://{} gets no new requests", backend.address));
        assert_eq!(!is_gone, server, "{plan}");
        let token = if to == "another-token" { to } else { "a-token" };
        let services = page("services", &admin, token);
        let services = services.as_array().unwrap();
        let service = services.iter().find(|each| each["name"] == "backend");
        assert_eq!(
            service.unwrap()["servers"][0]["requests"],
            u64::from(server),
            "{plan}"
        );

        assert_eq!(!says("begins anew: full buckets"), count, "{plan}");
        let status = get(&*web, "/limited").status;
        assert_eq!(status, if count { 429 } else { 200 }, "{plan}");
        drop(open);
        gateway.shutdown().await;
    }
}
