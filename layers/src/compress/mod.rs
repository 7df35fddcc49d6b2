//! Compresses answers while they stream, in the way that each client likes best.
//!
//! tower-http's layer answers 406 to `identity;q=0`, keeps strong `ETag`s, ignores `no-transform`, and has no limit to
//! the memory of its encoders.
//!
//! ```
//! use a3s_layers::compress::{Coding, CompressLayer};
//! use axum::body::Body;
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(CompressLayer::new().codings([Coding::Brotli, Coding::Gzip]).min_size(500))
//!     .service(service_fn(|_: Request<()>| async {
//!         let response = Response::builder().header("content-type", "text/plain");
//!         Ok::<_, std::convert::Infallible>(response.body(Body::from("again ".repeat(100))).unwrap())
//!     }));
//! let request = Request::get("/").header("accept-encoding", "gzip, br").body(()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.headers()["content-encoding"], "br");
//! assert_eq!(response.headers()["vary"], "Accept-Encoding");
//! # });
//! ```

mod body;
mod coding;
mod content_types;
mod encoder;
mod verdict;

pub use coding::Coding;
pub use content_types::ContentTypes;

use crate::error::BoxError;
use crate::vary::add_vary;
use axum::body::Body;
use body::CompressBody;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::Semaphore;
use tower::{Layer, Service};
use verdict::{Asked, Verdict, judge};

/// Why a setting cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// A content type that is not two words and a slash, one of which may be `*`.
    #[error("not a content type; write it like `text/html`, `text/*` or `application/*+json`")]
    ContentType,
    /// A level that is not from 1 to 9.
    #[error("a level is from 1 to 9")]
    Level,
}

/// Compresses answers for those who accept it.
///
/// Left alone are: answers to `HEAD`; 1xx, 204, 205, 206 and 304; what is short, or of a type that does not compress;
/// server-sent events and gRPC; what has a `Content-Encoding`, a `Content-Range` or a digest already; and what its
/// request or itself calls `no-transform`. What another client would have got compressed says `Vary: Accept-Encoding`.
///
/// A compressed answer has no `Content-Length` and no `Accept-Ranges`, and a strong `ETag` is made a weak one. Trailers
/// stay. Nobody gets 406: a client that accepts nothing that there is gets the answer as it is.
///
/// Whatever has come from the service goes on at the latest when the service pauses, so that a slow answer is not held
/// back. An answer whose body fails is cut off where it failed.
///
/// # Secrets
///
/// Where an answer has a secret in it beside what somebody else had a say in, the length of the two compressed together
/// tells of the secret, through TLS too (BREACH). Leave such answers alone, or let the app mask its secrets.
///
/// # Memory
///
/// A response that is being compressed takes up to 2.3 MiB with `br`, 1.8 MiB with `zstd` and 0.4 MiB with `gzip` and
/// `deflate`; less where its length is known and short. No more than [`CompressLayer::max_concurrent`] are at a time.
#[derive(Debug, Clone, Default)]
pub struct CompressLayer {
    settings: Arc<Settings>,
}

#[derive(Debug, Clone)]
struct Settings {
    /// The one that we like best first.
    codings: Vec<Coding>,
    min_size: u64,
    types: ContentTypes,
    level: Option<u8>,
    /// One permit for each response that may be compressed at a time.
    permits: Arc<Semaphore>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            codings: Coding::ALL.into(),
            min_size: CompressLayer::MIN_SIZE,
            types: ContentTypes::default(),
            level: None,
            permits: Arc::new(Semaphore::new(CompressLayer::MAX_CONCURRENT)),
        }
    }
}

impl CompressLayer {
    /// Bytes that an answer has at least, where nothing else is said.
    pub const MIN_SIZE: u64 = 1024;

    /// Responses that are compressed at a time, where nothing else is said.
    pub const MAX_CONCURRENT: usize = 500;

    /// All codings, from 1 KiB on, types that are worth it, and levels that are quick enough for a proxy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses with these, the best first: it is taken where a client likes several as much.
    pub fn codings(self, codings: impl IntoIterator<Item = Coding>) -> Self {
        self.with(|settings| settings.codings = codings.into_iter().collect())
    }

    /// Leaves answers alone that say that they have fewer bytes.
    pub fn min_size(self, bytes: u64) -> Self {
        self.with(|settings| settings.min_size = bytes)
    }

    /// Compresses these types.
    pub fn content_types(self, types: ContentTypes) -> Self {
        self.with(|settings| settings.types = types)
    }

    /// How much time to take, from 1 to 9, on the scale of the coding that is used: 3 for `zstd`, 4 for `br` and 6 for
    /// the others, where nothing else is said. `br` goes no further than 4.
    pub fn level(self, level: u8) -> Result<Self, CompressError> {
        match level {
            1..=9 => Ok(self.with(|settings| settings.level = Some(level))),
            _ => Err(CompressError::Level),
        }
    }

    /// Compresses no more than so many responses at a time; the others go as they are.
    pub fn max_concurrent(self, responses: usize) -> Self {
        let permits = Arc::new(Semaphore::new(responses.min(Semaphore::MAX_PERMITS)));
        self.with(|settings| settings.permits = permits)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for CompressLayer {
    type Service = Compress<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Compress {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// The service made by [`CompressLayer`].
#[derive(Debug, Clone)]
pub struct Compress<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for Compress<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CompressFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        CompressFuture {
            asked: Asked::by(&request, &self.settings),
            settings: Arc::clone(&self.settings),
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of [`Compress`].
    pub struct CompressFuture<F> {
        #[pin]
        inner: F,
        asked: Asked,
        settings: Arc<Settings>,
    }
}

impl<F, R, E> Future for CompressFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(compressed(response, this.asked, this.settings)))
    }
}

fn compressed<R>(mut response: Response<R>, asked: &Asked, settings: &Settings) -> Response<Body>
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let verdict = judge(asked, &response, settings);
    if verdict == Verdict::Leave {
        return response.map(Body::new);
    }
    let is_unmodified = response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    add_vary(headers, "Accept-Encoding");
    if is_unmodified {
        verdict::describe_unmodified(headers, asked);
    }
    let Verdict::Compress(coding) = verdict else {
        return response.map(Body::new);
    };
    let Ok(permit) = Arc::clone(&settings.permits).try_acquire_owned() else {
        return response.map(Body::new);
    };
    verdict::describe(headers, coding);
    let level = settings.level;
    response.map(|body| Body::new(CompressBody::new(body, coding, level, permit)))
}
