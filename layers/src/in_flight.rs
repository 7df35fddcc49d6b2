//! So many requests at a time, all together or for each key.
//!
//! A request is under way until the end of its response's body, or until somebody gives up on it: a stream or
//! a WebSocket counts for as long as it runs. tower's own limits let a request wait, end with the response's
//! head, and know no keys.
//!
//! ```
//! use a3s_layers::in_flight::InFlightLayer;
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let mut service = ServiceBuilder::new()
//!     .layer(InFlightLayer::new(1))
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new("hello".to_string()))
//!     }));
//! let first = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
//! let second = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
//! assert_eq!(second.status(), 503);
//! drop(first);
//! let third = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
//! assert_eq!(third.status(), 200);
//! # });
//! ```

use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::journal::Journal;
use crate::key::{Key, KeySource};
use crate::observe::{Exchange, ObserveFuture, Outcome};
use crate::reject::{Shape, reject};
use axum::body::Body;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Refuses a request while `max` others are under way: with 503 where all are counted together, and with 429
/// where each key is; both with `Retry-After: 1`.
///
/// All services of one layer, and of its clones, share the counts. A key is remembered while it has requests
/// under way, and no longer, so the requests there can be bound the keys there are. A request without a client
/// address is refused with 500 where that is the key.
#[derive(Debug, Clone)]
pub struct InFlightLayer {
    key: KeySource,
    max: usize,
    counts: Arc<Counts>,
}

impl InFlightLayer {
    /// Lets `max` requests be under way, whoever sent them.
    pub fn new(max: usize) -> Self {
        Self {
            key: KeySource::Global,
            max,
            counts: Arc::default(),
        }
    }

    /// Tells how many are under way from elsewhere.
    pub fn handle(&self) -> InFlightHandle {
        InFlightHandle(Arc::clone(&self.counts))
    }

    /// Counts each key by itself.
    #[must_use]
    pub fn key(self, key: KeySource) -> Self {
        Self { key, ..self }
    }
}

/// Tells how many requests are under way.
#[derive(Debug, Clone)]
pub struct InFlightHandle(Arc<Counts>);

impl InFlightHandle {
    /// Those of all keys together.
    pub fn in_flight(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InFlight {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`InFlightLayer`].
#[derive(Debug, Clone)]
pub struct InFlight<S> {
    inner: S,
    layer: InFlightLayer,
}

impl<S, B, R> Service<Request<B>> for InFlight<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AnswerFuture<ObserveFuture<S::Future, Permit>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let InFlightLayer { key, max, counts } = &self.layer;
        let Ok(found) = key.key(&request) else {
            let shape = Shape::of(request.headers());
            let message = "the request has nothing to be counted by";
            return AnswerFuture::refuse(reject(StatusCode::INTERNAL_SERVER_ERROR, message, shape));
        };
        let taken = match Journal::rehearsed(&request) {
            Some(journal) => Counts::look(counts, found, *max, key, &journal),
            None => Counts::take(counts, found, *max),
        };
        match taken {
            // Taken before the call, so that a panic there gives it back.
            Some(permit) => {
                AnswerFuture::pass(ObserveFuture::new(permit, || self.inner.call(request)))
            }
            None => AnswerFuture::refuse(refusal(key, Shape::of(request.headers()))),
        }
    }
}

fn refusal(key: &KeySource, shape: Shape) -> Response<Body> {
    let (status, message) = match key {
        KeySource::Global => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests are under way",
        ),
        _ => (
            StatusCode::TOO_MANY_REQUESTS,
            "too many of your requests are under way",
        ),
    };
    let mut response = reject(status, message, shape);
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, soon);
    response
}

/// A power of two: how many workers may count at a time.
const SHARDS: usize = 16;

/// A shard that held more keys than this gives the memory back when it is empty.
const FEW_KEYS: usize = 64;

type Shard = HashMap<Key, usize>;

/// How many requests each key has under way; a key that has none is not there.
#[derive(Debug, Default)]
struct Counts {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    all: AtomicUsize,
}

impl Counts {
    fn take(counts: &Arc<Self>, key: Key, max: usize) -> Option<Permit> {
        let mut shard = counts.shard(key);
        let count = shard.get(&key).copied().unwrap_or_default();
        if count >= max {
            return None;
        }
        shard.insert(key, count + 1);
        drop(shard);
        counts.all.fetch_add(1, Ordering::Relaxed);
        Some(Permit {
            counts: Arc::clone(counts),
            key,
        })
    }

    /// As [`Counts::take`], of counts that are nobody's.
    fn look(
        counts: &Self,
        key: Key,
        max: usize,
        by: &KeySource,
        journal: &Journal,
    ) -> Option<Permit> {
        let count = counts.shard(key).get(&key).copied().unwrap_or_default();
        journal.would(format!(
            "takes one of {max} places by {by}, of which {count} are taken"
        ));
        (count < max).then(|| Permit {
            counts: Arc::default(),
            key,
        })
    }

    fn give_back(&self, key: Key) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        let mut shard = self.shard(key);
        if let Entry::Occupied(mut entry) = shard.entry(key) {
            match entry.get() {
                0 | 1 => drop(entry.remove()),
                count => *entry.get_mut() = count - 1,
            }
        }
        if shard.is_empty() && shard.capacity() > FEW_KEYS {
            shard.shrink_to_fit();
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // The upper bits: a map uses the lower ones.
        let index = (self.hasher.hash_one(key) >> 32) as usize & (SHARDS - 1);
        // Nothing is half-way done where a lock was poisoned.
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request under way. It ends with the exchange, or when dropped.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Counts>,
    key: Key,
}

impl Exchange for Permit {
    fn end(self, _: &Outcome) {}
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.give_back(self.key);
    }
}
