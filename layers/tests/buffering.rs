//! `buffering` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::buffering::BufferingLayer;
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::reject::Refused;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Body as _;
use http_body_util::channel::Sender;
use http_body_util::{BodyExt, Channel};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio_test::task;
use tower::{Layer, ServiceExt, service_fn};

type Feed = Sender<Bytes, BoxError>;

fn feed() -> (Feed, Body) {
    let (feed, body) = Channel::<Bytes, BoxError>::new(8);
    (feed, Body::new(body))
}

async fn streamed(pieces: &[&'static str]) -> Body {
    let (mut feed, body) = feed();
    for piece in pieces {
        feed.send_data((*piece).into()).await.unwrap();
    }
    body
}

fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/").body(body.into()).unwrap()
}

fn limits(request: usize, response: usize) -> BufferingLayer {
    BufferingLayer::new()
        .max_request_body(request)
        .max_response_body(response)
}

async fn text(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Asks a service that gives back the request's body, and counts how often it is asked.
async fn echo(layer: &BufferingLayer, request: Request<Body>) -> (Response<Body>, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let service = service_fn({
        let asked = Arc::clone(&asked);
        move |request: Request<Body>| {
            asked.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok::<_, Infallible>(Response::new(request.into_body())))
        }
    });
    let response = layer.layer(service).oneshot(request).await.unwrap();
    (response, asked.load(Ordering::SeqCst))
}

/// Asks a service that answers so.
async fn answered(layer: &BufferingLayer, answer: Response<Body>) -> Response<Body> {
    let answer = Arc::new(Mutex::new(Some(answer)));
    let service = service_fn(move |_: Request<Body>| {
        let answer = answer.lock().unwrap().take().unwrap();
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let request = Request::new(Body::empty());
    layer.layer(service).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_request_is_passed_on_when_all_of_it_is_here() {
    let (mut feed, body) = feed();
    let is_asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let is_asked = Arc::clone(&is_asked);
        move |request: Request<Body>| {
            is_asked.store(true, Ordering::SeqCst);
            let length = request.body().size_hint().exact();
            let length = length.map_or_else(String::new, |length| length.to_string());
            std::future::ready(Ok::<_, Infallible>(Response::new(length)))
        }
    });
    let service = BufferingLayer::new().layer(service);
    let mut asking = task::spawn(service.oneshot(post(body)));
    for piece in ["ab", "cd"] {
        assert!(asking.poll().is_pending());
        feed.send_data(piece.into()).await.unwrap();
    }
    assert!(asking.poll().is_pending());
    assert!(!is_asked.load(Ordering::SeqCst));
    drop(feed);
    assert_eq!(text(asking.await.unwrap()).await, "4");
}

#[tokio::test]
async fn a_response_is_passed_on_when_all_of_it_is_here() {
    let (mut feed, body) = feed();
    let layer = BufferingLayer::new();
    let mut asking = task::spawn(answered(&layer, Response::new(body)));
    feed.send_data("ab".into()).await.unwrap();
    assert!(asking.poll().is_pending());
    let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
    feed.send_trailers(trailers.clone()).await.unwrap();
    drop(feed);
    let body = asking.await.into_body();
    // With a length, HTTP/1 would leave no room for trailers.
    assert_eq!(body.size_hint().exact(), None);
    let body = body.collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), "ab");
}

#[tokio::test]
async fn a_request_past_its_limit_is_refused_before_the_service_is_asked() {
    for (body, status) in [
        (Body::empty(), 200),
        (Body::from("0123456789"), 200),
        (streamed(&["01234", "56789"]).await, 200),
        (Body::from("0123456789x"), 413),
        (streamed(&["01234", "56789", "x"]).await, 413),
    ] {
        let (response, asked) = echo(&limits(10, 10), post(body)).await;
        assert_eq!(response.status(), status);
        assert_eq!(asked, usize::from(status == 200));
        let failure = response.extensions().get();
        assert_eq!(failure, (status == 413).then_some(&Failure::BodyTooLarge));
    }
    // One that says so is not even read.
    let (mut feed, body) = feed();
    let long = Request::post("/").body(Sized(Body::new(body), 11)).unwrap();
    let (response, asked) = echo(&limits(10, 10), long.map(Body::new)).await;
    assert_eq!((response.status().as_u16(), asked), (413, 0));
    assert_eq!(response.headers()["connection"], "close");
    assert!(feed.send_data("x".into()).await.is_err());
}

/// A body that says how long it is.
struct Sized(Body, u64);

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}

#[tokio::test]
async fn a_response_past_its_limit_is_a_502() {
    for (body, status) in [
        (Body::empty(), 200),
        (Body::from("0123456789"), 200),
        (streamed(&["01234", "56789"]).await, 200),
        (Body::from("0123456789x"), 502),
        (streamed(&["0123456789", "x"]).await, 502),
    ] {
        let response = answered(&limits(10, 10), Response::new(body)).await;
        assert_eq!(response.status(), status);
        // It is the gateway's own: a retry would find the same.
        let is_refused = response.extensions().get::<Refused>().is_some();
        assert_eq!(is_refused, status == 502);
    }
}

#[tokio::test]
async fn a_limit_of_0_lets_bodies_stream() {
    for (layer, request, response) in [(limits(0, 10), false, true), (limits(10, 0), true, false)] {
        let (mut feed, body) = feed();
        let asking = answered(&layer, Response::new(body));
        feed.send_data("ab".into()).await.unwrap();
        assert_eq!(task::spawn(asking).poll().is_pending(), response);
        let (feed, body) = self::feed();
        let service = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let asking = layer.layer(service).oneshot(post(body));
        assert_eq!(task::spawn(asking).poll().is_pending(), request);
        drop(feed);
    }
    let (response, _) = echo(&limits(0, 0), post("0123456789x")).await;
    assert_eq!(text(response).await, "0123456789x");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_answered_for() {
    for (failure, status) in [
        (Failure::RequestBody, 400),
        (Failure::RequestTimeout, 408),
        (Failure::Reset, 400),
    ] {
        let (mut feed, body) = feed();
        feed.send_data("ab".into()).await.unwrap();
        feed.abort(UpstreamError::from(failure).into());
        let (response, asked) = echo(&BufferingLayer::new(), post(body)).await;
        assert_eq!((response.status().as_u16(), asked), (status, 0));
    }
    for (failure, status) in [(Failure::Reset, 502), (Failure::ResponseTimeout, 504)] {
        let (mut feed, body) = feed();
        feed.send_data("ab".into()).await.unwrap();
        feed.abort(UpstreamError::from(failure).into());
        let response = answered(&BufferingLayer::new(), Response::new(body)).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.extensions().get(), Some(&failure));
    }
}

#[tokio::test]
async fn streams_pass_as_they_are() {
    let layer = limits(10, 10);
    for (name, value, streams) in [
        ("content-type", "text/event-stream", true),
        ("content-type", "Text/Event-Stream; charset=utf-8", true),
        ("content-type", "application/grpc+proto", true),
        ("content-type", "application/grpc-web", true),
        ("x-accel-buffering", "no", true),
        ("content-type", "text/event-streams", false),
        ("content-type", "text/plain", false),
        ("x-accel-buffering", "yes", false),
    ] {
        let (_feed, body) = feed();
        let answer = Response::builder().header(name, value).body(body).unwrap();
        let asking = answered(&layer, answer);
        assert_eq!(task::spawn(asking).poll().is_ready(), streams, "{value}");
    }
    let switching = Response::builder().status(101).body(feed().1).unwrap();
    assert!(task::spawn(answered(&layer, switching)).poll().is_ready());
    for (request, streams) in [
        (
            Request::post("/").header("content-type", "application/grpc"),
            true,
        ),
        (Request::post("/").header("upgrade", "websocket"), true),
        (Request::post("/").method("CONNECT").uri("host:80"), true),
        (
            Request::post("/").header("content-type", "text/event-stream"),
            false,
        ),
    ] {
        let (_feed, body) = feed();
        let request = request.body(body).unwrap();
        let asking = echo(&layer, request);
        assert_eq!(task::spawn(asking).poll().is_ready(), streams);
    }
}

#[tokio::test]
async fn all_bodies_together_have_a_limit() {
    const PIECE: usize = 10_000;
    let layer = BufferingLayer::new().max_memory(4 * PIECE);
    // So many are held in requests that never end.
    let mut held = Vec::new();
    for n in 0..4 {
        let (mut feed, body) = feed();
        feed.send_data(vec![b'x'; PIECE].into()).await.unwrap();
        let (layer, n) = (layer.clone(), n);
        let mut asking = task::spawn(async move { echo(&layer, post(body)).await });
        assert!(asking.poll().is_pending(), "{n}");
        held.push((feed, asking));
    }
    let (response, asked) = echo(&layer, post("x")).await;
    assert_eq!((response.status().as_u16(), asked), (503, 0));
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["connection"], "close");
    let mut h2 = post("x");
    *h2.version_mut() = Version::HTTP_2;
    let (response, _) = echo(&layer, h2).await;
    assert!(!response.headers().contains_key("connection"));
    let response = answered(&layer, Response::new(Body::from("x"))).await;
    assert_eq!(response.status(), 503);
    // A client that goes away gives its part back, and so does a body that was read.
    held.pop();
    for _ in 0..10 {
        let (response, _) = echo(&layer, post(vec![b'x'; 4000])).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await.len(), 4000);
    }
}

#[tokio::test]
async fn a_body_counts_until_its_last_byte_is_dropped() {
    const LENGTH: usize = 200_000;
    let layer = BufferingLayer::new().max_memory(LENGTH);
    let long = || Response::new(Body::from(vec![b'x'; LENGTH]));
    let mut body = answered(&layer, long()).await.into_body();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        pieces.push(frame.unwrap().into_data().unwrap());
    }
    assert!(body.is_end_stream());
    drop(body);
    let longest = pieces.iter().map(Bytes::len).max();
    assert_eq!(longest, Some(64 << 10));
    // As in the queue of a connection whose other side does not read.
    let last = pieces.pop().unwrap();
    drop(pieces);
    assert_eq!(answered(&layer, long()).await.status(), 503);
    drop(last);
    assert_eq!(answered(&layer, long()).await.status(), 200);
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = BufferingLayer::new().max_memory(1024).max_response_body(0);
    let (mut feed, body) = feed();
    feed.send_data("x".into()).await.unwrap();
    let other = layer.clone();
    let mut asking = task::spawn(async move { echo(&other, post(body)).await });
    assert!(asking.poll().is_pending());
    assert_eq!(echo(&layer, post("x")).await.0.status(), 503);
    drop(asking);
    assert_eq!(echo(&layer, post("x")).await.0.status(), 200);
}

#[tokio::test]
async fn an_axum_app_can_use_it() {
    let app = axum::Router::new()
        .fallback(|body: Bytes| async move { body })
        .layer(limits(10, 10));
    for (body, status) in [("0123456789", 200), ("0123456789x", 413)] {
        let response = app.clone().oneshot(post(body)).await.unwrap();
        assert_eq!(response.status(), status);
    }
}
