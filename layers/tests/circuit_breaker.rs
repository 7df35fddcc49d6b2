//! `circuit_breaker` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::circuit_breaker::CircuitState::{Closed, HalfOpen, Open};
use a3s_layers::circuit_breaker::{CircuitBreakerHandle, CircuitBreakerLayer, CircuitState};
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::reject::{Refused, Shape, reject};
use a3s_layers::rescue::RescueLayer;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{advance, sleep};
use tokio_test::task::Spawn;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

/// What the service below does; a request carries it.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer(u16),
    AnswerAfter(Duration),
    Fail(Failure),
    Refuse,
    Hang,
    /// Answers 200 when the request's body has ended.
    Read,
}

type Asking = std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A breaker and the service below it.
#[derive(Clone)]
struct Circuit {
    service: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    handle: CircuitBreakerHandle,
    asked: Arc<AtomicUsize>,
}

impl Circuit {
    fn new(layer: &CircuitBreakerLayer) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let service = service_fn({
            let asked = Arc::clone(&asked);
            move |request: Request<Body>| {
                asked.fetch_add(1, Ordering::SeqCst);
                act(request)
            }
        });
        let service = layer.layer(RescueLayer::new().layer(service));
        Self {
            service: BoxCloneSyncService::new(service),
            handle: layer.handle(),
            asked,
        }
    }

    /// A request under way.
    fn begin(&self, act: Act) -> Spawn<Asking> {
        self.begin_with(act, Body::empty())
    }

    fn begin_with(&self, act: Act, body: Body) -> Spawn<Asking> {
        let service = self.service.clone();
        let mut asking: Spawn<Asking> = tokio_test::task::spawn(Box::pin(async move {
            service.oneshot(with(act, body)).await.unwrap()
        }));
        assert!(asking.poll().is_pending());
        asking
    }

    async fn ask(&self, act: Act) -> Response<Body> {
        let request = with(act, Body::empty());
        self.service.clone().oneshot(request).await.unwrap()
    }

    async fn status(&self, act: Act) -> u16 {
        self.ask(act).await.status().as_u16()
    }

    fn state(&self) -> CircuitState {
        self.handle.state()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn fail(&self, times: usize) {
        for _ in 0..times {
            self.ask(Act::Answer(500)).await;
        }
    }
}

fn with(act: Act, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    request.extensions_mut().insert(act);
    request
}

async fn act(request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let answer = |status| {
        Ok(Response::builder()
            .status(status)
            .body(Body::empty())
            .unwrap())
    };
    match *request.extensions().get().unwrap() {
        Act::Answer(status) => answer(status),
        Act::Read => {
            request.into_body().collect().await?;
            answer(200)
        }
        Act::AnswerAfter(time) => {
            sleep(time).await;
            answer(200)
        }
        Act::Fail(failure) => Err(UpstreamError::from(failure).into()),
        Act::Refuse => Ok(reject(
            StatusCode::SERVICE_UNAVAILABLE,
            "full",
            Shape::default(),
        )),
        Act::Hang => std::future::pending().await,
    }
}

const OK: Act = Act::Answer(200);
const BAD: Act = Act::Answer(500);

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new()
}

const COOLDOWN: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it() {
    for (acts, state) in [
        (vec![BAD; 5], Open),
        (vec![BAD; 4], Closed),
        (vec![BAD, BAD, BAD, BAD, OK, BAD, BAD, BAD, BAD], Closed),
        (vec![BAD, BAD, BAD, BAD, Act::Answer(404), BAD], Closed),
        (vec![Act::Fail(Failure::Connect); 5], Open),
        (vec![Act::Fail(Failure::Reset); 5], Open),
        (vec![Act::Fail(Failure::ResponseTimeout); 5], Open),
        (vec![Act::Fail(Failure::Unavailable); 5], Open),
        (
            vec![
                Act::Answer(502),
                BAD,
                Act::Answer(503),
                BAD,
                Act::Answer(599),
            ],
            Open,
        ),
        // The client's own part, and what never came to the service, is neither a failure nor a success.
        (vec![Act::Fail(Failure::RequestBody); 9], Closed),
        (vec![Act::Fail(Failure::RequestTimeout); 9], Closed),
        (vec![Act::Fail(Failure::BodyTooLarge); 9], Closed),
        (vec![Act::Refuse; 9], Closed),
        (
            vec![
                BAD,
                BAD,
                Act::Fail(Failure::RequestBody),
                Act::Refuse,
                BAD,
                BAD,
                BAD,
            ],
            Open,
        ),
    ] {
        let circuit = Circuit::new(&layer());
        let count = acts.len();
        for act in acts {
            circuit.ask(act).await;
        }
        assert_eq!(circuit.state(), state);
        assert_eq!(circuit.asked(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_asks_nobody_and_says_when_to_come_again() {
    let circuit = Circuit::new(&layer());
    circuit.fail(5).await;
    for (after, seconds) in [(0, "30"), (1, "30"), (999, "29"), (28_500, "1"), (499, "1")] {
        advance(Duration::from_millis(after)).await;
        let response = circuit.ask(OK).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], seconds);
        assert_eq!(response.headers()["content-type"], "application/json");
        // So that a retry above does not insist.
        assert!(response.extensions().get::<Refused>().is_some());
        assert_eq!(circuit.state(), Open);
    }
    assert_eq!(circuit.asked(), 5);
    advance(Duration::from_millis(1)).await;
    assert_eq!(circuit.state(), HalfOpen);
    assert_eq!(circuit.status(OK).await, 200);
    assert_eq!(circuit.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_circuit_lets_one_request_try() {
    let circuit = Circuit::new(&layer());
    circuit.fail(5).await;
    advance(COOLDOWN).await;
    let mut probe = circuit.begin(Act::AnswerAfter(Duration::from_secs(1)));
    for _ in 0..10 {
        let response = circuit.ask(OK).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
    }
    assert_eq!((circuit.asked(), circuit.state()), (6, HalfOpen));
    assert_eq!((&mut *probe).await.status(), 200);
    assert_eq!(circuit.state(), Closed);
    // It begins to count afresh.
    circuit.fail(4).await;
    assert_eq!(circuit.state(), Closed);
    circuit.fail(1).await;
    assert_eq!(circuit.state(), Open);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_opens_it_for_another_cooldown() {
    let circuit = Circuit::new(&layer());
    circuit.fail(5).await;
    for round in 1..4 {
        advance(COOLDOWN).await;
        assert_eq!(circuit.status(BAD).await, 500);
        assert_eq!(circuit.state(), Open);
        let response = circuit.ask(OK).await;
        assert_eq!(response.headers()["retry-after"], "30");
        assert_eq!(circuit.asked(), 5 + round);
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_may_try_at_a_time_as_successes_are_needed() {
    let circuit = Circuit::new(&layer().success_threshold(3));
    circuit.fail(5).await;
    advance(COOLDOWN).await;
    let second = Duration::from_secs(1);
    let mut first = circuit.begin(Act::AnswerAfter(second));
    let _second = circuit.begin(Act::Hang);
    let third = circuit.begin(Act::Hang);
    assert_eq!(circuit.status(OK).await, 503);
    // A success needs one less, and so does not make room for another.
    assert_eq!((&mut *first).await.status(), 200);
    assert_eq!(circuit.status(OK).await, 503);
    assert_eq!(circuit.state(), HalfOpen);
    // One that is dropped frees its place.
    drop(third);
    assert_eq!(circuit.status(OK).await, 200);
    assert_eq!(circuit.state(), HalfOpen);
    drop(_second);
    assert_eq!(circuit.status(OK).await, 200);
    assert_eq!(circuit.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_says_nothing_gives_its_place_to_another() {
    for act in [Act::Refuse, Act::Fail(Failure::RequestBody)] {
        let circuit = Circuit::new(&layer());
        circuit.fail(5).await;
        advance(COOLDOWN).await;
        for _ in 0..3 {
            circuit.ask(act).await;
            assert_eq!(circuit.state(), HalfOpen);
        }
        assert_eq!(circuit.status(OK).await, 200);
        assert_eq!(circuit.state(), Closed);
    }
    // Dropped, or not heard of for the length of a cooldown.
    let circuit = Circuit::new(&layer());
    circuit.fail(5).await;
    advance(COOLDOWN).await;
    drop(circuit.begin(Act::Hang));
    let _stuck = circuit.begin(Act::Hang);
    assert_eq!(circuit.status(OK).await, 503);
    advance(COOLDOWN).await;
    assert_eq!(circuit.status(OK).await, 200);
    assert_eq!(circuit.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_has_not_wholly_come_keeps_its_place_for_a_second() {
    let second = Duration::from_secs(1);
    let circuit = Circuit::new(&layer());
    circuit.fail(5).await;
    advance(COOLDOWN).await;
    let mut feeds = Vec::new();
    let mut stall = || {
        let (feed, body) = Channel::<Bytes>::new(1);
        feeds.push(feed);
        circuit.begin_with(Act::Read, Body::new(body))
    };
    let early = stall();
    advance(second / 2).await;
    // Whoever gets the place has a second of his own.
    drop(early);
    let _first = stall();
    advance(second - Duration::from_millis(1)).await;
    assert_eq!(circuit.status(OK).await, 503);
    advance(Duration::from_millis(1)).await;
    let _second = stall();
    assert_eq!(circuit.status(OK).await, 503);
    advance(second).await;
    // One that is whole has the length of a cooldown, whoever was before it.
    let hanging = circuit.begin(Act::Hang);
    advance(second * 5).await;
    assert_eq!(circuit.status(OK).await, 503);
    drop(hanging);
    assert_eq!(circuit.status(OK).await, 200);
    assert_eq!(circuit.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn a_late_probe_still_tells_of_the_service() {
    let circuit = Circuit::new(&layer().success_threshold(2));
    circuit.fail(5).await;
    advance(COOLDOWN).await;
    let mut late = circuit.begin(Act::AnswerAfter(COOLDOWN + Duration::from_secs(1)));
    let _other = circuit.begin(Act::Hang);
    advance(COOLDOWN).await;
    assert_eq!(circuit.status(OK).await, 200);
    assert_eq!(circuit.state(), HalfOpen);
    assert_eq!((&mut *late).await.status(), 200);
    assert_eq!(circuit.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn what_began_before_it_opened_says_nothing_afterwards() {
    let circuit = Circuit::new(&layer());
    let second = Duration::from_secs(1);
    let mut early: Vec<_> = (0..5)
        .map(|_| circuit.begin(Act::AnswerAfter(COOLDOWN + second)))
        .collect();
    circuit.fail(5).await;
    advance(COOLDOWN).await;
    let mut probe = circuit.begin(Act::AnswerAfter(second * 2));
    for early in &mut early {
        assert_eq!((&mut **early).await.status(), 200);
        assert_eq!(circuit.state(), HalfOpen);
    }
    assert_eq!((&mut *probe).await.status(), 200);
    assert_eq!(circuit.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn a_share_of_failures_opens_it_when_there_were_enough_requests() {
    let by_ratio = || {
        layer()
            .failure_threshold(1000)
            .error_ratio(0.5)
            .min_requests(10)
            .window(Duration::from_secs(10))
    };
    // (good, bad, and bad again) in this order.
    for (good, bad, state) in [
        (0, 9, Closed),
        (0, 10, Open),
        (5, 5, Open),
        (6, 5, Closed),
        (6, 6, Open),
        (100, 99, Closed),
        (100, 100, Open),
    ] {
        let circuit = Circuit::new(&by_ratio());
        for _ in 0..good {
            circuit.ask(OK).await;
        }
        circuit.fail(bad).await;
        assert_eq!(circuit.state(), state, "{good} {bad}");
    }
    // What is older than the window is forgotten.
    let circuit = Circuit::new(&by_ratio());
    circuit.fail(9).await;
    advance(Duration::from_secs(10)).await;
    circuit.fail(9).await;
    assert_eq!(circuit.state(), Closed);
    circuit.fail(1).await;
    assert_eq!(circuit.state(), Open);
    // And so is everything when it closes.
    advance(COOLDOWN).await;
    assert_eq!(circuit.status(OK).await, 200);
    circuit.fail(9).await;
    assert_eq!(circuit.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn too_slow_is_a_failure_where_it_is_said_so() {
    let slow = Act::AnswerAfter(Duration::from_millis(600));
    let quick = Act::AnswerAfter(Duration::from_millis(400));
    let circuit = Circuit::new(&layer());
    for _ in 0..9 {
        assert_eq!(circuit.status(slow).await, 200);
    }
    assert_eq!(circuit.state(), Closed);
    let circuit = Circuit::new(&layer().latency(Duration::from_millis(500)));
    for act in [slow, slow, slow, slow, quick, slow, slow, slow, slow] {
        assert_eq!(circuit.status(act).await, 200);
        assert_eq!(circuit.state(), Closed);
    }
    assert_eq!(circuit.status(slow).await, 200);
    assert_eq!(circuit.state(), Open);
    // A probe is timed, too.
    advance(COOLDOWN).await;
    circuit.ask(slow).await;
    assert_eq!(circuit.state(), Open);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_not_slow_where_its_client_is() {
    let second = Duration::from_secs(1);
    let circuit = Circuit::new(&layer().failure_threshold(1).latency(second / 2));
    let (feed, body) = Channel::<Bytes>::new(1);
    let mut asking = circuit.begin_with(Act::Read, Body::new(body));
    advance(second * 9).await;
    drop(feed);
    assert_eq!((&mut *asking).await.status(), 200);
    assert_eq!(circuit.state(), Closed);
    // It is where it does not read what there is.
    let (_feed, body) = Channel::<Bytes>::new(1);
    let mut asking = circuit.begin_with(Act::AnswerAfter(second), Body::new(body));
    assert_eq!((&mut *asking).await.status(), 200);
    assert_eq!(circuit.state(), Open);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_is_neither_a_failure_nor_a_success() {
    let circuit = Circuit::new(&layer());
    circuit.fail(4).await;
    for _ in 0..10 {
        drop(circuit.begin(Act::Hang));
    }
    assert_eq!(circuit.state(), Closed);
    circuit.fail(1).await;
    assert_eq!(circuit.state(), Open);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_at_its_head() {
    let service = service_fn(|_: Request<Body>| async {
        let (feed, body) = Channel::<Bytes>::new(1);
        std::mem::forget(feed);
        Ok::<_, Infallible>(Response::builder().status(500).body(body).unwrap())
    });
    let layer = layer().failure_threshold(1);
    let response = layer
        .layer(service)
        .oneshot(Request::new(Body::empty()))
        .await;
    assert_eq!(layer.handle().state(), Open);
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn there_may_be_another_answer_than_503() {
    let json = HeaderValue::from_static("application/json");
    let fallback = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        layer().fallback(status, json.clone(), "[]")
    };
    for (status, has_retry_after) in [(200, false), (503, true)] {
        let circuit = Circuit::new(&fallback(status));
        circuit.fail(5).await;
        let response = circuit.ask(OK).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], "application/json");
        let says = response.headers().contains_key("retry-after");
        assert_eq!(says, has_retry_after);
        assert!(response.extensions().get::<Refused>().is_some());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "[]");
    }
    // A gRPC client could not read it.
    let circuit = Circuit::new(&fallback(200));
    circuit.fail(5).await;
    let mut request = with(OK, Body::empty());
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    let response = circuit.service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
}

#[tokio::test(start_paused = true)]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = layer();
    let (one, other) = (Circuit::new(&layer), Circuit::new(&layer.clone()));
    one.fail(3).await;
    other.fail(2).await;
    for circuit in [&one, &other] {
        assert_eq!(circuit.state(), Open);
        assert_eq!(circuit.status(OK).await, 503);
    }
    assert_eq!((one.asked(), other.asked()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_with_an_error_fails() {
    let service = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("broken") });
    let layer = layer().failure_threshold(1);
    let service = layer.layer(service);
    let ask = || service.clone().oneshot(Request::new(Body::empty()));
    assert!(ask().await.is_err());
    assert_eq!(layer.handle().state(), Open);
    assert_eq!(ask().await.unwrap().status(), 503);
}

#[test]
fn threads_that_meet_leave_it_usable() {
    let layer = layer()
        .failure_threshold(3)
        .success_threshold(2)
        .cooldown(Duration::from_millis(1))
        .error_ratio(0.5);
    let circuit = Circuit::new(&layer);
    let handle = circuit.handle.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let layer = layer.clone();
            tasks.spawn(async move {
                let circuit = Circuit::new(&layer);
                for n in 0..2000 {
                    match (n + task) % 3 {
                        0 => drop(circuit.ask(BAD).await),
                        1 => drop(circuit.ask(OK).await),
                        _ => {
                            let mut dropped = tokio_test::task::spawn(circuit.ask(Act::Hang));
                            let _ = dropped.poll();
                        }
                    }
                }
            });
        }
        tasks.join_all().await;
        // No place was lost: it closes as soon as the service is well.
        let closes = async {
            while handle.state() != Closed {
                circuit.ask(OK).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), closes)
            .await
            .unwrap();
    });
}
