//! The configurations in `examples/` are valid, and do what they say: each is started as a process, with ports and
//! files of the test in place of its own, and has one real exchange.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use rustls::ServerConfig;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use support::tls::Authority;
use support::udp::{UdpClient, UdpServer};
use support::{Port, Process, Talk, Wire, connect, tools, within};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

/// An example, with other ports and files than are written in it. It must be valid as it is, but for the files that it
/// names.
fn example(name: &str, files: &[(&str, String)], ports: &[(&str, String)]) -> String {
    let replaced = |text: String, (from, to): &(&str, String)| {
        assert!(text.contains(from), "{from} is not in {name}");
        text.replace(from, to)
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = std::fs::read_to_string(path.join(name)).unwrap();
    let text = files.iter().fold(text, replaced);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    std::fs::write(&file, &text).unwrap();
    let validate = Command::new(env!("CARGO_BIN_EXE_a3s-gateway"))
        .args(["validate", "--deny-warnings", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(validate.status.success(), "{validate:?}");
    ports.iter().fold(text, replaced)
}

/// A server in Python, which prints its port and ends with its input.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    fn start(name: &str) -> Self {
        let mut child = tools::python(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("a port");
        Self { child, port }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn run(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output());
    running.await.unwrap().unwrap()
}

/// In place of an address in the example: one of the system's choice.
fn any(address: &str) -> (&str, String) {
    (address, "127.0.0.1:0".to_owned())
}

/// A server that has TLS, and one thing to say in HTTP.
async fn tls_server(config: ServerConfig, says: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut wire = Wire::new(stream);
            if wire.request().await.is_some() {
                let length = says.len();
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{says}"
                ))
                .await;
            }
        }
    });
    address
}

#[tokio::test]
async fn tls() {
    let authority = Authority::new();
    let (cert, key) = authority.files("localhost");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = example(
        "tls.hcl",
        &[
            ("cert.pem\"", format!("{cert}\"")),
            ("key.pem\"", format!("{key}\"")),
        ],
        &[any("127.0.0.1:8080"), any("127.0.0.1:8443")],
    );
    let gateway = Process::start(&text, &["web", "websecure"]).await;
    let mut curl = Command::new(tools::program("curl", "curl"));
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "10",
        "--include",
        "--http2",
    ])
    .args(["--cacert", &authority.file(), "--connect-to"])
    .arg(format!("::{}", gateway.address("websecure")))
    .arg("https://localhost/");
    let output = run(curl).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("HTTP/2 200"), "{output:?}");
    assert!(said.contains("strict-transport-security: "), "{said}");
    assert!(said.ends_with("Hello over TLS\n"), "{said}");
    let mut plain = Wire::new(connect(gateway.address("web")).await);
    plain
        .send("GET /some/page HTTP/1.1\r\nhost: localhost:8080\r\n\r\n")
        .await;
    let answer = plain.answer().await;
    assert_eq!(answer.status(), 301);
    let location = answer.header("location");
    assert_eq!(
        location.as_deref(),
        Some("https://localhost:8443/some/page")
    );
}

#[tokio::test]
async fn tcp() {
    let replica = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Nobody listens there.
    let dead = Port::reserve();
    let text = example(
        "tcp.hcl",
        &[],
        &[
            any("127.0.0.1:5432"),
            any("127.0.0.1:8443"),
            ("127.0.0.1:15432", dead.address().to_string()),
            ("127.0.0.1:15433", replica.local_addr().unwrap().to_string()),
        ],
    );
    let authority = Authority::new();
    let [one, others] =
        ["one.localhost", "two.localhost"].map(|name| authority.server(name, &[], false));
    let (one, others) = (
        tls_server(one, "one").await,
        tls_server(others, "others").await,
    );
    let text = text
        .replace("127.0.0.1:18443", &one.to_string())
        .replace("127.0.0.1:18444", &others.to_string());
    let gateway = Process::start(&text, &["db", "names"]).await;
    for _ in 0..4 {
        let mut client = Wire::new(connect(gateway.address("db")).await);
        client.send("SELECT 1").await;
        // A probe says nothing.
        let mut server = within("the replica is asked", async {
            loop {
                let mut server = Wire::new(replica.accept().await.unwrap().0);
                if server.until(b"SELECT 1").await.is_some() {
                    return server;
                }
            }
        })
        .await;
        server.send("1").await;
        assert_eq!(client.exactly(1).await, b"1");
    }
    for (name, server) in [("one.localhost", "one"), ("two.localhost", "others")] {
        let mut curl = Command::new(tools::program("curl", "curl"));
        curl.args(["--silent", "--show-error", "--max-time", "10"])
            .args(["--cacert", &authority.file(), "--connect-to"])
            .arg(format!("::{}", gateway.address("names")))
            .arg(format!("https://{name}/"));
        let output = run(curl).await;
        assert_eq!(output.stdout, server.as_bytes(), "{output:?}");
    }
}

#[tokio::test]
async fn websocket() {
    let app = Program::start("websocket_echo.py");
    let text = example(
        "websocket.hcl",
        &[],
        &[
            any("127.0.0.1:8080"),
            ("127.0.0.1:8001", format!("127.0.0.1:{}", app.port)),
        ],
    );
    let gateway = Process::start(&text, &["web"]).await;
    let url = format!("ws://{}", gateway.address("web"));
    let mut client = Talk::open(format!("{url}/app/")).await;
    client.say("hello");
    assert_eq!(client.hears().await, "hello");

    let hub = format!("{url}/channels?key=demo-key-of-this-file");
    let mut reader = Talk::open(&hub).await;
    reader.say("_sub:news");
    reader.say("_ping");
    assert_eq!(reader.hears().await, "_pong");
    let mut writer = Talk::open(&hub).await;
    writer.say("news:hello");
    assert_eq!(reader.hears().await, "news:hello");
    let mut stranger = Talk::begin(format!("{url}/channels"), &[]);
    assert_eq!(stranger.hears().await, "refused 401");
}

#[tokio::test]
async fn grpc() {
    let servers = [(); 2].map(|()| Program::start("grpc_server.py"));
    let text = example(
        "grpc.hcl",
        &[],
        &[
            any("127.0.0.1:8080"),
            ("127.0.0.1:50051", format!("127.0.0.1:{}", servers[0].port)),
            ("127.0.0.1:50052", format!("127.0.0.1:{}", servers[1].port)),
        ],
    );
    let gateway = Process::start(&text, &["web"]).await;
    let address = gateway.address("web").to_string();
    for check in ["unary", "chat", "errors"] {
        let mut client = tools::python("grpc_client.py");
        client.args([&*address, "check", check]);
        let output = run(client).await;
        assert!(output.status.success(), "{output:?}");
    }
    // A page asks whether it may, and then calls.
    let mut page = Wire::new(connect(gateway.address("web")).await);
    page.send("OPTIONS /test.Echo/Unary HTTP/1.1\r\nhost: a\r\norigin: https://app.example.com\r\naccess-control-request-method: POST\r\n\r\n").await;
    let preflight = page.answer().await;
    let allowed = preflight.header("access-control-allow-origin");
    assert_eq!(allowed.as_deref(), Some("https://app.example.com"));
    page.send("POST /test.Echo/Unary HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web-text\r\ncontent-length: 12\r\n\r\nAAAAAAJoaQ==").await;
    let answer = page.answer().await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().starts_with("AAAAAAJoaQ"), "{answer:?}");
}

#[tokio::test]
async fn udp() {
    let resolver = UdpServer::echo("answer to ").await;
    // It is connected, so that nobody is there for others.
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    dead.connect("127.0.0.1:9").await.unwrap();
    let text = example(
        "udp.hcl",
        &[],
        &[
            any("127.0.0.1:5353"),
            (
                "udp://127.0.0.1:15353",
                format!("udp://{}", dead.local_addr().unwrap()),
            ),
            ("udp://127.0.0.1:15354", resolver.url()),
        ],
    );
    let gateway = Process::start(&text, &["dns"]).await;
    // What went to the one that is not there is lost; a resolver asks again.
    for _ in 0..4 {
        let client = UdpClient::to(gateway.address("dns")).await;
        let (answer, _) = client.ask_until_answered(b"question").await;
        assert_eq!(answer, "answer to question");
    }
}
