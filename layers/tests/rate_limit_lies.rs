//! `rate_limit::distributed` on a Redis that lies.

#![cfg(feature = "redis")]
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "a test that fails may panic, and uses a part of what tests share"
)]

#[path = "../../tests/support/fake_redis.rs"]
mod fake_redis;

use a3s_layers::rate_limit::distributed::{OnError, RedisRateLimitLayer, RedisServer};
use a3s_layers::rate_limit::{Limit, Policy};
use axum::body::Body;
use fake_redis::{Answer, FakeRedis};
use http::{Request, Response};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

fn layer(redis: &FakeRedis) -> RedisRateLimitLayer {
    let limit = Limit::new(10.0, Duration::from_secs(3600)).unwrap();
    let server = RedisServer::new(&redis.url()).unwrap();
    let nobody = "header:x-tenant".parse().unwrap();
    RedisRateLimitLayer::new(Policy::new(limit), nobody, server).timeout(PATIENCE)
}

fn app(layer: &RedisRateLimitLayer) -> App {
    let inner = service_fn(|_: Request<Body>| async { Ok(Response::new(Body::from("hello"))) });
    BoxCloneSyncService::new(layer.layer(inner))
}

async fn send(app: &App) -> Response<Body> {
    let request = Request::new(Body::empty());
    app.clone().oneshot(request).await.unwrap()
}

/// Answers with this to whatever is counted, and expects that nothing is made of it.
async fn is_an_error(answer: &'static str) {
    let redis = FakeRedis::start(move |name| match name {
        "EVALSHA" => answer.into(),
        _ => "+OK\r\n".into(),
    })
    .await;
    for (on_error, expected) in [(OnError::Allow, 200), (OnError::Deny, 503)] {
        let app = app(&layer(&redis).on_error(on_error));
        let start = Instant::now();
        for _ in 0..2 {
            let response = send(&app).await;
            assert_eq!(response.status(), expected, "{answer:?}");
            assert!(!response.headers().contains_key("ratelimit"));
        }
        assert!(start.elapsed() < PATIENCE, "{answer:?} was waited for");
    }
}

#[tokio::test]
async fn a_script_that_is_not_there_is_sent_once() {
    let redis = FakeRedis::start(|name| match name {
        "EVALSHA" => "-NOSCRIPT No matching script.\r\n".into(),
        "EVAL" => "*3\r\n:1\r\n:9\r\n:0\r\n".into(),
        _ => "-ERR what?\r\n".into(),
    })
    .await;
    let response = send(&app(&layer(&redis).prefix("p:"))).await;
    assert_eq!(response.headers()["ratelimit"], r#""default";r=9;t=3240"#);
    let commands = redis.commands();
    let [by_hash, whole] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert_eq!(by_hash[0], "EVALSHA");
    assert!(by_hash[1].len() == 40 && by_hash[1].bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(whole[0] == "EVAL" && whole[1].contains("redis.call('TIME')"));
    assert_eq!(by_hash[2..], ["1", "p:none", "360000000.0", "10"]);
    assert_eq!(by_hash[2..], whole[2..]);
}

#[tokio::test]
async fn one_that_has_no_script_and_takes_any_is_an_error() {
    is_an_error("-NOSCRIPT No matching script.\r\n").await;
}

#[tokio::test]
async fn an_answer_that_means_nothing_is_an_error() {
    for answer in [
        "+OK\r\n",
        "$-1\r\n",
        "$1\r\n1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n:1\r\n:1\r\n",
        "*4\r\n:1\r\n:1\r\n:0\r\n:0\r\n",
        "*3\r\n:1\r\n:-5\r\n:0\r\n",
        "*3\r\n:0\r\n:0\r\n:-1\r\n",
        "*3\r\n:2\r\n:0\r\n:0\r\n",
        "*3\r\n$1\r\n1\r\n:1\r\n:0\r\n",
        "*3\r\n:1\r\n-ERR no\r\n:0\r\n",
        ":99999999999999999999\r\n",
        "nonsense\r\n",
    ] {
        is_an_error(answer).await;
    }
}

#[tokio::test]
async fn what_is_left_and_how_long_to_wait_is_within_the_limit() {
    let told = |answer: &'static str| async move {
        let redis = FakeRedis::start(move |name| match name {
            "EVALSHA" => answer.into(),
            _ => "+OK\r\n".into(),
        })
        .await;
        let response = send(&app(&layer(&redis))).await;
        let field = |name| {
            let value = response.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        (field("ratelimit").unwrap(), field("retry-after"))
    };
    let (fields, _) = told("*3\r\n:1\r\n:99999999999\r\n:0\r\n").await;
    assert_eq!(fields, r#""default";r=10;t=3600"#);
    let (fields, retry_after) = told("*3\r\n:0\r\n:0\r\n:9223372036854775807\r\n").await;
    assert_eq!(fields, r#""default";r=0;t=3600"#);
    assert_eq!(retry_after.as_deref(), Some("3600"));
}

#[tokio::test]
async fn an_answer_without_end_is_not_taken() {
    let endless = |start: &'static str, rest: &'static str| {
        move |name: &str| match name {
            "EVALSHA" => Answer::Endless([start, rest].concat().into_bytes()),
            _ => "+OK\r\n".into(),
        }
    };
    let zeros: &str = "0".repeat(64 * 1024).leak();
    for (start, rest) in [
        ("$500000000\r\n", zeros),
        ("+", zeros),
        ("*999999999\r\n", ":1\r\n".repeat(10_000).leak()),
        // Answers that nobody has asked for.
        ("", ":1\r\n:1\r\n".repeat(10_000).leak()),
    ] {
        let redis = FakeRedis::start(endless(start, rest)).await;
        let app = app(&layer(&redis).on_error(OnError::Deny));
        let asked = Instant::now();
        assert_eq!(send(&app).await.status(), 503);
        assert!(asked.elapsed() < PATIENCE, "{start:?} was waited for");
        while redis.open() > 0 {
            assert!(asked.elapsed() < PATIENCE, "{start:?} is read on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The kernels take some megabytes for themselves, for each of two connections.
        let sent = redis.sent();
        assert!(sent < 50_000_000, "{start:?}: {sent} bytes");
    }
}

#[tokio::test]
async fn long_answers_of_a_busy_server_are_taken() {
    let error: &str = format!("-ERR {}\r\n", "x".repeat(400)).leak();
    let redis = FakeRedis::start(move |_| error.into()).await;
    let app = app(&layer(&redis).on_error(OnError::Deny));
    for _ in 0..3000 {
        assert_eq!(send(&app).await.status(), 503);
    }
    // One connection, and no command twice.
    assert_eq!(redis.commands().len(), 3000);
}
