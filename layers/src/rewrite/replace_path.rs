//! Replaces a request's path, or what a pattern finds in it.

use super::{RewriteError, Unfit, given, refusal, rewrite};
use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::own_header;
#[cfg(feature = "regex")]
use crate::replacement::Replacement;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

const X_REPLACED_PATH: HeaderName = HeaderName::from_static("x-replaced-path");

/// Replaces the path of each request, and tells the server which one it was in `X-Replaced-Path`, as Traefik does.
/// That header of a client's is removed, also under a name with `_` for `-`.
///
/// ```
/// use a3s_layers::rewrite::ReplacePathLayer;
/// use axum::body::Body;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio_test::block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(ReplacePathLayer::new("/app.html").unwrap())
///     .service(service_fn(|request: Request<Body>| async move {
///         assert_eq!(request.headers()["x-replaced-path"], "/any/page");
///         Ok::<_, std::convert::Infallible>(Response::new(Body::from(request.uri().to_string())))
///     }));
/// let request = Request::get("/any/page?q=1").body(Body::empty()).unwrap();
/// let response = service.oneshot(request).await.unwrap();
/// let seen = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
/// assert_eq!(seen, "/app.html?q=1");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct ReplacePathLayer {
    to: Arc<To>,
}

#[derive(Debug)]
enum To {
    Path(String),
    #[cfg(feature = "regex")]
    Replacement(Replacement),
}

impl ReplacePathLayer {
    /// Every path becomes `path`, which begins with a slash and is written as in a URL. The query stays.
    pub fn new(path: &str) -> Result<Self, RewriteError> {
        Ok(Self {
            to: Arc::new(To::Path(given(path)?)),
        })
    }

    /// What `pattern` matches in a path becomes `replacement`, in which `$1`, `${1}` and `$name` are its groups and
    /// `$$` is a dollar. A path without a match stays as it is.
    ///
    /// The pattern sees the path as it stands in a URL, with its escapes, but not the query, which stays. A slash is
    /// put before a path that has none.
    #[cfg(feature = "regex")]
    pub fn regex(pattern: regex::Regex, replacement: &str) -> Result<Self, RewriteError> {
        let replacement = super::given_replacement(pattern, replacement)?;
        Ok(Self {
            to: Arc::new(To::Replacement(replacement)),
        })
    }
}

impl To {
    fn of(&self, _path: &str) -> Result<Option<String>, Unfit> {
        match self {
            Self::Path(path) => Ok(Some(path.clone())),
            #[cfg(feature = "regex")]
            Self::Replacement(replacement) => replaced(replacement, _path),
        }
    }
}

#[cfg(feature = "regex")]
fn replaced(replacement: &Replacement, path: &str) -> Result<Option<String>, Unfit> {
    let mut new = String::with_capacity(path.len() + 16);
    let is_matched = replacement.apply(path, |piece, _| {
        if new.is_empty() && !piece.is_empty() && !piece.starts_with('/') {
            new.push('/');
        }
        new.push_str(piece);
        // A short pattern and a long replacement can make much of little.
        match new.len() <= usize::from(u16::MAX) {
            true => Ok(()),
            false => Err(Unfit),
        }
    })?;
    if new.is_empty() {
        new.push('/');
    }
    Ok(is_matched.then_some(new))
}

impl<S> Layer<S> for ReplacePathLayer {
    type Service = ReplacePath<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReplacePath {
            inner,
            to: Arc::clone(&self.to),
        }
    }
}

/// The service made by [`ReplacePathLayer`].
#[derive(Debug, Clone)]
pub struct ReplacePath<S> {
    inner: S,
    to: Arc<To>,
}

/// On a request whose `X-Replaced-Path` is ours.
#[derive(Debug, Clone, Copy)]
struct Replaced;

impl<S, B, R> Service<Request<B>> for ReplacePath<S>
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
        let before = HeaderValue::from_str(request.uri().path());
        let is_ours = request.extensions().get::<Replaced>().is_some();
        if !is_ours {
            own_header::clear(&mut request, &X_REPLACED_PATH);
        }
        match rewrite(&mut request, |path| self.to.of(path)) {
            Ok(true) => {
                if let Ok(before) = before {
                    request.headers_mut().append(X_REPLACED_PATH, before);
                    request.extensions_mut().insert(Replaced);
                }
                AnswerFuture::pass(self.inner.call(request))
            }
            Ok(false) => AnswerFuture::pass(self.inner.call(request)),
            Err(Unfit) => AnswerFuture::refuse(refusal(&request)),
        }
    }
}
