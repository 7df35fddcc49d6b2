//! Answers 500 for a service that panics: a bug costs one request, not the connection it came on.
//!
//! tower-http has one too; it boxes every response body a second time, and every request pays for it.
//!
//! ```
//! use a3s_layers::catch_panic::CatchPanicLayer;
//! use axum::body::Body;
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(CatchPanicLayer::new())
//!     .service(service_fn(|_: Request<Body>| async {
//!         if true { panic!("a bug") }
//!         Ok::<_, Infallible>(Response::new(Body::empty()))
//!     }));
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), 500);
//! # });
//! ```

use crate::error::BoxError;
use crate::journal::Journal;
use crate::reject::{Reason, Refused, Shape, reject};
use crate::trace_context::TraceId;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Turns a panic of the service, or of its future, into 500.
#[derive(Debug, Clone, Copy, Default)]
pub struct CatchPanicLayer(());

impl CatchPanicLayer {
    /// Catches every panic that unwinds.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic { inner }
    }
}

/// The service made by [`CatchPanicLayer`].
#[derive(Debug, Clone)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for CatchPanic<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CatchPanicFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let trace_id = Journal::trace_of(request.extensions());
        // What a panic leaves behind is dropped with this request's clone of the stack.
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(request)))
            .map_err(|panic| report(&*panic, trace_id))
            .ok();
        CatchPanicFuture { inner, trace_id }
    }
}

pin_project! {
    /// The future of [`CatchPanic`].
    pub struct CatchPanicFuture<F> {
        #[pin]
        inner: Option<F>,
        trace_id: Option<TraceId>,
    }
}

impl<F, R, E> Future for CatchPanicFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => catch_unwind(AssertUnwindSafe(|| inner.poll(cx))),
            None => return Poll::Ready(Ok(failed())),
        };
        match polled {
            Ok(poll) => poll.map_ok(|response| response.map(Body::new)),
            Err(panic) => {
                report(&*panic, *this.trace_id);
                this.inner.set(None);
                Poll::Ready(Ok(failed()))
            }
        }
    }
}

fn failed() -> Response<Body> {
    let mut response = reject(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the gateway failed on this request",
        Shape::default(),
    );
    // It is the service that failed, and a circuit breaker above counts it so.
    response.extensions_mut().remove::<Refused>();
    response.extensions_mut().insert(Reason("panic"));
    response
}

fn report(panic: &(dyn Any + Send), trace_id: Option<TraceId>) {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(
        panic = message,
        trace_id = trace_id.map(tracing::field::display),
        "a service panicked"
    );
}
