//! gRPC through the gateway, as the server and the client of others see it.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use support::body::feed;
use support::server::Recorded;
use support::tls::Authority;
use support::tools::python;
use support::{Answer, Port, Setup, TestGateway, request, within};

/// Python takes its time to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gRPC server of others. It ends when this is dropped, as its input does.
struct Server {
    child: Child,
    _input: ChildStdin,
    lines: Receiver<String>,
    port: u16,
}

impl Server {
    fn start(files: &[String]) -> Self {
        let mut command = python("grpc_server.py");
        command.args(files).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let input = child.stdin.take().unwrap();
        let port = lines.recv_timeout(PATIENCE).expect("a port");
        Self {
            child,
            _input: input,
            lines,
            port: port.parse().unwrap(),
        }
    }

    fn url(&self) -> String {
        format!("h2c://127.0.0.1:{}", self.port)
    }

    /// Waits until it says so.
    fn says(&self, words: &str) {
        let line = self.lines.recv_timeout(PATIENCE);
        assert_eq!(line.as_deref(), Ok(words));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of others: what it prints, and whether it found all as it should be.
async fn client(arguments: &[&str]) -> (String, bool) {
    let mut command = python("grpc_client.py");
    command.args(arguments);
    tokio::task::spawn_blocking(move || run(&mut command))
        .await
        .unwrap()
}

fn run(command: &mut Command) -> (String, bool) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let began = std::time::Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if began.elapsed() > 2 * PATIENCE => {
                let _ = child.kill();
                break child.wait().unwrap();
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    (reader.join().unwrap().unwrap(), status.success())
}

async fn check(gateway: &TestGateway, ca: Option<&str>) {
    let target = format!("localhost:{}", gateway.address().port());
    let mut arguments = vec![&*target, "check", "all"];
    arguments.extend(ca.iter().flat_map(|ca| ["--ca", ca]));
    let (told, is_good) = client(&arguments).await;
    assert!(is_good, "{told}");
    let checks = "unary upload download chat large errors deadlines cancelled";
    assert_eq!(
        told.split_whitespace().collect::<Vec<_>>().join(" "),
        checks
    );
}

/// What a client of others is told where it calls `method`: the name of the code, and the details.
async fn call(address: SocketAddr, method: &str, headers: &[&str]) -> String {
    let target = address.to_string();
    let mut arguments = Vec::new();
    for header in headers {
        arguments.extend(["--header", header]);
    }
    arguments.extend([&*target, "call", method]);
    let (told, is_good) = client(&arguments).await;
    assert!(is_good, "{told}");
    told.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_passes_in_the_clear() {
    let server = Server::start(&[]);
    let gateway = Setup::to(server.url()).start().await;
    check(&gateway, None).await;
    // Once at its deadline, and once at its client's wish.
    server.says("cancelled");
    server.says("cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_errors_have_a_grpc_status() {
    let server = Server::start(&[]);
    let dead = Port::reserve().address();
    // The kernel takes its connections, and nobody reads what comes on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = silent.local_addr().unwrap();
    let refusals = json!({
        "closed": { "type": "ip-allow", "allowed_ips": ["192.0.2.1"] },
        "key": { "type": "api-key", "keys": ["k"] },
        "password": { "type": "basic-auth", "username": "u", "password": "p" },
        "token": { "type": "jwt", "value": "a secret that is long enough for HS256" },
        "small": { "type": "body-limit", "max_body_bytes": 1 },
        "one": { "type": "rate-limit", "rate": 1, "burst": 1, "period": "1h" },
        "soon": { "type": "timeout", "duration": "300ms" },
    });
    let mut setup = Setup::to(server.url())
        .set("middlewares", refusals.clone())
        .set("routers", json!({}))
        .service("dead", format!("h2c://{dead}"))
        .service("silent", format!("h2c://{deaf}"))
        .set(
            "services/silent/load_balancer/timeouts",
            json!({ "response": "300ms" }),
        )
        .route("dead", "Header(`x-to`, `dead`)", "dead")
        .route("silent", "Header(`x-to`, `silent`)", "silent");
    for name in refusals.as_object().unwrap().keys() {
        let rule = format!("Header(`x-to`, `{name}`)");
        setup = setup
            .route(
                name,
                &rule,
                if name == "soon" { "silent" } else { "backend" },
            )
            .set(&format!("routers/{name}/middlewares"), json!([name]));
    }
    let gateway = setup.start().await;
    let address = gateway.address();
    for (to, told) in [
        ("nowhere", "UNIMPLEMENTED no route matches"),
        ("dead", "UNAVAILABLE the upstream server failed"),
        (
            "silent",
            "DEADLINE_EXCEEDED the upstream server took too long",
        ),
        ("closed", "PERMISSION_DENIED"),
        ("key", "UNAUTHENTICATED"),
        ("password", "UNAUTHENTICATED"),
        ("token", "UNAUTHENTICATED"),
        ("small", "RESOURCE_EXHAUSTED"),
        ("one", "message 0\nOK"),
        ("one", "UNAVAILABLE"),
        ("soon", "DEADLINE_EXCEEDED"),
    ] {
        let answer = call(address, "/test.Echo/Download", &[&format!("x-to={to}")]).await;
        assert!(answer.starts_with(told), "{to}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_passes_over_tls_on_both_sides() {
    let theirs = Authority::new();
    let (certificate, key) = theirs.files("echo.test");
    let server = Server::start(&[certificate, key]);
    let to_server = json!({ "ca_file": theirs.file(), "server_name": "echo.test" });
    let ours = Authority::new();
    let (cert_file, key_file) = ours.files("localhost");
    let tls = json!({ "cert_file": cert_file, "key_file": key_file });
    let gateway = Setup::to(server.url().replace("h2c:", "https:"))
        .balancer("tls", to_server)
        .set("entrypoints/web/tls", tls)
        .start()
        .await;
    check(&gateway, Some(&ours.file())).await;
}

/// A message of gRPC.
fn message(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], text].concat()
}

/// The messages in a body, and the trailers behind them.
fn parse(mut body: &[u8]) -> (Vec<String>, String) {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_at(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let (text, rest) = rest.split_at(usize::try_from(length).unwrap());
        let text = String::from_utf8(text.to_vec()).unwrap();
        if head[0] == 0x80 {
            assert!(rest.is_empty(), "{rest:?} stands behind the trailers");
            return (messages, text);
        }
        messages.push(text);
        body = rest;
    }
    (messages, String::new())
}

/// Base64 as it comes in pieces, each padded by itself.
fn decode(text: &[u8]) -> Vec<u8> {
    let groups = text.chunks(4).map(|group| STANDARD.decode(group).unwrap());
    groups.collect::<Vec<_>>().concat()
}

/// A gateway with `grpc-web` in front of that server.
async fn web(server: &Server) -> TestGateway {
    let middlewares = json!({
        "web": { "type": "grpc-web" },
        "pages": {
            "type": "cors",
            "allowed_origins": ["https://app.test"],
            "exposed_headers": ["grpc-status", "grpc-message"],
        },
        "closed": { "type": "ip-allow", "allowed_ips": ["192.0.2.1"] },
    });
    Setup::to(server.url())
        .set("middlewares", middlewares)
        .set("routers/all/middlewares", json!(["pages", "web"]))
        .route("closed", "Header(`x-to`, `closed`)", "backend")
        .set(
            "routers/closed/middlewares",
            json!(["pages", "closed", "web"]),
        )
        .start()
        .await
}

async fn post(
    gateway: &TestGateway,
    method: &str,
    content_type: &str,
    more: &str,
    body: &[u8],
) -> Answer {
    let length = body.len();
    let head = format!(
        "POST /test.Echo/{method} HTTP/1.1\r\nhost: a\r\norigin: https://app.test\r\ncontent-type: {content_type}\r\n{more}content-length: {length}\r\n\r\n"
    );
    gateway.ask([head.as_bytes(), body].concat()).await
}

#[tokio::test]
async fn a_browser_calls_in_binary_and_in_text() {
    let server = Server::start(&[]);
    let gateway = web(&server).await;
    for format in ["", "+proto", "-text", "-text+proto"] {
        let is_text = format.starts_with("-text");
        let content_type = format!("application/grpc-web{format}");
        let answered = format!("application/grpc-web{}", if is_text { "-text" } else { "" });
        for (method, sent, answers) in [
            ("Unary", "hello", vec!["hello"]),
            ("Download", "3", vec!["0", "1", "2"]),
            ("Upload", "one", vec!["one"]),
        ] {
            let body = match is_text {
                true => STANDARD.encode(message(sent.as_bytes())).into_bytes(),
                false => message(sent.as_bytes()),
            };
            let more = "x-user: anna\r\nx-grpc-web: 1\r\n";
            let answer = post(&gateway, method, &content_type, more, &body).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.header("content-type"), Some(answered.clone()));
            assert_eq!(answer.header("x-user"), Some("anna".to_owned()));
            let origin = answer.header("access-control-allow-origin");
            assert_eq!(origin.as_deref(), Some("https://app.test"));
            let body = match is_text {
                true => decode(&answer.body),
                false => answer.body,
            };
            let (messages, trailers) = parse(&body);
            assert_eq!(messages, answers, "{content_type} {method}");
            assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
            assert!(trailers.contains("x-end-user: anna\r\n"), "{trailers}");
        }
    }
}

#[tokio::test]
async fn a_browser_is_told_of_errors() {
    let server = Server::start(&[]);
    let gateway = web(&server).await;
    let status = |answer: &Answer| {
        assert_eq!(answer.status(), 200);
        assert!(answer.body.is_empty());
        answer.header("grpc-status").unwrap_or_default()
    };
    let kind = "application/grpc-web+proto";
    // The server's own, of a head alone.
    let answer = post(&gateway, "Fail", kind, "", &message(b"")).await;
    assert_eq!(status(&answer), "9");
    assert_eq!(answer.header("x-end-bin").as_deref(), Some("AP8"));
    // The server's own, after a message.
    let answer = post(&gateway, "FailLate", kind, "", &message(b"")).await;
    let (messages, trailers) = parse(&answer.body);
    assert_eq!(messages, ["first"]);
    assert!(trailers.contains("grpc-status: 8\r\n"), "{trailers}");
    // Refusals of the gateway, before the middleware and behind it.
    let answer = post(&gateway, "Unary", kind, "x-to: closed\r\n", &message(b"")).await;
    assert_eq!(status(&answer), "7");
    let exposed = answer.header("access-control-expose-headers");
    assert_eq!(exposed.as_deref(), Some("grpc-status, grpc-message"));
    let text = "application/grpc-web-text";
    let answer = post(&gateway, "Unary", text, "", b"AAAA*AAA").await;
    assert_eq!(status(&answer), "13");
    assert_eq!(answer.header("content-type").as_deref(), Some(text));
}

#[tokio::test]
async fn a_call_both_ways_outlives_every_reload() {
    let server = support::Server::http(|request: Request<Recorded>| async move {
        let response = Response::builder().header("content-type", "application/grpc");
        response.body(Body::new(request.into_body())).unwrap()
    })
    .await;
    let setup = Setup::to(server.url("h2c"));
    let gateway = setup.start().await;
    let mut client = gateway.h2().await;
    let (feed, body) = feed();
    let mut call = request("POST", "/test.Echo/Chat");
    let kind = HeaderValue::from_static("application/grpc");
    call.headers_mut().insert("content-type", kind);
    *call.body_mut() = body;
    let mut answer = client.send(call).await.into_body();
    for n in 0..100 {
        // The service is another each time, and the middlewares are now there and now not.
        let idle = json!({ "idle": format!("{}s", 100 + n) });
        let mut next = setup.clone().balancer("timeouts", idle);
        if n % 2 == 0 {
            next = next
                .set("middlewares", json!({ "web": { "type": "grpc-web" } }))
                .set("routers/all/middlewares", json!(["web"]));
        }
        gateway.become_(&next).await;
        assert!(feed.data(message(n.to_string().as_bytes())).await);
        let frame = within("an echo", answer.frame()).await.unwrap().unwrap();
        let (messages, _) = parse(&frame.into_data().unwrap());
        assert_eq!(messages, [n.to_string()]);
    }
}
