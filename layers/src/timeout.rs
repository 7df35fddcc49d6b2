//! Answers 504 where the service below takes too long to begin its answer, and 408 where the client takes too long to
//! send its request.
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

use crate::error::{BoxError, Failure};
use crate::reject::Shape;
use crate::rescue::answer_to;
use crate::upload::Upload;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Version};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use tower::{Layer, Service};

/// Gives a service so long to come to the head of its answer, whatever it does meanwhile: the time to read the
/// request's body, to wait for a server, and each retry below are in it. The body of the answer may take longer.
///
/// Past that time the work below is dropped, and the answer is 504 with [`Failure::ResponseTimeout`]; but 408 with
/// [`Failure::RequestTimeout`] where the request's body had not ended, and it was the client that was waited for: this
/// says nothing of a service, and is not tried again. A service that does not read what there is gets 504.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    duration: Duration,
}

impl TimeoutLayer {
    /// From the request to the head of its answer.
    pub fn new(duration: Duration) -> Self {
        Self { duration }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, Some(self.duration))
    }
}

/// The service made by [`TimeoutLayer`].
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    duration: Option<Duration>,
}

impl<S> Timeout<S> {
    pub(crate) fn new(inner: S, duration: Option<Duration>) -> Self {
        Self { inner, duration }
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
        let (request, upload) = match self.duration {
            Some(_) => Upload::watch(request),
            None => (request.map(Body::new), None),
        };
        TimeoutFuture {
            shape,
            version,
            upload,
            sleep: self.duration.map(tokio::time::sleep),
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
            return Poll::Ready(result.map(|response| response.map(Body::new)));
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
