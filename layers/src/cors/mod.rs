//! Tells browsers which pages may read what a service answers (CORS, the Fetch Standard, 3.3).
//!
//! tower-http's layer panics where credentials meet a wildcard, answers every `OPTIONS`, and leaves an app's own
//! answer beside its own.
//!
//! ```
//! use a3s_layers::cors::{CorsLayer, CorsPolicy};
//! use axum::body::Body;
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let policy = CorsPolicy::new()
//!     .origin("https://app.example.com")?
//!     .method("PUT")?
//!     .credentials();
//! let service = ServiceBuilder::new()
//!     .layer(CorsLayer::new(policy)?)
//!     .service(service_fn(|_: Request<Body>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
//!     }));
//! let preflight = Request::options("/")
//!     .header("origin", "https://app.example.com")
//!     .header("access-control-request-method", "PUT")
//!     .body(Body::empty())
//!     .unwrap();
//! let response = service.oneshot(preflight).await.unwrap();
//! assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example.com");
//! assert_eq!(response.headers()["access-control-allow-methods"], "PUT");
//! # Ok::<_, a3s_layers::cors::CorsError>(())
//! # }).unwrap();
//! ```

mod origins;

use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::vary::add_vary;
use axum::body::Body;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN,
};
use http::{Method, Request, Response};
use origins::Origins;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower::{Layer, Service};

const WILDCARD: HeaderValue = HeaderValue::from_static("*");

/// What a preflight is told where no methods are given.
const DEFAULT_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// Why a policy cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// An origin that is not a scheme, a host and perhaps a port, nor `null`, nor `*`.
    #[error(
        "an origin is a scheme, a host and perhaps a port, as in `https://example.com`, without a path"
    )]
    Origin,
    /// A pattern that is no regular expression.
    #[error("not a regular expression")]
    Pattern,
    /// A method that is no token (RFC 9110, 9.1).
    #[error("not a method")]
    Method,
    /// A header name that is no token (RFC 9110, 5.1).
    #[error("not a header name")]
    Header,
    /// `*` beside credentials: of an origin it would give every page the user's session, of the rest browsers take
    /// it for a name (the Fetch Standard, 3.3.5).
    #[error("`*` and credentials exclude each other")]
    WildcardWithCredentials,
    /// A pattern that matches origins which have nothing to do with one another, beside credentials: it gives every
    /// page the user's session, as `*` would.
    #[error(
        "the pattern matches the origin of anybody's page, which could then read what is answered to the user's credentials"
    )]
    AnyOriginWithCredentials,
}

/// Who may read, what they may send, and what they may see.
#[derive(Debug, Clone)]
pub struct CorsPolicy {
    origins: Option<Origins>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
}

impl Default for CorsPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl CorsPolicy {
    /// Any origin, without credentials; `GET`, `HEAD`, `POST`, `PUT`, `PATCH` and `DELETE`; any request header.
    pub fn new() -> Self {
        Self {
            origins: None,
            methods: None,
            headers: None,
            exposed: None,
            max_age: None,
            credentials: false,
        }
    }

    /// Allows an origin beside those that are allowed; the first takes the place of `any`. It is compared without
    /// regard to case or to a port that is its scheme's own. `*` is any, and `null` is what sandboxed
    /// documents and local files are, whosever they are.
    pub fn origin(mut self, origin: &str) -> Result<Self, CorsError> {
        self.origins.get_or_insert_default().list(origin)?;
        Ok(self)
    }

    /// Allows the origins, in lower case and without a port that is their scheme's own, that match `pattern` as a
    /// whole. A second pattern takes the place of the first.
    #[cfg(feature = "regex")]
    pub fn origin_regex(mut self, pattern: &str) -> Result<Self, CorsError> {
        self.origins.get_or_insert_default().match_whole(pattern)?;
        Ok(self)
    }

    /// Allows a method, in upper case; the first takes the place of the default ones. `*` is any.
    pub fn method(mut self, method: &str) -> Result<Self, CorsError> {
        let method = method.to_ascii_uppercase();
        Method::from_bytes(method.as_bytes()).map_err(|_| CorsError::Method)?;
        self.methods = list(self.methods, &method).map_err(|_| CorsError::Method)?;
        Ok(self)
    }

    /// Allows a request header; the first takes the place of `any`. `*` is any but `Authorization`, which browsers
    /// want to see named.
    pub fn header(mut self, name: &str) -> Result<Self, CorsError> {
        self.headers = list_header(self.headers, name)?;
        Ok(self)
    }

    /// Lets pages see a response header beside the seven that they always do. `*` is any.
    pub fn exposed_header(mut self, name: &str) -> Result<Self, CorsError> {
        self.exposed = list_header(self.exposed, name)?;
        Ok(self)
    }

    /// How long a browser may keep the answer to a preflight, in whole seconds. Without it browsers keep one for
    /// five; Chromium keeps none longer than two hours, Firefox than a day.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs().into());
        self
    }

    /// Lets pages send cookies and other credentials, and read what is answered to them.
    pub fn credentials(mut self) -> Self {
        self.credentials = true;
        self
    }

    /// Fails where it has credentials and a `*` anywhere, or any origin, be it by a pattern. That is tried with some
    /// origins: a pattern that allows too much of another kind, such as every `.com`, is taken.
    pub fn check(&self) -> Result<(), CorsError> {
        let lists = [&self.methods, &self.headers, &self.exposed];
        let is_wild = self.origins.as_ref().is_none_or(|origins| origins.any)
            || lists.into_iter().any(|list| has_wildcard(list.as_ref()));
        if !self.credentials {
            return Ok(());
        }
        if is_wild {
            return Err(CorsError::WildcardWithCredentials);
        }
        match self.origins.as_ref().is_some_and(Origins::match_anybody) {
            true => Err(CorsError::AnyOriginWithCredentials),
            false => Ok(()),
        }
    }
}

fn list_header(
    list_so_far: Option<HeaderValue>,
    name: &str,
) -> Result<Option<HeaderValue>, CorsError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| CorsError::Header)?;
    list(list_so_far, name).map_err(|_| CorsError::Header)
}

/// A list with one more in it.
fn list(
    list: Option<HeaderValue>,
    item: &str,
) -> Result<Option<HeaderValue>, http::header::InvalidHeaderValue> {
    let Some(list) = list else {
        return HeaderValue::from_str(item).map(Some);
    };
    let longer = [list.as_bytes(), b", ", item.as_bytes()].concat();
    HeaderValue::from_maybe_shared(Bytes::from(longer)).map(Some)
}

fn has_wildcard(list: Option<&HeaderValue>) -> bool {
    list.is_some_and(|list| {
        list.as_bytes()
            .split(|b| *b == b',')
            .any(|item| item.trim_ascii() == b"*")
    })
}

/// Answers preflights, and says on every other answer who may read it.
///
/// - A preflight is `OPTIONS` with `Origin` and `Access-Control-Request-Method`; another `OPTIONS` goes through.
/// - An origin that is not allowed gets its answer without a permission to read it, as it would by any other
///   program than a browser, and its preflight 200 without one.
/// - What the app below says in `Access-Control-*` fields of its own is replaced.
/// - Without a list of origins, `*` is on every answer. With one, `Vary: Origin` is.
#[derive(Debug, Clone)]
pub struct CorsLayer {
    policy: Arc<Policy>,
}

#[derive(Debug)]
struct Policy {
    origins: Origins,
    methods: HeaderValue,
    /// `None`: what a preflight asks for.
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
}

impl CorsLayer {
    /// Follows `policy`, which [`CorsPolicy::check`] must not object to.
    pub fn new(policy: CorsPolicy) -> Result<Self, CorsError> {
        policy.check()?;
        let policy = Policy {
            origins: policy.origins.unwrap_or_else(Origins::any),
            methods: policy.methods.unwrap_or(DEFAULT_METHODS),
            headers: policy.headers,
            exposed: policy.exposed,
            max_age: policy.max_age,
            credentials: policy.credentials,
        };
        Ok(Self {
            policy: Arc::new(policy),
        })
    }
}

impl Policy {
    fn preflight(&self, request: &HeaderMap) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        if let Some(origin) = self.allowed(request) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            let asked = || request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            if let Some(allowed) = self.headers.clone().or_else(asked) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            }
            if let Some(max_age) = &self.max_age {
                headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
            }
            if self.credentials {
                let yes = HeaderValue::from_static("true");
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
        }
        add_vary(
            headers,
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        );
        response
    }

    /// What `Access-Control-Allow-Origin` says to the sender of a request, if anything.
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.any {
            return Some(WILDCARD);
        }
        let mut lines = request.get_all(ORIGIN).iter();
        let origin = lines.next().filter(|_| lines.next().is_none())?;
        // As it came: browsers compare it byte by byte with what they sent.
        self.origins.allow(origin).then(|| origin.clone())
    }

    fn mark(&self, headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
        remove_permissions(headers);
        if let Some(origin) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if let Some(exposed) = &self.exposed {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
            if self.credentials {
                let yes = HeaderValue::from_static("true");
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
        }
        if !self.origins.any {
            add_vary(headers, "Origin");
        }
    }
}

/// Removes every `Access-Control-*` field.
fn remove_permissions(headers: &mut HeaderMap) {
    let is_permission = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    while let Some(name) = headers.keys().find(is_permission).cloned() {
        headers.remove(name);
    }
}

fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Cors {
            inner,
            policy: Arc::clone(&self.policy),
        }
    }
}

/// The service made by [`CorsLayer`].
#[derive(Debug, Clone)]
pub struct Cors<S> {
    inner: S,
    policy: Arc<Policy>,
}

impl<S, B, R> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AnswerFuture<CorsFuture<S::Future>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_preflight(&request) {
            return AnswerFuture::refuse(self.policy.preflight(request.headers()));
        }
        let allowed = self.policy.allowed(request.headers());
        AnswerFuture::pass(CorsFuture {
            inner: self.inner.call(request),
            policy: Arc::clone(&self.policy),
            allowed,
        })
    }
}

pin_project! {
    /// The future of a request that [`Cors`] passes on.
    pub struct CorsFuture<F> {
        #[pin]
        inner: F,
        policy: Arc<Policy>,
        allowed: Option<HeaderValue>,
    }
}

impl<F, R, E> Future for CorsFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.policy
            .mark(response.headers_mut(), this.allowed.take());
        Poll::Ready(Ok(response))
    }
}
