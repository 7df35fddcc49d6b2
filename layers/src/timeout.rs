//! Answers 504 where the service below takes too long to begin its answer, and 408 where the client takes too long to
//! send its request; and cuts an answer that takes too long to end, if that is asked for.
//!
//! It is our own beside `tower_http::timeout`, whose answer has no body, no form for gRPC, and nothing by which a
//! retry above could tell it from a server's own.
//!
//! ```
//! use a3s_layers::timeout::TimeoutLayer;
//! use axum::body::Body;
//! use http::{Request, Response};
//! use std::{convert::Infallible, time::Duration};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_millis(5)))
//!     .service(service_fn(|_: Request<Body>| async {
//!         std::future::pending::<()>().await;
//!         Ok::<_, Infallible>(Response::new(Body::empty()))
//!     }));
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), 504);
//! # });
//! ```

use crate::error::{BoxError, Failure, UpstreamError};
use crate::reject::Shape;
use crate::rescue::answer_to;
use crate::upload::Upload;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

/// Gives a service so long to come to the head of its answer, whatever it does meanwhile: the time to read the
/// request's body, to wait for a server, and each retry below are in it. The body of the answer may take longer.
///
/// Past that time the work below is dropped, and the answer is 504 with [`Failure::ResponseTimeout`]; but 408 with
/// [`Failure::RequestTimeout`] where the request's body had not ended, and it was the client that was waited for: this
/// says nothing of a service, and is not tried again. A service that does not read what there is gets 504.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    limit: Limit,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    duration: Duration,
    /// The body of the answer must have ended, too.
    is_whole: bool,
}

impl TimeoutLayer {
    /// From the request to the head of its answer.
    pub fn new(duration: Duration) -> Self {
        let is_whole = false;
        Self {
            limit: Limit { duration, is_whole },
        }
    }

    /// From the request to the end of its answer's body. A body that has not ended by then fails with
    /// [`Failure::ResponseTimeout`]: the connection is closed, or the stream reset, so that nobody takes what has come
    /// for all of it. A body that nobody asks for more fails when somebody does. What goes on after a 101 is not cut.
    pub fn whole(duration: Duration) -> Self {
        let is_whole = true;
        Self {
            limit: Limit { duration, is_whole },
        }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let limit = Some(self.limit);
        Timeout { inner, limit }
    }
}

/// The service made by [`TimeoutLayer`].
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    limit: Option<Limit>,
}

impl<S> Timeout<S> {
    /// To the head of an answer, if there is a limit to that.
    pub(crate) fn new(inner: S, duration: Option<Duration>) -> Self {
        let limit = duration.map(|duration| TimeoutLayer::new(duration).limit);
        Self { inner, limit }
    }
}

impl<S, B, R> Service<Request<B>> for Timeout<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shape = Shape::of(request.headers());
        let version = request.version();
        let (request, upload) = match self.limit {
            Some(_) => Upload::watch(request),
            None => (request.map(Body::new), None),
        };
        TimeoutFuture {
            shape,
            version,
            upload,
            sleep: self.limit.map(|limit| tokio::time::sleep(limit.duration)),
            is_whole: self.limit.is_some_and(|limit| limit.is_whole),
            inner: Some(self.inner.call(request)),
        }
    }
}

pin_project! {
    /// The future of [`Timeout`].
    pub struct TimeoutFuture<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Option<Sleep>,
        is_whole: bool,
        upload: Option<Upload>,
        shape: Shape,
        version: Version,
    }
}

impl<F, R, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let inner = this.inner.as_mut().as_pin_mut();
        if let Poll::Ready(result) = inner.expect("polled after it was ready").poll(cx) {
            let deadline = this
                .sleep
                .as_ref()
                .as_pin_ref()
                .map(|sleep| sleep.deadline());
            let deadline = deadline.filter(|_| *this.is_whole);
            return Poll::Ready(result.map(|response| {
                // What goes on in another protocol is no answer that could be late.
                let has_switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                let deadline = deadline.filter(|_| !has_switched);
                response.map(|body| cut(body, deadline))
            }));
        }
        // Only now, so that who answers at once has paid for no timer.
        match this.sleep.as_pin_mut() {
            Some(sleep) => ready!(sleep.poll(cx)),
            None => return Poll::Pending,
        }
        let failure = match this.upload {
            Some(upload) if upload.is_awaited() => Failure::RequestTimeout,
            _ => Failure::ResponseTimeout,
        };
        // Whoever holds this future for a while holds nothing of the work.
        this.inner.set(None);
        Poll::Ready(Ok(answer_to(failure, *this.shape, *this.version)))
    }
}

/// The body, as far as it has come by the deadline.
fn cut<R>(body: R, deadline: Option<Instant>) -> Body
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let body = Body::new(body);
    match deadline {
        Some(deadline) if !body.is_end_stream() => Body::new(TimedBody {
            inner: Some(body),
            sleep: Box::pin(sleep_until(deadline)),
        }),
        _ => body,
    }
}

struct TimedBody {
    /// None where it was cut.
    inner: Option<Body>,
    sleep: Pin<Box<Sleep>>,
}

impl http_body::Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let inner = Pin::new(inner).poll_frame(cx);
        // Also where there is always more: what never ends must end.
        let is_over = self.sleep.as_mut().poll(cx).is_ready();
        match inner {
            Poll::Ready(None) => Poll::Ready(None),
            _ if is_over => {
                self.inner = None;
                let error = UpstreamError::from(Failure::ResponseTimeout);
                Poll::Ready(Some(Err(error.into())))
            }
            inner => inner.map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref().map(|body| body.size_hint());
        inner.unwrap_or_default()
    }
}
