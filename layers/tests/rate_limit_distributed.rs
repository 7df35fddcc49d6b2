//! `rate_limit::distributed` from outside, on a real Redis.

#![cfg(feature = "redis")]
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "a test that fails may panic, and uses a part of what tests share"
)]

#[path = "../../tests/support/redis.rs"]
mod redis;
#[allow(dead_code, unreachable_pub, reason = "it is for other tests too")]
#[path = "../../tests/support/tools.rs"]
mod tools;

use a3s_layers::key::KeySource;
use a3s_layers::rate_limit::distributed::{OnError, RedisRateLimitLayer, RedisServer};
use a3s_layers::rate_limit::{Exceeded, Limit, Policy};
use axum::body::Body;
use http::{Request, Response};
use redis::Redis;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

const HOUR: Duration = Duration::from_secs(3600);

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

fn policy(burst: u32) -> Policy {
    let limit = Limit::new(1.0, HOUR).unwrap();
    Policy::new(limit.with_burst(burst).unwrap())
}

fn layer(policy: Policy, url: &str) -> RedisRateLimitLayer {
    let source = "header:x-tenant".parse().unwrap();
    RedisRateLimitLayer::new(policy, source, RedisServer::new(url).unwrap()).timeout(PATIENCE)
}

fn app(layer: &RedisRateLimitLayer) -> App {
    let inner = service_fn(|_: Request<Body>| async { Ok(Response::new(Body::from("hello"))) });
    BoxCloneSyncService::new(layer.layer(inner))
}

async fn send(app: &App, tenant: &str) -> Response<Body> {
    let request = Request::get("/").header("x-tenant", tenant);
    let request = request.body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn status(app: &App, tenant: &str) -> u16 {
    send(app, tenant).await.status().as_u16()
}

/// Sends requests until one has this status, and expects that none takes longer than a second.
async fn until(app: &App, expected: u16) {
    let start = Instant::now();
    loop {
        let sent = Instant::now();
        let status = status(app, "a").await;
        assert!(sent.elapsed() < Duration::from_secs(1), "a request hung");
        if status == expected {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{status}, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_request_past_the_burst_gets_429() {
    let redis = Redis::start(&[]);
    let app = app(&layer(policy(3), &redis.url()));
    let fields = |response: &Response<Body>| {
        ["ratelimit-policy", "ratelimit", "retry-after"].map(|name| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        })
    };
    let policy = Some(r#""default";q=3;w=10800"#.to_owned());
    for (remaining, window) in [(2, 7200), (1, 3600), (0, 3600)] {
        let response = send(&app, "a").await;
        assert_eq!(response.status(), 200);
        let limit = format!(r#""default";r={remaining};t={window}"#);
        assert_eq!(fields(&response), [policy.clone(), Some(limit), None]);
    }
    let refused = send(&app, "a").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.extensions().get::<Exceeded>().is_some());
    let [_, _, retry_after] = fields(&refused);
    let retry_after: u64 = retry_after.unwrap().parse().unwrap();
    assert!((3570..=3600).contains(&retry_after), "{retry_after}");
    assert_eq!(status(&app, "b").await, 200);
}

#[tokio::test]
async fn a_key_lives_until_its_bucket_is_full() {
    let redis = Redis::start(&[]);
    let app = app(&layer(policy(2), &redis.url()).prefix("test:"));
    let long = "x".repeat(10_000);
    for tenant in ["a", "", &long] {
        assert_eq!(status(&app, tenant).await, 200);
    }
    let none = app
        .clone()
        .oneshot(Request::new(Body::empty()))
        .await
        .unwrap();
    assert_eq!(none.status(), 200);
    let mut keys = redis.run("KEYS *");
    keys.sort_unstable_by_key(String::len);
    let [empty, a, none, hash] = &keys[..] else {
        panic!("{keys:?}")
    };
    assert_eq!(
        [&**none, &**empty, &**a],
        ["test:text:a", "test:none", "test:text:"]
    );
    assert!(
        hash.starts_with("test:sha256:") && hash.len() == 76,
        "{hash}"
    );
    let lives = |key: &str| redis.run(&format!("PTTL {key}"))[0].parse::<u64>().unwrap();
    assert!((3_500_000..=3_600_000).contains(&lives(none)));
    assert_eq!(status(&app, "a").await, 200);
    let lived = lives(none);
    assert!((7_100_000..=7_200_000).contains(&lived), "{lived}");
    // What is refused costs nothing.
    assert_eq!(status(&app, "a").await, 429);
    assert!(lives(none) <= lived);
}

#[tokio::test]
async fn one_comes_back_in_time() {
    let redis = Redis::start(&[]);
    let limit = Limit::new(1.0, Duration::from_millis(50)).unwrap();
    let app = app(&layer(Policy::new(limit), &redis.url()));
    assert_eq!(status(&app, "a").await, 200);
    for _ in 0..3 {
        until(&app, 200).await;
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_binds_nobody_for_longer_than_the_limit() {
    let redis = Redis::start(&[]);
    let app = app(&layer(policy(1), &redis.url()).prefix(""));
    redis.run("SET text:a nonsense");
    redis.run("SET text:b 99999999999999999");
    assert_eq!(status(&app, "a").await, 200);
    let refused = send(&app, "b").await;
    assert_eq!(refused.status(), 429);
    let retry_after = refused.headers()["retry-after"].to_str().unwrap();
    assert!(retry_after.parse::<u64>().unwrap() <= 3600, "{retry_after}");
    redis.run("HSET text:c a b");
    assert_eq!(status(&app, "c").await, 200, "an error is no outage");
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let redis = Redis::start(&[]);
    let layer = layer(policy(1), &redis.url());
    assert_eq!(status(&app(&layer), "a").await, 200);
    assert_eq!(status(&app(&layer.clone()), "a").await, 429);
    let clients = || redis.run("CLIENT LIST")[0].lines().count();
    // Ours, and the one that asks.
    assert_eq!(clients(), 2);
    drop(layer);
    let start = Instant::now();
    while clients() > 1 {
        assert!(
            start.elapsed() < PATIENCE,
            "a connection outlives its layer"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_layers_on_one_redis_share_one_limit() {
    let redis = Redis::start(&[]);
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let app = app(&layer(policy(300), &redis.url()));
        for _ in 0..8 {
            let app = app.clone();
            tasks.spawn(async move {
                let mut passed = 0;
                for _ in 0..50 {
                    passed += u32::from(status(&app, "a").await == 200);
                }
                passed
            });
        }
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u32>(), 300);
}

#[tokio::test]
async fn a_shadow_marks_and_refuses_nobody() {
    let mut redis = Redis::start(&[]);
    let layer = layer(policy(1).shadow(true), &redis.url()).on_error(OnError::Deny);
    let app = app(&layer);
    for exceeded in [false, true] {
        let response = send(&app, "a").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.extensions().get::<Exceeded>().is_some(), exceeded);
    }
    redis.kill();
    assert_eq!(status(&app, "a").await, 200);
}

#[tokio::test]
async fn a_script_that_is_forgotten_is_loaded_again() {
    let redis = Redis::start(&[]);
    let app = app(&layer(policy(2), &redis.url()).on_error(OnError::Deny));
    for expected in [200, 200, 429] {
        assert_eq!(status(&app, "a").await, expected);
        redis.run("SCRIPT FLUSH");
    }
}

#[tokio::test]
async fn without_a_redis_on_error_decides() {
    let mut redis = Redis::start(&[]);
    let url = redis.url();
    for (on_error, expected) in [(OnError::Allow, 200), (OnError::Deny, 503)] {
        let layer = layer(policy(1), &url).on_error(on_error);
        let app = app(&layer);
        assert_eq!(
            status(&app, "b").await,
            if expected == 200 { 200 } else { 429 }
        );
        redis.kill();
        let response = send(&app, "a").await;
        assert_eq!(response.status(), expected);
        assert!(!response.headers().contains_key("ratelimit"));
        assert_eq!(
            response.headers().contains_key("retry-after"),
            expected == 503
        );
        redis.start_again();
        // It is empty now: whoever is refused has been counted there.
        until(&app, 429).await;
        assert_eq!(status(&app, "b").await, 200, "{on_error:?}");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_hangs_but_the_first() {
    let redis = Redis::start(&[]);
    let layer = layer(policy(1), &redis.url()).timeout(Duration::from_millis(100));
    let app = app(&layer.on_error(OnError::Deny));
    until(&app, 429).await;
    redis.freeze();
    let waiting = Instant::now();
    assert_eq!(status(&app, "a").await, 503);
    assert!(waiting.elapsed() >= Duration::from_millis(100));
    let start = Instant::now();
    for _ in 0..1000 {
        assert_eq!(status(&app, "a").await, 503);
    }
    // One deadline after the other would be 100 seconds.
    assert!(start.elapsed() < Duration::from_secs(20));
    redis.thaw();
    until(&app, 429).await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_no_outage() {
    let redis = Redis::start(&[]);
    let app = app(&layer(policy(5), &redis.url()).on_error(OnError::Deny));
    for _ in 0..3 {
        assert_eq!(status(&app, "a").await, 200);
        redis.run("CLIENT KILL TYPE normal");
    }
}

#[tokio::test]
async fn what_redis_refuses_is_an_error() {
    let redis = Redis::start(&["--requirepass", "hunter2"]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", redis.port());
    for (password, expected) in [("hunter2", 200), ("wrong", 503)] {
        let app = app(&layer(policy(1), &url(password)).on_error(OnError::Deny));
        assert_eq!(status(&app, "a").await, expected);
    }
}

#[tokio::test]
async fn it_may_be_a_socket_on_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("redis.sock");
    let path = path.to_str().unwrap();
    let _redis = Redis::start(&["--unixsocket", path]);
    let url = format!("redis+unix://{path}?db=1");
    let app = app(&layer(policy(1), &url).on_error(OnError::Deny));
    assert_eq!(status(&app, "a").await, 200);
    assert_eq!(status(&app, "a").await, 429);
}

#[test]
fn a_runtime_that_ends_takes_nothing_with_it() {
    let redis = Redis::start(&[]);
    let app = app(&layer(policy(2), &redis.url()).on_error(OnError::Deny));
    for expected in [200, 200, 429] {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        assert_eq!(runtime.block_on(status(&app, "a")), expected);
    }
}

#[tokio::test]
async fn a_request_of_nobody_is_refused() {
    let server = RedisServer::new("redis://127.0.0.1:1").unwrap();
    let app = app(&RedisRateLimitLayer::new(
        policy(1),
        KeySource::ClientIp,
        server,
    ));
    assert_eq!(status(&app, "a").await, 500);
}
