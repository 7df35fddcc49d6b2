//! `plan` says what a reload does: it is compared with what a gateway that runs then does.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use process::{Backend, ask, eventually, file, get, run, serve};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

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
entrypoints "pipe" {
  address  = "127.0.0.1:0"
  protocol = "tcp"
}
entrypoints "drops" {
  address  = "127.0.0.1:0"
  protocol = "udp"
}
routers "limited" {
  rule        = "Path(`/limited`)"
  service     = "calm"
  middlewares = ["limit"]
}
routers "calm" {
  rule    = "Path(`/calm-enough`)"
  service = "calm"
}
routers "fragile" {
  rule        = "Path(`/fragile`)"
  service     = "gone"
  middlewares = ["breaker"]
}
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "backend"
}
routers "stream" {
  rule        = "ClientIP(`127.0.0.1`)"
  service     = "lines"
  entrypoints = ["pipe"]
  middlewares = ["few"]
}
routers "datagrams" {
  rule        = "ClientIP(`127.0.0.0/8`)"
  service     = "echo"
  entrypoints = ["drops"]
}
services "calm" {
  respond { body = "calm" }
}
services "backend" {
  load_balancer {
    servers = [{ url = "http://SERVER" }]
  }
}
services "gone" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:1" }]
  }
}
services "lines" {
  load_balancer {
    servers = [{ url = "tcp://SERVER" }]
  }
}
services "echo" {
  load_balancer {
    servers = [{ url = "udp://ECHO" }]
  }
}
middlewares "limit" {
  type   = "rate-limit"
  rate   = 1
  period = "1h"
}
middlewares "breaker" {
  type              = "circuit-breaker"
  failure_threshold = 1
  cooldown_secs     = 3600
}
middlewares "few" {
  type            = "tcp-filter"
  max_connections = 1
}
admin {
  address = "127.0.0.1:0"
  token   = "a-token"
}
"#;

/// What is lost by a reload, by the name that it has here and in the words of a plan.
const LOSSES: [(&str, &str); 9] = [
    ("socket", "- entrypoints.other\n    closed and drained"),
    ("server", "http://SERVER gets no new requests"),
    ("count", "begins anew: full buckets"),
    ("breaker", "begins anew: the breaker is closed"),
    ("few", "begins anew: no connection is counted"),
    ("pipe", "- entrypoints.pipe\n    closed and drained"),
    ("lines", "tcp://SERVER gets no new connections"),
    ("drops", "- entrypoints.drops\n    closed and drained"),
    (
        "echo",
        "udp://ECHO gets no more datagrams: its sessions are balanced anew",
    ),
];

/// Changes of it, and what each loses.
const STATES: [(&str, &str, &[&str]); 23] = [
    ("", "", &[]),
    ("a-token", "another-token", &[]),
    ("\"calm\" }", "\"calmer\" }", &[]),
    ("Path(`/limited`)", "Path(`/limited`) || Path(`/more`)", &[]),
    ("period = \"1h\"", "period = \"2h\"", &["count"]),
    ("\"limit\" {", "\"limit\" {\n headers = false", &["count"]),
    (
        "load_balancer {",
        "load_balancer {\n timeouts { connect = \"2s\" }",
        &[],
    ),
    ("http://SERVER", "http://127.0.0.1:1", &["server"]),
    (
        "entrypoints \"other\"",
        "entrypoints \"third\"",
        &["socket"],
    ),
    // A circuit breaker.
    ("threshold = 1", "threshold = 2", &["breaker"]),
    ("= 3600", "= 7200", &["breaker"]),
    ("Path(`/fragile`)", "Path(`/fragile`) || Path(`/f`)", &[]),
    ("\"gone\"\n", "\"calm\"\n", &[]),
    ("http://127.0.0.1:1\"", "http://127.0.0.1:2\"", &[]),
    // Connections.
    ("ClientIP(`127.0.0.1`)", "HostSNI(`*`)", &[]),
    ("[\"few\"]", "[\"few\"]\n priority = 7", &[]),
    ("connections = 1", "connections = 1\n rate = 100", &["few"]),
    ("tcp://SERVER", "tcp://NEXT", &["lines"]),
    ("\"pipe\"", "\"tube\"", &["pipe"]),
    // Sessions of datagrams.
    ("ClientIP(`127.0.0.0/8`)", "HostSNI(`*`)", &[]),
    (
        "udp://ECHO\"",
        "udp://ECHO\" }, { url = \"udp://AGAIN\"",
        &[],
    ),
    ("udp://ECHO", "udp://AGAIN", &["echo"]),
    ("\"drops\"", "\"rain\"", &["drops"]),
];

/// Answers each datagram with its name, and with who sent it; ends with the test.
fn echo(name: &'static str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {from}").as_bytes(), from);
        }
    });
    address
}

/// A connection, or a socket, on which an answer does not let itself be waited for for ever.
fn open(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(process::DEADLINE)).unwrap();
    stream
}

/// Whether what is asked on it is answered with `word`.
fn answers(stream: &mut TcpStream, path: &str, word: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // The other side may have closed it already.
    let _ = stream.write_all(request.as_bytes());
    let (mut text, mut piece) = (String::new(), [0; 1024]);
    while !text.contains(word) {
        match stream.read(&mut piece) {
            Ok(length @ 1..) => text += std::str::from_utf8(&piece[..length]).unwrap(),
            _ => return false,
        }
    }
    true
}

/// A client of datagrams.
struct Sender(UdpSocket);

impl Sender {
    fn to(address: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(process::DEADLINE)).unwrap();
        socket.connect(address).unwrap();
        Self(socket)
    }

    /// Who answers, and whom it takes for the sender.
    fn ask(&self) -> String {
        self.0.send(b"?").unwrap();
        let mut buffer = [0; 64];
        let length = self.0.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

/// What is asked through the admin API of a gateway, and what that gateway then does.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_against_a_running_gateway_comes_true() {
    let (backend, next) = (Backend::start("backend"), Backend::start("next"));
    let names = [
        ("SERVER", backend.address.to_string()),
        ("NEXT", next.address.to_string()),
        ("ECHO", echo("echo")),
        ("AGAIN", echo("again")),
    ];
    let named = |text: &str| {
        let names = names.iter();
        names.fold(text.to_owned(), |text, (name, address)| {
            text.replace(name, address)
        })
    };
    for (from, to, losses) in STATES {
        let gateway = Gateway::new(named(STATE).parse().unwrap()).unwrap();
        gateway.start().await.unwrap();
        let address = async |name: &str| match gateway.local_address(name).await {
            Some(bind) => bind.to_string(),
            None => String::new(),
        };
        let [web, other] = [address("web").await, address("other").await];
        let [pipe, drops] = [address("pipe").await, address("drops").await];
        let page = |page: &str, admin: &str, token: &str| {
            let token = format!("Authorization: Bearer {token}");
            let reply = ask(admin, "GET", &format!("/api/gateway/{page}"), &[&token]);
            assert_eq!(reply.status, 200, "{reply:?}");
            reply.json()
        };
        assert_eq!(get(&*web, "/limited").status, 200);
        assert_eq!(get(&*web, "/limited").status, 429);
        assert_eq!(get(&*web, "/x").status, 200);
        assert_eq!(get(&*web, "/fragile").status, 502);
        assert_eq!(get(&*web, "/fragile").status, 503);
        let mut idle = open(&other);
        assert!(answers(&mut idle, "/calm-enough", "calm"));
        let mut stream = open(&pipe);
        assert!(answers(&mut stream, "/x", "backend"));
        assert!(!answers(&mut open(&pipe), "/x", "backend"), "one at most");
        let session = Sender::to(&drops);
        let before = session.ask();
        assert!(before.starts_with("echo "), "{before}");

        let text = match from.starts_with('"') {
            true => STATE.replace(from, to),
            false => STATE.replacen(from, to, 1),
        };
        let after: GatewayConfig = named(&text).parse().unwrap();
        let admin = address("admin@internal").await;
        let plan = Gateway::plan_against(&page("config", &admin, "a-token"), &after).unwrap();
        let plan = plan.to_string();
        gateway.reload(after).await.unwrap();

        for (loss, words) in LOSSES {
            let is_said = plan.contains(&named(words));
            assert_eq!(is_said, losses.contains(&loss), "{loss}: {plan}");
        }
        let is_kept = |what: &str| !losses.contains(&what);

        let socket = is_kept("socket");
        assert_eq!(address("other").await == other, socket, "{plan}");
        match socket {
            true => assert!(answers(&mut idle, "/calm-enough", "calm"), "{plan}"),
            // It is idle, and so it has nothing to end first.
            false => assert!(matches!(idle.read(&mut [0]), Ok(0)), "{plan}"),
        }
        assert_eq!(address("web").await, web, "{plan}");

        let token = if to == "another-token" { to } else { "a-token" };
        let services = page("services", &admin, token);
        let services = services.as_array().unwrap();
        let service = services.iter().find(|each| each["name"] == "backend");
        assert_eq!(
            service.unwrap()["servers"][0]["requests"],
            u64::from(is_kept("server")),
            "{plan}"
        );

        let status = get(&*web, "/limited").status;
        assert_eq!(status, if is_kept("count") { 429 } else { 200 }, "{plan}");
        let status = get(&*web, "/fragile").status;
        assert_eq!(status, if is_kept("breaker") { 503 } else { 502 }, "{plan}");

        // A connection goes on with its server, whatever becomes of the entrypoint, the router and the service.
        assert!(answers(&mut stream, "/x", "backend"), "{plan}");
        assert_eq!(address("pipe").await == pipe, is_kept("pipe"), "{plan}");
        if is_kept("pipe") {
            let word = if is_kept("lines") { "backend" } else { "next" };
            let is_let_in = answers(&mut open(&pipe), "/x", word);
            assert_eq!(is_let_in, !is_kept("few"), "{plan}");
            drop(stream);
            eventually("a connection goes to the server of now", || {
                answers(&mut open(&pipe), "/x", word)
            });
        } else {
            assert!(plan.contains("+ entrypoints.tube\n    bound: "), "{plan}");
            let tube = address("tube").await;
            eventually("nobody listens", || TcpStream::connect(&pipe).is_err());
            // The filter counts on: it is the router's, not the entrypoint's.
            assert!(!answers(&mut open(&tube), "/x", "backend"), "{plan}");
            drop(stream);
            eventually("somebody listens elsewhere", || {
                answers(&mut open(&tube), "/x", "backend")
            });
        }

        // So does a session, unless its server is gone, or its entrypoint: then it ends as soon as it is idle.
        if is_kept("drops") {
            assert_eq!(session.ask() == before, is_kept("echo"), "{plan}");
        }
        assert_eq!(address("drops").await == drops, is_kept("drops"), "{plan}");
        let new = match is_kept("drops") {
            true => Sender::to(&drops),
            false => Sender::to(&address("rain").await),
        };
        let new = new.ask();
        assert_ne!(new, before, "{plan}");
        if !to.contains("ECHO") {
            let is_old = new.starts_with("echo ");
            assert_eq!(is_old, is_kept("echo"), "{new} {plan}");
        }
        gateway.shutdown().await;
    }
}
