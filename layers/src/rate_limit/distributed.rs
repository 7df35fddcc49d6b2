//! A rate limit that counts in a Redis, for all gateways that use it.
//!
//! One script, one round trip: GCRA on the server's clock, so that the clocks of gateways do not matter. It
//! needs Redis 5 or what speaks like it (Valkey, KeyDB); of a cluster, a node that serves every key.
//!
//! ```no_run
//! use a3s_layers::key::KeySource;
//! use a3s_layers::rate_limit::distributed::{OnError, RedisRateLimitLayer, RedisServer};
//! use a3s_layers::rate_limit::{Limit, Policy};
//! use axum::{Router, routing::get};
//! use std::time::Duration;
//!
//! let limit = Limit::new(100.0, Duration::from_secs(1)).unwrap();
//! let server = RedisServer::new("redis://:secret@127.0.0.1/0").unwrap();
//! let layer = RedisRateLimitLayer::new(Policy::new(limit), KeySource::ClientIp, server)
//!     .prefix("shop:")
//!     .on_error(OnError::Deny);
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
//! ```

mod bounded;
mod harmless;
mod link;
mod script;
mod server;

use super::policy::{Limited, Policy};
use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::journal::Journal;
use crate::key::{Found, KeySource};
use crate::reject::{Shape, reject};
use axum::body::Body;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use link::{Link, NoAnswer};
use script::{Count, Verdict};
pub use server::{InvalidServer, RedisServer, RedisTls};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

/// How long a request waits for Redis unless somebody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(100);

/// What keys in Redis begin with unless somebody says otherwise.
pub const DEFAULT_PREFIX: &str = "a3s:rate:";

/// A longer text of a client's is hashed, so that nobody makes keys of any length.
const LONGEST_TEXT: usize = 64;

/// What becomes of requests that cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// They pass, uncounted and unmarked: the limit must not be what takes the service down.
    #[default]
    Allow,
    /// They are refused with 503 and `Retry-After: 1`: better no answer than one too many, as for a login.
    Deny,
}

/// Refuses with 429 what comes more often than a [`Limit`](super::Limit) lets it, each key by itself, counted
/// in a Redis.
///
/// A request waits for Redis no longer than its `timeout` (100 ms). It is made only by a connection that is
/// there, or is being opened for the first time or after it broke: while Redis is silent, nobody waits but those
/// who found that out, and a task tries to reach it, first after 50 ms and then at longest each second. At most
/// 1024 commands are on their way at a time. There is one connection for a layer and all its services and
/// clones; it is opened by the first request and closed with the layer.
///
/// What is no answer of the script's is an error, and one is never taken for more than the limit can mean. A Redis
/// that says more than 256 KiB and four bytes for each that it is sent is disconnected.
///
/// Keys in Redis expire by themselves when their burst is whole again, and are no longer than the prefix and
/// 71 bytes. A request whose key cannot be found, as it has no client address, is refused with 500.
#[derive(Debug, Clone)]
pub struct RedisRateLimitLayer {
    rules: Arc<Rules>,
    link: Arc<Link>,
}

#[derive(Debug, Clone)]
struct Rules {
    policy: Policy,
    key: KeySource,
    prefix: Box<str>,
    timeout: Duration,
    on_error: OnError,
}

impl RedisRateLimitLayer {
    /// Enforces `policy` for each key that `key` finds, counting in `server`.
    pub fn new(policy: Policy, key: KeySource, server: RedisServer) -> Self {
        Self {
            rules: Arc::new(Rules {
                policy,
                key,
                prefix: DEFAULT_PREFIX.into(),
                timeout: DEFAULT_TIMEOUT,
                on_error: OnError::default(),
            }),
            link: Arc::new(Link::new(server)),
        }
    }

    /// What the log calls it. Set before the first request: it has a connection of its own from then on.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.link = Arc::new(self.link.named(name));
        self
    }

    /// What keys in Redis begin with. Limits with the same prefix on one Redis are one limit.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        Arc::make_mut(&mut self.rules).prefix = prefix.into();
        self
    }

    /// How long a request waits for Redis.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.rules).timeout = timeout;
        self
    }

    /// What becomes of requests that cannot be counted.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        Arc::make_mut(&mut self.rules).on_error = on_error;
        self
    }
}

impl Rules {
    fn redis_key(&self, found: &Found<'_>) -> Vec<u8> {
        let mut key = self.prefix.as_bytes().to_vec();
        match found {
            Found::Client(IpAddr::V4(ip)) => write!(key, "ip:{ip}"),
            Found::Client(IpAddr::V6(ip)) => write!(key, "ip:{ip}/64"),
            Found::Text(text) if text.len() <= LONGEST_TEXT => {
                key.extend_from_slice(b"text:");
                key.extend_from_slice(text);
                Ok(())
            }
            Found::Text(text) => {
                key.extend_from_slice(b"sha256:");
                let hash = Sha256::digest(text);
                hash.iter().try_for_each(|byte| write!(key, "{byte:02x}"))
            }
            Found::Absent => key.write_all(b"none"),
            Found::Everyone => key.write_all(b"all"),
        }
        .expect("a vector takes all that is written");
        key
    }

    async fn count(&self, link: &Arc<Link>, key: &[u8]) -> Result<Verdict, NoAnswer> {
        let limit = self.policy.limit();
        link.count(&Count { key, limit }, self.timeout).await
    }
}

impl<S> Layer<S> for RedisRateLimitLayer {
    type Service = RedisRateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RedisRateLimit {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`RedisRateLimitLayer`].
#[derive(Debug, Clone)]
pub struct RedisRateLimit<S> {
    inner: S,
    layer: RedisRateLimitLayer,
}

impl<S, B, R> Service<Request<B>> for RedisRateLimit<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AnswerFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shape = Shape::of(request.headers());
        let RedisRateLimitLayer { rules, link } = self.layer.clone();
        let Ok(found) = rules.key.find(&request) else {
            let message = "the request has nothing to be counted by";
            return AnswerFuture::refuse(reject(StatusCode::INTERNAL_SERVER_ERROR, message, shape));
        };
        if let Some(journal) = Journal::rehearsed(&request) {
            let (by, limit) = (&rules.key, rules.policy.limit().in_words());
            journal.would(format!("has Redis count it by {by} ({limit})"));
            return AnswerFuture::pass(self.inner.call(request));
        }
        let key = rules.redis_key(&found);
        // The one that was polled is the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        AnswerFuture::decide(async move {
            let policy = &rules.policy;
            let counted = rules.count(&link, &key).await;
            match &counted {
                Ok(counted) => policy.count(counted),
                Err(_) => policy.counts().count(Limited::Uncounted),
            }
            let stamp = match counted {
                Ok(Ok(remaining)) => Some(policy.passed(remaining)),
                Ok(Err(wait)) if policy.is_shadow() => Some(policy.exceeded(wait)),
                Ok(Err(wait)) => return Ok(policy.refuse(wait, shape)),
                Err(reason) => {
                    let middleware = link.name();
                    tracing::debug!(middleware, %reason, "a request is not counted");
                    if rules.on_error == OnError::Deny && !policy.is_shadow() {
                        return Ok(uncounted(shape));
                    }
                    None
                }
            };
            let mut response = inner.call(request).await?.map(Body::new);
            if let Some(stamp) = stamp {
                stamp.put(&mut response);
            }
            Ok(response)
        })
    }
}

fn uncounted(shape: Shape) -> Response<Body> {
    let message = "the rate limit cannot be checked";
    let mut response = reject(StatusCode::SERVICE_UNAVAILABLE, message, shape);
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, soon);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::Limit;

    fn layer(url: &str) -> RedisRateLimitLayer {
        let limit = Limit::new(1.0, Duration::from_secs(1)).expect("a limit");
        let server = RedisServer::new(url).expect("a server");
        RedisRateLimitLayer::new(Policy::new(limit), KeySource::ClientIp, server)
    }

    #[test]
    fn a_password_is_not_shown() {
        let url = "redis://ada:hunter2@localhost:1234/3";
        let shown = format!("{:?} {:?}", layer(url), RedisServer::new(url));
        assert!(shown.contains("localhost:1234"), "{shown}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("ada"),
            "{shown}"
        );
    }

    #[test]
    fn keys_are_short_and_told_apart() {
        let rules = layer("redis://localhost").prefix("p:").rules;
        let text = |bytes: &[u8]| rules.redis_key(&Found::Text(bytes.to_vec().into()));
        let client = |ip: &str| rules.redis_key(&Found::Client(ip.parse().expect("an address")));
        assert_eq!(client("192.0.2.1"), b"p:ip:192.0.2.1");
        assert_eq!(client("2001:db8:0:1::"), b"p:ip:2001:db8:0:1::/64");
        assert_eq!(rules.redis_key(&Found::Absent), b"p:none");
        assert_eq!(rules.redis_key(&Found::Everyone), b"p:all");
        assert_eq!(text(b"\xff none"), b"p:text:\xff none");
        assert_eq!(text(b""), b"p:text:");
        assert_eq!(text(&[b'x'; 64]).len(), 2 + 5 + 64);
        let long = text(&[b'x'; 30_000]);
        assert_eq!(long.len(), 2 + 7 + 64);
        assert_ne!(long, text(&[b'x'; 30_001]));
    }
}
