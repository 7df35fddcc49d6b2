//! Lets pass who knows a name and its password (the Basic scheme, RFC 7617).
//!
//! ```
//! use a3s_layers::auth::basic_auth::{BasicAuthLayer, Users};
//! use axum::body::Body;
//! use http::{HeaderName, Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let mut users = Users::new();
//! users.add_hash("ann", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW").unwrap();
//! let service = ServiceBuilder::new()
//!     .layer(BasicAuthLayer::new(users).realm("staff"))
//!     .service(service_fn(|_: Request<Body>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
//!     }));
//!
//! // `ann:secret`
//! let request = Request::get("/").header("authorization", "Basic YW5uOnNlY3JldA==");
//! let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
//! assert_eq!(response.status(), 200);
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), 401);
//! assert_eq!(response.headers()["www-authenticate"], r#"Basic realm="staff", charset="UTF-8""#);
//! # });
//! ```

mod apr1;
mod check;
mod credentials;
mod hash;
mod users;

pub use credentials::MAX_CREDENTIALS_BYTES;
pub use hash::HashError;
pub use users::{UserError, Users};

use super::unauthorized::unauthorized;
use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::journal::Journal;
use crate::own_header;
use crate::reject::{Shape, reject};
use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use check::{Check, Claim, Hashing, Verdict};
use credentials::Credentials;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

/// How long right credentials are remembered where it is not said.
pub const REMEMBER: Duration = Duration::from_secs(300);
/// How long they are remembered at most.
pub const MAX_REMEMBER: Duration = Duration::from_secs(24 * 60 * 60);

/// How many requests wait for their turn to be hashed.
const WAITING: usize = 64;

const MISSING: &str = "a name and a password are required";
const WRONG: &str = "the name or the password is wrong";
const BUSY: &str = "too many passwords are being checked";

/// Answers 401 to requests without a name and password that it knows.
///
/// **Time.** Slow hashes are computed off the async threads, a few at a time; some more requests wait for their turn,
/// and the next gets 503 at once ([`max_hashing`](Self::max_hashing)). A name that is not known takes as long as a
/// wrong password, for somebody else's hash is computed in its stead.
///
/// **Memory.** A hash of argon2id takes at most 256 MiB while it is computed. Right credentials are remembered
/// ([`remember`](Self::remember)), so that a client pays for one hash and not for each request: one set for each
/// user, as a digest under a key of this process, beside the hash that it belongs to. Wrong ones are not, so that a
/// flood of them neither takes memory nor makes the right ones forgotten.
///
/// A name and password of more than [`MAX_CREDENTIALS_BYTES`], or which are not UTF-8, are wrong. Names and
/// passwords are compared as they are; nothing is normalised.
///
/// Clones of a layer, and what they were applied to, have one set of users and one limit. It needs a Tokio runtime
/// where there are slow hashes.
#[derive(Clone)]
pub struct BasicAuthLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    challenge: HeaderValue,
    identity: Option<HeaderName>,
    hide: bool,
    remember: Duration,
    users: Arc<ArcSwap<Users>>,
    hashing: Arc<Hashing>,
}

impl BasicAuthLayer {
    /// Asks for one of `users`.
    pub fn new(users: Users) -> Self {
        // Half of the processors, for the other half serves those who need no hash.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            settings: Arc::new(Settings {
                challenge: challenge("restricted"),
                identity: None,
                hide: false,
                remember: REMEMBER,
                users: Arc::new(ArcSwap::from_pointee(users)),
                hashing: Arc::new(Hashing::new((processors / 2).clamp(1, 4), WAITING)),
            }),
        }
    }

    /// Names what a password is asked for; browsers show it. `restricted` where it is not named. Characters that no
    /// header can carry are left out.
    pub fn realm(self, realm: &str) -> Self {
        self.with(|settings| settings.challenge = challenge(realm))
    }

    /// Tells the server the user's name in this header, which a client cannot set.
    pub fn identity_header(self, header: HeaderName) -> Self {
        self.with(|settings| settings.identity = Some(header))
    }

    /// Removes `Authorization` from what the server sees, or leaves it (the default).
    pub fn hide(self, hide: bool) -> Self {
        self.with(|settings| settings.hide = hide)
    }

    /// For how long right credentials are remembered: [`REMEMBER`] where it is not said, [`MAX_REMEMBER`] at most. Zero never
    /// remembers, and hashes for each request.
    pub fn remember(self, time: Duration) -> Self {
        self.with(|settings| settings.remember = time.min(MAX_REMEMBER))
    }

    /// How many passwords are hashed at a time, and how many more may wait for it; requests past that get 503. Half
    /// of the processors, at least one and at most four, and 64 where it is not said.
    pub fn max_hashing(self, at_a_time: usize, waiting: usize) -> Self {
        self.with(|settings| settings.hashing = Arc::new(Hashing::new(at_a_time, waiting)))
    }

    /// Knows `users` from now on, and no others. Those whose hash stays are still remembered.
    pub fn set_users(&self, users: Users) {
        let before = self.settings.users.load();
        self.settings.users.store(Arc::new(users.remember(&before)));
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl fmt::Debug for BasicAuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuthLayer")
            .field("challenge", &self.settings.challenge)
            .field("users", &self.settings.users.load())
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for BasicAuthLayer {
    type Service = BasicAuth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BasicAuth {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`BasicAuthLayer`].
#[derive(Debug, Clone)]
pub struct BasicAuth<S> {
    inner: S,
    layer: BasicAuthLayer,
}

impl<S, B, R> Service<Request<B>> for BasicAuth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
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
        let settings = &self.layer.settings;
        let is_rehearsal = Journal::rehearsed(&request).is_some();
        let judgement = settings.judge(request.headers(), is_rehearsal);
        if let Some(journal) = Journal::rehearsed(&request)
            && matches!(judgement, Judgement::Final(Verdict::Busy))
        {
            journal.would("checks the password, which is not done now: others are being checked");
        }
        if let Judgement::Final(Verdict::Right(name)) = &judgement {
            settings.admit(&mut request, name);
            return AnswerFuture::pass(self.inner.call(request));
        }
        let shape = Shape::of(request.headers());
        let check = match judgement {
            Judgement::Final(verdict) => {
                return AnswerFuture::refuse(settings.refuse(&verdict, shape));
            }
            Judgement::Pending(check) => check,
        };
        let settings = Arc::clone(settings);
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        AnswerFuture::decide(async move {
            match check.run().await {
                Verdict::Right(name) => {
                    settings.admit(&mut request, &name);
                    Ok(inner.call(request).await?.map(Body::new))
                }
                verdict => Ok(settings.refuse(&verdict, shape)),
            }
        })
    }
}

/// What can be said of a request's credentials at once.
enum Judgement {
    Final(Verdict),
    /// They have to be hashed first.
    Pending(Check),
}

impl Settings {
    /// A rehearsal waits in nobody's way, and leaves nothing behind.
    fn judge(&self, headers: &HeaderMap, is_rehearsal: bool) -> Judgement {
        let credentials = match Credentials::of(headers) {
            Ok(credentials) => credentials,
            Err(verdict) => return Judgement::Final(verdict),
        };
        let users = self.users.load();
        // Where there are no users there are no names to be found out by the time it takes.
        let Some((user, is_known)) = users.find(credentials.name()) else {
            return Judgement::Final(Verdict::Wrong);
        };
        let claim = Claim {
            user: Arc::clone(user),
            is_known,
            digest: credentials.digest(),
        };
        if claim.is_remembered() {
            Judgement::Final(claim.right())
        } else if !user.hash.is_slow() {
            Judgement::Final(claim.compare(credentials.password()))
        } else if let Some(place) = match is_rehearsal {
            true => self.hashing.rehearse(),
            false => self.hashing.enter(),
        } {
            let remember = match is_rehearsal {
                true => Duration::ZERO,
                false => self.remember,
            };
            Judgement::Pending(Check::new(claim, credentials.password(), remember, place))
        } else {
            Judgement::Final(Verdict::Busy)
        }
    }

    /// Makes of a request what the server may see of it.
    fn admit<B>(&self, request: &mut Request<B>, name: &HeaderValue) {
        if self.hide {
            own_header::clear(request, &AUTHORIZATION);
        }
        if let Some(identity) = &self.identity {
            own_header::set(request, identity, Some(name));
        }
    }

    fn refuse(&self, verdict: &Verdict, shape: Shape) -> Response<Body> {
        match verdict {
            Verdict::Missing => unauthorized(MISSING, &self.challenge, shape),
            Verdict::Busy => {
                let mut response = reject(StatusCode::SERVICE_UNAVAILABLE, BUSY, shape);
                let soon = HeaderValue::from_static("1");
                response.headers_mut().insert(RETRY_AFTER, soon);
                response
            }
            Verdict::Wrong | Verdict::Right(_) => unauthorized(WRONG, &self.challenge, shape),
        }
    }
}

/// RFC 7617, 2 and 2.1: the realm is a quoted string.
fn challenge(realm: &str) -> HeaderValue {
    let mut text = String::from("Basic realm=\"");
    for character in realm.chars().filter(|c| matches!(c, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push_str("\", charset=\"UTF-8\"");
    HeaderValue::try_from(text).expect("visible characters can stand in a header")
}
