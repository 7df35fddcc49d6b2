//! Lets pass who shows a JSON Web Token that is genuine, and tells handlers and servers what it says.
//!
//! ```
//! use a3s_layers::auth::jwt::{JwtLayer, KeySet};
//! use a3s_layers::claims::Claims;
//! use axum::body::Body;
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let keys = KeySet::secret("a secret of at least thirty-two bytes").unwrap();
//! let service = ServiceBuilder::new()
//!     .layer(JwtLayer::new(keys).issuer(["https://id.example"]).audience(["shop"]))
//!     .service(service_fn(|request: Request<Body>| async move {
//!         let claims = request.extensions().get::<Claims>().unwrap();
//!         let user = claims.text("sub").unwrap().into_owned();
//!         Ok::<_, std::convert::Infallible>(Response::new(Body::from(user)))
//!     }));
//!
//! # let key = jsonwebtoken::EncodingKey::from_secret(b"a secret of at least thirty-two bytes");
//! # let claims = serde_json::json!({ "iss": "https://id.example", "aud": "shop", "sub": "ada", "exp": 4102444800u64 });
//! # let token = jsonwebtoken::encode(&Default::default(), &claims, &key).unwrap();
//! let request = Request::get("/")
//!     .header("authorization", format!("Bearer {token}"))
//!     .body(Body::empty())
//!     .unwrap();
//! assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
//!
//! let request = Request::get("/").body(Body::empty()).unwrap();
//! let refused = service.oneshot(request).await.unwrap();
//! assert_eq!(refused.status(), 401);
//! assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"gateway\"");
//! # });
//! ```
//!
//! The keys may also be somebody else's, published as a JWK Set, and change:
//!
//! ```
//! use a3s_layers::auth::jwt::{Jwks, JwksSettings, JwtLayer};
//! # use axum::body::Body;
//! # use http::{Request, Response};
//! # let http_client = tower::service_fn(|_: Request<Body>| async {
//! #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
//! # });
//! # tokio_test::block_on(async {
//! let url = "https://id.example/.well-known/jwks.json".parse().unwrap();
//! let jwks = Jwks::new(http_client, url, JwksSettings::default());
//! tokio::spawn(jwks.upkeep());
//! let layer = JwtLayer::new(jwks).issuer(["https://id.example"]);
//! # });
//! ```

mod algorithm;
mod cache;
mod forward;
mod judge;
mod jwk;
mod jwks;
mod key;
mod keys;
mod policy;
mod refusal;
mod rule;
mod source;
mod token;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use jwks::{Jwks, JwksSettings, MAX_JWKS_BYTES};
pub use key::{KeyError, KeySet, MAX_UNNAMED_KEYS};
pub use keys::{FixedKeys, Keys};
pub use rule::ClaimRule;
pub use token::MAX_TOKEN_BYTES;

use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::journal::Journal;
use algorithm::Algorithms;
use axum::body::Body;
use bytes::Bytes;
use cache::Cache;
use forward::Told;
use http::{HeaderName, Request, Response};
use judge::{Patience, Settings, Shared, Stop};
use policy::Policy;
use refusal::Refusal;
use source::Source;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

/// Lets pass the requests that carry a token which some key has signed, which has not expired, and which says what is
/// asked for. The claims are then an extension of the request: [`Claims`](crate::claims::Claims).
///
/// - Algorithms are those that are configured, or else those that a key is for; what a token says only chooses among
///   them. `none` is none of them.
/// - `exp` must be there ([`require_exp`](Self::require_exp)), and `exp` and `nbf` are kept. `iss` and `aud` are
///   looked at where they are configured.
/// - The token is at most [`MAX_TOKEN_BYTES`] long. It is that of the header; where that has none, of the cookie; where
///   that is not there, of the query. Two in one of these are refused, and a bad one is not made up for by another.
///
/// Refusals are those of RFC 6750: 401 without a token, or with a bad one and why; 400 with two; 403 for claims. Where
/// keys have to be fetched and cannot be, 503.
///
/// The last 1024 tokens of at most 4 KiB that were verified are remembered by their digests: one that comes again costs
/// a microsecond, and not the 22 (RS256), 80 (ES256) or 330 (ES384) of the first time. Its time and the keys are looked
/// at all the same.
///
/// Clones of a layer, and what they were applied to, share the keys and this memory. A method that sets something gives
/// a layer with a memory of its own.
#[derive(Clone)]
pub struct JwtLayer {
    shared: Arc<Shared>,
}

impl JwtLayer {
    /// Takes tokens in `Authorization: Bearer` that one of `keys` has signed.
    pub fn new(keys: impl Into<Keys>) -> Self {
        Self::of(
            keys.into(),
            Settings {
                policy: Policy::default(),
                source: Source::default(),
                hide: false,
                realm: "gateway".into(),
            },
        )
    }

    /// Takes these algorithms only, of those that the keys are for. Without them, or where none are given: HS256 with
    /// a secret, and every algorithm of its kind with a public key. With keys that are fetched, secrets are not used.
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let list: Vec<_> = algorithms.into_iter().collect();
        let algorithms = (!list.is_empty()).then(|| Algorithms::of(&list));
        self.with(|settings| settings.policy.algorithms = algorithms)
    }

    /// Asks for one of these in `iss`. None given: whoever has signed it.
    pub fn issuer(self, issuers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|settings| settings.policy.issuers = texts(issuers))
    }

    /// Asks for one of these in `aud`. None given: for whomever it is.
    pub fn audience(self, audiences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|settings| settings.policy.audiences = texts(audiences))
    }

    /// How much later than `exp`, or earlier than `nbf`, a token is still taken, because clocks differ: 60 seconds.
    /// Whole seconds count.
    pub fn leeway(self, leeway: Duration) -> Self {
        self.with(|settings| settings.policy.leeway = leeway)
    }

    /// Whether a token without `exp`, which is good for ever, is refused (the default).
    pub fn require_exp(self, require: bool) -> Self {
        self.with(|settings| settings.policy.require_exp = require)
    }

    /// Asks for one more claim. A token that does not have it is good, and not good enough: 403.
    pub fn require(self, rule: ClaimRule) -> Self {
        self.with(|settings| settings.policy.rules.push(rule))
    }

    /// Tells the server the claim at `path` in a header, which a client cannot set: what comes of that name, or of the
    /// same with `_` for `-`, is removed. A list of texts has commas between. Where the claim is missing, or would be
    /// something else as a header (an object, a text with a line break or with spaces around it, a list with a comma
    /// in one of its texts), there is no header.
    pub fn claim_to_header(self, path: &str, header: HeaderName) -> Self {
        self.with(|settings| settings.policy.told.push(Told::new(path, header)))
    }

    /// Takes the token from another header than `Authorization`; there `Bearer` may stand before it.
    pub fn header(self, header: HeaderName) -> Self {
        self.with(|settings| settings.source.header = header)
    }

    /// Takes the token from this cookie, where the header has none. A cookie comes with every request that a browser
    /// sends: whoever takes tokens from one has to see to cross-site requests (`SameSite`).
    pub fn cookie(self, name: &str) -> Self {
        self.with(|settings| settings.source.cookie = Some(name.into()))
    }

    /// Takes the token from this parameter of the query, where header and cookie have none. Addresses are written to
    /// logs and histories, and tokens in them with them.
    pub fn query(self, parameter: &str) -> Self {
        self.with(|settings| settings.source.query = Some(parameter.into()))
    }

    /// Whether the server does not see the token; without this it does. It is removed from all the places where it is
    /// looked for.
    pub fn hide(self, hide: bool) -> Self {
        self.with(|settings| settings.hide = hide)
    }

    /// What challenges call this place, `gateway`: visible ASCII and spaces; quotes and backslashes are left out.
    pub fn realm(self, realm: &str) -> Self {
        let is_plain = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let realm: String = realm.chars().filter(is_plain).collect();
        self.with(|settings| settings.realm = realm.into())
    }

    fn of(keys: Keys, settings: Settings) -> Self {
        // What is remembered follows from the settings, so that others have their own.
        let cache = Cache::default();
        Self {
            shared: Arc::new(Shared {
                keys,
                settings,
                cache,
            }),
        }
    }

    fn with(self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        set(&mut settings);
        Self::of(self.shared.keys.clone(), settings)
    }
}

fn texts(list: impl IntoIterator<Item = impl Into<String>>) -> Box<[Box<str>]> {
    let texts = list.into_iter();
    texts.map(|text| text.into().into_boxed_str()).collect()
}

impl fmt::Debug for JwtLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtLayer")
            .field("keys", &self.shared.keys)
            .field("policy", &self.shared.settings.policy)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for JwtLayer {
    type Service = Jwt<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Jwt {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`JwtLayer`].
#[derive(Debug, Clone)]
pub struct Jwt<S> {
    inner: S,
    layer: JwtLayer,
}

impl<S, B, R> Service<Request<B>> for Jwt<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
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
        let shared = &self.layer.shared;
        if let Some(journal) = Journal::rehearsed(&request) {
            match shared.judge(&request, Patience::Looks) {
                Ok(known) => shared.admit(&mut request, &known),
                Err(Stop::Refuse(Refusal::Unavailable) | Stop::Wait(_)) => journal.would(
                    "fetches the keys that the token is to be judged by, and goes on as if it were good",
                ),
                Err(Stop::Refuse(refusal)) => {
                    return AnswerFuture::refuse(shared.refuse(&request, refusal));
                }
            }
            return AnswerFuture::pass(self.inner.call(request));
        }
        match shared.judge(&request, Patience::Some) {
            Ok(known) => {
                shared.admit(&mut request, &known);
                AnswerFuture::pass(self.inner.call(request))
            }
            Err(Stop::Refuse(refusal)) => AnswerFuture::refuse(shared.refuse(&request, refusal)),
            Err(Stop::Wait(landing)) => {
                let unready = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, unready);
                let shared = Arc::clone(shared);
                AnswerFuture::decide(async move {
                    landing.wait().await;
                    match shared.judge(&request, Patience::None) {
                        Ok(known) => {
                            shared.admit(&mut request, &known);
                            let response = inner.call(request).await?;
                            Ok(response.map(Body::new))
                        }
                        Err(Stop::Refuse(refusal)) => Ok(shared.refuse(&request, refusal)),
                        Err(Stop::Wait(_)) => Ok(shared.refuse(&request, Refusal::Unavailable)),
                    }
                })
            }
        }
    }
}
