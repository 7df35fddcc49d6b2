//! `retry` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::reject::{Shape, reject};
use a3s_layers::rescue::RescueLayer;
use a3s_layers::retry::{MAX_BACKOFF, Retries, RetryLayer, RetryOn};
use a3s_layers::tried::Tried;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

/// What the service below does with a request.
#[derive(Clone)]
enum Act {
    /// Fails, having read nothing.
    Fail(Failure),
    /// Reads the body and answers so.
    Answer(u16),
    /// Answers so, having read nothing.
    AnswerAtOnce(u16),
    /// Refuses by itself.
    Refuse,
    /// Never answers.
    Hang,
    /// Reads one frame of the body, and fails.
    ReadOneAndFail,
}

/// The service below: acts in turn, and 200 after the last one.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    acts: VecDeque<Act>,
    /// When each try came.
    tries: Vec<Instant>,
    /// The bodies that were read.
    bodies: Vec<Result<(Bytes, Option<HeaderMap>), String>>,
}

impl Script {
    fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let script = Self::default();
        script.0.lock().unwrap().acts.extend(acts);
        script
    }

    fn tries(&self) -> usize {
        self.0.lock().unwrap().tries.len()
    }

    fn bodies(&self) -> Vec<String> {
        let log = self.0.lock().unwrap();
        let text = |(body, _): &(Bytes, _)| String::from_utf8_lossy(body).into_owned();
        log.bodies
            .iter()
            .map(|body| body.as_ref().map_or_else(Clone::clone, text))
            .collect()
    }

    async fn act(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let act = {
            let mut log = self.0.lock().unwrap();
            log.tries.push(Instant::now());
            log.acts.pop_front().unwrap_or(Act::Answer(200))
        };
        let answer = |status: u16| {
            let builder = Response::builder().status(status);
            Ok(builder.body(Body::from(status.to_string())).unwrap())
        };
        match act {
            Act::Fail(failure) => Err(UpstreamError::from(failure).into()),
            Act::AnswerAtOnce(status) => answer(status),
            Act::Refuse => Ok(reject(
                StatusCode::SERVICE_UNAVAILABLE,
                "full",
                Shape::default(),
            )),
            Act::Hang => std::future::pending().await,
            Act::ReadOneAndFail => {
                let mut body = request.into_body();
                body.frame().await;
                Err(UpstreamError::from(Failure::Reset).into())
            }
            Act::Answer(status) => {
                let body = request.into_body().collect().await;
                let failure = body.as_ref().err().map(|error| Failure::of(error));
                let body = body
                    .map(|body| (body.trailers().cloned(), body))
                    .map(|(trailers, body)| (body.to_bytes(), trailers))
                    .map_err(|error| error.to_string());
                self.0.lock().unwrap().bodies.push(body);
                match failure {
                    Some(failure) => Err(UpstreamError::from(failure).into()),
                    None => answer(status),
                }
            }
        }
    }

    /// The service, below the rescue as in a gateway, and the retry above it.
    fn behind(
        &self,
        layer: &RetryLayer,
    ) -> impl Service<
        Request<Body>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static {
        let script = self.clone();
        let service = service_fn(move |request| script.clone().act(request));
        layer.layer(RescueLayer::new().layer(service))
    }

    async fn ask(&self, layer: &RetryLayer, request: Request<Body>) -> Response<Body> {
        self.behind(layer).oneshot(request).await.unwrap()
    }
}

/// Without pauses, and with a budget for anything.
fn eager() -> RetryLayer {
    RetryLayer::new().backoff(Duration::ZERO).budget(0, 1000)
}

fn get() -> Request<Body> {
    Request::new(Body::empty())
}

fn put(body: impl Into<Body>) -> Request<Body> {
    Request::put("/").body(body.into()).unwrap()
}

fn retries(response: &Response<Body>) -> u32 {
    response
        .extensions()
        .get()
        .map_or(0, |Retries(count)| *count)
}

#[tokio::test]
async fn what_may_do_better_is_tried_again_and_nothing_else() {
    for (act, status, retried) in [
        (Act::Fail(Failure::Connect), 502, true),
        (Act::Fail(Failure::ConnectTimeout), 504, true),
        (Act::Fail(Failure::Reset), 502, true),
        (Act::Fail(Failure::ResponseTimeout), 504, true),
        (Act::Fail(Failure::Unavailable), 503, false),
        (Act::Fail(Failure::RequestBody), 400, false),
        (Act::Fail(Failure::RequestTimeout), 408, false),
        (Act::Fail(Failure::BodyTooLarge), 413, false),
        (Act::Answer(502), 502, true),
        (Act::Answer(503), 503, true),
        (Act::Answer(504), 504, true),
        (Act::Answer(500), 500, false),
        (Act::Answer(429), 429, false),
        (Act::Answer(404), 404, false),
        (Act::Answer(200), 200, false),
        (Act::Refuse, 503, false),
    ] {
        let script = Script::new([act.clone()]);
        let response = script.ask(&eager(), get()).await;
        let expected = if retried { 200 } else { status };
        assert_eq!(response.status(), expected, "{status}");
        assert_eq!(script.tries(), 1 + usize::from(retried), "{status}");
        assert_eq!(retries(&response), u32::from(retried));
        // In the end the last answer goes on as it is.
        let script = Script::new(vec![act; 10]);
        let response = script.ask(&eager(), get()).await;
        let tries = if retried { 4 } else { 1 };
        assert_eq!(response.status(), status);
        assert_eq!(script.tries(), tries, "{status}");
        assert_eq!(retries(&response), tries as u32 - 1);
    }
}

#[tokio::test]
async fn only_what_was_asked_for_is_tried_again() {
    let on = |on: &[RetryOn]| eager().on(on.iter().copied());
    for (layer, act, tries) in [
        (on(&[RetryOn::Connect]), Act::Fail(Failure::Connect), 2),
        (on(&[RetryOn::Connect]), Act::Fail(Failure::Reset), 1),
        (on(&[RetryOn::Connect]), Act::Answer(502), 1),
        // A gateway's own 502 is no server's 502.
        (
            on(&[RetryOn::Status(StatusCode::BAD_GATEWAY)]),
            Act::Fail(Failure::Connect),
            1,
        ),
        (
            on(&[RetryOn::Status(StatusCode::TOO_MANY_REQUESTS)]),
            Act::Answer(429),
            2,
        ),
        (on(&[]), Act::Fail(Failure::Connect), 1),
        (eager().max_retries(0), Act::Fail(Failure::Connect), 1),
    ] {
        let script = Script::new([act]);
        script.ask(&layer, get()).await;
        assert_eq!(script.tries(), tries);
    }
}

#[tokio::test]
async fn a_request_that_may_not_be_sent_twice_is_not() {
    let upgrade = || Request::get("/").header("upgrade", "websocket");
    for (request, by_default, if_told) in [
        (Request::builder().method(Method::GET), true, true),
        (Request::builder().method(Method::HEAD), true, true),
        (Request::builder().method(Method::OPTIONS), true, true),
        (Request::builder().method(Method::TRACE), true, true),
        (Request::builder().method(Method::PUT), true, true),
        (Request::builder().method(Method::DELETE), true, true),
        (Request::builder().method(Method::POST), false, true),
        (Request::builder().method(Method::PATCH), false, true),
        (Request::builder().method("PURGE"), false, true),
        (Request::builder().method(Method::CONNECT), false, false),
        (upgrade(), false, false),
        (upgrade().method(Method::POST), false, false),
    ] {
        let request = request.body(()).unwrap();
        for (layer, expected) in [
            (eager(), by_default),
            (eager().non_idempotent(true), if_told),
        ] {
            // Not even where nothing was sent: a method that is not idempotent is never taken for one that is.
            let script = Script::new([Act::Fail(Failure::Connect)]);
            let request = request.clone().map(|()| Body::empty());
            let response = script.ask(&layer, request).await;
            let status = if expected { 200 } else { 502 };
            assert_eq!(response.status(), status, "{:?}", script.tries());
        }
    }
}

#[tokio::test]
async fn the_same_request_comes_again() {
    let request = Request::put("/a?b=c")
        .header("x-one", "1")
        .body(Body::from("body"))
        .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn({
        let seen = Arc::clone(&seen);
        move |request: Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let (head, body) = request.into_parts();
                let length = http_body::Body::size_hint(&body).exact();
                let body = body.collect().await.unwrap().to_bytes();
                let one = head.headers["x-one"].clone();
                seen.lock()
                    .unwrap()
                    .push((head.method, head.uri, one, length, body));
                Ok::<_, Infallible>(Response::builder().status(503).body(Body::empty()).unwrap())
            }
        }
    });
    eager().layer(service).oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|other| *other == seen[0]));
    assert_eq!((seen[0].3, &*seen[0].4), (Some(4), &b"body"[..]));
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_the_limit() {
    for (limit, body, tries) in [
        (64 * 1024, "0123456789", 3),
        (10, "0123456789", 3),
        (9, "0123456789", 1),
        (0, "", 3),
        (0, "0", 1),
    ] {
        let script = Script::new([Act::Answer(503), Act::Answer(503)]);
        let layer = eager().max_replay_bytes(limit);
        let response = script.ask(&layer, put(body)).await;
        let status = if tries == 3 { 200 } else { 503 };
        assert_eq!(response.status(), status, "{limit} {body}");
        assert_eq!(script.bodies(), vec![body; tries], "{limit}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_read_may_have_any_size() {
    let script = Script::new([Act::Fail(Failure::Connect), Act::AnswerAtOnce(503)]);
    let response = script
        .ask(&eager().max_replay_bytes(3), put("0123456789"))
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(script.bodies(), ["0123456789"]);
}

#[tokio::test]
async fn a_body_streams_on_the_first_try_and_goes_on_in_the_next() {
    let (mut feed, body) = Channel::<Bytes>::new(1);
    let script = Script::new([Act::ReadOneAndFail]);
    let asking = script.behind(&eager()).oneshot(put(Body::new(body)));
    let feeding = async {
        feed.send_data("first ".into()).await.unwrap();
        // The try that reads it has failed before the rest is there.
        while script.tries() < 2 {
            tokio::task::yield_now().await;
        }
        feed.send_data("second".into()).await.unwrap();
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-sum"),
            http::HeaderValue::from_static("1"),
        )]);
        feed.send_trailers(trailers).await.unwrap();
        drop(feed);
    };
    let (response, ()) = tokio::join!(asking, feeding);
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(script.bodies(), ["first second"]);
    let log = script.0.lock().unwrap();
    let trailers = log.bodies[0].as_ref().unwrap().1.as_ref();
    assert_eq!(trailers.unwrap()["x-sum"], "1");
}

#[tokio::test]
async fn a_body_that_broke_off_is_not_sent_again() {
    // The server has its say first, as one that answers 503 before it has read everything.
    for act in [
        Act::Answer(503),
        Act::ReadOneAndFail,
        Act::Fail(Failure::RequestBody),
    ] {
        let (mut feed, body) = Channel::<Bytes, BoxError>::new(1);
        let script = Script::new([act, Act::Answer(200)]);
        let asking = script.behind(&eager()).oneshot(put(Body::new(body)));
        let feeding = async {
            let _ = feed.send_data("half".into()).await;
            feed.abort(UpstreamError::from(Failure::RequestBody).into());
        };
        let (response, ()) = tokio::join!(asking, feeding);
        assert_ne!(response.unwrap().status(), 200);
        assert!(script.bodies().iter().all(|body| body != "half"));
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_are_random_and_grow_up_to_a_bound() {
    let base = Duration::from_millis(100);
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let script = Script::new(vec![Act::Answer(503); 20]);
        let layer = RetryLayer::new()
            .max_retries(10)
            .backoff(base)
            .budget(0, 1000);
        script.ask(&layer, get()).await;
        let tries = script.0.lock().unwrap().tries.clone();
        assert_eq!(tries.len(), 11);
        for (n, pair) in tries.windows(2).enumerate() {
            // A timer has millisecond steps.
            let most = (base * 2u32.pow(n as u32)).min(MAX_BACKOFF) + Duration::from_millis(1);
            let pause = pair[1] - pair[0];
            assert!(pause <= most, "{n}: {pause:?}");
            longest = longest.max(pause);
        }
    }
    // Three pauses of each request may have the longest length: that none of 150 passes half of it is one chance
    // in 2^150.
    assert!(longest > MAX_BACKOFF / 2, "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_try_that_takes_too_long_is_dropped_for_another() {
    let layer = eager().per_try_timeout(Duration::from_secs(2));
    let start = Instant::now();
    let script = Script::new([Act::Hang, Act::Hang]);
    let response = script.ask(&layer, put("body")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(script.bodies(), ["body"]);
    assert_eq!(start.elapsed().as_secs(), 4);
    // Each has its own time, and the last one that fails is the answer.
    let script = Script::new(vec![Act::Hang; 4]);
    let response = script.ask(&layer, get()).await;
    assert_eq!(response.status(), 504);
    assert_eq!(response.extensions().get(), Some(&Failure::ResponseTimeout));
    assert_eq!((script.tries(), retries(&response)), (4, 3));
    // One that may not be repeated has the time of one try.
    let script = Script::new([Act::Hang]);
    let post = Request::post("/").body(Body::empty()).unwrap();
    assert_eq!(script.ask(&layer, post).await.status(), 504);
    assert_eq!(script.tries(), 1);
    let script = Script::new([Act::Hang]);
    let layer = layer.on([RetryOn::Connect]);
    assert_eq!(script.ask(&layer, get()).await.status(), 504);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_while_it_is_recorded_is_not_waited_for() {
    let (mut feed, body) = Channel::<Bytes>::new(1);
    let script = Script::new([Act::Answer(200)]);
    let layer = eager()
        .per_try_timeout(Duration::from_secs(1))
        .max_retries(2);
    let asking = script.behind(&layer).oneshot(put(Body::new(body)));
    let feeding = feed.send_data("first".into());
    let (response, sent) = tokio::join!(asking, feeding);
    sent.unwrap();
    assert_eq!(response.unwrap().status(), 408);
    assert_eq!(script.tries(), 1);
    // A server that does not read what there is is to blame, and another is tried.
    let (mut feed, body) = Channel::<Bytes>::new(1);
    feed.send_data("first".into()).await.unwrap();
    let script = Script::new([Act::Hang, Act::Hang, Act::Hang]);
    let response = script.ask(&layer, put(Body::new(body))).await;
    assert_eq!(response.status(), 504);
    assert_eq!(script.tries(), 3);
}

#[tokio::test(start_paused = true)]
async fn retries_are_bounded_by_a_share_of_requests() {
    const REQUESTS: usize = 500;
    for (percent, per_second) in [(20, 0), (20, 1), (20, 10), (0, 0), (100, 0)] {
        let layer = RetryLayer::new()
            .budget(percent, per_second)
            .backoff(Duration::ZERO);
        let script = Script::new(vec![Act::Answer(503); 10_000]);
        let service = script.behind(&layer);
        let mut retried = 0;
        for _ in 0..REQUESTS {
            let response = service.clone().oneshot(get()).await.unwrap();
            assert_eq!(response.status(), 503);
            retried += retries(&response) as usize;
        }
        let allowed = REQUESTS * percent as usize / 100 + per_second as usize * 10;
        assert_eq!(script.tries(), REQUESTS + allowed, "{percent} {per_second}");
        assert_eq!(retried, allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = RetryLayer::new().budget(0, 1).backoff(Duration::ZERO);
    let script = Script::new(vec![Act::Answer(503); 10_000]);
    for _ in 0..20 {
        script.ask(&layer.clone(), get()).await;
    }
    // Ten of them are free in ten seconds.
    assert_eq!(script.tries(), 20 + 10);
}

#[tokio::test]
async fn requests_that_are_never_repeated_earn_no_retries() {
    let layer = eager().budget(100, 0);
    let script = Script::new([]);
    for _ in 0..100 {
        let post = Request::post("/").body(Body::empty()).unwrap();
        script.ask(&layer, post).await;
    }
    script.0.lock().unwrap().acts = vec![Act::Answer(503); 4].into();
    script.ask(&layer, get()).await;
    assert_eq!(script.tries(), 100 + 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_thrown_away_is_read_if_it_comes_in_time() {
    for (length, is_read) in [(60 * 1024, true), (70 * 1024, false)] {
        let whole = Arc::new(Mutex::new(false));
        let service = service_fn({
            let whole = Arc::clone(&whole);
            move |_: Request<Body>| {
                let whole = Arc::clone(&whole);
                async move {
                    let (mut feed, body) = Channel::<Bytes>::new(1);
                    tokio::spawn(async move {
                        for _ in 0..length / 1024 {
                            let piece = Bytes::from_static(&[0; 1024]);
                            if feed.send_data(piece).await.is_err() {
                                return;
                            }
                        }
                        drop(feed);
                        *whole.lock().unwrap() = true;
                    });
                    let builder = Response::builder().status(503);
                    Ok::<_, Infallible>(builder.body(Body::new(body)).unwrap())
                }
            }
        });
        // Nobody but the pause keeps the answer that long.
        let layer = RetryLayer::new()
            .backoff(Duration::from_secs(3600))
            .max_retries(1);
        let response = layer.layer(service).oneshot(get()).await.unwrap();
        assert_eq!(*whole.lock().unwrap(), is_read, "{length}");
        drop(response);
    }
    // One that has no end is not waited for.
    let start = Instant::now();
    let service = service_fn(|_: Request<Body>| async {
        let (feed, body) = Channel::<Bytes>::new(1);
        std::mem::forget(feed);
        let builder = Response::builder().status(503);
        Ok::<_, Infallible>(builder.body(Body::new(body)).unwrap())
    });
    let response = RetryLayer::new().layer(service).oneshot(get()).await;
    assert_eq!(response.unwrap().status(), 503);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn tries_are_noted_for_the_balance_and_only_where_there_may_be_another() {
    let service = service_fn(|request: Request<Body>| async move {
        let is_noted = request.extensions().get::<Tried>().is_some();
        Ok::<_, Infallible>(Response::new(Body::from(is_noted.to_string())))
    });
    for (method, noted) in [("GET", "true"), ("POST", "false")] {
        let request = Request::builder().method(method).uri("/");
        let request = request.body(Body::empty()).unwrap();
        let response = RetryLayer::new().layer(service).oneshot(request).await;
        let body = response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), noted, "{method}");
    }
}

#[tokio::test]
async fn one_retry_may_stand_above_another() {
    let script = Script::new(vec![Act::Answer(503); 3]);
    let inner = script.behind(&eager().max_retries(1));
    let outer = eager().max_retries(1).layer(inner);
    let response = outer.oneshot(put("body")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(script.bodies(), ["body"; 4]);
}

#[tokio::test]
async fn an_axum_app_can_use_it() {
    let script = Script::new([Act::Answer(503)]);
    let handler = {
        let script = script.clone();
        move |request: Request<Body>| async move { script.act(request).await.unwrap() }
    };
    let app = axum::Router::new().fallback(handler).layer(eager());
    let response = app.oneshot(put("body")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(script.bodies(), ["body", "body"]);
}

#[tokio::test]
async fn a_request_that_is_given_up_ends_at_once() {
    let script = Script::new([Act::ReadOneAndFail, Act::Hang]);
    let (mut feed, body) = Channel::<Bytes>::new(1);
    feed.send_data("first".into()).await.unwrap();
    let asking = script.behind(&eager()).oneshot(put(Body::new(body)));
    let mut asking = tokio_test::task::spawn(asking);
    assert!(asking.poll().is_pending());
    assert_eq!(script.tries(), 2);
    drop(asking);
    // Nobody holds the body any more.
    assert!(feed.send_data("second".into()).await.is_err());
}
