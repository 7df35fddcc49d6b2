//! A panic costs one request.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::catch_panic::CatchPanicLayer;
use a3s_layers::circuit_breaker::CircuitBreakerLayer;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::future::{Ready, ready};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

type Answer = Result<Response<Body>, Infallible>;

fn request(path: &'static str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn fine() -> Response<Body> {
    Response::new("fine".into())
}

/// Panics in `call` for `/call`.
fn in_call(request: Request<Body>) -> Ready<Answer> {
    let (head, _) = request.into_parts();
    assert_ne!(head.uri, "/call", "a bug in call");
    ready(Ok(fine()))
}

/// Panics in the future's second poll for `/poll`.
async fn in_poll(request: Request<Body>) -> Answer {
    tokio::task::yield_now().await;
    assert_ne!(request.uri(), "/poll", "a bug in poll");
    Ok(fine())
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The same service, not a clone of it: a connection goes on with the one it has.
async fn panics_once<S>(mut service: S, path: &'static str)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    for _ in 0..2 {
        let response = service.ready().await.unwrap().call(request(path)).await;
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let text = text(response).await;
        assert!(!text.contains("bug"), "a client is told no cause: {text}");

        let response = service.ready().await.unwrap().call(request("/")).await;
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(self::text(response).await, "fine");
    }
}

#[tokio::test]
async fn a_panic_in_call_is_a_500_and_the_next_request_works() {
    panics_once(CatchPanicLayer::new().layer(service_fn(in_call)), "/call").await;
}

#[tokio::test]
async fn a_panic_in_poll_is_a_500_and_the_next_request_works() {
    panics_once(CatchPanicLayer::new().layer(service_fn(in_poll)), "/poll").await;
}

#[tokio::test]
async fn an_error_is_passed_on() {
    let failing =
        service_fn(|_: Request<Body>| ready(Err::<Response<Body>, _>(BoxError::from("down"))));
    let error = CatchPanicLayer::new()
        .layer(failing)
        .oneshot(request("/"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "down");
}

#[tokio::test]
async fn a_panic_is_a_failure_to_a_circuit_breaker() {
    let layer = CircuitBreakerLayer::new().failure_threshold(2);
    let service = layer.layer(CatchPanicLayer::new().layer(service_fn(in_poll)));
    for status in [500, 500, 503] {
        let response = service.clone().oneshot(request("/poll")).await.unwrap();
        assert_eq!(response.status(), status);
    }
}
