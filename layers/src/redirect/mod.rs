//! Sends clients to another URL: to `https`, to where a pattern says, or to the same path with or without a slash at
//! its end.
//!
//! ```
//! use a3s_layers::redirect::{RedirectLayer, Scheme};
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use tower::ServiceExt;
//!
//! # tokio_test::block_on(async {
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(RedirectLayer::scheme(Scheme::Https, None).permanent());
//! let request = Request::get("/?q=1").header("host", "a.example").body(Body::empty()).unwrap();
//! let response = app.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), 301);
//! assert_eq!(response.headers()["location"], "https://a.example/?q=1");
//! # });
//! ```

#[cfg(feature = "regex")]
mod pattern;
mod slash;
mod url;

pub use slash::TrailingSlash;
pub use url::Scheme;

#[cfg(feature = "regex")]
pub use crate::replacement::ReplacementError;

use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::reject::{Shape, reject};
#[cfg(feature = "regex")]
use crate::replacement::Replacement;
use axum::body::Body;
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};
use url::Origin;

/// Answers with a redirect where the URL of a request is not as it should be, and passes the others on.
///
/// The status is 302, or 301 where the redirect is [permanent](Self::permanent); for other methods than `GET` it is
/// 307 or 308, so that the client repeats the request as it was. Nothing that a client can put into a path leads to
/// another host, and a URL is never redirected to itself.
///
/// The scheme of a request is that of its [`Client`](crate::peer::Client): TLS or not, or what a trusted proxy says
/// in `X-Forwarded-Proto`. Where nobody has said who the client is, it is that of the URI, else `http`. The host is
/// that of the request; where a redirect needs one and it is missing or malformed, the answer is 400.
#[derive(Debug, Clone)]
pub struct RedirectLayer {
    redirect: Arc<Redirect>,
}

#[derive(Debug, Clone)]
struct Redirect {
    to: To,
    is_permanent: bool,
    keeps_method: bool,
}

#[derive(Debug, Clone)]
enum To {
    Scheme(Scheme, Option<u16>),
    Slash(TrailingSlash),
    #[cfg(feature = "regex")]
    Pattern(Arc<Replacement>),
}

/// A request for which there is no URL to go to.
#[derive(Debug)]
struct Unfit;

impl RedirectLayer {
    /// To the same host, path and query with `scheme`, and with `port` where one is given; otherwise the port is left
    /// out. What has the scheme already stays, unless a port is given and differs.
    pub fn scheme(scheme: Scheme, port: Option<u16>) -> Self {
        Self::to(To::Scheme(scheme, port))
    }

    /// To the same path with a slash at its end, or without.
    pub fn trailing_slash(slash: TrailingSlash) -> Self {
        Self::to(To::Slash(slash))
    }

    /// To what becomes of the whole URL when each match of `pattern` is replaced; one without a match stays.
    ///
    /// The URL is `https://a.example:8443/path?query` with the host in lower case and without the port that is the
    /// scheme's own. In `replacement`, `$1`, `${1}` and `$name` are groups, `$$` is a dollar. Of what matched in the
    /// path or the query, the new host may have letters, digits, `-` and `_` in it, where a dot follows: the shop in
    /// `https://$1.example.com/` can be told by a path, but `https://example$1` cannot become `https://example.evil`.
    /// A request that would have it so gets 400.
    #[cfg(feature = "regex")]
    pub fn regex(pattern: regex::Regex, replacement: &str) -> Result<Self, ReplacementError> {
        let replacement = Replacement::new(pattern, replacement)?;
        Ok(Self::to(To::Pattern(Arc::new(replacement))))
    }

    fn to(to: To) -> Self {
        let redirect = Redirect {
            to,
            is_permanent: false,
            keeps_method: false,
        };
        Self {
            redirect: Arc::new(redirect),
        }
    }

    /// Lets clients remember it: 301 and 308.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        Arc::make_mut(&mut self.redirect).is_permanent = true;
        self
    }

    /// Has clients repeat a `GET` as they repeat other methods: 307 and 308 for all of them.
    #[must_use]
    pub fn keeping_method(mut self) -> Self {
        Arc::make_mut(&mut self.redirect).keeps_method = true;
        self
    }
}

/// Whether [`RedirectLayer::regex`] takes this replacement.
#[cfg(feature = "regex")]
pub fn check_replacement(
    pattern: &regex::Regex,
    replacement: &str,
) -> Result<(), ReplacementError> {
    Replacement::new(pattern.clone(), replacement).map(drop)
}

impl<S> Layer<S> for RedirectLayer {
    type Service = RedirectService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RedirectService {
            inner,
            redirect: Arc::clone(&self.redirect),
        }
    }
}

/// The service made by [`RedirectLayer`].
#[derive(Debug, Clone)]
pub struct RedirectService<S> {
    inner: S,
    redirect: Arc<Redirect>,
}

impl<S, B, R> Service<Request<B>> for RedirectService<S>
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.redirect.location(&request) {
            Ok(None) => AnswerFuture::pass(self.inner.call(request)),
            Ok(Some(location)) => {
                AnswerFuture::refuse(self.redirect.answer(request.method(), location))
            }
            Err(Unfit) => AnswerFuture::refuse(reject(
                StatusCode::BAD_REQUEST,
                "this URL has no place to be redirected to",
                Shape::of(request.headers()),
            )),
        }
    }
}

impl Redirect {
    fn location<B>(&self, request: &Request<B>) -> Result<Option<HeaderValue>, Unfit> {
        let new = match &self.to {
            // The common case, once everybody has the new address.
            To::Scheme(scheme, None) if *scheme == Scheme::of(request) => None,
            To::Scheme(scheme, port) => Origin::of(request)?.moved(*scheme, *port, request.uri()),
            To::Slash(slash) => slash.settle(request.uri()),
            #[cfg(feature = "regex")]
            To::Pattern(replacement) => pattern::replaced(replacement, request)?,
        };
        new.map(|new| url::header(&new)).transpose()
    }

    fn answer(&self, method: &Method, location: HeaderValue) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = match (
            self.is_permanent,
            method == Method::GET && !self.keeps_method,
        ) {
            (false, true) => StatusCode::FOUND,
            (false, false) => StatusCode::TEMPORARY_REDIRECT,
            (true, true) => StatusCode::MOVED_PERMANENTLY,
            (true, false) => StatusCode::PERMANENT_REDIRECT,
        };
        response.headers_mut().insert(LOCATION, location);
        response
    }
}
