//! Turns errors into answers: below it services may fail, above it they always answer.
//!
//! ```
//! use a3s_layers::{error::{Failure, UpstreamError}, rescue::RescueLayer};
//! use axum::body::Body;
//! use http::{Request, Response, StatusCode};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(RescueLayer::new())
//!     .service(service_fn(|_: Request<Body>| async {
//!         Err::<Response<Body>, BoxError>(UpstreamError::from(Failure::ResponseTimeout).into())
//!     }));
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
//! assert_eq!(response.extensions().get(), Some(&Failure::ResponseTimeout));
//! # });
//! ```

use crate::endpoint::Endpoint;
use crate::error::{BoxError, Chain, Failure};
use crate::journal::Journal;
use crate::reject::{Shape, reject};
use axum::body::Body;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, Version};
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower::{Layer, Service};

/// Answers 502, 503 or 504 for a service that fails, and 400, 408 or 413 where the request's own body did.
///
/// The [`Failure`] is an extension of the answers that it makes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RescueLayer(());

impl RescueLayer {
    /// Rescues every error.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Rescue {
            inner,
            unready: None,
        }
    }
}

/// The service made by [`RescueLayer`].
#[derive(Debug)]
pub struct Rescue<S> {
    inner: S,
    /// What `poll_ready` failed with, to be answered by the next call.
    unready: Option<BoxError>,
}

impl<S: Clone> Clone for Rescue<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            unready: None,
        }
    }
}

impl<S, B> Service<Request<B>> for Rescue<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Err(error) = ready!(self.inner.poll_ready(cx)) {
            self.unready = Some(error.into());
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shape = Shape::of(request.headers());
        let about = About::of(&request);
        let version = request.version();
        RescueFuture {
            shape,
            version,
            about,
            inner: match self.unready.take() {
                Some(error) => Inner::Unready { error: Some(error) },
                None => Inner::Called {
                    future: self.inner.call(request),
                },
            },
        }
    }
}

pin_project! {
    /// The future of [`Rescue`].
    pub struct RescueFuture<F> {
        #[pin]
        inner: Inner<F>,
        shape: Shape,
        version: Version,
        about: About,
    }
}

pin_project! {
    #[project = InnerProjection]
    enum Inner<F> {
        Called { #[pin] future: F },
        Unready { error: Option<BoxError> },
    }
}

impl<F, E> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.inner.project() {
            InnerProjection::Called { future } => ready!(future.poll(cx)).map_err(Into::into),
            InnerProjection::Unready { error } => {
                Err(error.take().expect("polled after it was ready"))
            }
        };
        Poll::Ready(Ok(result.unwrap_or_else(|error| {
            this.about.log(&error);
            answer_to(Failure::of(&*error), *this.shape, *this.version)
        })))
    }
}

/// What a line in the log says of a request that got no answer.
struct About {
    journal: Option<Journal>,
    /// How often a server had been asked before.
    before: u32,
}

impl About {
    fn of<B>(request: &Request<B>) -> Self {
        let journal = request.extensions().get::<Journal>().cloned();
        Self {
            before: journal.as_ref().map_or(0, Journal::count_tries),
            journal,
        }
    }

    /// The server that gave no answer; none where there was nobody to ask.
    fn server(&self) -> Option<Arc<Endpoint>> {
        let journal = self.journal.as_ref()?;
        let was_asked = journal.count_tries() > self.before;
        journal.endpoint().filter(|_| was_asked)
    }

    fn log(&self, error: &BoxError) {
        let journal = self.journal.as_ref();
        tracing::debug!(
            reason = Failure::of(&**error).reason(),
            service = journal.and_then(Journal::service),
            server = self.server().as_ref().map(|server| server.id()),
            trace_id = journal
                .and_then(Journal::trace_id)
                .map(tracing::field::display),
            error = %Chain(&**error),
            "no answer from the upstream"
        );
    }
}

/// What the sender of a request of this `version` is told of a failure.
pub(crate) fn answer_to(failure: Failure, shape: Shape, version: Version) -> Response<Body> {
    let mut response = reject(failure.status(), failure.message(), shape);
    let headers = response.headers_mut();
    // Where the body is out of step, so is the connection it came on.
    if failure.is_of_request_body() && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if matches!(failure, Failure::Unavailable | Failure::Overloaded) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response.extensions_mut().insert(failure);
    response
}
