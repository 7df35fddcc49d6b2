//! An exchange is told of once, when it is over.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::endpoint::{Endpoint, PlaceLayer, Placed};
use a3s_layers::error::Failure;
use a3s_layers::observe::{End, Exchange, ObserveLayer, Observer, Outcome, Traffic};
use axum::body::{Body, Bytes};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio_test::task;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

/// Keeps all that it is told.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Outcome>>>);

impl Seen {
    fn take(&self) -> Vec<Outcome> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<B> Observer<B> for Seen {
    type Exchange = Self;

    fn start(&self, _: &Request<B>) -> Self {
        self.clone()
    }
}

impl Exchange for Seen {
    fn end(self, outcome: &Outcome) {
        self.0.lock().unwrap().push(*outcome);
    }
}

fn ended(status: impl Into<Option<u16>>, response_bytes: u64, end: End) -> Vec<Outcome> {
    let status = status
        .into()
        .map(|status| StatusCode::from_u16(status).unwrap());
    vec![Outcome {
        status,
        failure: (end == End::Failed).then_some(Failure::Reset),
        response_bytes,
        end,
    }]
}

fn request() -> Request<Body> {
    Request::new(Body::empty())
}

/// A body of these frames, whose end shows only when it is asked for.
fn frames(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> Body {
    struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, BoxError>>);
    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.next())
        }
    }
    Body::new(Frames(frames.into_iter()))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// The answer with `body` of an observed service, before its body is read.
async fn observed(
    seen: &Seen,
    body: Body,
) -> Response<impl http_body::Body<Data = Bytes, Error = axum::Error> + Unpin> {
    let mut body = Some(body);
    let service = service_fn(move |_: Request<Body>| {
        let body = body.take().expect("one request");
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let service = ObserveLayer::new(seen.clone()).layer(service);
    service.oneshot(request()).await.unwrap()
}

#[tokio::test]
async fn an_exchange_ends_once_when_its_body_does() {
    let seen = Seen::default();
    let body = frames(vec![data("hello, "), data("world")]);
    let mut response = observed(&seen, body).await;
    for _ in 0..2 {
        response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(seen.take(), []);
    }
    assert!(response.body_mut().frame().await.is_none());
    assert_eq!(seen.take(), ended(200, 12, End::Complete));
    drop(response);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn what_goes_past_the_body_of_a_101_counts() {
    for (status, bytes) in [(101, 7), (200, 0)] {
        let seen = Seen::default();
        let traffic = Traffic::new();
        let told = traffic.clone();
        let service = service_fn(move |_: Request<Body>| {
            let answer = Response::builder().status(status).extension(told.clone());
            ready(Ok::<_, Infallible>(answer.body(frames(vec![])).unwrap()))
        });
        let service = ObserveLayer::new(seen.clone()).layer(service);
        let mut response = service.oneshot(request()).await.unwrap();
        traffic.count_received(3);
        traffic.count_sent(7);
        assert!(response.body_mut().frame().await.is_none());
        assert_eq!(seen.take(), ended(status, bytes, End::Complete));
        assert_eq!((traffic.received(), traffic.sent()), (3, 7));
    }
}

#[tokio::test]
async fn a_body_that_knows_its_end_is_not_asked_for_it() {
    let seen = Seen::default();
    let mut response = observed(&seen, Body::from("hello")).await;
    assert_eq!(seen.take(), []);
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(seen.take(), ended(200, 5, End::Complete));
    drop(response);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn an_empty_body_ends_with_the_head() {
    let seen = Seen::default();
    let response = observed(&seen, Body::empty()).await;
    assert_eq!(seen.take(), ended(200, 0, End::Complete));
    drop(response);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn trailers_are_no_bytes_and_the_end_comes_after_them() {
    let seen = Seen::default();
    let body = frames(vec![data("hello"), Ok(Frame::trailers(HeaderMap::new()))]);
    let mut response = observed(&seen, body).await;
    response.body_mut().frame().await.unwrap().unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(seen.take(), []);
    assert!(response.body_mut().frame().await.is_none());
    assert_eq!(seen.take(), ended(200, 5, End::Complete));
}

#[tokio::test]
async fn a_body_dropped_half_way_is_an_end_with_what_went_out_so_far() {
    let seen = Seen::default();
    let mut response = observed(&seen, frames(vec![data("hello"), data("never read")])).await;
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(seen.take(), []);
    drop(response);
    assert_eq!(seen.take(), ended(200, 5, End::Dropped));
}

#[tokio::test]
async fn a_body_that_fails_is_a_failure_with_a_status() {
    let seen = Seen::default();
    let body = frames(vec![data("hello"), Err("broken off".into())]);
    let mut response = observed(&seen, body).await;
    response.body_mut().frame().await.unwrap().unwrap();
    response.body_mut().frame().await.unwrap().unwrap_err();
    assert_eq!(seen.take(), ended(200, 5, End::Failed));
    drop(response);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn a_service_that_fails_is_a_failure_without_a_status() {
    let seen = Seen::default();
    let service =
        service_fn(|_: Request<Body>| ready(Err::<Response<Body>, _>(BoxError::from("down"))));
    let service = ObserveLayer::new(seen.clone()).layer(service);
    let error = service.oneshot(request()).await.err().unwrap();
    assert_eq!(error.to_string(), "down");
    assert_eq!(seen.take(), ended(None, 0, End::Failed));
}

#[tokio::test]
async fn a_cancelled_future_is_an_end() {
    let seen = Seen::default();
    let service = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let mut service = ObserveLayer::new(seen.clone()).layer(service);
    drop(service.call(request()));
    assert_eq!(seen.take(), ended(None, 0, End::Dropped), "never polled");

    let mut answer = task::spawn(service.call(request()));
    assert!(answer.poll().is_pending());
    assert_eq!(seen.take(), []);
    drop(answer);
    assert_eq!(seen.take(), ended(None, 0, End::Dropped), "polled");
}

#[tokio::test]
async fn the_status_is_that_of_the_head_whatever_it_says() {
    let seen = Seen::default();
    for status in [200, 204, 304, 404, 502] {
        let service = service_fn(move |_: Request<Body>| {
            let response = Response::builder().status(status).body(Body::empty());
            ready(Ok::<_, Infallible>(response.unwrap()))
        });
        let service = ObserveLayer::new(seen.clone()).layer(service);
        service.oneshot(request()).await.unwrap();
        assert_eq!(seen.take(), ended(status, 0, End::Complete));
    }
}

#[tokio::test]
async fn both_observers_of_a_pair_are_told() {
    let (one, two, three) = (Seen::default(), Seen::default(), Seen::default());
    let service = service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::from("hello"))))
    });
    let all = (one.clone(), (two.clone(), three.clone()));
    let service = ObserveLayer::new(all).layer(service);
    let response = service.oneshot(request()).await.unwrap();
    response.into_body().collect().await.unwrap();
    for seen in [one, two, three] {
        assert_eq!(seen.take(), ended(200, 5, End::Complete));
    }
}

#[tokio::test]
async fn a_body_is_seen_as_it_is() {
    use http_body::Body as _;
    let seen = Seen::default();
    let response = observed(&seen, Body::from("hello")).await;
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(!response.body().is_end_stream());
    let response = observed(&seen, Body::empty()).await;
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let seen = Seen::default();
    let layer = ObserveLayer::new(seen.clone());
    for _ in 0..2 {
        let service = layer.layer(service_fn(|_: Request<Body>| {
            ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        }));
        service.oneshot(request()).await.unwrap();
    }
    assert_eq!(seen.take().len(), 2);
}

#[tokio::test]
async fn two_places_at_one_endpoint_share_its_counts() {
    let endpoint = Endpoint::new("http://10.0.0.1");
    let layer = PlaceLayer::new();
    let request = || Placed {
        request: request(),
        place: endpoint.enter(),
    };
    let waiting = || {
        layer.layer(service_fn(|_: Request<Body>| {
            pending::<Result<Response<Body>, Infallible>>()
        }))
    };
    let one = waiting().call(request());
    let two = waiting().call(request());
    assert_eq!((endpoint.in_flight(), endpoint.requests()), (2, 2));
    drop((one, two));
    assert_eq!((endpoint.in_flight(), endpoint.requests()), (0, 2));
}

#[tokio::test]
async fn an_endpoint_fails_where_its_answer_is_not_whole_and_its_client_waited_for_it() {
    let endpoint = Endpoint::new("http://10.0.0.1");
    let layer = PlaceLayer::new();
    let request = || Placed {
        request: request(),
        place: endpoint.enter(),
    };
    let counts = || {
        (
            endpoint.in_flight(),
            endpoint.requests(),
            endpoint.failures(),
        )
    };

    let failing =
        service_fn(|_: Request<Body>| ready(Err::<Response<Body>, _>(BoxError::from("down"))));
    layer.layer(failing).oneshot(request()).await.err().unwrap();
    assert_eq!(counts(), (0, 1, 1), "no head");

    let waiting = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    drop(layer.layer(waiting).call(request()));
    assert_eq!(counts(), (0, 2, 1), "given up");

    let broken = service_fn(|_: Request<Body>| {
        let body = frames(vec![data("hello"), Err("broken off".into())]);
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let response = layer.layer(broken).oneshot(request()).await.unwrap();
    assert_eq!(counts(), (1, 3, 1), "its body runs");
    response.into_body().collect().await.err().unwrap();
    assert_eq!(counts(), (0, 3, 2), "a head, then a broken body");
}
