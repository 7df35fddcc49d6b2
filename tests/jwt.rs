//! Tokens in a gateway, with keys in its configuration, in a file, and on a server that rotates them, stalls, fails
//! and comes back.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;
#[path = "../layers/tests/tokens/mod.rs"]
mod tokens;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use a3s_layers::auth::jwt::{Jwks, JwksSettings, JwtLayer};
use a3s_layers::claims::Claims;
use axum::body::Body;
use axum::{Extension, Router, routing::get};
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::tls::Authority;
use support::{Client, Log, Port, Server, Setup, TestGateway, eventually, request, within};
use tokens::{SECRET, Signer, jwks};
use tower::{BoxError, ServiceExt, service_fn};

/// A gateway that asks for a token before its server.
fn with(server: &Server, jwt: Value) -> Setup {
    let mut jwt = jwt;
    jwt["type"] = json!("jwt");
    Setup::to(server)
        .set("middlewares/auth", jwt)
        .set("routers/all/middlewares", json!(["auth"]))
}

fn bearing(token: &str) -> Request<Body> {
    let mut request = request("GET", "/");
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

async fn status(client: &mut Client, token: &str) -> u16 {
    client.ask(bearing(token)).await.status.as_u16()
}

/// Asks until the answer has this status.
async fn until(gateway: &TestGateway, expected: u16, token: &str) {
    within("another answer", async {
        let mut client = gateway.h1().await;
        while status(&mut client, token).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn token(signer: &Signer) -> String {
    signer.token(json!({}))
}

/// What the server of the keys does.
#[derive(Clone)]
enum Doing {
    Answers(u16, Bytes),
    Stalls,
    /// Never comes to an end.
    Floods,
}

/// A server of keys, on a port.
struct Publisher {
    server: Server,
    doing: Arc<Mutex<Doing>>,
}

impl Publisher {
    async fn start<'s>(signers: impl IntoIterator<Item = &'s Signer>) -> Self {
        Self::start_on(signers, None).await
    }

    async fn start_on<'s>(
        signers: impl IntoIterator<Item = &'s Signer>,
        tls: Option<rustls::ServerConfig>,
    ) -> Self {
        let doing = Arc::new(Mutex::new(Doing::Answers(200, jwks(signers).into())));
        let shared = Arc::clone(&doing);
        let handler = move |_: Request<_>| {
            let doing = shared.lock().unwrap().clone();
            async move {
                let body = match doing {
                    Doing::Answers(status, body) => {
                        let response = Response::builder().status(status);
                        return response.body(Body::from(body)).unwrap();
                    }
                    Doing::Stalls => pending().await,
                    Doing::Floods => support::body::long(u64::MAX),
                };
                Response::new(body)
            }
        };
        let server = match tls {
            Some(tls) => Server::https(tls, handler).await,
            None => Server::http(handler).await,
        };
        Self { server, doing }
    }

    fn publish<'s>(&self, signers: impl IntoIterator<Item = &'s Signer>) {
        self.does(Doing::Answers(200, jwks(signers).into()));
    }

    fn does(&self, doing: Doing) {
        *self.doing.lock().unwrap() = doing;
    }

    fn url(&self) -> String {
        format!("{}/.well-known/jwks.json?v=1", self.server)
    }
}

#[tokio::test]
async fn a_secret_is_all_that_is_needed() {
    let server = Server::start().await;
    let gateway = with(&server, json!({ "value": SECRET }))
        .admin()
        .start()
        .await;
    let signer = Signer::new("HS256");
    let good = token(&signer);
    let expired = signer.token(json!({ "exp": 1 }));
    let stranger = token(&Signer::with_secret(
        "HS256",
        "another secret of thirty-two bytes",
    ));
    let none = signer.token_with(json!({ "alg": "none" }), "{}");
    for mut client in [gateway.h1().await, gateway.h2().await] {
        for (token, expected) in [
            (&good, 200),
            (&expired, 401),
            (&stranger, 401),
            (&none, 401),
            (&token(&Signer::new("HS512")), 401),
            (&token(&Signer::new("RS256")), 401),
            (&good, 200),
        ] {
            assert_eq!(status(&mut client, token).await, expected);
        }
        let reply = client.get("/").await;
        assert_eq!(reply.status, 401);
        assert_eq!(
            reply.headers["www-authenticate"],
            "Bearer realm=\"gateway\""
        );
        assert_eq!(
            reply.body,
            "{\"error\":\"a bearer token is required\",\"status\":401}\n"
        );
        let reply = client.ask(bearing(&expired)).await;
        assert_eq!(
            reply.headers["www-authenticate"],
            "Bearer realm=\"gateway\", error=\"invalid_token\", error_description=\"the token has expired\""
        );
        let mut call = bearing("a.b.c");
        let grpc = "application/grpc".parse().unwrap();
        call.headers_mut().insert("content-type", grpc);
        let reply = client.ask(call).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.headers["grpc-status"]),
            (200, &"16".parse().unwrap())
        );
    }
    assert_eq!(server.requests(), 4);
    let authorization = server.last().header("authorization");
    assert_eq!(authorization, Some(format!("Bearer {good}")));
    let shown = gateway.admin("/api/gateway/config").await.to_string();
    assert!(shown.contains("***") && !shown.contains("horse"), "{shown}");
}

#[tokio::test]
async fn the_query_of_a_url_is_shown_to_nobody_and_sent() {
    let (server, keys) = (Server::start().await, Server::start().await);
    let url = |key: &str| json!({ "jwks_url": format!("{keys}/jwks?api={key}") });
    let gateway = with(&server, url("TOPSECRET")).admin().start().await;
    eventually("the keys are asked for", || keys.requests() > 0).await;
    assert_eq!(keys.last().target, "/jwks?api=TOPSECRET");
    let shown = gateway.admin("/api/gateway/config").await;
    let shown = shown.to_string();
    assert!(shown.contains(&format!("{keys}/jwks?***")), "{shown}");
    assert!(!shown.contains("TOPSECRET"), "{shown}");
    // Another key is another URL.
    gateway
        .become_(&with(&server, url("another")).admin())
        .await;
    eventually("they are asked for anew", || {
        keys.last().target == "/jwks?api=another"
    })
    .await;
}

#[tokio::test]
async fn what_a_client_writes_by_hand_gets_no_further() {
    let server = Server::start().await;
    let gateway = with(&server, json!({ "value": SECRET })).start().await;
    let good = token(&Signer::new("HS256"));
    let long = "a".repeat(20_000);
    for lines in [
        "authorization: Bearer \u{0}\r\n".to_owned(),
        format!("authorization: Bearer {good}\r\nauthorization: Bearer {good}\r\n"),
        format!("authorization: Bearer {good}\r\nAUTHORIZATION: Basic YTpi\r\n"),
        format!("authorization: Bearer {good} {good}\r\n"),
        format!("authorization: Bearer\t{good}\r\n"),
        format!("authorization : Bearer {good}\r\n"),
        format!("authorization: Bearer {long}\r\n"),
        format!("authorization: Bearer {long}.{long}.{long}\r\n"),
        "authorization: Bearer \u{fc}.\u{fc}.\u{fc}\r\n".to_owned(),
    ] {
        let answer = gateway
            .ask(format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n"))
            .await;
        let status = answer.status();
        assert!(
            [400, 401, 431].contains(&status),
            "{status} for {lines:.80?}"
        );
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_server_is_told_what_a_token_says_and_not_the_token() {
    let server = Server::start().await;
    let jwt = json!({
        "value": SECRET,
        "issuer": "https://id.example",
        "audience": ["shop", "desk"],
        "required_claims": { "scope": ["read write", "admin"], "org.level": [1, 2], "vip": true },
        "claims_to_headers": { "sub": "X-User-Id", "org.roles": "X-Roles" },
        "cookie": "session",
        "query": "token",
        "hide": true,
        "realm": "the shop",
    });
    let gateway = with(&server, jwt).start().await;
    let mut client = gateway.h1().await;
    let signer = Signer::new("HS256");
    let says = |name: &str, value: Value| {
        let mut claims = json!({
            "iss": "https://id.example",
            "aud": "desk",
            "scope": "write openid read",
            "org": { "level": 2, "roles": ["dev", "ops"] },
            "vip": true,
        });
        claims[name] = value;
        signer.token(claims)
    };
    let good = says("sub", json!("ada"));
    let mut ask = request("GET", "/a?x=1&token=t&y");
    let headers = ask.headers_mut();
    let value = format!("bearer {good}").parse().unwrap();
    headers.insert("authorization", value);
    headers.insert("cookie", "a=b; session=x".parse().unwrap());
    for forged in ["x-user-id", "x_user_id", "x-roles", "x_roles"] {
        headers.append(forged, "root".parse().unwrap());
    }
    assert_eq!(client.ask(ask).await.status, 200);
    let seen = server.last();
    assert_eq!(seen.target, "/a?x=1&y");
    for (name, expected) in [
        ("authorization", None),
        ("cookie", Some("a=b")),
        ("x-user-id", Some("ada")),
        ("x_user_id", None),
        ("x-roles", Some("dev,ops")),
        ("x_roles", None),
    ] {
        assert_eq!(seen.header(name).as_deref(), expected, "{name}");
    }
    let mut by_cookie = request("GET", "/");
    let value = format!("session={good}").parse().unwrap();
    by_cookie.headers_mut().insert("cookie", value);
    assert_eq!(client.ask(by_cookie).await.status, 200);
    assert_eq!(client.get(&format!("/?token={good}")).await.status, 200);
    assert_eq!(server.last().target, "/");
    for (name, value, expected) in [
        ("scope", json!("admin"), 200),
        ("scope", json!(["read", "write"]), 200),
        ("scope", json!("read"), 403),
        ("vip", json!(false), 403),
        ("org", json!({ "level": 3 }), 403),
        ("iss", json!("https://id.example/"), 401),
        ("aud", json!(["other"]), 401),
    ] {
        let token = says(name, value);
        assert_eq!(status(&mut client, &token).await, expected, "{name}");
    }
    let reply = client.ask(bearing(&says("vip", Value::Null))).await;
    let challenge = reply.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.starts_with("Bearer realm=\"the shop\", error=\"insufficient_scope\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn a_rate_limit_behind_it_counts_each_subject() {
    let server = Server::start().await;
    let limit =
        json!({ "type": "rate-limit", "rate": 1, "period": "1h", "burst": 2, "key": "claim:sub" });
    let gateway = with(&server, json!({ "value": SECRET }))
        .set("middlewares/limit", limit)
        .set("routers/all/middlewares", json!(["auth", "limit"]))
        .start()
        .await;
    let mut client = gateway.h1().await;
    let signer = Signer::new("HS256");
    for (sub, expected) in [
        ("ada", 200),
        ("bob", 200),
        ("ada", 200),
        ("ada", 429),
        ("bob", 200),
        ("bob", 429),
    ] {
        // Another token of the same subject is no other subject.
        let token = signer.token(json!({ "sub": sub, "jti": server.requests() }));
        assert_eq!(status(&mut client, &token).await, expected, "{sub}");
    }
}

#[tokio::test]
async fn a_file_of_public_keys_is_read_again() {
    let log = Log::start();
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.pem");
    let (old, new) = (Signer::new("ES256"), Signer::new("EdDSA"));
    fs::write(&file, old.pem()).unwrap();
    let jwt = json!({ "public_key_file": file, "algorithms": ["ES256", "EdDSA"] });
    let gateway = with(&server, jwt).start().await;
    let mut client = gateway.h1().await;
    assert_eq!(status(&mut client, &token(&old)).await, 200);
    assert_eq!(status(&mut client, &token(&new)).await, 401);
    // Both, while they change over; then the new one alone.
    fs::write(&file, old.pem() + &new.pem()).unwrap();
    until(&gateway, 200, &token(&new)).await;
    assert_eq!(status(&mut client, &token(&old)).await, 200);
    fs::write(&file, new.pem()).unwrap();
    until(&gateway, 401, &token(&old)).await;
    assert_eq!(status(&mut client, &token(&new)).await, 200);
    // What is of no use changes nothing; what comes after it does.
    let private = new.pem().replace("PUBLIC", "PRIVATE");
    for (useless, why) in [
        ("", "there is no key in it"),
        (&new.pem()[..60], "not a key in PEM form"),
        (&private, "a private key"),
        (&Signer::new("RS256").pem(), "no key in it is for one of"),
    ] {
        fs::write(&file, useless).unwrap();
        within(why, async {
            while !log.take().contains(why) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(status(&mut client, &token(&new)).await, 200);
    }
    fs::remove_file(&file).unwrap();
    fs::write(&file, old.pem()).unwrap();
    until(&gateway, 200, &token(&old)).await;
    assert_eq!(status(&mut client, &token(&new)).await, 401);
}

#[tokio::test]
async fn published_keys_are_there_before_the_first_request_and_change() {
    let server = Server::start().await;
    let (a, b) = (
        Signer::new("ES256").named("a"),
        Signer::new("RS256").named("b"),
    );
    let publisher = Publisher::start([&a]).await;
    let gateway = with(&server, json!({ "jwks_url": publisher.url() }))
        .start()
        .await;
    eventually("the keys are fetched", || publisher.server.requests() == 1).await;
    let asked = publisher.server.last();
    assert_eq!(asked.target, "/.well-known/jwks.json?v=1");
    assert_eq!(
        format!("http://{}", asked.host),
        publisher.server.to_string()
    );
    assert_eq!(
        asked.header("accept").unwrap(),
        "application/jwk-set+json, application/json"
    );
    let mut client = gateway.h2().await;
    assert_eq!(status(&mut client, &token(&a)).await, 200);
    assert_eq!(publisher.server.requests(), 1);
    publisher.publish([&b]);
    assert_eq!(status(&mut client, &token(&b)).await, 200);
    assert_eq!(status(&mut client, &token(&a)).await, 401);
    assert_eq!(publisher.server.requests(), 2);
    // A secret that everybody may read is no key.
    let secret = Signer::new("HS256").named("b");
    publisher.publish([&b, &secret]);
    assert_eq!(status(&mut client, &token(&secret)).await, 401);
}

#[tokio::test]
async fn keys_stay_while_their_server_stalls_and_fails_and_new_ones_come_when_it_is_back() {
    let server = Server::start().await;
    let (a, b) = (
        Signer::new("ES256").named("a"),
        Signer::new("ES256").named("b"),
    );
    let publisher = Publisher::start([&a]).await;
    let jwt = json!({ "jwks_url": publisher.url(), "jwks_timeout": "300ms" });
    let gateway = with(&server, jwt).start().await;
    let mut client = gateway.h1().await;
    assert_eq!(status(&mut client, &token(&a)).await, 200);
    publisher.does(Doing::Stalls);
    // Nobody knows whether this one is good.
    let reply = client.ask(bearing(&token(&b))).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.headers["retry-after"], "1");
    for doing in [Doing::Answers(200, "<html>".into()), Doing::Floods] {
        let before = publisher.server.requests();
        publisher.does(doing);
        eventually("it is asked again", || publisher.server.requests() > before).await;
        assert_eq!(status(&mut client, &token(&a)).await, 200);
        assert_eq!(status(&mut client, &token(&b)).await, 503);
    }
    publisher.publish([&a, &b]);
    until(&gateway, 200, &token(&b)).await;
    assert_eq!(status(&mut client, &token(&a)).await, 200);
}

#[tokio::test]
async fn without_keys_the_answer_is_503_until_there_are_some() {
    let server = Server::start().await;
    let a = Signer::new("ES256").named("a");
    let nobody = Port::reserve();
    let url = format!("http://{}/keys", nobody.address());
    let gateway = with(&server, json!({ "jwks_url": url })).start().await;
    let reply = gateway.h1().await.ask(bearing(&token(&a))).await;
    assert_eq!(reply.status, 503);
    assert!(
        !String::from_utf8_lossy(&reply.body).contains("127.0.0.1"),
        "{reply:?}"
    );
    for doing in [
        Doing::Stalls,
        Doing::Floods,
        Doing::Answers(404, "nothing here".into()),
        Doing::Answers(200, "{\"keys\":[]}".into()),
    ] {
        let publisher = Publisher::start([&a]).await;
        publisher.does(doing);
        let jwt = json!({ "jwks_url": publisher.url(), "jwks_timeout": "300ms" });
        let gateway = with(&server, jwt).start().await;
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(gateway.h1().await);
        }
        let asking = clients
            .iter_mut()
            .map(|client| client.ask(bearing(&token(&a))));
        for asked in asking.collect::<Vec<_>>() {
            assert_eq!(asked.await.status, 503);
        }
        // Who has no token, or none that could be good, is told so.
        let client = &mut clients[0];
        assert_eq!(client.get("/").await.status, 401);
        assert_eq!(status(client, "a.b.c").await, 401);
        publisher.publish([&a]);
        until(&gateway, 200, &token(&a)).await;
    }
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_reaches_nobody() {
    let server = Server::start().await;
    let a = Signer::new("ES256").named("a");
    let publisher = Publisher::start([&a]).await;
    let gateway = with(&server, json!({ "jwks_url": publisher.url() }))
        .start()
        .await;
    let mut client = gateway.h1().await;
    assert_eq!(status(&mut client, &token(&a)).await, 200);
    let claims = json!({ "exp": tokens::now() + 60 }).to_string();
    let begun = std::time::Instant::now();
    for n in 0..300 {
        let forged = a.token_with(json!({ "kid": n.to_string() }), &claims);
        assert_eq!(status(&mut client, &forged).await, 401);
    }
    // Once in five seconds, and the first.
    let most = 2 + begun.elapsed().as_secs() as usize / 5 + 1;
    let asked = publisher.server.requests();
    assert!((2..=most).contains(&asked), "{asked} of {most}");
    assert_eq!(status(&mut client, &token(&a)).await, 200);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn keys_are_fetched_over_tls_from_those_whom_the_configuration_believes() {
    let server = Server::start().await;
    let a = Signer::new("PS384").named("a");
    let authority = Authority::new();
    let tls = authority.server("localhost", &["h2", "http/1.1"], false);
    let publisher = Publisher::start_on([&a], Some(tls)).await;
    let jwt = json!({ "jwks_url": publisher.url(), "tls": { "server_name": "localhost" } });
    let gateway = with(&server, jwt.clone()).start().await;
    assert_eq!(
        gateway.h1().await.ask(bearing(&token(&a))).await.status,
        503
    );
    assert_eq!(publisher.server.requests(), 0);
    let mut jwt = jwt;
    jwt["tls"]["ca_file"] = json!(authority.file());
    gateway.become_(&with(&server, jwt)).await;
    assert_eq!(
        gateway.h1().await.ask(bearing(&token(&a))).await.status,
        200
    );
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_what_has_not_changed() {
    let server = Server::start().await;
    let a = Signer::new("ES256").named("a");
    let publisher = Publisher::start([&a]).await;
    let jwt = |more: &str| {
        with(
            &server,
            json!({ "jwks_url": publisher.url(), "realm": more }),
        )
    };
    let gateway = jwt("one").start().await;
    let mut client = gateway.h1().await;
    assert_eq!(status(&mut client, &token(&a)).await, 200);
    publisher.does(Doing::Answers(500, Bytes::new()));
    // Something else changes.
    let other = json!({ "type": "headers", "security": true });
    let changed = jwt("one")
        .set("middlewares/other", other)
        .set("routers/all/middlewares", json!(["other", "auth"]));
    gateway.become_(&changed).await;
    let reply = client.ask(bearing(&token(&a))).await;
    assert_eq!(reply.status, 200);
    assert!(reply.headers.contains_key("x-frame-options"));
    assert_eq!(publisher.server.requests(), 1);
    // This one changes.
    gateway.become_(&jwt("two")).await;
    assert_eq!(status(&mut client, &token(&a)).await, 503);
    assert!(publisher.server.requests() > 1);
    publisher.publish([&a]);
    until(&gateway, 200, &token(&a)).await;
    // Nobody fetches for a middleware that is gone.
    gateway.become_(&Setup::to(&server)).await;
    publisher.does(Doing::Answers(500, Bytes::new()));
    assert_eq!(status(&mut client, "no token").await, 200);
}

#[test]
fn files_that_verify_nothing_are_told_when_they_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.pem");
    let ec = Signer::new("ES256");
    let private = ec.pem().replace("PUBLIC", "PRIVATE");
    for (text, algorithms, expected) in [
        ("", "[]", "there is no key in it"),
        ("hello", "[]", "there is no key in it"),
        (
            &private,
            "[]",
            "a private key: only the public key is needed, and only that should be here",
        ),
        (
            &ec.pem(),
            "[\"RS256\", \"ES384\"]",
            "no key in it is for one of the `algorithms`",
        ),
        (&ec.pem(), "[\"RS256\", \"ES256\"]", ""),
    ] {
        fs::write(&file, text).unwrap();
        let config = format!(
            "entrypoints \"web\" {{ address = \"127.0.0.1:0\" }}\n\
             routers \"r\" {{\n rule = \"PathPrefix(`/`)\"\n service = \"s\"\n middlewares = [\"auth\"]\n}}\n\
             services \"s\" {{\n respond {{ }}\n}}\n\
             middlewares \"auth\" {{\n type = \"jwt\"\n public_key_file = {:?}\n algorithms = {algorithms}\n}}\n",
            file.display().to_string(),
        );
        let config = GatewayConfig::from_hcl(&config).unwrap();
        let told = Gateway::validate(&config).err();
        let told = told.map_or(String::new(), |error| error.to_string());
        assert_eq!(told.is_empty(), expected.is_empty(), "{told}");
        assert!(told.ends_with(expected), "{told}");
        assert!(
            expected.is_empty() || told.starts_with("middleware `auth`: "),
            "{told}"
        );
    }
}

/// Any HTTP client would do: this one connects anew for each request.
async fn simple(mut request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
    let authority = request.uri().authority().ok_or("no server")?.to_string();
    let io = tokio::net::TcpStream::connect(&authority).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    request.headers_mut().insert(HOST, authority.parse()?);
    Ok(sender.send_request(request).await?)
}

#[tokio::test]
async fn an_axum_app_has_keys_over_a_client_of_its_own() {
    let (a, b) = (
        Signer::new("ES384").named("a"),
        Signer::new("EdDSA").named("b"),
    );
    let publisher = Publisher::start([&a]).await;
    let url = publisher.url().parse().unwrap();
    let settings = JwksSettings {
        timeout: Duration::from_millis(300),
        ..JwksSettings::default()
    };
    let jwks = Jwks::new(service_fn(simple), url, settings);
    let hello =
        async |Extension(claims): Extension<Claims>| claims.text("sub").unwrap().into_owned();
    let app: Router = Router::new()
        .route("/", get(hello))
        .layer(JwtLayer::new(jwks));
    let ask = async |token: &str| {
        let response: Result<_, Infallible> = app.clone().oneshot(bearing(token)).await;
        response.unwrap().status().as_u16()
    };
    publisher.does(Doing::Stalls);
    assert_eq!(ask(&token(&a)).await, 503);
    publisher.publish([&a]);
    within("the keys are fetched", async {
        while ask(&token(&a)).await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    publisher.publish([&a, &b]);
    assert_eq!(ask(&token(&b)).await, 200);
    assert_eq!(ask(&token(&a)).await, 200);
}
