//! Stops asking a service that fails, and lets a few requests try it after a while.
//!
//! ```
//! use a3s_layers::circuit_breaker::{CircuitBreakerLayer, CircuitState};
//! use axum::body::Body;
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let layer = CircuitBreakerLayer::new().failure_threshold(2);
//! let handle = layer.handle();
//! let service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(|_: Request<Body>| async {
//!         Ok::<_, Infallible>(Response::builder().status(500).body(Body::empty()).unwrap())
//!     }));
//! for expected in [500, 500, 503] {
//!     let response = service.clone().oneshot(Request::new(Body::empty())).await.unwrap();
//!     assert_eq!(response.status(), expected);
//! }
//! assert_eq!(handle.state(), CircuitState::Open);
//! # });
//! ```

mod state;

pub use state::CircuitState;

use crate::answer::AnswerFuture;
use crate::classify::Verdict;
use crate::error::BoxError;
use crate::journal::Journal;
use crate::reject::{Reason, Refused, Shape, reject};
use crate::upload::Upload;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use state::{Breaker, MAX_FAILURES, MAX_SUCCESSES, Permit};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower::{Layer, Service};

const MESSAGE: &str = "the service is failing, and is left alone for a while";

/// A circuit breaker (M. Nygard, "Release It!", 2007): closed it lets requests pass, open it refuses them with 503,
/// and half-open, when the cooldown is over, it lets as many try as successes are needed to close it. A probe that
/// fails opens it again.
///
/// It opens after so many [failures](Verdict::of) in a row, or, if [`error_ratio`](Self::error_ratio) is set, when so
/// large a share of the last requests failed. Too slow is a failure where [`latency`](Self::latency) says so. A client
/// that went away, and one whose own body was bad or late, is neither a failure nor a success; a probe of which that is
/// said gives its place to another, and so does one of which nothing is heard for the length of a cooldown, or for a
/// second where its body had not ended when it began: that long it may take is for its client to say.
///
/// An answer counts when its head has come, however long its body is. The refusal says in `Retry-After` when the
/// cooldown is over.
///
/// One breaker serves all clones of the layer, without a lock; it holds one word, and ten more for a ratio. Each setter
/// begins a new one.
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer {
    breaker: Arc<Breaker>,
}

#[derive(Debug, Clone)]
struct Settings {
    name: Option<Box<str>>,
    failure_threshold: u32,
    success_threshold: u32,
    cooldown: Duration,
    error_ratio: Option<f64>,
    window: Duration,
    min_requests: u32,
    latency: Option<Duration>,
    fallback: Option<Fallback>,
}

#[derive(Debug, Clone)]
struct Fallback {
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl CircuitBreakerLayer {
    /// Opens after 5 failures in a row, for 30 s, and closes after one success.
    pub fn new() -> Self {
        let settings = Settings {
            name: None,
            failure_threshold: 5,
            success_threshold: 1,
            cooldown: Duration::from_secs(30),
            error_ratio: None,
            window: Duration::from_secs(10),
            min_requests: 20,
            latency: None,
            fallback: None,
        };
        Self {
            breaker: Arc::new(Breaker::new(settings)),
        }
    }

    /// What the log calls it.
    pub fn name(self, name: impl Into<Box<str>>) -> Self {
        self.with(|settings| settings.name = Some(name.into()))
    }

    /// The failures in a row that open it, 1 to 4 194 303.
    pub fn failure_threshold(self, failures: u32) -> Self {
        self.with(|settings| settings.failure_threshold = failures.clamp(1, MAX_FAILURES))
    }

    /// The successes that close it when it is half-open, and the most requests that try at a time, 1 to 2047.
    pub fn success_threshold(self, successes: u32) -> Self {
        self.with(|settings| settings.success_threshold = successes.clamp(1, MAX_SUCCESSES))
    }

    /// How long it stays open, at least a millisecond.
    pub fn cooldown(self, cooldown: Duration) -> Self {
        self.with(|settings| settings.cooldown = cooldown.max(Duration::from_millis(1)))
    }

    /// Opens it also where this share of the requests of the [`window`](Self::window) failed, above 0 up to 1. It is
    /// looked at whenever one fails, and weighed only with [`min_requests`](Self::min_requests).
    pub fn error_ratio(self, ratio: f64) -> Self {
        self.with(|settings| settings.error_ratio = Some(ratio))
    }

    /// How far back the ratio looks; 10 s unless told. It moves on in steps of a tenth.
    pub fn window(self, window: Duration) -> Self {
        self.with(|settings| settings.window = window)
    }

    /// The requests of a window without which the ratio says nothing; 20 unless told.
    pub fn min_requests(self, requests: u32) -> Self {
        self.with(|settings| settings.min_requests = requests)
    }

    /// An answer whose head takes longer than this is a failure. The time in which the request's body waits for its
    /// client is not in it.
    pub fn latency(self, latency: Duration) -> Self {
        self.with(|settings| settings.latency = Some(latency))
    }

    /// Answers so, in place of the refusal, where the circuit is open. gRPC clients get the refusal: they could not
    /// read this.
    pub fn fallback(
        self,
        status: StatusCode,
        content_type: HeaderValue,
        body: impl Into<Bytes>,
    ) -> Self {
        let fallback = Fallback {
            status,
            content_type,
            body: body.into(),
        };
        self.with(|settings| settings.fallback = Some(fallback))
    }

    /// Reads the breaker's state from elsewhere. Taken after the last setter.
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle {
            breaker: Arc::clone(&self.breaker),
        }
    }

    fn with(self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.breaker.settings.clone();
        set(&mut settings);
        Self {
            breaker: Arc::new(Breaker::new(settings)),
        }
    }
}

/// Tells the state of a circuit breaker.
#[derive(Debug, Clone)]
pub struct CircuitBreakerHandle {
    breaker: Arc<Breaker>,
}

impl CircuitBreakerHandle {
    /// What it does now. An open circuit whose cooldown is over is half-open: the next request tries.
    pub fn state(&self) -> CircuitState {
        self.breaker.state()
    }

    /// How often it came into each state since it was made. Whether a probe comes is up to requests: an open circuit
    /// without any does not become half-open.
    pub fn transitions(&self) -> [(CircuitState, u64); 3] {
        self.breaker.became()
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker {
            inner,
            breaker: Arc::clone(&self.breaker),
        }
    }
}

/// The service made by [`CircuitBreakerLayer`].
#[derive(Debug, Clone)]
pub struct CircuitBreaker<S> {
    inner: S,
    breaker: Arc<Breaker>,
}

impl<S, B, R> Service<Request<B>> for CircuitBreaker<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CircuitBreakerFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(journal) = Journal::rehearsed(&request) {
            let inner = match self.breaker.look(&journal) {
                Ok(()) => AnswerFuture::pass(self.inner.call(request.map(Body::new))),
                Err(rest) => AnswerFuture::refuse(refusal(
                    self.breaker.settings.fallback.as_ref(),
                    Shape::of(request.headers()),
                    rest,
                )),
            };
            return CircuitBreakerFuture {
                inner,
                permit: None,
                upload: None,
            };
        }
        match self.breaker.admit(request.body().is_end_stream()) {
            Ok(permit) => {
                let (request, upload) = match permit.is_timed() {
                    true => Upload::watch(request),
                    false => (request.map(Body::new), None),
                };
                CircuitBreakerFuture {
                    inner: AnswerFuture::pass(self.inner.call(request)),
                    permit: Some(permit),
                    upload,
                }
            }
            Err(rest) => CircuitBreakerFuture {
                inner: AnswerFuture::refuse(refusal(
                    self.breaker.settings.fallback.as_ref(),
                    Shape::of(request.headers()),
                    rest,
                )),
                permit: None,
                upload: None,
            },
        }
    }
}

fn refusal(fallback: Option<&Fallback>, shape: Shape, rest: Duration) -> Response<Body> {
    let mut response = match fallback {
        Some(fallback) if !shape.is_grpc() => {
            let mut response = Response::new(Body::from(fallback.body.clone()));
            *response.status_mut() = fallback.status;
            let content_type = fallback.content_type.clone();
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response.extensions_mut().insert(Refused(MESSAGE));
            response
        }
        _ => reject(StatusCode::SERVICE_UNAVAILABLE, MESSAGE, shape),
    };
    response.extensions_mut().insert(Reason("circuit_open"));
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = rest.as_millis().div_ceil(1000).max(1);
        let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

pin_project! {
    /// The future of [`CircuitBreaker`].
    pub struct CircuitBreakerFuture<F, E> {
        #[pin]
        inner: AnswerFuture<F, E>,
        permit: Option<Permit>,
        // Where time counts: that of the client does not.
        upload: Option<Upload>,
    }
}

impl<F, R, E> Future for CircuitBreakerFuture<F, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let Some(permit) = this.permit.take() {
            let verdict = match &result {
                Ok(response) => Verdict::of(response),
                Err(_) => Verdict::Failure,
            };
            let upload = this.upload.as_ref();
            permit.settle(verdict, upload.map(Upload::waited).unwrap_or_default());
        }
        Poll::Ready(result)
    }
}
