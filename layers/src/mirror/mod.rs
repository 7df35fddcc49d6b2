//! Sends copies of requests to another service, whose answers nobody sees.
//!
//! ```
//! use a3s_layers::mirror::{Mark, MirrorLayer};
//! use axum::body::Body;
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
//! let shadow = service_fn(move |request: Request<Body>| {
//!     told.send(request.headers().contains_key(Mark::NAME)).unwrap();
//!     async { Ok::<_, Infallible>(Response::new(Body::empty())) }
//! });
//! let service = ServiceBuilder::new()
//!     .layer(MirrorLayer::new(shadow))
//!     .service(service_fn(|request: Request<Body>| async move {
//!         assert!(!request.headers().contains_key(Mark::NAME));
//!         Ok::<_, Infallible>(Response::new(Body::from("the answer")))
//!     }));
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), 200);
//! assert_eq!(seen.recv().await, Some(true));
//! # });
//! ```

mod copy;
mod counts;

pub use counts::{MirrorCounts, MirrorTold};

use crate::error::BoxError;
use crate::journal::Journal;
use crate::own_header;
use crate::peer::Client;
use crate::replay::is_plain;
use crate::retry::Retries;
use axum::body::Body;
use bytes::Bytes;
use copy::{CopiedBody, Copy};
use counts::Lost;
use http::header::{CONTENT_LENGTH, EXPECT, TRAILER, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Request, Response};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

/// How a copy is told from a request that somebody waits for.
#[derive(Debug, Clone, Copy)]
pub struct Mark(());

impl Mark {
    /// The header field that every copy has, with the value `1`. What a client says in it is removed, by a
    /// [`MirrorLayer`] and an [`UnmarkLayer`], also where it writes `_` for `-`, or in trailers: no request can pass for
    /// a copy.
    pub const NAME: HeaderName = HeaderName::from_static("x-mirrored");

    /// Takes it off a request that is no copy.
    fn take_off<B>(request: &mut Request<B>) {
        if request.extensions().get::<Self>().is_none() {
            own_header::clear(request, &Self::NAME);
        }
    }
}

/// Sends a copy of so many of a hundred requests to a shadow service too.
///
/// - Nobody waits for a copy: it is sent once the request's body has gone by, by a task of its own, and its answer is
///   read and thrown away, up to [`MAX_ANSWER`]. Whatever comes of it, the request never notices.
/// - A body is copied as it streams, up to [`max_body`](Self::max_body). There is no copy of a request whose body is
///   longer, does not come to its end within the [`timeout`](Self::timeout), is not read to its end by the service, or
///   has trailers; none of a `CONNECT` or an upgrade, and none of what a [retry](crate::retry) sends once more.
/// - Which requests are copied is no chance: of any hundred in a row it is the percentage, spread evenly.
/// - At most [`max_in_flight`](Self::max_in_flight) copies are being made or answered at a time, each for no longer than
///   the `timeout` once it was sent, so that memory is bounded by `max_in_flight` times `max_body`.
///   What is past that is dropped, and [counted](MirrorCounts).
/// - A copy has the method, target and header of the request, but for the fields to be
///   [left out](Self::omit), and the [`Mark`]. Of its extensions it has the [`Client`].
///
/// It must be called within a Tokio runtime.
#[derive(Debug, Clone)]
pub struct MirrorLayer<M> {
    shadow: M,
    settings: Arc<Settings>,
    counts: Arc<MirrorCounts>,
}

/// So many bytes of a shadow's answer are read; then it is broken off.
pub const MAX_ANSWER: usize = 1 << 20;

#[derive(Debug, Clone)]
struct Settings {
    percentage: u8,
    max_body: usize,
    max_in_flight: usize,
    timeout: Duration,
    omit: Vec<HeaderName>,
}

impl<M> MirrorLayer<M> {
    /// Copies all requests to `shadow`: bodies up to 1 MiB, 100 copies at a time, 30 s each, nothing left out.
    pub fn new(shadow: M) -> Self {
        Self {
            shadow,
            settings: Arc::new(Settings {
                percentage: 100,
                max_body: 1 << 20,
                max_in_flight: 100,
                timeout: Duration::from_secs(30),
                omit: Vec::new(),
            }),
            counts: Arc::default(),
        }
    }

    /// How many of a hundred requests are copied, 0 to 100.
    pub fn percentage(self, percentage: u8) -> Self {
        self.with(|settings| settings.percentage = percentage.min(100))
    }

    /// The longest body that is copied, in bytes.
    pub fn max_body(self, max: usize) -> Self {
        self.with(|settings| settings.max_body = max)
    }

    /// The most copies at a time, those whose request still sends its body among them.
    pub fn max_in_flight(self, max: usize) -> Self {
        self.with(|settings| settings.max_in_flight = max)
    }

    /// How long a request may take to send its body before there is no copy of it, and how long a copy may take, from
    /// its sending to the end of its answer.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = timeout)
    }

    /// Leaves these fields out of copies: credentials, say.
    pub fn omit(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|settings| settings.omit = names.into_iter().collect())
    }

    /// Goes on with the counts, and the turn, of another.
    pub fn continuing(mut self, counts: Arc<MirrorCounts>) -> Self {
        self.counts = counts;
        self
    }

    /// What has become of the copies.
    pub fn counts(&self) -> &Arc<MirrorCounts> {
        &self.counts
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<M: Clone, S> Layer<S> for MirrorLayer<M> {
    type Service = Mirror<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Mirror {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`MirrorLayer`].
#[derive(Debug, Clone)]
pub struct Mirror<S, M> {
    inner: S,
    layer: MirrorLayer<M>,
}

impl<S, M, R> Service<Request<Body>> for Mirror<S, M>
where
    S: Service<Request<Body>>,
    M: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    M::Future: Send,
    M::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        Mark::take_off(&mut request);
        let request = match self.layer.copy_of(&request) {
            None => request,
            Some(copy) if http_body::Body::is_end_stream(request.body()) => {
                copy.send();
                request
            }
            Some(copy) => request.map(|body| Body::new(CopiedBody::new(body, copy))),
        };
        self.inner.call(request)
    }
}

impl<M: Clone> MirrorLayer<M> {
    /// The copy to be of a request whose turn it is, if there is room for one.
    fn copy_of(&self, request: &Request<Body>) -> Option<Copy<M>> {
        let Settings {
            percentage,
            max_body,
            max_in_flight,
            ..
        } = *self.settings;
        if let Some(journal) = Journal::rehearsed(request) {
            let words = format!("sends a copy of {percentage} of 100 requests to its mirror");
            if percentage > 0 && is_plain(request) {
                journal.would(words);
            }
            return None;
        }
        let is_again = request.extensions().get::<Retries>().is_some();
        if !is_plain(request) || is_again || !self.counts.is_turn(percentage) {
            return None;
        }
        let least = http_body::Body::size_hint(request.body()).lower();
        if least > max_body as u64 {
            self.counts.lose(Lost::TooLarge);
            return None;
        }
        let Some(place) = self.counts.enter(max_in_flight) else {
            self.counts.lose(Lost::Full);
            return None;
        };
        Some(Copy {
            request: self.head_of(request),
            shadow: self.shadow.clone(),
            max_body,
            timeout: self.settings.timeout,
            place,
        })
    }

    fn head_of(&self, request: &Request<Body>) -> Request<()> {
        let mut copy = Request::new(());
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        let headers = copy.headers_mut();
        headers.clone_from(request.headers());
        // The copy's body is at hand, its length known, and nothing comes behind it.
        for name in [&TRANSFER_ENCODING, &CONTENT_LENGTH, &EXPECT, &TRAILER]
            .into_iter()
            .chain(&self.settings.omit)
        {
            headers.remove(name);
        }
        headers.insert(Mark::NAME, HeaderValue::from_static("1"));
        copy.extensions_mut().insert(Mark(()));
        if let Some(client) = request.extensions().get::<Client>() {
            copy.extensions_mut().insert(client.clone());
        }
        copy
    }
}

/// Takes the [`Mark`] off requests that are no copies: for a service that copies are sent to, and that clients can
/// reach as well.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnmarkLayer(());

impl UnmarkLayer {
    /// For a service that copies are sent to.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for UnmarkLayer {
    type Service = Unmark<S>;

    fn layer(&self, inner: S) -> Unmark<S> {
        Unmark { inner }
    }
}

/// The service made by [`UnmarkLayer`].
#[derive(Debug, Clone)]
pub struct Unmark<S> {
    inner: S,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Unmark<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        Mark::take_off(&mut request);
        self.inner.call(request)
    }
}
