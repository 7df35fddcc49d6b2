//! `auth::jwt` with keys that somebody publishes: a server that the test plays, on a clock that the test turns.

#![cfg(feature = "jwt")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod tokens;

use a3s_layers::auth::jwt::{Algorithm, Jwks, JwksSettings, JwtLayer, MAX_JWKS_BYTES};
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokens::{Signer, jwks};
use tokio::task::JoinSet;
use tokio::time::{Instant, advance};
use tokio_test::task::spawn;
use tower::{Layer, ServiceExt, service_fn};

/// What the server of the keys does.
#[derive(Clone)]
enum Doing {
    /// Answers with this.
    Answers(u16, Option<u64>, Bytes),
    /// Breaks off.
    Fails,
    /// Takes the request and says nothing.
    Stalls,
    /// Says that it will answer, and does not.
    StallsInBody,
    /// Never comes to an end.
    Floods,
}

/// A server of keys.
#[derive(Clone)]
struct Publisher {
    doing: Arc<Mutex<Doing>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    fn of<'s>(signers: impl IntoIterator<Item = &'s Signer>) -> Self {
        let publisher = Self {
            doing: Arc::new(Mutex::new(Doing::Fails)),
            asked: Arc::default(),
        };
        publisher.publish(signers);
        publisher
    }

    fn publish<'s>(&self, signers: impl IntoIterator<Item = &'s Signer>) {
        self.answers(200, jwks(signers));
    }

    fn answers(&self, status: u16, body: impl Into<Bytes>) {
        self.does(Doing::Answers(status, None, body.into()));
    }

    fn does(&self, doing: Doing) {
        *self.doing.lock().unwrap() = doing;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn jwks(&self, settings: JwksSettings) -> Jwks {
        let Self { doing, asked } = self.clone();
        let client = service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri(), "http://id.example/keys?v=1");
            assert_eq!(request.method(), "GET");
            asked.fetch_add(1, Ordering::Relaxed);
            let doing = doing.lock().unwrap().clone();
            async move {
                match doing {
                    Doing::Answers(status, max_age, body) => {
                        let mut response = Response::builder().status(status);
                        if let Some(seconds) = max_age {
                            let value = format!("public, max-age={seconds}");
                            response = response.header("cache-control", value);
                        }
                        Ok(response.body(Body::from(body)).unwrap())
                    }
                    Doing::Fails => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                    Doing::Stalls => pending().await,
                    Doing::StallsInBody => Ok(Response::new(Body::new(Endless(None)))),
                    Doing::Floods => {
                        let some = Bytes::from(vec![b' '; 64 * 1024]);
                        Ok(Response::new(Body::new(Endless(Some(some)))))
                    }
                }
            }
        });
        let url = "http://id.example/keys?v=1".parse().unwrap();
        Jwks::new(client, url, settings)
    }

    fn layer(&self) -> JwtLayer {
        JwtLayer::new(self.jwks(JwksSettings::default()))
    }
}

/// A body that goes on for ever, or does not go on.
struct Endless(Option<Bytes>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &self.0 {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.clone())))),
            None => Poll::Pending,
        }
    }
}

fn inner(_: Request<()>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::empty())))
}

fn ask(layer: &JwtLayer, token: &str) -> impl Future<Output = u16> + Send + use<> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let request = request.body(()).unwrap();
    let response = layer.layer(service_fn(inner)).oneshot(request);
    async move { response.await.unwrap().status().as_u16() }
}

fn es256(id: &'static str) -> Signer {
    Signer::new("ES256").named(id)
}

fn token(signer: &Signer) -> String {
    signer.token(json!({}))
}

/// A token that says that it is signed with a key of this name.
fn claiming(signer: &Signer, id: &str) -> String {
    let claims = json!({ "exp": tokens::now() + 60 }).to_string();
    signer.token_with(json!({ "kid": id }), &claims)
}

async fn seconds(count: u64) {
    advance(Duration::from_secs(count)).await;
    // What has become due runs.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_requests_wait_for_one_fetch() {
    let a = es256("a");
    let publisher = Publisher::of([&a]);
    let layer = publisher.layer();
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        requests.spawn(ask(&layer, &token(&a)));
    }
    assert!(
        requests
            .join_all()
            .await
            .iter()
            .all(|status| *status == 200)
    );
    assert_eq!(publisher.asked(), 1);
    assert_eq!(ask(&layer, &token(&a)).await, 200);
    assert_eq!(publisher.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_layer_applied_twice_shares_its_state() {
    let a = es256("a");
    let publisher = Publisher::of([&a]);
    let layer = publisher.layer();
    let service = layer.layer(service_fn(inner));
    for service in [layer.layer(service_fn(inner)), service.clone(), service] {
        let request = Request::get("/").header("authorization", format!("Bearer {}", token(&a)));
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(publisher.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_key_could_make_good_waits_for_none() {
    let a = es256("a");
    let publisher = Publisher::of([]);
    publisher.does(Doing::Stalls);
    let layer = publisher.layer();
    let secret = Signer::new("HS256").named("a");
    let none = a.token_with(json!({ "alg": "none" }), "{}");
    let begun = Instant::now();
    for token in ["", "x", "a.b.c", &none, &token(&secret)] {
        assert_eq!(ask(&layer, token).await, 401);
    }
    let told = publisher.layer().algorithms([Algorithm::Rs256]);
    assert_eq!(ask(&told, &token(&a)).await, 401);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    seconds(0).await;
    assert_eq!(publisher.asked(), 2, "once for each layer, when first used");
}

#[tokio::test(start_paused = true)]
async fn while_there_are_no_keys_the_answer_is_503() {
    let a = es256("a");
    let publisher = Publisher::of([]);
    let layer = publisher.layer();
    for doing in [
        Doing::Fails,
        Doing::Stalls,
        Doing::StallsInBody,
        Doing::Floods,
        Doing::Answers(500, None, jwks([&a]).into()),
        Doing::Answers(302, None, jwks([&a]).into()),
        Doing::Answers(204, None, Bytes::new()),
        Doing::Answers(200, None, Bytes::new()),
        Doing::Answers(200, None, "<html>".into()),
        Doing::Answers(200, None, "[]".into()),
        Doing::Answers(200, None, "{\"keys\":{}}".into()),
        Doing::Answers(200, None, "{\"keys\":[]}".into()),
        Doing::Answers(200, None, "{\"keys\":[1, null, {}]}".into()),
        Doing::Answers(200, None, "[".repeat(100_000).into()),
        Doing::Answers(200, None, (jwks([&a]) + &" ".repeat(MAX_JWKS_BYTES)).into()),
    ] {
        publisher.does(doing);
        let before = publisher.asked();
        let begun = Instant::now();
        assert_eq!(ask(&layer, &token(&a)).await, 503);
        assert!(
            begun.elapsed() <= Duration::from_millis(5010),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(publisher.asked(), before + 1);
        // For a moment nobody tries again, and nobody waits.
        let begun = Instant::now();
        assert_eq!(ask(&layer, &token(&a)).await, 503);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(publisher.asked(), before + 1);
        seconds(6).await;
    }
    let response = {
        let request = Request::get("/").header("authorization", format!("Bearer {}", token(&a)));
        let service = layer.layer(service_fn(inner));
        service.oneshot(request.body(()).unwrap()).await.unwrap()
    };
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(!response.headers().contains_key("www-authenticate"));
    publisher.publish([&a]);
    seconds(6).await;
    assert_eq!(ask(&layer, &token(&a)).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_a_fetch_takes() {
    let a = es256("a");
    let publisher = Publisher::of([]);
    publisher.does(Doing::Stalls);
    let settings = JwksSettings {
        timeout: Duration::from_millis(300),
        ..JwksSettings::default()
    };
    let layer = JwtLayer::new(publisher.jwks(settings));
    let mut requests = JoinSet::new();
    for _ in 0..3 {
        let request = ask(&layer, &token(&a));
        requests.spawn(async {
            let begun = Instant::now();
            (request.await, begun.elapsed())
        });
        advance(Duration::from_millis(100)).await;
    }
    for (status, waited) in requests.join_all().await {
        assert_eq!(status, 503);
        assert!(waited <= Duration::from_millis(301), "{waited:?}");
    }
    assert_eq!(publisher.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_when_the_request_that_began_it_is_gone() {
    let a = es256("a");
    let publisher = Publisher::of([&a]);
    let layer = publisher.layer();
    let mut request = spawn(ask(&layer, &token(&a)));
    assert!(request.poll().is_pending());
    drop(request);
    seconds(0).await;
    publisher.does(Doing::Fails);
    assert_eq!(ask(&layer, &token(&a)).await, 200);
    assert_eq!(publisher.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_requests_wait() {
    let a = es256("a");
    let publisher = Publisher::of([]);
    publisher.does(Doing::Stalls);
    let layer = publisher.layer();
    let mut waiting: Vec<_> = (0..1024).map(|_| spawn(ask(&layer, &token(&a)))).collect();
    assert!(
        waiting
            .iter_mut()
            .all(|request| request.poll().is_pending())
    );
    let begun = Instant::now();
    assert_eq!(ask(&layer, &token(&a)).await, 503);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(waiting.pop());
    let mut next = spawn(ask(&layer, &token(&a)));
    assert!(next.poll().is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_new_is_fetched_and_one_that_is_gone_is_gone() {
    let (a, b) = (es256("a"), es256("b"));
    let publisher = Publisher::of([&a]);
    let layer = publisher.layer();
    assert_eq!(ask(&layer, &token(&a)).await, 200);
    publisher.publish([&b]);
    assert_eq!(ask(&layer, &token(&a)).await, 200);
    assert_eq!(ask(&layer, &token(&b)).await, 200);
    assert_eq!(publisher.asked(), 2);
    // It was remembered, and is not believed for that.
    assert_eq!(ask(&layer, &token(&a)).await, 401);
    assert_eq!(ask(&layer, &token(&b)).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_is_no_flood_of_fetches() {
    let a = es256("a");
    let publisher = Publisher::of([&a]);
    let layer = publisher.layer();
    assert_eq!(ask(&layer, &token(&a)).await, 200);
    for second in 0..60 {
        for n in 0..20 {
            let forged = claiming(&a, &format!("{second}-{n}"));
            assert_eq!(ask(&layer, &forged).await, 401);
        }
        seconds(1).await;
    }
    // Once in five seconds.
    assert!(
        (11..=14).contains(&publisher.asked()),
        "{}",
        publisher.asked()
    );
    // And none of it is in the way of those with a key.
    assert_eq!(ask(&layer, &token(&a)).await, 200);
}

#[tokio::test(start_paused = true)]
async fn an_old_key_is_asked_for_now_and_then_and_a_new_one_at_once() {
    let (a, old, new) = (es256("a"), es256("old"), es256("new"));
    let publisher = Publisher::of([&a]);
    let layer = publisher.layer();
    for _ in 0..60 {
        assert_eq!(ask(&layer, &token(&old)).await, 401);
        seconds(1).await;
    }
    // With the first request, and after thirty seconds.
    assert_eq!(publisher.asked(), 2);
    publisher.publish([&a, &new]);
    seconds(5).await;
    assert_eq!(ask(&layer, &token(&new)).await, 200);
    assert_eq!(publisher.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_stay_while_their_server_is_away() {
    let (a, b) = (es256("a"), es256("b"));
    let publisher = Publisher::of([&a]);
    let jwks = publisher.jwks(JwksSettings::default());
    let upkeep = tokio::spawn(jwks.upkeep());
    let layer = JwtLayer::new(jwks);
    assert_eq!(ask(&layer, &token(&a)).await, 200);
    for doing in [
        Doing::Fails,
        Doing::Stalls,
        Doing::Answers(503, None, Bytes::new()),
        Doing::Answers(200, None, "{\"keys\":[]}".into()),
        Doing::Answers(200, None, "not at home".into()),
    ] {
        publisher.does(doing);
        for _ in 0..100 {
            seconds(60).await;
            let begun = Instant::now();
            assert_eq!(ask(&layer, &token(&a)).await, 200);
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
    }
    // Whether the other one is good nobody can say.
    assert_eq!(ask(&layer, &token(&b)).await, 503);
    let before = publisher.asked();
    publisher.publish([&b]);
    seconds(6).await;
    assert!(publisher.asked() > before);
    assert_eq!(ask(&layer, &token(&b)).await, 200);
    assert_eq!(ask(&layer, &token(&a)).await, 401);
    upkeep.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_asked_every_few_seconds() {
    let publisher = Publisher::of([]);
    publisher.does(Doing::Fails);
    let jwks = publisher.jwks(JwksSettings::default());
    let upkeep = tokio::spawn(jwks.upkeep());
    for _ in 0..100 {
        seconds(1).await;
    }
    assert!(
        (17..=30).contains(&publisher.asked()),
        "{}",
        publisher.asked()
    );
    upkeep.abort();
}

#[tokio::test(start_paused = true)]
async fn upkeep_fetches_before_keys_are_old_and_ends_with_the_layer() {
    let a = es256("a");
    let fetches = async |max_age: Option<u64>| {
        let publisher = Publisher::of([]);
        publisher.does(Doing::Answers(200, max_age, jwks([&a]).into()));
        let jwks = publisher.jwks(JwksSettings {
            refresh: Duration::from_secs(100),
            ..JwksSettings::default()
        });
        let upkeep = tokio::spawn(jwks.upkeep());
        let layer = JwtLayer::new(jwks);
        for _ in 0..1000 {
            seconds(1).await;
        }
        assert!(!upkeep.is_finished());
        // Nobody waits for the first request, nor it for anybody.
        publisher.does(Doing::Stalls);
        assert_eq!(ask(&layer, &token(&a)).await, 200);
        drop(layer);
        seconds(1).await;
        assert!(upkeep.is_finished());
        publisher.asked()
    };
    // At nine to ten tenths of the time.
    for (max_age, expected) in [
        (None, 10..=12),
        (Some(50), 20..=23),
        (Some(1_000_000), 10..=12),
        (Some(1), 33..=38),
        (Some(0), 33..=38),
    ] {
        let asked = fetches(max_age).await;
        assert!(expected.contains(&asked), "{max_age:?}: {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_upkeep_old_keys_serve_while_new_ones_come() {
    let (a, b) = (es256("a"), es256("b"));
    let publisher = Publisher::of([&a, &b]);
    let layer = publisher.layer();
    assert_eq!(ask(&layer, &token(&b)).await, 200);
    seconds(599 * 9 / 10).await;
    assert_eq!(ask(&layer, &token(&b)).await, 200);
    assert_eq!(publisher.asked(), 1);
    publisher.publish([&a]);
    seconds(600).await;
    assert_eq!(publisher.asked(), 1, "nobody came");
    assert_eq!(ask(&layer, &token(&b)).await, 200);
    seconds(0).await;
    assert_eq!(publisher.asked(), 2);
    assert_eq!(ask(&layer, &token(&b)).await, 401);
}

/// A key as a set has it, with something changed.
fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

#[tokio::test(start_paused = true)]
async fn a_key_is_used_for_what_the_set_says_and_a_bad_one_spoils_no_other() {
    let good = es256("good");
    let rsa = Signer::new("RS256").named("key");
    let pss = Signer::new("PS256").named("key");
    let ec = es256("key");
    let p384 = Signer::new("ES384").named("key");
    let p521 = Signer::new("ES512").named("key");
    let ed = Signer::new("EdDSA").named("key");
    let secret = Signer::new("HS256").named("key");
    let (x, y) = (ec.jwk()["x"].clone(), ec.jwk()["y"].clone());
    let long_e = tokens::encode([1; 64]);
    for (jwk, signer, passes) in [
        (rsa.jwk(), &rsa, true),
        (rsa.jwk(), &pss, true),
        (ec.jwk(), &ec, true),
        (p384.jwk(), &p384, true),
        (p521.jwk(), &p521, true),
        (ed.jwk(), &ed, true),
        (with(rsa.jwk(), "alg", json!("RS256")), &rsa, true),
        (with(rsa.jwk(), "alg", json!("RS256")), &pss, false),
        (with(rsa.jwk(), "alg", json!("RS512")), &rsa, false),
        (with(rsa.jwk(), "alg", json!("RSA-OAEP")), &rsa, false),
        (with(rsa.jwk(), "alg", json!("HS256")), &rsa, false),
        (with(rsa.jwk(), "alg", json!(1)), &rsa, false),
        (with(ed.jwk(), "alg", json!("Ed25519")), &ed, true),
        (with(ec.jwk(), "alg", json!("ES384")), &ec, false),
        (with(ec.jwk(), "use", json!("sig")), &ec, true),
        (with(ec.jwk(), "use", json!("enc")), &ec, false),
        (
            with(ec.jwk(), "key_ops", json!(["sign", "verify"])),
            &ec,
            true,
        ),
        (with(ec.jwk(), "key_ops", json!(["sign"])), &ec, false),
        (with(ec.jwk(), "key_ops", json!([])), &ec, false),
        (with(ec.jwk(), "crv", json!("P-384")), &ec, false),
        (with(ec.jwk(), "crv", json!("secp256k1")), &ec, false),
        (with(ec.jwk(), "crv", Value::Null), &ec, false),
        (with(ec.jwk(), "kty", json!("OKP")), &ec, false),
        (with(ec.jwk(), "kty", Value::Null), &ec, false),
        (with(ec.jwk(), "y", x), &ec, false),
        (with(ec.jwk(), "x", y), &ec, false),
        (with(ec.jwk(), "x", json!("!")), &ec, false),
        (with(ed.jwk(), "x", json!("AAAA")), &ed, false),
        (with(ed.jwk(), "crv", json!("Ed448")), &ed, false),
        (with(rsa.jwk(), "n", json!("AQAB")), &rsa, false),
        (with(rsa.jwk(), "n", json!("")), &rsa, false),
        (with(rsa.jwk(), "e", json!("")), &rsa, false),
        (with(rsa.jwk(), "e", json!(long_e)), &rsa, false),
        (with(rsa.jwk(), "e", json!("AAABAAE=")), &rsa, true),
        (with(rsa.jwk(), "kid", json!("other")), &rsa, false),
        (with(rsa.jwk(), "kid", json!(1)), &rsa, false),
        (with(rsa.jwk(), "d", json!("private")), &rsa, true),
        // A secret that anybody can read is none.
        (secret.jwk(), &secret, false),
        (json!("key"), &ec, false),
        (Value::Null, &ec, false),
    ] {
        let publisher = Publisher::of([]);
        publisher.answers(
            200,
            json!({ "keys": [jwk, good.jwk()], "more": 1 }).to_string(),
        );
        let layer = publisher.layer().algorithms(Algorithm::ALL);
        let expected = if passes { 200 } else { 401 };
        assert_eq!(ask(&layer, &token(signer)).await, expected, "{jwk}");
        assert_eq!(ask(&layer, &token(&good)).await, 200, "{jwk}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_found_by_name_and_tried_where_there_is_none() {
    let nameless = || Signer::new("ES256");
    let (a, b) = (es256("a"), es256("b"));
    let (one, other) = (nameless(), nameless());
    let rsa = Signer::new("RS256").named("a");
    let publisher = Publisher::of([&a, &b, &one, &rsa]);
    let layer = publisher.layer();
    let claims = json!({ "exp": tokens::now() + 60 }).to_string();
    let unnamed = |signer: &Signer| signer.token_with(json!({ "kid": null }), &claims);
    for (token, expected) in [
        (token(&a), 200),
        // Two keys of one name, of two kinds.
        (token(&rsa), 200),
        (token(&one), 200),
        // A token that names no key may be signed with any, one that names one with no other.
        (unnamed(&b), 200),
        (claiming(&b, "a"), 401),
        (claiming(&a, "b"), 401),
        // One whose key has no name may name it.
        (claiming(&one, "mine"), 200),
        (token(&other), 401),
        (claiming(&other, "mine"), 401),
        (claiming(&a, "A"), 401),
        (claiming(&a, ""), 401),
    ] {
        assert_eq!(ask(&layer, &token).await, expected, "{token}");
    }
    // A set whose keys have no names may change as well.
    publisher.publish([&other]);
    seconds(35).await;
    assert_eq!(ask(&layer, &token(&other)).await, 200);
    assert_eq!(ask(&layer, &token(&one)).await, 401);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_keys_are_taken() {
    let many: Vec<_> = (0..130).map(|_| es256("same")).collect();
    let publisher = Publisher::of(&many);
    let layer = publisher.layer();
    assert_eq!(ask(&layer, &token(&many[7])).await, 200);
    assert_eq!(ask(&layer, &token(&many[8])).await, 401, "eight are tried");
    let nameless: Vec<_> = (0..12).map(|_| Signer::new("ES256")).collect();
    let named = es256("named");
    let publisher = Publisher::of(nameless.iter().chain([&named]));
    let layer = publisher.layer();
    assert_eq!(ask(&layer, &token(&nameless[7])).await, 200);
    assert_eq!(ask(&layer, &token(&nameless[8])).await, 401);
    assert_eq!(ask(&layer, &token(&named)).await, 200);
}

#[test]
fn without_a_runtime_there_are_no_keys_and_no_panic() {
    let a = es256("a");
    let publisher = Publisher::of([&a]);
    let layer = publisher.layer();
    let mut request = spawn(ask(&layer, &token(&a)));
    assert_eq!(request.poll(), Poll::Ready(503));
    assert_eq!(publisher.asked(), 0);
}
