//! Refuses request bodies that are too large, without reading them: a length that says so is enough, and a body
//! without one is cut while it streams.
//!
//! It is our own beside `tower_http::limit`, which answers without regard to what its reader wants to read, and whose
//! body of unknown length claims to be empty where the limit is 0: a server would see a request that ended.
//!
//! ```
//! use a3s_layers::body_limit::BodyLimitLayer;
//! use axum::body::Body;
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(BodyLimitLayer::new(4))
//!     .service(service_fn(|_: Request<Body>| async {
//!         Ok::<_, Infallible>(Response::new(Body::empty()))
//!     }));
//! let response = service.oneshot(Request::new(Body::from("12345"))).await.unwrap();
//! assert_eq!(response.status(), 413);
//! # });
//! ```

use crate::answer::AnswerFuture;
use crate::error::{BoxError, Failure};
use crate::reject::Shape;
use crate::rescue::answer_to;
use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Lets no request body pass that is larger than its limit.
///
/// - A `Content-Length` past it is refused with 413 at once. The body is not read: a client that asked with
///   `Expect: 100-continue` need not send it, and on HTTP/1 the connection closes after the answer.
/// - A body of unknown length streams on, and fails where it passes the limit, with
///   [`LengthLimitError`](http_body_util::LengthLimitError): the extractors of axum answer that with 413, and so does
///   the [rescue](crate::rescue) ([`Failure::BodyTooLarge`]). A server sees an upload that broke off, never a request
///   that ended; and if it has answered before, its answer stands.
///
/// Nothing is held in memory. Trailers do not count; parsers limit those.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimitLayer {
    max: u64,
}

impl BodyLimitLayer {
    /// Bodies may have `max` bytes; with 0 there may be none.
    pub fn new(max: u64) -> Self {
        Self { max }
    }
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = BodyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyLimit {
            inner,
            max: self.max,
        }
    }
}

/// The service made by [`BodyLimitLayer`].
#[derive(Debug, Clone)]
pub struct BodyLimit<S> {
    inner: S,
    max: u64,
}

impl<S, B, R> Service<Request<B>> for BodyLimit<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
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
        let hint = request.body().size_hint();
        if hint.lower() > self.max || says_more_than(self.max, request.headers()) {
            let shape = Shape::of(request.headers());
            let answer = answer_to(Failure::BodyTooLarge, shape, request.version());
            return AnswerFuture::refuse(answer);
        }
        let is_small = hint.upper().is_some_and(|upper| upper <= self.max);
        AnswerFuture::pass(self.inner.call(request.map(|body| match is_small {
            true => Body::new(body),
            false => Body::new(LimitedBody {
                inner: Limited::new(body, usize::try_from(self.max).unwrap_or(usize::MAX)),
            }),
        })))
    }
}

/// Whether there is a length past `max`. One that no number holds is past it, too; the parser has refused what is
/// no length at all.
fn says_more_than(max: u64, headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_LENGTH).iter().any(|value| {
        let digits = value.as_bytes();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let length = value.to_str().ok().and_then(|text| text.parse().ok());
        is_number && length.is_none_or(|length: u64| length > max)
    })
}

pin_project! {
    /// A body of unknown length that is cut at a limit.
    struct LimitedBody<B> {
        #[pin]
        inner: Limited<B>,
    }
}

impl<B> http_body::Body for LimitedBody<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // The length is not known, and where it is cut must not be taken for it.
        SizeHint::default()
    }
}
