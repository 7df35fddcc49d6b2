//! Asks another service where one has nobody to answer, or answers badly.
//!
//! ```
//! use a3s_layers::error::{Failure, UpstreamError};
//! use a3s_layers::failover::FailoverLayer;
//! use axum::body::Body;
//! use http::{Request, Response};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let secondary = service_fn(|_: Request<Body>| async {
//!     Ok::<_, BoxError>(Response::new(Body::from("the secondary")))
//! });
//! let service = ServiceBuilder::new()
//!     .layer(FailoverLayer::new(secondary).on_status([502..=504]))
//!     .service(service_fn(|_: Request<Body>| async {
//!         Err::<Response<Body>, BoxError>(UpstreamError::from(Failure::Unavailable).into())
//!     }));
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
//! assert_eq!(body, "the secondary");
//! # });
//! ```

use crate::discard::{self, Discard};
use crate::error::{BoxError, Failure};
use crate::journal::Journal;
use crate::reject::Refused;
use crate::replay::{Replay, copy, is_plain};
use crate::tried::Tried;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use pin_project_lite::pin_project;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tower::util::{Oneshot, ServiceExt};
use tower::{Layer, Service};

/// Has a secondary service answer where the primary, which the layer is put on, does not:
///
/// - It has nobody: [`Failure::Unavailable`], [`Failure::Overloaded`]. Nothing was sent, nor read of the request's body:
///   any method goes on, and a body of any length, which is not held for it.
/// - It could not be connected to: [`Failure::Connect`], where all servers of it that there are to pick were tried,
///   each once; [`Failure::ConnectTimeout`], after the first. Nothing was sent either.
/// - It failed otherwise, or its answer has one of the statuses of [`on_status`](Self::on_status): then the request may
///   have done something, and goes on under the conditions of [`retry`](crate::retry). Its method is idempotent (RFC
///   9110, 9.2.2), it is no `CONNECT` and no upgrade, and its body was recorded whole as it went by, up to
///   [`max_replay_bytes`](Self::max_replay_bytes).
///
/// It goes nowhere else where the request's own body failed, where the answer is a refusal of the gateway
/// ([`Refused`]), and once the head of an answer was passed on. Every request asks the primary first: where that has
/// nobody it costs nothing to ask, and where it is back the next request is its own.
///
/// Where the secondary fails too, the client gets the primary's own answer, if there was one; else what the secondary
/// failed with, but what the primary failed with where the secondary had nobody.
///
/// It may stand below the [rescue](crate::rescue) or above it. One request holds at most `max_replay_bytes`, beside what
/// a retry above holds.
#[derive(Debug)]
pub struct FailoverLayer<F> {
    shared: Arc<Shared<F>>,
}

#[derive(Debug, Clone)]
struct Shared<F> {
    secondary: F,
    name: Arc<str>,
    on_status: Vec<RangeInclusive<u16>>,
    max_replay_bytes: usize,
    course: Arc<FailoverCourse>,
}

impl<F> Clone for FailoverLayer<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F: Clone> FailoverLayer<F> {
    /// Asks `secondary`, on no status, with bodies of up to 64 KiB.
    pub fn new(secondary: F) -> Self {
        let shared = Shared {
            secondary,
            name: "".into(),
            on_status: Vec::new(),
            max_replay_bytes: 64 * 1024,
            course: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What the log calls the primary.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.shared().name = name.into();
        self
    }

    /// The primary's own answers that the secondary is asked in place of, by status.
    pub fn on_status(mut self, statuses: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        self.shared().on_status = statuses.into_iter().collect();
        self
    }

    /// The most bytes of a request's body that are kept for the secondary. With 0 a request goes there only if none of
    /// its body was read.
    pub fn max_replay_bytes(mut self, max: usize) -> Self {
        self.shared().max_replay_bytes = max;
        self
    }

    /// Goes on with what an earlier layer knew.
    pub fn continuing(mut self, course: Arc<FailoverCourse>) -> Self {
        self.shared().course = course;
        self
    }

    /// What is known of it while it runs.
    pub fn course(&self) -> &Arc<FailoverCourse> {
        &self.shared.course
    }

    fn shared(&mut self) -> &mut Shared<F> {
        Arc::make_mut(&mut self.shared)
    }
}

/// What is known of a failover while it runs.
#[derive(Debug, Default)]
pub struct FailoverCourse {
    requests: AtomicU64,
    is_active: AtomicBool,
}

impl FailoverCourse {
    /// None asked so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests that the secondary was asked.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether the primary had nobody when it was last asked.
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// Counts one that the secondary is asked; `is_deserted` where the primary has nobody.
    pub fn go_over(&self, name: &str, is_deserted: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if is_deserted && !self.is_active() && !self.is_active.swap(true, Ordering::Relaxed) {
            tracing::warn!(service = name, "nobody is there: its failover is asked");
        }
    }

    /// The primary has answered one that began while it had nobody.
    pub fn come_back(&self, name: &str) {
        if self.is_active.swap(false, Ordering::Relaxed) {
            tracing::info!(
                service = name,
                "somebody is there again: its failover is left"
            );
        }
    }
}

impl<S, F> Layer<S> for FailoverLayer<F> {
    type Service = Failover<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Failover {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The service made by [`FailoverLayer`]. It is always ready.
#[derive(Debug)]
pub struct Failover<S, F> {
    inner: S,
    shared: Arc<Shared<F>>,
}

impl<S: Clone, F> Clone for Failover<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S, F, B, R, Q> Service<Request<B>> for Failover<S, F>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: 'static,
    F: Service<Request<Body>, Response = Response<Q>, Error = S::Error> + Clone,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = FailoverFuture<S, F>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (attempt, request) = Attempt::new(&self.shared, request.map(Body::new));
        FailoverFuture {
            asked: Asked::Primary {
                future: self.inner.clone().oneshot(request),
            },
            primary: self.inner.clone(),
            attempt,
            outcome: None,
        }
    }
}

/// A request, as it may be sent once more.
#[derive(Debug)]
struct Attempt<F> {
    shared: Arc<Shared<F>>,
    head: Request<Body>,
    replay: Option<Replay>,
    tried: Tried,
    is_repeatable: bool,
    rehearsal: Option<Journal>,
    /// Whether the primary had nobody when it began.
    was_active: bool,
}

/// Who is asked after the primary has said something.
enum Next {
    Nobody,
    /// It has other servers.
    Primary,
    Secondary {
        is_deserted: bool,
    },
}

impl<F> Attempt<F> {
    fn new(shared: &Arc<Shared<F>>, mut request: Request<Body>) -> (Self, Request<Body>) {
        let rehearsal = Journal::rehearsed(&request);
        let is_repeatable = request.method().is_idempotent() && is_plain(&request);
        let tried = request.extensions_mut().get_or_insert_with(Tried::new);
        let tried = tried.clone();
        let mut replay = None;
        if !request.body().is_end_stream() {
            let body = std::mem::take(request.body_mut());
            // What may not be sent twice is not kept; it can be sent as long as nothing was read of it.
            let limit = if is_repeatable {
                shared.max_replay_bytes
            } else {
                0
            };
            let recorded = Replay::new(body, limit);
            *request.body_mut() = recorded.body();
            replay = Some(recorded);
        }
        let attempt = Self {
            head: copy(&request, Body::empty()),
            was_active: shared.course.is_active(),
            shared: Arc::clone(shared),
            replay,
            tried,
            is_repeatable,
            rehearsal,
        };
        (attempt, request)
    }

    fn next<E: 'static>(&self, outcome: &Result<Response<Body>, E>) -> Next {
        let failure = failure_of(outcome);
        if failure.is_none() && self.was_active && self.rehearsal.is_none() {
            self.shared.course.come_back(&self.shared.name);
        }
        let is_wanted = match (failure, outcome) {
            (Some(failure), _) if failure.is_of_request() => false,
            (Some(failure), _) => self.is_repeatable || was_not_sent(failure),
            (None, Ok(response)) => self.is_repeatable && self.shared.wants(response),
            (None, Err(_)) => false,
        };
        if !is_wanted || !self.replay.as_ref().is_none_or(Replay::is_whole) {
            return Next::Nobody;
        }
        match failure {
            Some(Failure::Connect) if self.tried.has_others() => Next::Primary,
            Some(Failure::Connect | Failure::Unavailable) => Next::Secondary { is_deserted: true },
            _ => Next::Secondary { is_deserted: false },
        }
    }

    fn again(&self) -> Request<Body> {
        let body = self.replay.as_ref().map(Replay::body);
        copy(&self.head, body.unwrap_or_default())
    }

    /// For the last time: nothing more is recorded.
    fn at_last(&mut self) -> Request<Body> {
        let mut request = std::mem::take(&mut self.head);
        if let Some(replay) = self.replay.take() {
            *request.body_mut() = replay.body();
        }
        request
    }
}

impl<F> Shared<F> {
    /// Whether an answer of the primary's own is no good.
    fn wants(&self, response: &Response<Body>) -> bool {
        let status = response.status().as_u16();
        self.on_status.iter().any(|range| range.contains(&status))
            && response.extensions().get::<Refused>().is_none()
    }
}

fn failure_of<E: 'static>(outcome: &Result<Response<Body>, E>) -> Option<Failure> {
    match outcome {
        Ok(response) => response.extensions().get().copied(),
        Err(error) => Some(Failure::of_any(error)),
    }
}

/// Whether no server has seen anything of the request.
fn was_not_sent(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::Unavailable | Failure::Overloaded | Failure::Connect | Failure::ConnectTimeout
    )
}

/// Whether what the secondary failed with is worse to know than what the primary has said.
fn is_worse<E: 'static>(failure: Failure, primary: &Result<Response<Body>, E>) -> bool {
    match failure {
        _ if failure.is_of_request() => false,
        Failure::Unavailable | Failure::Overloaded => true,
        _ => failure_of(primary).is_none(),
    }
}

pin_project! {
    /// The future of [`Failover`].
    pub struct FailoverFuture<S, F>
    where
        S: Service<Request<Body>>,
        F: Service<Request<Body>>,
    {
        #[pin]
        asked: Asked<S, F>,
        primary: S,
        attempt: Attempt<F>,
        // What the primary has said, while the secondary is asked.
        outcome: Option<Result<Response<Body>, S::Error>>,
    }
}

pin_project! {
    #[project = AskedProjection]
    enum Asked<S, F>
    where
        S: Service<Request<Body>>,
        F: Service<Request<Body>>,
    {
        Primary { #[pin] future: Oneshot<S, Request<Body>> },
        Secondary { #[pin] future: Oneshot<F, Request<Body>> },
    }
}

impl<S, F, R, Q> Future for FailoverFuture<S, F>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: 'static,
    F: Service<Request<Body>, Response = Response<Q>, Error = S::Error> + Clone,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let asked = match this.asked.as_mut().project() {
                AskedProjection::Primary { future } => {
                    let outcome = ready!(future.poll(cx)).map(|response| response.map(Body::new));
                    match this.attempt.next(&outcome) {
                        Next::Nobody => return Poll::Ready(outcome),
                        Next::Primary => Asked::Primary {
                            future: this.primary.clone().oneshot(this.attempt.again()),
                        },
                        Next::Secondary { is_deserted } => {
                            tracing::debug!(
                                status = outcome.as_ref().ok().map(|it| it.status().as_u16()),
                                reason = failure_of(&outcome).map(Failure::reason),
                                "the secondary is asked"
                            );
                            *this.outcome = Some(outcome);
                            let shared = Arc::clone(&this.attempt.shared);
                            match &this.attempt.rehearsal {
                                None => shared.course.go_over(&shared.name, is_deserted),
                                Some(journal) => journal.would("asks its failover"),
                            }
                            Asked::Secondary {
                                future: shared.secondary.clone().oneshot(this.attempt.at_last()),
                            }
                        }
                    }
                }
                AskedProjection::Secondary { future } => {
                    let second = ready!(future.poll(cx)).map(|response| response.map(Body::new));
                    let first = this.outcome.take().expect("polled after it was ready");
                    return Poll::Ready(match failure_of(&second) {
                        Some(failure) if is_worse(failure, &first) => first,
                        _ => {
                            if let Ok(unwanted) = first {
                                // As much as is here already: most often that is all.
                                let body = unwanted.into_body();
                                let _ = Discard::new(body, discard::ENOUGH).poll(cx);
                            }
                            second
                        }
                    });
                }
            };
            this.asked.set(asked);
        }
    }
}
