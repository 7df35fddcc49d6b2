//! Sends a request again where its answer says that another try may do better, within a budget.
//!
//! It is [`tower::retry`] with a policy for gateways: it knows what failed ([`Failure`]), streams a body and records
//! it meanwhile, and has the next try go to another server ([`Tried`]). It stands above the
//! [rescue](crate::rescue), which makes answers of errors.
//!
//! ```
//! use a3s_layers::retry::RetryLayer;
//! use axum::body::Body;
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! static TRIES: AtomicU32 = AtomicU32::new(0);
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new())
//!     .service(service_fn(|_: Request<Body>| async {
//!         let status = if TRIES.fetch_add(1, Ordering::Relaxed) == 0 { 503 } else { 200 };
//!         Ok::<_, Infallible>(Response::builder().status(status).body(Body::empty()).unwrap())
//!     }));
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), 200);
//! # });
//! ```

mod budget;
mod policy;

pub use policy::{Pause, RetryPolicy};

#[cfg(doc)]
use crate::{error::Failure, reject::Refused, tried::Tried};

use crate::error::BoxError;
use crate::timeout::Timeout;
use axum::body::Body;
use budget::Budget;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::retry::Retry as TowerRetry;
use tower::retry::future::ResponseFuture;
use tower::{Layer, Service};

/// No pause before a retry is longer.
pub const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// What is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection came to be, or not in time: nothing was sent ([`Failure::Connect`],
    /// [`Failure::ConnectTimeout`]).
    Connect,
    /// The connection ended before there was an answer, or what came was not HTTP ([`Failure::Reset`]).
    Reset,
    /// There was no answer in time ([`Failure::ResponseTimeout`]).
    Timeout,
    /// A server's own answer with this status. One that a gateway made for want of an answer is none.
    Status(StatusCode),
}

/// How often the request was sent again: an extension of the answer where that is not 0, and of the request itself
/// from the second try on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries(pub u32);

/// Sends a request again where its answer is one of [`RetryOn`] and it may be sent twice.
///
/// - It may be if its method is idempotent (RFC 9110, 9.2.2: `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE`), or
///   if [`non_idempotent`](Self::non_idempotent) says so; never a `CONNECT` or an upgrade.
/// - A body streams on the first try, and is recorded as it goes by, up to
///   [`max_replay_bytes`](Self::max_replay_bytes); past that, and where the body itself failed, there is no retry. A
///   try that fails before it has read the body costs nothing of that.
/// - Whatever has been passed on cannot be taken back: it is decided by the head of an answer, and a body that breaks
///   off later stays broken.
/// - Before the n-th retry there is a pause, of a random length between nothing and `2^(n-1)` times the
///   [`backoff`](Self::backoff) ("full jitter": M. Brooker, "Exponential Backoff And Jitter", 2015), and never more
///   than [`MAX_BACKOFF`].
/// - Retries are bounded by a [`budget`](Self::budget), shared by all clones; where there is none left, the answer
///   goes on as it is.
/// - Each try is noted in [`Tried`], so that the next one goes to another server, if there is one.
/// - Not tried again: a refusal of the gateway ([`Refused`]), as of a rate limit or an open circuit, and
///   [`Failure::Unavailable`]: there is nobody to ask, and a moment later there is still nobody.
/// - `Retry-After` is not waited for, as it is not by nginx, Envoy and Traefik: it speaks of the server that sent it,
///   and the next try goes to another. If the last try is answered so, the client gets it.
///
/// One request holds at most `max_replay_bytes`, and 64 KiB of an answer are read (not held) to free its connection.
#[derive(Debug, Clone)]
pub struct RetryLayer {
    settings: Settings,
    budget: Arc<Budget>,
}

#[derive(Debug, Clone)]
struct Settings {
    max_retries: u32,
    backoff: Duration,
    on: Vec<RetryOn>,
    per_try_timeout: Option<Duration>,
    max_replay_bytes: usize,
    non_idempotent: bool,
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryLayer {
    /// Three retries, 100 ms, connections and answers that failed and 502, 503 and 504, bodies up to 64 KiB, one
    /// retry for five requests and ten a second beside.
    pub fn new() -> Self {
        Self {
            settings: Settings {
                max_retries: 3,
                backoff: Duration::from_millis(100),
                on: vec![
                    RetryOn::Connect,
                    RetryOn::Reset,
                    RetryOn::Timeout,
                    RetryOn::Status(StatusCode::BAD_GATEWAY),
                    RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE),
                    RetryOn::Status(StatusCode::GATEWAY_TIMEOUT),
                ],
                per_try_timeout: None,
                max_replay_bytes: 64 * 1024,
                non_idempotent: false,
            },
            budget: Arc::new(Budget::new(20, 10)),
        }
    }

    /// The most retries of one request, beside the first try.
    pub fn max_retries(mut self, max: u32) -> Self {
        self.settings.max_retries = max;
        self
    }

    /// The base of the pause before a retry; 0 for none.
    pub fn backoff(mut self, base: Duration) -> Self {
        self.settings.backoff = base;
        self
    }

    /// What is tried again, in place of what was.
    pub fn on(mut self, on: impl IntoIterator<Item = RetryOn>) -> Self {
        self.settings.on = on.into_iter().collect();
        self
    }

    /// How long each try may take to come to the head of its answer, the first one too. Past it, it is dropped, and
    /// counts as a [`RetryOn::Timeout`]. The time to read the request's body is in it; where the client is late with
    /// that, the answer is 408, and there is no other try.
    pub fn per_try_timeout(mut self, timeout: Duration) -> Self {
        self.settings.per_try_timeout = Some(timeout);
        self
    }

    /// The most bytes of a request's body that are kept for another try. With 0 a request may be sent again only if
    /// none of its body was read.
    pub fn max_replay_bytes(mut self, max: usize) -> Self {
        self.settings.max_replay_bytes = max;
        self
    }

    /// The most retries there may be: `percent` of the requests of the last ten seconds, and on the average of these
    /// `per_second` more. Only requests that may be sent again count. A setting of its own begins a new budget.
    pub fn budget(mut self, percent: u32, per_second: u32) -> Self {
        self.budget = Arc::new(Budget::new(percent, per_second));
        self
    }

    /// Whether requests are sent again whatever their method is: only for services that can tell a request that they
    /// have seen.
    pub fn non_idempotent(mut self, may: bool) -> Self {
        self.settings.non_idempotent = may;
        self
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policy = RetryPolicy::new(self.settings.clone(), Arc::clone(&self.budget));
        let inner = Timeout::new(inner, self.settings.per_try_timeout);
        Retry {
            inner: TowerRetry::new(policy.clone(), inner),
            policy,
        }
    }
}

/// The service made by [`RetryLayer`].
#[derive(Debug, Clone)]
pub struct Retry<S> {
    inner: TowerRetry<RetryPolicy, Timeout<S>>,
    policy: RetryPolicy,
}

/// The future of [`Retry`].
pub type RetryFuture<S> = ResponseFuture<RetryPolicy, Timeout<S>, Request<Body>>;

impl<S, B, R> Service<Request<B>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = RetryFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        self.policy.prepare(&mut request);
        self.inner.call(request)
    }
}
