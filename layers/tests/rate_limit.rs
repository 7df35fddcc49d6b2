//! `rate_limit::local` from outside.

#![cfg(feature = "rate-limit")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::key::KeySource;
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use a3s_layers::rate_limit::{Exceeded, Limit, Policy, local::RateLimitLayer};
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

fn policy(rate: f64, period: Duration) -> Policy {
    Policy::new(Limit::new(rate, period).unwrap())
}

fn app(layer: &RateLimitLayer) -> App {
    let inner = service_fn(|_: Request<Body>| async { Ok(Response::new(Body::from("hello"))) });
    BoxCloneSyncService::new(layer.layer(inner))
}

/// A request of the client at `ip`.
fn from(ip: &str) -> Request<Body> {
    let address = std::net::SocketAddr::new(ip.parse().unwrap(), 4711);
    let peer = Peer::new(address, 80, false, &TrustedProxies::default());
    let mut request = Request::new(Body::empty());
    let client = Client::of(Arc::new(peer), &HeaderMap::new());
    request.extensions_mut().insert(client);
    request
}

async fn send(app: &App, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

/// The fields that tell of the limit: policy, limit, retry-after.
fn fields(response: &Response<Body>) -> [Option<&str>; 3] {
    ["ratelimit-policy", "ratelimit", "retry-after"].map(|name| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap())
    })
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_request_past_the_burst_gets_429_until_one_comes_back() {
    let limit = Limit::new(2.0, SECOND).unwrap().with_burst(3).unwrap();
    let app = app(&RateLimitLayer::new(
        Policy::new(limit),
        KeySource::ClientIp,
    ));
    let policy = Some(r#""default";q=4;w=2"#);
    for (remaining, window) in [(2, 1), (1, 1), (0, 1)] {
        let response = send(&app, from("192.0.2.1")).await;
        assert_eq!(response.status(), 200);
        let limit = format!(r#""default";r={remaining};t={window}"#);
        assert_eq!(fields(&response), [policy, Some(&*limit), None]);
        assert!(response.extensions().get::<Exceeded>().is_none());
    }
    let refused = send(&app, from("192.0.2.1")).await;
    assert_eq!(refused.status(), 429);
    let limit = Some(r#""default";r=0;t=1"#);
    assert_eq!(fields(&refused), [policy, limit, Some("1")]);
    assert!(refused.extensions().get::<Exceeded>().is_some());

    // What is refused costs nothing.
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(send(&app, from("192.0.2.1")).await.status(), 200);
    assert_eq!(send(&app, from("192.0.2.1")).await.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn slow_and_fast_rates_keep_their_pace() {
    for (rate, period, interval) in [
        (1.0, 3600 * SECOND, 3600 * SECOND),
        (0.25, SECOND, 4 * SECOND),
        (100_000.0, SECOND, Duration::from_micros(10)),
    ] {
        let limit = Limit::new(rate, period).unwrap().with_burst(1).unwrap();
        let app = app(&RateLimitLayer::new(Policy::new(limit), KeySource::Global));
        for _ in 0..3 {
            let passed = send(&app, Request::new(Body::empty())).await;
            assert_eq!(passed.status(), 200, "{rate}");
            let refused = send(&app, Request::new(Body::empty())).await;
            assert_eq!(refused.status(), 429, "{rate}");
            let seconds = interval.as_secs().max(1).to_string();
            assert_eq!(fields(&refused)[2], Some(&*seconds), "{rate}");
            // A runtime's time has whole milliseconds, and a step of its own on the way.
            tokio::time::advance(interval.max(Duration::from_millis(1))).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_to_wait_is_rounded_up() {
    let app = app(&RateLimitLayer::new(
        policy(1.0, 90 * SECOND),
        KeySource::Global,
    ));
    let request = || Request::new(Body::empty());
    assert_eq!(send(&app, request()).await.status(), 200);
    for (passed, expected) in [(0, "90"), (500, "90"), (500, "89"), (88_999, "1")] {
        tokio::time::advance(Duration::from_millis(passed)).await;
        let refused = send(&app, request()).await;
        assert_eq!(
            (refused.status().as_u16(), fields(&refused)[2]),
            (429, Some(expected))
        );
    }
}

#[tokio::test]
async fn each_client_has_its_own_limit() {
    let app = app(&RateLimitLayer::new(
        policy(1.0, 3600 * SECOND),
        KeySource::ClientIp,
    ));
    for (ip, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::1", 200),
        ("::ffff:192.0.2.2", 429),
    ] {
        assert_eq!(send(&app, from(ip)).await.status(), status, "{ip}");
    }
}

#[tokio::test]
async fn requests_without_the_header_share_a_limit() {
    let source = "header:x-tenant".parse().unwrap();
    let app = app(&RateLimitLayer::new(policy(1.0, 3600 * SECOND), source));
    let huge = "x".repeat(30_000);
    for (tenant, status) in [
        (Some("one"), 200),
        (Some("one"), 429),
        (Some("two"), 200),
        (Some(&*huge), 200),
        (Some(&*huge), 429),
        (Some(""), 200),
        (None, 200),
        (None, 429),
        (Some(""), 429),
    ] {
        let mut request = from("192.0.2.1");
        if let Some(tenant) = tenant {
            request
                .headers_mut()
                .insert("x-tenant", tenant.parse().unwrap());
        }
        assert_eq!(send(&app, request).await.status(), status, "{tenant:?}");
    }
}

#[tokio::test]
async fn a_request_of_nobody_is_refused() {
    let app = app(&RateLimitLayer::new(
        policy(1.0, SECOND),
        KeySource::ClientIp,
    ));
    let response = send(&app, Request::new(Body::empty())).await;
    assert_eq!(response.status(), 500);
    assert_eq!(fields(&response), [None; 3]);
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = RateLimitLayer::new(policy(1.0, 3600 * SECOND), KeySource::ClientIp);
    assert_eq!(send(&app(&layer), from("192.0.2.1")).await.status(), 200);
    assert_eq!(send(&app(&layer), from("192.0.2.1")).await.status(), 429);
    assert_eq!(
        send(&app(&layer.clone()), from("192.0.2.1")).await.status(),
        429
    );
    let fresh = layer.max_keys(10);
    assert_eq!(send(&app(&fresh), from("192.0.2.1")).await.status(), 200);
}

#[tokio::test]
async fn a_shadow_marks_and_refuses_nobody() {
    let policy = policy(1.0, 3600 * SECOND).shadow(true);
    let app = app(&RateLimitLayer::new(policy, KeySource::ClientIp));
    for exceeded in [false, true] {
        let response = send(&app, from("192.0.2.1")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.extensions().get::<Exceeded>().is_some(), exceeded);
        let limit = Some(r#""default";r=0;t=3600"#);
        assert_eq!(
            fields(&response),
            [Some(r#""default";q=1;w=3600"#), limit, None]
        );
    }
}

#[tokio::test]
async fn a_policy_may_keep_silent() {
    let policy = policy(1.0, 3600 * SECOND).headers(false);
    let app = app(&RateLimitLayer::new(policy, KeySource::ClientIp));
    let passed = send(&app, from("192.0.2.1")).await;
    assert_eq!(fields(&passed), [None; 3]);
    let refused = send(&app, from("192.0.2.1")).await;
    assert_eq!(fields(&refused), [None, None, Some("3600")]);
}

#[tokio::test]
async fn two_policies_are_told_side_by_side() {
    let outer = policy(9.0, SECOND).named("all").unwrap();
    let outer = RateLimitLayer::new(outer, KeySource::Global);
    let inner = RateLimitLayer::new(policy(1.0, 3600 * SECOND), KeySource::ClientIp);
    let app = BoxCloneSyncService::new(outer.layer(app(&inner)));
    for status in [200, 429] {
        let response = send(&app, from("192.0.2.1")).await;
        assert_eq!(response.status(), status);
        let policies: Vec<_> = response
            .headers()
            .get_all("ratelimit-policy")
            .iter()
            .collect();
        assert_eq!(policies, [r#""default";q=1;w=3600"#, r#""all";q=9;w=1"#]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_clients_frees_nobody_and_refuses_nobody() {
    let policy = policy(1.0, 3600 * SECOND);
    let limit = policy.limit().with_burst(3).unwrap();
    let layer = RateLimitLayer::new(Policy::new(limit), KeySource::ClientIp).max_keys(50);
    let app = app(&layer);
    for _ in 0..3 {
        assert_eq!(send(&app, from("192.0.2.1")).await.status(), 200);
    }
    for n in 0..2000_u32 {
        let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n);
        assert_eq!(send(&app, from(&ip.to_string())).await.status(), 200);
    }
    assert_eq!(send(&app, from("192.0.2.1")).await.status(), 429);
}

#[tokio::test]
async fn it_takes_any_extractor_of_tower_governor() {
    use tower_governor::key_extractor::GlobalKeyExtractor;
    let layer = RateLimitLayer::new(policy(1.0, 3600 * SECOND), GlobalKeyExtractor);
    let inner =
        service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    for status in [200, 429] {
        let response = layer.layer(inner).oneshot(Request::new(())).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn it_stands_in_an_axum_app() {
    let layer = RateLimitLayer::new(policy(1.0, 3600 * SECOND), KeySource::Global);
    let app = axum::Router::new()
        .route("/a", axum::routing::get(|| async { "a" }))
        .route("/b", axum::routing::get(|| async { "b" }))
        .layer(layer);
    for (path, status) in [("/a", 200), ("/b", 429), ("/a", 429)] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_workers_let_no_more_pass_than_the_burst() {
    let app = app(&RateLimitLayer::new(
        policy(100.0, 3600 * SECOND),
        KeySource::Global,
    ));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let app = app.clone();
        tasks.spawn(async move {
            let mut passed = 0;
            for _ in 0..100 {
                passed += u32::from(send(&app, Request::new(Body::empty())).await.status() == 200);
            }
            passed
        });
    }
    let passed: u32 = tasks.join_all().await.into_iter().sum();
    // One more comes back each 36 seconds.
    assert!((100..=101).contains(&passed), "{passed}");
}
