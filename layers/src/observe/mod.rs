//! Watches exchanges from the request's start to the end of the response's body.
//!
//! Metrics, access logs, in-flight counts and passive health are all observers: one hook, fired when the
//! body ends or is dropped, so that a stream counts for as long as it runs.
//!
//! ```
//! use a3s_layers::observe::{Exchange, ObserveLayer, Observer, Outcome};
//! use http::{Request, Response};
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//!
//! /// Counts the bytes that went out.
//! #[derive(Clone, Default)]
//! struct BytesOut(Arc<AtomicU64>);
//!
//! impl<B> Observer<B> for BytesOut {
//!     type Exchange = Self;
//!     fn start(&self, _: &Request<B>) -> Self { self.clone() }
//! }
//! impl Exchange for BytesOut {
//!     fn end(self, outcome: &Outcome) {
//!         self.0.fetch_add(outcome.response_bytes, Ordering::Relaxed);
//!     }
//! }
//!
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # use http_body_util::BodyExt;
//! # tokio_test::block_on(async {
//! let bytes = BytesOut::default();
//! let service = ServiceBuilder::new()
//!     .layer(ObserveLayer::new(bytes.clone()))
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new("hello".to_string()))
//!     }));
//! let response = service.oneshot(Request::new(())).await.unwrap();
//! response.into_body().collect().await.unwrap();
//! assert_eq!(bytes.0.load(Ordering::Relaxed), 5);
//! # });
//! ```

mod traffic;

pub use traffic::Traffic;

use crate::error::Failure;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower::{Layer, Service};

/// Makes one [`Exchange`] for each request.
pub trait Observer<B>: Clone {
    /// What is kept while the exchange runs.
    type Exchange: Exchange;

    /// A request is about to go down the stack.
    fn start(&self, request: &Request<B>) -> Self::Exchange;
}

/// One request and its response, until its end.
pub trait Exchange {
    /// The head of a response has come.
    fn head<B>(&mut self, _: &Response<B>) {}

    /// The trailers of a response have come.
    fn trailers(&mut self, _: &HeaderMap) {}

    /// The exchange is over. It is called once, also for one that was dropped half-way.
    fn end(self, outcome: &Outcome);
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The status, if the head of a response was seen.
    pub status: Option<StatusCode>,
    /// What failed, where the end is [`End::Failed`].
    pub failure: Option<Failure>,
    /// Bytes of response body that went up the stack, or, where the protocol was [switched](Traffic), that went to the
    /// client since.
    pub response_bytes: u64,
    /// Whether the response was seen to its end, or how not.
    pub end: End,
}

/// The way in which an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The body was read to its end.
    Complete,
    /// The service, or the body, failed.
    Failed,
    /// Whoever waited for it went away.
    Dropped,
}

impl<B, X: Observer<B>, Y: Observer<B>> Observer<B> for (X, Y) {
    type Exchange = (X::Exchange, Y::Exchange);

    fn start(&self, request: &Request<B>) -> Self::Exchange {
        (self.0.start(request), self.1.start(request))
    }
}

impl<X: Exchange, Y: Exchange> Exchange for (X, Y) {
    fn head<B>(&mut self, response: &Response<B>) {
        self.0.head(response);
        self.1.head(response);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.0.trailers(trailers);
        self.1.trailers(trailers);
    }

    fn end(self, outcome: &Outcome) {
        self.0.end(outcome);
        self.1.end(outcome);
    }
}

/// Lets an [`Observer`] see every exchange.
#[derive(Debug, Clone)]
pub struct ObserveLayer<O> {
    observer: O,
}

impl<O> ObserveLayer<O> {
    /// Every exchange is shown to `observer`; a pair is two observers.
    pub fn new(observer: O) -> Self {
        Self { observer }
    }
}

impl<S, O: Clone> Layer<S> for ObserveLayer<O> {
    type Service = Observe<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe {
            inner,
            observer: self.observer.clone(),
        }
    }
}

/// The service made by [`ObserveLayer`].
#[derive(Debug, Clone)]
pub struct Observe<S, O> {
    inner: S,
    observer: O,
}

impl<S, O, B, R> Service<Request<B>> for Observe<S, O>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    O: Observer<B>,
    R: Body,
    R::Error: 'static,
{
    type Response = Response<ObservedBody<R, O::Exchange>>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future, O::Exchange>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = self.observer.start(&request);
        ObserveFuture::new(exchange, || self.inner.call(request))
    }
}

pin_project! {
    /// The future of [`Observe`].
    pub struct ObserveFuture<F, E: Exchange> {
        #[pin]
        inner: F,
        watch: Option<Watch<E>>,
    }
}

impl<F, E: Exchange> ObserveFuture<F, E> {
    /// Calls a service in the course of `exchange`, which ends also where that panics.
    pub fn new(exchange: E, call: impl FnOnce() -> F) -> Self {
        let watch = Watch::new(exchange);
        Self {
            inner: call(),
            watch: Some(watch),
        }
    }
}

impl<F, E, R, Err> Future for ObserveFuture<F, E>
where
    F: Future<Output = Result<Response<R>, Err>>,
    Err: 'static,
    E: Exchange,
    R: Body,
{
    type Output = Result<Response<ObservedBody<R, E>>, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let mut watch = this.watch.take().expect("polled after it was ready");
        Poll::Ready(match result {
            Ok(response) => {
                watch.head(&response);
                Ok(response.map(|body| {
                    if body.is_end_stream() {
                        watch.end(End::Complete);
                    }
                    ObservedBody { inner: body, watch }
                }))
            }
            Err(error) => {
                watch.fail(&error);
                Err(error)
            }
        })
    }
}

/// An exchange that ends when told to, or when dropped.
struct Watch<E: Exchange> {
    exchange: Option<E>,
    outcome: Outcome,
    /// What goes past the body.
    traffic: Option<Traffic>,
}

impl<E: Exchange> Watch<E> {
    fn new(exchange: E) -> Self {
        Self {
            exchange: Some(exchange),
            outcome: Outcome {
                status: None,
                failure: None,
                response_bytes: 0,
                end: End::Dropped,
            },
            traffic: None,
        }
    }

    fn head<B>(&mut self, response: &Response<B>) {
        self.outcome.status = Some(response.status());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.traffic = response.extensions().get().cloned();
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.head(response);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(exchange) = &mut self.exchange {
            exchange.trailers(trailers);
        }
    }

    fn fail(&mut self, error: &dyn Any) {
        self.outcome.failure = Some(Failure::of_any(error));
        self.end(End::Failed);
    }

    fn end(&mut self, end: End) {
        if let Some(exchange) = self.exchange.take() {
            self.outcome.end = end;
            if let Some(traffic) = &self.traffic {
                self.outcome.response_bytes += traffic.sent();
            }
            exchange.end(&self.outcome);
        }
    }
}

impl<E: Exchange> Drop for Watch<E> {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}

pin_project! {
    /// A response body under observation.
    pub struct ObservedBody<B, E: Exchange> {
        #[pin]
        inner: B,
        watch: Watch<E>,
    }
}

impl<B: Body, E: Exchange> Body for ObservedBody<B, E>
where
    B::Error: 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    use bytes::Buf;
                    this.watch.outcome.response_bytes += data.remaining() as u64;
                }
                if let Some(trailers) = frame.trailers_ref() {
                    this.watch.trailers(trailers);
                }
                // A reader that knows the length stops here and never asks for the end.
                if this.inner.is_end_stream() {
                    this.watch.end(End::Complete);
                }
            }
            Some(Err(error)) => this.watch.fail(error),
            None => this.watch.end(End::Complete),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
