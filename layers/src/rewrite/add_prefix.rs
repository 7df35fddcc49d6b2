//! Puts a prefix before a request's path.

use super::{RewriteError, Unfit, given, refusal, rewrite};
use crate::answer::AnswerFuture;
use crate::error::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Puts a prefix before the path of each request.
///
/// ```
/// use a3s_layers::rewrite::AddPrefixLayer;
/// use axum::body::Body;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio_test::block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(AddPrefixLayer::new("/v2").unwrap())
///     .service(service_fn(|request: Request<Body>| async move {
///         Ok::<_, std::convert::Infallible>(Response::new(Body::from(request.uri().to_string())))
///     }));
/// let request = Request::get("/users?page=2").body(Body::empty()).unwrap();
/// let response = service.oneshot(request).await.unwrap();
/// let seen = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
/// assert_eq!(seen, "/v2/users?page=2");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct AddPrefixLayer {
    prefix: Arc<str>,
}

impl AddPrefixLayer {
    /// `prefix` begins with a slash and is written as in a URL. A slash at its end means nothing.
    pub fn new(prefix: &str) -> Result<Self, RewriteError> {
        let prefix = given(prefix)?;
        Ok(Self {
            prefix: prefix.trim_end_matches('/').into(),
        })
    }
}

impl<S> Layer<S> for AddPrefixLayer {
    type Service = AddPrefix<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AddPrefix {
            inner,
            prefix: Arc::clone(&self.prefix),
        }
    }
}

/// The service made by [`AddPrefixLayer`].
#[derive(Debug, Clone)]
pub struct AddPrefix<S> {
    inner: S,
    prefix: Arc<str>,
}

impl<S, B, R> Service<Request<B>> for AddPrefix<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AnswerFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let prefixed = |path: &str| Ok(Some([&*self.prefix, path].concat()));
        match rewrite(&mut request, prefixed) {
            Ok(_) => AnswerFuture::pass(self.inner.call(request)),
            Err(Unfit) => AnswerFuture::refuse(refusal(&request)),
        }
    }
}
