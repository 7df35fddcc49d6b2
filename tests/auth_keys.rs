//! API keys and passwords in a gateway.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use axum::body::Body;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use support::{Client, Log, Server, Setup, TestGateway, request, within};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// What `printf %s s3cret | sha256sum` prints.
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Everybody's password is `secret`.
const USERS: &str = "\
# staff
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
apr1:$apr1$r31xyz12$onQKKDsjYs7dR4muzW5nu0
bcrypt:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW
argon2:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$sJpplSekXew1kEWemINJPY1grzqnCfnieOmsPQkTNy0
";

/// A gateway with one middleware before its server.
fn with(server: &Server, middleware: Value) -> Setup {
    Setup::to(server)
        .set("middlewares/auth", middleware)
        .set("routers/all/middlewares", json!(["auth"]))
}

fn get(target: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = request("GET", target);
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn basic(credentials: &str) -> Request<Body> {
    let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    get("/", &[("authorization", &value)])
}

/// Asks until the answer has this status.
async fn until(gateway: &TestGateway, status: u16, request: impl Fn() -> Request<Body>) {
    within("the file is in use", async {
        let mut client = gateway.h1().await;
        while client.ask(request()).await.status != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A file that changes.
struct File {
    directory: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = Self { directory };
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("file")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }
}

#[tokio::test]
async fn a_known_key_passes_and_the_server_learns_whose_it_is_and_not_what_it_is() {
    let server = Server::start().await;
    let gateway = with(
        &server,
        json!({
            "type": "api-key",
            "header": "X-Token",
            "query": "token",
            "keys": { "build": "a+b c" },
            "hashed_keys": { "deploy": format!("sha256:{S3CRET}") },
            "identity_header": "X-Consumer",
            "hide": true,
        }),
    )
    .start()
    .await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        for (target, headers, name) in [
            ("/a?b=%2F&c", &[("x-token", "a+b c")][..], "build"),
            ("/a?b=%2F&token=a%2Bb+c&c", &[], "build"),
            ("/a?b=%2F&c&t%6Fken=s3cre%74", &[], "deploy"),
            (
                "/a?b=%2F&c",
                &[
                    ("x-token", "s3cret"),
                    ("x-consumer", "root"),
                    ("x_consumer", "root"),
                ],
                "deploy",
            ),
        ] {
            let reply = client.ask(get(target, headers)).await;
            assert_eq!(reply.status, 200, "{target} {headers:?}");
            let seen = server.last();
            assert_eq!(seen.target, "/a?b=%2F&c");
            assert_eq!(seen.header("x-consumer").as_deref(), Some(name));
            assert_eq!(seen.header("x-token"), None);
            assert_eq!(seen.header("x_consumer"), None);
        }
    }
}

#[tokio::test]
async fn without_one_known_key_nothing_reaches_the_server() {
    let server = Server::start().await;
    let keys = json!({ "type": "api-key", "query": "key", "keys": ["s3cret"] });
    let gateway = with(&server, keys).start().await;
    let long = "s3cret".repeat(1000);
    let long_query = format!("/?key={long}");
    let mut client = gateway.h2().await;
    for (target, headers, error) in [
        ("/", &[][..], "an API key is required"),
        ("/?KEY=s3cret", &[], "an API key is required"),
        ("/?key=", &[], "an API key is required"),
        ("/", &[("x-api-key", "")], "an API key is required"),
        ("/", &[("x-api-key", "S3cret")], "the API key is not valid"),
        ("/", &[("x-api-key", &*long)], "the API key is not valid"),
        (&long_query, &[], "the API key is not valid"),
        (
            "/",
            &[("x-api-key", "s3cret"), ("x-api-key", "s3cret")],
            "more than one API key was sent",
        ),
        (
            "/?key=s3cret",
            &[("x-api-key", "s3cret")],
            "more than one API key was sent",
        ),
    ] {
        let reply = client.ask(get(target, headers)).await;
        assert_eq!(reply.status, 401, "{target:.40} {headers:?}");
        let challenge = "ApiKey realm=\"api\", header=\"x-api-key\"";
        assert_eq!(reply.headers["www-authenticate"], challenge);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body, json!({ "error": error, "status": 401 }));
    }
    let reply = client.ask(get("/", &[("accept", "text/plain")])).await;
    assert_eq!(reply.text(), "an API key is required\n");
    let reply = client
        .ask(get("/", &[("content-type", "application/grpc")]))
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["grpc-status"], "16");
    // What is no text, and what a parser may stumble over.
    for value in [
        &b"s3cret\xff"[..],
        b"\x80",
        b"s3cret, s3cret",
        b"%73%33cret",
    ] {
        let head = [
            b"GET / HTTP/1.1\r\nhost: a\r\nx-api-key: ",
            value,
            b"\r\n\r\n",
        ];
        assert_eq!(gateway.ask(head.concat()).await.status(), 401, "{value:?}");
    }
    let target = "GET /?key=%&key=%00&%6Bey=%FF HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(gateway.ask(target).await.status(), 401);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_and_a_bad_one_changes_nothing() {
    let log = Log::start();
    let server = Server::start().await;
    let file = File::new("first:s3cret\n");
    let keys = json!({ "type": "api-key", "keys": ["written"], "keys_file": file.path(), "identity_header": "x-consumer" });
    let gateway = with(&server, keys).start().await;
    let with_key = |key: &'static str| move || get("/", &[("x-api-key", key)]);
    until(&gateway, 200, with_key("s3cret")).await;

    file.write(&format!("# both\nsecond:n3w\nfirst:sha256:{S3CRET}\n"));
    until(&gateway, 200, with_key("n3w")).await;
    assert_eq!(server.last().header("x-consumer").unwrap(), "second");

    file.write("second:n3w\nthird:b@d\u{7}\n");
    log_has(&log, "line 2: the key has control characters").await;
    until(&gateway, 200, with_key("n3w")).await;
    fs::remove_file(file.path()).unwrap();
    log_has(&log, "No such file").await;
    until(&gateway, 200, with_key("s3cret")).await;

    file.write("fourth:l4st\n");
    until(&gateway, 200, with_key("l4st")).await;
    until(&gateway, 401, with_key("n3w")).await;
    until(&gateway, 200, with_key("written")).await;
}

/// Waits for words in the log, which tells no secret.
async fn log_has(log: &Log, words: &str) {
    let mut text = String::new();
    within(words, async {
        while !text.contains(words) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            text += &log.take();
        }
    })
    .await;
    for secret in ["s3cret", "n3w", "b@d", "$2y$"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_name_with_its_password_passes() {
    let server = Server::start().await;
    let file = File::new(USERS);
    let gateway = with(
        &server,
        json!({
            "type": "basic-auth",
            "username": "zoë",
            "password": "a:b",
            "users_file": file.path(),
            "realm": "the \"inner\" circle",
            "identity_header": "X-User",
            "hide": true,
        }),
    )
    .start()
    .await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        for name in ["sha", "apr1", "bcrypt", "argon2"] {
            let reply = client.ask(basic(&format!("{name}:secret"))).await;
            assert_eq!(reply.status, 200, "{name}");
            let seen = server.last();
            assert_eq!(seen.header("x-user").as_deref(), Some(name));
            assert_eq!(seen.header("authorization"), None);
            let reply = client.ask(basic(&format!("{name}:Secret"))).await;
            assert_eq!(reply.status, 401, "{name}");
        }
        let mut request = basic("zoë:a:b");
        for forged in ["x-user", "x_user"] {
            request
                .headers_mut()
                .insert(forged, "root".parse().unwrap());
        }
        assert_eq!(client.ask(request).await.status, 200);
        let seen = server.last();
        assert_eq!(seen.headers["x-user"].as_bytes(), "zoë".as_bytes());
        assert_eq!(seen.header("x_user"), None);
        let requests = server.requests();
        for request in [
            get("/", &[]),
            get("/", &[("authorization", "Bearer c2hhOnNlY3JldA==")]),
            get("/", &[("authorization", "Basic !")]),
            basic("nobody:secret"),
            basic("zoë"),
            basic("zoë:a:b\0"),
            basic(&"a:".repeat(4000)),
        ] {
            let reply = client.ask(request).await;
            assert_eq!(reply.status, 401);
            let challenge = r#"Basic realm="the \"inner\" circle", charset="UTF-8""#;
            assert_eq!(reply.headers["www-authenticate"], challenge);
        }
        let mut grpc = basic("bcrypt:wrong");
        let kind = "application/grpc".parse().unwrap();
        grpc.headers_mut().insert("content-type", kind);
        let reply = client.ask(grpc).await;
        assert_eq!(reply.headers["grpc-status"], "16");
        assert_eq!(server.requests(), requests);
    }
}

#[tokio::test]
async fn a_file_of_users_is_read_again_and_outlives_an_unrelated_reload() {
    let log = Log::start();
    let server = Server::start().await;
    let file = File::new(USERS);
    let users = json!({ "type": "basic-auth", "users_file": file.path() });
    let setup = with(&server, users);
    let gateway = setup.start().await;
    until(&gateway, 200, || basic("bcrypt:secret")).await;
    // `htpasswd -s`: the password is `other`.
    file.write("bcrypt:{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI=\n");
    until(&gateway, 401, || basic("bcrypt:secret")).await;
    until(&gateway, 200, || basic("bcrypt:other")).await;

    file.write("bcrypt:$2y$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n");
    log_has(&log, "line 1: the bcrypt cost is 31").await;
    // What it held before is known as long as the middleware is what it was.
    let unrelated = setup.clone().set("entrypoints/web/max_connections", 100);
    gateway.become_(&unrelated).await;
    until(&gateway, 200, || basic("bcrypt:other")).await;
    let changed = unrelated.set("middlewares/auth/realm", "another");
    let refused = gateway.reload(changed.config()).await.unwrap_err();
    let refused = refused.to_string();
    assert!(refused.starts_with("middleware `auth`: "), "{refused}");
    assert!(
        refused.contains("file: line 1: the bcrypt cost is 31, and"),
        "{refused}"
    );
    until(&gateway, 200, || basic("bcrypt:other")).await;
}

/// `secret`, with a cost at which a hash takes its time.
const SLOW: &str = "slow:$2y$11$abcdefghijklmnopqrstuuViuGI07N4McP9Kl.tD6XMEzyuvcY8LG\n";

/// Sends wrong passwords, and says what the first answer is.
async fn flood(client: &mut Client, count: usize) -> (StatusCode, JoinSet<StatusCode>) {
    let mut answers = JoinSet::new();
    for number in 0..count {
        let response = client.begin(basic(&format!("slow:{number}"))).await;
        answers.spawn(async move { response.await.unwrap().status() });
    }
    let first = within("an answer", answers.join_next()).await;
    (first.unwrap().unwrap(), answers)
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_gets_503_and_those_who_are_known_pass() {
    let server = Server::start().await;
    let file = File::new(SLOW);
    let users = json!({ "type": "basic-auth", "users_file": file.path() });
    let setup = with(&server, users).route("open", "PathPrefix(`/open`)", "backend");
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    assert_eq!(client.ask(basic("slow:secret")).await.status, 200);
    // More than have a place, and these keep it.
    let mut attacker = gateway.h2().await;
    let (status, answers) = flood(&mut attacker, 100).await;
    assert_eq!(status, 503);
    // An unrelated change leaves the row and what is remembered; nothing else waits.
    let unrelated = setup.clone().set("entrypoints/web/max_connections", 100);
    gateway.become_(&unrelated).await;
    let (status, more) = flood(&mut attacker, 30).await;
    assert_eq!(status, 503);
    assert_eq!(client.ask(basic("slow:secret")).await.status, 200);
    assert_eq!(client.get("/open").await.status, 200);
    // A change of the middleware begins anew: whoever comes has a place, and is hashed.
    gateway
        .become_(&unrelated.set("middlewares/auth/realm", "another"))
        .await;
    drop((answers, more));
    let (status, _answers) = flood(&mut attacker, 30).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn the_admin_api_shows_no_secret() {
    let file = File::new(USERS);
    let gateway = Setup::to("http://127.0.0.1:1")
        .admin()
        .set(
            "middlewares/keys",
            json!({ "type": "api-key", "keys": ["hunter2"], "hashed_keys": { "a": S3CRET } }),
        )
        .set(
            "middlewares/users",
            json!({ "type": "basic-auth", "username": "ann", "password": "hunter2", "users_file": file.path() }),
        )
        .set("routers/all/middlewares", json!(["keys", "users"]))
        .start()
        .await;
    let config = gateway.admin("/api/gateway/config").await;
    let expected = json!({
        "type": "api-key", "header": "x-api-key", "keys": ["***"], "hashed_keys": { "a": "***" }, "hide": false,
    });
    assert_eq!(config["middlewares"]["keys"], expected);
    assert_eq!(config["middlewares"]["users"]["password"], "***");
    let text = format!("{config} {:?}", gateway.config());
    for secret in ["hunter2", S3CRET] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_gateway_does_not_start_on_a_file_that_is_of_no_use() {
    let file = File::new("ann:in plain text\n");
    let path = file.path();
    for (kind, key, error) in [
        (
            "basic-auth",
            "users_file",
            "line 1: the password is not hashed, or by the ancient crypt(3): use `htpasswd -B`",
        ),
        (
            "api-key",
            "keys_file",
            "line 1: a digest is 64 hexadecimal digits",
        ),
    ] {
        if kind == "api-key" {
            file.write("ann:sha256:in plain text\n");
        }
        let setup = Setup::to("http://127.0.0.1:1")
            .set("middlewares/auth", json!({ "type": kind, key: path }))
            .set("routers/all/middlewares", json!(["auth"]));
        let config: GatewayConfig = setup.config();
        let refused = Gateway::validate(&config).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("middleware `auth`: {}: {error}", path.display())
        );
        let gateway = Gateway::new(config).unwrap();
        let refused = gateway.start().await.unwrap_err().to_string();
        assert!(!refused.contains("plain text"), "{refused}");
    }
}
