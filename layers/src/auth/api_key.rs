//! Lets pass who shows a key that is known: in a header, or in the query.
//!
//! ```
//! use a3s_layers::auth::api_key::{ApiKeyLayer, KeySet};
//! use axum::body::Body;
//! use http::{HeaderName, Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let mut keys = KeySet::new();
//! keys.add(Some("build"), "5e0c-a1f7").unwrap();
//! let layer = ApiKeyLayer::new(keys).identity_header(HeaderName::from_static("x-consumer"));
//! let service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(|request: Request<Body>| async move {
//!         assert_eq!(request.headers()["x-consumer"], "build");
//!         Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
//!     }));
//!
//! let request = Request::get("/").header("x-api-key", "5e0c-a1f7").body(Body::empty()).unwrap();
//! assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
//! let request = Request::get("/").body(Body::empty()).unwrap();
//! assert_eq!(service.oneshot(request).await.unwrap().status(), 401);
//! # });
//! ```

mod keys;

pub use keys::{KeyError, KeySet, MAX_KEY_BYTES};

use super::query;
use super::unauthorized::unauthorized;
use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::own_header;
use crate::reject::Shape;
use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Response};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Each byte of a key may be written as `%41`.
const MAX_RAW_BYTES: usize = 3 * MAX_KEY_BYTES;

const MISSING: &str = "an API key is required";
const SEVERAL: &str = "more than one API key was sent";
const WRONG: &str = "the API key is not valid";

/// Answers 401 to requests without one key that it knows.
///
/// The challenge is `ApiKey` with the name of the header. No scheme is registered for keys in a header of their
/// own, and RFC 9110 (11.6.1) asks for one: this one makes no browser ask for a password, as `Basic` would, and sends
/// no client to `Authorization`, as `Bearer` would. Where the header is `Authorization`, it is `Bearer` (RFC 6750).
///
/// A key may come once, in one place; an empty one, one of more than [`MAX_KEY_BYTES`] and two of them are refused.
/// A search costs two digests, whatever the number of keys, and its time tells nothing of them.
///
/// Clones of a layer, and what they were applied to, have one set of keys.
#[derive(Clone)]
pub struct ApiKeyLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    header: HeaderName,
    query: Option<Box<str>>,
    identity: Option<HeaderName>,
    hide: bool,
    challenge: HeaderValue,
    keys: Arc<ArcSwap<KeySet>>,
}

impl ApiKeyLayer {
    /// Asks for one of `keys` in `X-API-Key`.
    pub fn new(keys: KeySet) -> Self {
        Self {
            settings: Arc::new(Settings {
                challenge: challenge(&X_API_KEY),
                header: X_API_KEY,
                query: None,
                identity: None,
                hide: false,
                keys: Arc::new(ArcSwap::from_pointee(keys)),
            }),
        }
    }

    /// Asks for the key in another header. In `Authorization` it may stand behind `Bearer`.
    pub fn header(self, header: HeaderName) -> Self {
        self.with(|settings| {
            settings.challenge = challenge(&header);
            settings.header = header;
        })
    }

    /// Takes the key from this parameter of the query as well. Addresses are written to logs and histories, and
    /// keys in them with them: a header is better where there is a choice.
    pub fn query(self, parameter: &str) -> Self {
        self.with(|settings| settings.query = Some(parameter.into()))
    }

    /// Tells the server the name of the key in this header, which a client cannot set. A key without a name leaves
    /// it away.
    pub fn identity_header(self, header: HeaderName) -> Self {
        self.with(|settings| settings.identity = Some(header))
    }

    /// Removes the key from what the server sees, or leaves it (the default).
    pub fn hide(self, hide: bool) -> Self {
        self.with(|settings| settings.hide = hide)
    }

    /// Knows `keys` from now on, and no others.
    pub fn set_keys(&self, keys: KeySet) {
        self.settings.keys.store(Arc::new(keys));
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl fmt::Debug for ApiKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyLayer")
            .field("header", &self.settings.header)
            .field("keys", &self.settings.keys.load())
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ApiKeyLayer {
    type Service = ApiKey<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ApiKey {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`ApiKeyLayer`].
#[derive(Debug, Clone)]
pub struct ApiKey<S> {
    inner: S,
    layer: ApiKeyLayer,
}

impl<S, B, R> Service<Request<B>> for ApiKey<S>
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
        let settings = &self.layer.settings;
        match settings.admit(&mut request) {
            Ok(()) => AnswerFuture::pass(self.inner.call(request)),
            Err(message) => {
                let shape = Shape::of(request.headers());
                AnswerFuture::refuse(unauthorized(message, &settings.challenge, shape))
            }
        }
    }
}

impl Settings {
    /// Makes of a request what the server may see of it.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<(), &'static str> {
        let keys = self.keys.load();
        let name = keys.find(&self.candidate(request)?).ok_or(WRONG)?;
        if self.hide {
            own_header::clear(request, &self.header);
            if let Some(parameter) = &self.query {
                query::remove(request.uri_mut(), parameter);
            }
        }
        if let Some(identity) = &self.identity {
            own_header::set(request, identity, name);
        }
        Ok(())
    }

    /// What may be a key.
    fn candidate<'r, B>(&'r self, request: &'r Request<B>) -> Result<Cow<'r, [u8]>, &'static str> {
        let headers = request.headers().get_all(&self.header).iter();
        let in_header = headers.map(|value| Ok(self.behind_scheme(value.as_bytes())));
        let parameters = self.query.iter();
        let in_query = parameters.flat_map(|name| query::raw_values(request.uri(), name).map(Err));
        let mut candidates = in_header.chain(in_query);
        let candidate = candidates.next().ok_or(MISSING)?;
        if candidates.next().is_some() {
            return Err(SEVERAL);
        }
        let candidate = match candidate {
            Ok(value) => Cow::Borrowed(value),
            Err(raw) if raw.len() > MAX_RAW_BYTES => return Err(WRONG),
            Err(raw) => query::decode(raw),
        };
        match candidate.len() {
            0 => Err(MISSING),
            1..=MAX_KEY_BYTES => Ok(candidate),
            _ => Err(WRONG),
        }
    }

    fn behind_scheme<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        match value.split_at_checked("Bearer ".len()) {
            Some((scheme, key))
                if self.header == AUTHORIZATION && scheme.eq_ignore_ascii_case(b"Bearer ") =>
            {
                key.trim_ascii_start()
            }
            _ => value,
        }
    }
}

fn challenge(header: &HeaderName) -> HeaderValue {
    let challenge = match *header {
        AUTHORIZATION => "Bearer realm=\"api\"".to_owned(),
        _ => format!("ApiKey realm=\"api\", header=\"{header}\""),
    };
    HeaderValue::try_from(challenge).expect("a header's name can stand in a header")
}
