//! `in_flight` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::in_flight::InFlightLayer;
use a3s_layers::key::KeySource;
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::convert::Infallible;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

fn app(layer: &InFlightLayer) -> App {
    let inner = service_fn(|_: Request<Body>| async { Ok(Response::new(Body::from("hello"))) });
    BoxCloneSyncService::new(layer.layer(inner))
}

fn of(tenant: &str) -> Request<Body> {
    let request = Request::get("/").header("x-tenant", tenant);
    request.body(Body::empty()).unwrap()
}

async fn send(app: &App, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

fn by_tenant(max: usize) -> InFlightLayer {
    InFlightLayer::new(max).key("header:x-tenant".parse().unwrap())
}

#[tokio::test]
async fn a_request_counts_until_its_body_ends_or_is_dropped() {
    let app = app(&InFlightLayer::new(2));
    let first = send(&app, of("a")).await;
    let second = send(&app, of("b")).await;
    let refused = send(&app, of("c")).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let mut body = first.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello"
    );
    let third = send(&app, of("c")).await;
    assert_eq!(third.status(), 200);
    assert_eq!(send(&app, of("c")).await.status(), 503);
    drop((second, third));
    let open = [send(&app, of("c")).await, send(&app, of("c")).await];
    assert!(open.iter().all(|response| response.status() == 200));
    assert_eq!(send(&app, of("c")).await.status(), 503);
}

#[tokio::test]
async fn each_key_counts_by_itself() {
    let app = app(&by_tenant(1));
    let first = send(&app, of("a")).await;
    let refused = send(&app, of("a")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(send(&app, of("b")).await.status(), 200);
    let none = send(&app, Request::new(Body::empty())).await;
    assert_eq!(none.status(), 200);
    assert_eq!(send(&app, Request::new(Body::empty())).await.status(), 429);
    drop(first);
    assert_eq!(send(&app, of("a")).await.status(), 200);
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = InFlightLayer::new(1);
    let first = send(&app(&layer), of("a")).await;
    assert_eq!(send(&app(&layer.clone()), of("a")).await.status(), 503);
    drop(first);
    assert_eq!(send(&app(&layer), of("a")).await.status(), 200);
}

#[tokio::test]
async fn errors_and_those_who_give_up_count_no_longer() {
    let layer = InFlightLayer::new(1);
    let failing = layer.layer(service_fn(|_: Request<Body>| async {
        Err::<Response<Body>, BoxError>("no server".into())
    }));
    assert!(failing.oneshot(of("a")).await.is_err());

    let mut endless = layer.layer(service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, Infallible>>()
    }));
    let waiting = endless.call(of("a"));
    assert_eq!(send(&app(&layer), of("a")).await.status(), 503);
    drop(waiting);
    assert_eq!(send(&app(&layer), of("a")).await.status(), 200);
}

#[tokio::test]
async fn a_panic_counts_no_longer() {
    let layer = InFlightLayer::new(1);
    let mut at_once = layer.layer(service_fn(|_: Request<Body>| {
        if true {
            panic!("a bug")
        }
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    }));
    let call = std::panic::AssertUnwindSafe(|| drop(at_once.call(of("a"))));
    assert!(std::panic::catch_unwind(call).is_err());

    let later = layer.layer(service_fn(|_: Request<Body>| async {
        if true {
            panic!("a bug")
        }
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    assert!(tokio::spawn(later.oneshot(of("a"))).await.is_err());
    assert_eq!(send(&app(&layer), of("a")).await.status(), 200);
}

#[tokio::test]
async fn a_request_of_nobody_is_refused() {
    let app = app(&InFlightLayer::new(1).key(KeySource::ClientIp));
    assert_eq!(send(&app, of("a")).await.status(), 500);
}

#[tokio::test]
async fn many_keys_at_a_time_are_told_apart() {
    let app = app(&by_tenant(1));
    let mut open = Vec::new();
    for round in 0..2 {
        for n in 0..1000 {
            let response = send(&app, of(&n.to_string())).await;
            assert_eq!(response.status(), 200, "round {round}, key {n}");
            open.push(response);
        }
        assert_eq!(send(&app, of("0")).await.status(), 429);
        open.clear();
    }
}
