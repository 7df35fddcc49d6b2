//! Sets, adds and removes fields of requests and responses, and gives responses the fields that keep browsers safe.
//!
//! tower-http has layers for one field each; a list of them would wrap a service as often as it is long.
//!
//! ```
//! use a3s_layers::headers::{HeaderEdits, HeadersLayer};
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(
//!         HeadersLayer::new()
//!             .request(HeaderEdits::new().set("X-Stage", "test")?.remove("Cookie")?)
//!             .response(HeaderEdits::new().remove("X-Powered-By")?)
//!             .security(),
//!     )
//!     .service(service_fn(|request: Request<()>| async move {
//!         assert_eq!(request.headers()["x-stage"], "test");
//!         Ok::<_, std::convert::Infallible>(Response::new(()))
//!     }));
//! let response = service.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(response.headers()["x-content-type-options"], "nosniff");
//! # Ok::<_, a3s_layers::headers::HeaderError>(())
//! # }).unwrap();
//! ```

use crate::hop_by_hop::is_hop_by_hop;
use crate::own_header;
use crate::peer::is_https;
use http::header::{
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, TRAILER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::uri::Authority;
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower::{Layer, Service};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Two years, the least that the preload lists' keepers and Mozilla advise. Subdomains are left out: a browser
/// does not forget, and who serves one host cannot speak for those below it.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// What is set on each response by [`HeadersLayer::security`], as the OWASP HTTP Headers Cheat Sheet and MDN's
/// Practical Security Guides have it.
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("frame-ancestors 'none'"),
    ),
    (
        REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    ),
    (
        PERMISSIONS_POLICY,
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
];

/// Why a field cannot be set, added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A name that is no token (RFC 9110, 5.1).
    #[error("not a header name")]
    Name,
    /// A value with a line break, or with another control character (RFC 9110, 5.5).
    #[error("not a header value")]
    Value,
    /// `Host` that is no host with or without a port, or that would be there twice.
    #[error("`Host` is one host, with or without a port")]
    Host,
    /// A field that frames the message or belongs to one connection (RFC 9110, 7.6.1; RFC 9112, 6): whoever
    /// changes it lets two parties disagree on where the message ends.
    #[error("the server sets this header itself, for each connection")]
    Framing,
}

/// What is to be done to the fields of a message: first removed, then set, then added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    removed: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    added: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderEdits {
    /// Leaves everything as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field, in place of every line of it that there is. An empty value removes it.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        if value.trim().is_empty() {
            return self.remove(name);
        }
        let (name, value) = (field_name(name)?, field_value(value)?);
        if name == HOST && !is_host(&value) {
            return Err(HeaderError::Host);
        }
        self.set.push((name, value));
        Ok(self)
    }

    /// Adds a line, beside those of this name that there are.
    pub fn add(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        let (name, value) = (field_name(name)?, field_value(value)?);
        if name == HOST {
            return Err(HeaderError::Host);
        }
        self.added.push((name, value));
        Ok(self)
    }

    /// Removes every line of a field.
    pub fn remove(mut self, name: &str) -> Result<Self, HeaderError> {
        self.removed.push(field_name(name)?);
        Ok(self)
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.added {
            headers.append(name.clone(), value.clone());
        }
    }

    /// What a client says in a field that is set or removed, a server must not take for ours.
    fn apply_to_request<B>(&self, request: &mut Request<B>) {
        let set = self.set.iter().map(|(name, _)| name);
        for name in self.removed.iter().chain(set) {
            own_header::clear(request, name);
        }
        self.apply(request.headers_mut());
    }

    /// Whether something is done to this field.
    fn touches(&self, name: &HeaderName) -> bool {
        let given = self.set.iter().chain(&self.added).map(|(name, _)| name);
        self.removed.iter().chain(given).any(|given| given == name)
    }

    fn sets(&self, name: &HeaderName) -> bool {
        self.set.iter().any(|(given, _)| given == name)
    }
}

fn field_name(name: &str) -> Result<HeaderName, HeaderError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)?;
    if is_hop_by_hop(&name) || [CONTENT_LENGTH, TRAILER].contains(&name) {
        return Err(HeaderError::Framing);
    }
    Ok(name)
}

fn field_value(value: &str) -> Result<HeaderValue, HeaderError> {
    HeaderValue::from_str(value.trim()).map_err(|_| HeaderError::Value)
}

fn is_host(value: &HeaderValue) -> bool {
    let authority = Authority::try_from(value.as_bytes());
    authority.is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// Edits the fields of requests and responses.
///
/// - A request whose `Host` is set tells the server the client's in `X-Forwarded-Host`, where nobody has said it yet.
/// - What a client says under the name of a field that is set or removed, with `_` for `-`, is removed too, and
///   [trailers](crate::trailers) do not say it either.
/// - Responses of every status are edited, those that a layer below made itself too.
#[derive(Debug, Clone, Default)]
pub struct HeadersLayer {
    edits: Arc<Edits>,
}

#[derive(Debug, Clone, Default)]
struct Edits {
    request: HeaderEdits,
    response: HeaderEdits,
    sets_host: bool,
    /// The preset, without what `response` has a say in.
    security: Vec<(HeaderName, HeaderValue)>,
    hsts: bool,
    is_secure: bool,
}

impl HeadersLayer {
    /// Edits nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does `edits` to each request.
    pub fn request(self, edits: HeaderEdits) -> Self {
        self.with(|all| {
            all.sets_host = edits.sets(&HOST);
            all.request = edits;
        })
    }

    /// Does `edits` to each response.
    pub fn response(self, edits: HeaderEdits) -> Self {
        self.with(|all| all.response = edits)
    }

    /// Gives each response the fields below, unless it has them, from the app or by an edit of this layer. One
    /// that an edit of this layer removes stays away.
    ///
    /// | field | value |
    /// |---|---|
    /// | `Strict-Transport-Security` | `max-age=63072000`, on TLS only |
    /// | `X-Content-Type-Options` | `nosniff` |
    /// | `X-Frame-Options` | `DENY` |
    /// | `Content-Security-Policy` | `frame-ancestors 'none'` |
    /// | `Referrer-Policy` | `strict-origin-when-cross-origin` |
    /// | `Permissions-Policy` | `camera=(), geolocation=(), microphone=()` |
    ///
    /// `X-Frame-Options` and `frame-ancestors` say the same, and browsers follow the second: neither is set for an
    /// app that says the other itself. Whether a client came over TLS is known from [`Client`](crate::peer::Client); a trusted
    /// proxy's `X-Forwarded-Proto` is believed.
    pub fn security(self) -> Self {
        self.with(|all| all.is_secure = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Edits)) -> Self {
        let edits = Arc::make_mut(&mut self.edits);
        change(edits);
        edits.resolve();
        self
    }
}

impl Edits {
    /// Leaves of the preset what the operator's own edits do not speak of.
    fn resolve(&mut self) {
        if !self.is_secure {
            return;
        }
        let response = &self.response;
        let is_framing_free = response.removed.contains(&X_FRAME_OPTIONS);
        self.hsts = !response.touches(&STRICT_TRANSPORT_SECURITY);
        self.security = SECURITY
            .into_iter()
            .filter(|(name, _)| !response.touches(name))
            .filter(|(name, _)| !(is_framing_free && name == CONTENT_SECURITY_POLICY))
            .collect();
    }

    fn edit_request<B>(&self, request: &mut Request<B>) {
        let asked = if self.sets_host {
            request.headers().get(HOST).cloned()
        } else {
            None
        };
        self.request.apply_to_request(request);
        if let Some(host) = asked
            && !self.request.touches(&X_FORWARDED_HOST)
        {
            let headers = request.headers_mut();
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
    }

    fn edit_response(&self, headers: &mut HeaderMap, is_https: bool) {
        self.response.apply(headers);
        if self.is_secure {
            self.secure(headers, is_https);
        }
    }

    fn secure(&self, headers: &mut HeaderMap, is_https: bool) {
        let frames = headers.contains_key(X_FRAME_OPTIONS);
        let ancestors = has_frame_ancestors(headers);
        for (name, value) in &self.security {
            let is_said = (frames && name == CONTENT_SECURITY_POLICY)
                || (ancestors && name == X_FRAME_OPTIONS);
            if !is_said {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
        if self.hsts && is_https {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(HSTS);
        }
    }
}

fn has_frame_ancestors(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_SECURITY_POLICY)
        .iter()
        .flat_map(|policy| policy.as_bytes().split(|b| matches!(b, b';' | b',')))
        .filter_map(|directive| {
            directive
                .trim_ascii_start()
                .split(u8::is_ascii_whitespace)
                .next()
        })
        .any(|name| name.eq_ignore_ascii_case(b"frame-ancestors"))
}

impl<S> Layer<S> for HeadersLayer {
    type Service = Headers<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Headers {
            inner,
            edits: Arc::clone(&self.edits),
        }
    }
}

/// The service made by [`HeadersLayer`].
#[derive(Debug, Clone)]
pub struct Headers<S> {
    inner: S,
    edits: Arc<Edits>,
}

impl<S, B, R> Service<Request<B>> for Headers<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HeadersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Before the edits: what an operator says to the server is no news of the client.
        let is_https = self.edits.hsts && is_https(&request);
        self.edits.edit_request(&mut request);
        HeadersFuture {
            inner: self.inner.call(request),
            edits: Arc::clone(&self.edits),
            is_https,
        }
    }
}

pin_project! {
    /// The future of [`Headers`].
    pub struct HeadersFuture<F> {
        #[pin]
        inner: F,
        edits: Arc<Edits>,
        is_https: bool,
    }
}

impl<F, R, E> Future for HeadersFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.edits
            .edit_response(response.headers_mut(), *this.is_https);
        Poll::Ready(Ok(response))
    }
}
