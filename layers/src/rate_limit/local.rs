//! A rate limit that counts in this process.
//!
//! It stands on governor and takes any [`KeyExtractor`] of tower_governor. The service is ours, as theirs
//! builds a clock for each refusal, rounds `Retry-After` down to 0 and remembers keys without a bound.
//!
//! ```
//! use a3s_layers::key::KeySource;
//! use a3s_layers::rate_limit::{Limit, Policy, local::RateLimitLayer};
//! use http::{Request, Response};
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let limit = Limit::new(1.0, Duration::from_secs(60)).unwrap();
//! let mut service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new(Policy::new(limit), KeySource::Global))
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(String::new()))
//!     }));
//! let first = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
//! assert_eq!(first.headers()["ratelimit-policy"], r#""default";q=1;w=60"#);
//! let second = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
//! assert_eq!(second.status(), 429);
//! assert_eq!(second.headers()["retry-after"], "60");
//! # });
//! ```

use super::policy::{Policy, Stamp};
use super::store::{BoundedStore, Looking};
use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::journal::Journal;
use crate::key::{Key, KeySource};
use crate::reject::{Shape, reject};
use axum::body::Body;
use bytes::Bytes;
use governor::clock::{Clock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::ops::Add;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use tower::{Layer, Service};
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

/// How many keys are remembered unless somebody says otherwise: about 4 MiB when there are so many.
pub const DEFAULT_MAX_KEYS: usize = 100_000;

/// Refuses with 429 what comes more often than a [`Limit`](super::Limit) lets it, each key by itself.
///
/// All services of one layer, and of its clones, share the counts.
///
/// It remembers no more keys than it may ([`RateLimitLayer::max_keys`]), 40 bytes each. Past that it forgets
/// those that have their whole burst again, and if there are none, those that are nearest to it: nobody is
/// refused for the others' sake, and whoever is over the limit is the last to be forgotten. To be forgotten
/// early, a client must have as many keys as there may be, each of them further over the limit. Nothing runs
/// in the background.
///
/// A request whose key cannot be found, as it has no client address, is refused with 500.
pub struct RateLimitLayer<K: KeyExtractor = KeySource> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    policy: Policy,
    extractor: K,
    limiter: RateLimiter<u64, BoundedStore, TokioClock, StateInformationMiddleware>,
    /// The same counts, for who takes nothing.
    looking: RateLimiter<u64, Looking, TokioClock, StateInformationMiddleware>,
    hasher: RandomState,
    /// What the key is called where somebody reads of it.
    key_name: Box<str>,
}

impl<K: KeyExtractor> RateLimitLayer<K> {
    /// Enforces `policy` for each key that `extractor` finds: a [`KeySource`], or another of tower_governor's.
    pub fn new(policy: Policy, extractor: K) -> Self {
        Self::with_room(policy, extractor, DEFAULT_MAX_KEYS, "its key")
    }

    /// Remembers `max_keys` keys (some more, up to 63, with many). It starts afresh.
    #[must_use]
    pub fn max_keys(self, max_keys: usize) -> Self {
        let Shared {
            policy,
            extractor,
            key_name,
            ..
        } = &*self.shared;
        Self::with_room(policy.clone(), extractor.clone(), max_keys, key_name)
    }

    /// What the key is called in a [rehearsal](crate::rehearsal): `its key` unless it has a name. Set before any request.
    #[must_use]
    pub fn key_name(mut self, name: &str) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.key_name = name.into();
        }
        self
    }

    fn with_room(policy: Policy, extractor: K, max_keys: usize, key_name: &str) -> Self {
        let limit = policy.limit();
        let burst = NonZeroU32::new(limit.burst()).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(limit.interval())
            .expect("an interval is a nanosecond at least")
            .allow_burst(burst);
        let store = BoundedStore::new(max_keys, limit.interval().into());
        Self {
            shared: Arc::new(Shared {
                policy,
                extractor,
                looking: RateLimiter::new(quota, Looking(store.clone()), TokioClock),
                limiter: RateLimiter::new(quota, store, TokioClock),
                hasher: RandomState::new(),
                key_name: key_name.into(),
            }),
        }
    }
}

impl<K> Shared<K> {
    /// How many requests are left, or how long to wait for one.
    fn count(&self, key: u64) -> Result<u32, Duration> {
        let counted = match self.limiter.check_key(&key) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(refused) => Err(refused.wait_time_from(TokioClock.now())),
        };
        self.policy.count(&counted);
        counted
    }

    /// As [`Shared::count`], without taking anything.
    fn look(&self, key: u64, journal: &Journal) -> Result<u32, Duration> {
        let counted = match self.looking.check_key(&key) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(refused) => Err(refused.wait_time_from(TokioClock.now())),
        };
        let (by, limit) = (&self.key_name, self.policy.limit().in_words());
        let what = match (&counted, self.policy.is_shadow()) {
            (Ok(left), _) => format!("counts it by {by} ({limit}): then {left} are left"),
            (Err(_), true) => format!("counts it by {by} ({limit}): too many, and only marked"),
            (Err(_), false) => format!("counts it by {by} ({limit}): too many"),
        };
        journal.would(what);
        counted
    }
}

impl KeyExtractor for KeySource {
    type Key = Key;

    fn extract<B>(&self, request: &Request<B>) -> Result<Key, GovernorError> {
        self.key(request)
            .map_err(|_| GovernorError::UnableToExtractKey)
    }
}

impl<K: KeyExtractor> Clone for RateLimitLayer<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: KeyExtractor> fmt::Debug for RateLimitLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

impl<S, K: KeyExtractor> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimit<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The service made by [`RateLimitLayer`].
pub struct RateLimit<S, K: KeyExtractor = KeySource> {
    inner: S,
    shared: Arc<Shared<K>>,
}

impl<S: Clone, K: KeyExtractor> Clone for RateLimit<S, K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S, K, B, R> Service<Request<B>> for RateLimit<S, K>
where
    S: Service<Request<B>, Response = Response<R>>,
    K: KeyExtractor,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = RateLimitFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = &*self.shared;
        let key = match shared.extractor.extract(&request) {
            Ok(key) => shared.hasher.hash_one(key),
            Err(error) => {
                return RateLimitFuture {
                    inner: AnswerFuture::refuse(keyless(&error, Shape::of(request.headers()))),
                    stamp: None,
                };
            }
        };
        let policy = &shared.policy;
        let counted = match Journal::rehearsed(&request) {
            Some(journal) => shared.look(key, &journal),
            None => shared.count(key),
        };
        let stamp = match counted {
            Ok(remaining) => policy.passed(remaining),
            Err(wait) if policy.is_shadow() => policy.exceeded(wait),
            Err(wait) => {
                let response = policy.refuse(wait, Shape::of(request.headers()));
                return RateLimitFuture {
                    inner: AnswerFuture::refuse(response),
                    stamp: None,
                };
            }
        };
        RateLimitFuture {
            inner: AnswerFuture::pass(self.inner.call(request)),
            stamp: Some(stamp),
        }
    }
}

fn keyless(error: &GovernorError, shape: Shape) -> Response<Body> {
    let status = match error {
        GovernorError::Other { code, .. } => *code,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    reject(status, "the request has nothing to be counted by", shape)
}

pin_project! {
    /// The future of [`RateLimit`].
    pub struct RateLimitFuture<F, E> {
        #[pin]
        inner: AnswerFuture<F, E>,
        stamp: Option<Stamp>,
    }
}

impl<F, R, E> Future for RateLimitFuture<F, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let (Ok(response), Some(stamp)) = (&mut result, this.stamp.take()) {
            stamp.put(response);
        }
        Poll::Ready(result)
    }
}

/// The clock of the runtime, which tests can stop.
#[derive(Debug, Clone, Copy)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, time: Nanos) -> Self {
        Self(self.0 + Duration::from(time))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, time: Nanos) -> Self {
        Self(self.0.checked_sub(time.into()).unwrap_or(self.0))
    }
}
