//! Asks another service whether a request may pass.
//!
//! The service is asked with a `GET` without a body, which has the headers of the request and tells of it in
//! `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`, as Traefik does. Where it answers with a status from
//! 200 to 299, the request goes on, with what the layer is told to copy of the answer's headers; any other answer is
//! the client's, with its redirect, its cookies and its body. Where there is none, the client gets 503.
//!
//! ```
//! use a3s_layers::auth::forward_auth::ForwardAuthLayer;
//! use axum::{Router, body::Body, routing::get};
//! use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
//! use std::convert::Infallible;
//! use tower::{ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! // Any client: hyper-util's, say. Here one that knows the answer.
//! let auth = service_fn(|request: Request<Body>| async move {
//!     let mut response = Response::new(Body::empty());
//!     match request.headers().get("authorization") {
//!         Some(token) if token == "Bearer ann" => {
//!             response.headers_mut().insert("x-user", "ann".parse().unwrap());
//!         }
//!         _ => *response.status_mut() = StatusCode::UNAUTHORIZED,
//!     }
//!     Ok::<_, Infallible>(response)
//! });
//! let layer = ForwardAuthLayer::new(auth, "http://auth.internal/check".parse().unwrap())
//!     .response_headers([HeaderName::from_static("x-user")]);
//! let app: Router = Router::new()
//!     .route("/", get(|headers: HeaderMap| async move { headers["x-user"].as_bytes().to_vec() }))
//!     .layer(layer);
//!
//! let request = Request::get("/").header("x-user", "root").body(Body::empty()).unwrap();
//! assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 401);
//!
//! let request = Request::get("/").header("x-user", "root").header("authorization", "Bearer ann");
//! let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
//! let user = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
//! assert_eq!(user, "ann");
//! # });
//! ```

mod answer;
mod cache;
mod question;

pub use cache::{Cache, Credential, CredentialError, Part, PartError};

use crate::answer::AnswerFuture;
use crate::begun::begun;
use crate::error::{BoxError, Chain};
use crate::journal::Journal;
use crate::own_header;
use crate::reject::{Shape, reject};
use axum::body::Body;
use bytes::Bytes;
use cache::{Copied, Decisions};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use question::Question;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt};

/// How long the service may take to answer, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests may wait for the service at a time, unless told otherwise.
const MAX_IN_FLIGHT: usize = 1024;

/// How large the body of a refusal may be, unless told otherwise: 1 MiB.
const MAX_ANSWER_BODY: usize = 1 << 20;

/// Lets those requests pass that another service, `A`, says yes to.
///
/// Nothing of a request's body is read before there is a decision, so that uploads, WebSockets and streams are judged
/// by their head. A request that waits holds its head and no task: when its client leaves, the question is withdrawn.
#[derive(Clone)]
pub struct ForwardAuthLayer<A> {
    auth: A,
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    question: Question,
    copied: Vec<HeaderName>,
    timeout: Duration,
    max_answer_body: usize,
    places: Arc<Semaphore>,
    decisions: Option<Arc<Decisions>>,
}

impl<A> ForwardAuthLayer<A> {
    /// Asks `auth` for `uri`.
    ///
    /// The request that `auth` gets has this URI as it is: whole for a client that finds the server by it, the path
    /// and the query alone for one that has its server. Where it has an authority, that is its `Host`.
    pub fn new(auth: A, uri: Uri) -> Self {
        let settings = Settings {
            question: Question::new(uri),
            copied: Vec::new(),
            timeout: TIMEOUT,
            max_answer_body: MAX_ANSWER_BODY,
            places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            decisions: None,
        };
        Self {
            auth,
            settings: Arc::new(settings),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Copies these headers of a positive answer onto the request. What a client says in them, or under the same name
    /// with `_` for `-`, never reaches the service below, whether the answer has the header or not. The service that
    /// is asked sees it.
    #[must_use]
    pub fn response_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter();
        let copied = names
            .filter(|name| !question::is_of_message(name))
            .collect();
        self.with(|settings| settings.copied = copied)
    }

    /// Sends only these headers of a request, and the forwarded ones, instead of all.
    ///
    /// Never sent are those of the connection and of the body (`Content-Length`, `Content-Encoding`, `Expect`, ...),
    /// and the conditions (`If-None-Match`, `Range`, ...), whose answer would be none about this request.
    #[must_use]
    pub fn request_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter().collect();
        self.with(|settings| settings.question.only(names))
    }

    /// Hands on what a trusted proxy has sent in `X-Forwarded-Method`, `-Host` and `-Uri`, and all of its
    /// `X-Forwarded-For`, instead of what is known of the request here. Those of anybody else are never handed on.
    #[must_use]
    pub fn trust_forward_header(self, trusts: bool) -> Self {
        self.with(|settings| settings.question.trust(trusts))
    }

    /// How long the service may take for the head of its answer, and a refusal for the first of its body; 5 seconds
    /// by default. Later that body may be silent for as long.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = timeout)
    }

    /// How many requests may wait for the service at a time, 1024 by default; others get 503 at once.
    #[must_use]
    pub fn max_in_flight(self, max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        self.with(|settings| settings.places = places)
    }

    /// How many bytes the body of a refusal may have, 1 MiB by default. One that says it is longer becomes a 503, one
    /// that turns out to be is cut off.
    #[must_use]
    pub fn max_answer_body(self, max: usize) -> Self {
        self.with(|settings| settings.max_answer_body = max)
    }

    /// What the service is called in a [rehearsal](crate::rehearsal), where its URI does not say where it is.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        self.with(|settings| settings.question.call(name))
    }

    /// Remembers positive answers.
    #[must_use]
    pub fn cache(self, cache: Cache) -> Self {
        let decisions = Some(Arc::new(Decisions::new(cache)));
        self.with(|settings| settings.decisions = decisions)
    }
}

impl<A> fmt::Debug for ForwardAuthLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardAuthLayer").finish_non_exhaustive()
    }
}

impl<S, A: Clone> Layer<S> for ForwardAuthLayer<A> {
    type Service = ForwardAuth<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        ForwardAuth {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`ForwardAuthLayer`].
#[derive(Debug, Clone)]
pub struct ForwardAuth<S, A> {
    inner: S,
    layer: ForwardAuthLayer<A>,
}

impl<S, A, B, R, RA> Service<Request<B>> for ForwardAuth<S, A>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    A: Service<Request<Body>, Response = Response<RA>> + Clone + Send + 'static,
    A::Error: Into<BoxError>,
    A::Future: Send,
    RA: http_body::Body<Data = Bytes> + Send + 'static,
    RA::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AnswerFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let settings = &self.layer.settings;
        if let Some(journal) = Journal::rehearsed(&request) {
            journal.would(settings.in_words());
            // What a client says in them never goes on.
            settings.mark(&mut request, &Copied::from([]));
            return AnswerFuture::pass(self.inner.call(request));
        }
        let facts = settings.question.facts(&request);
        let decisions = settings.decisions.as_deref();
        let key = decisions.and_then(|decisions| decisions.key(&request, &facts));
        if let Some(copied) = decisions.zip(key).and_then(|(all, key)| all.get(&key)) {
            settings.mark(&mut request, &copied);
            return AnswerFuture::pass(self.inner.call(request));
        }
        let shape = Shape::of(request.headers());
        let Ok(place) = Arc::clone(&settings.places).try_acquire_owned() else {
            tracing::debug!("too many requests wait for the authentication service");
            return AnswerFuture::refuse(unavailable(shape));
        };
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let settings = Arc::clone(settings);
        let auth = self.layer.auth.clone();
        let question = settings.question.ask(&request, &facts);
        AnswerFuture::decide(async move {
            let decision = settings.decide(auth, question, key).await;
            // Others may ask while this one is served.
            drop(place);
            match decision {
                Ok(Decision::Pass(copied)) => {
                    settings.mark(&mut request, &copied);
                    let response = inner.call(request).await?;
                    Ok(response.map(Body::new))
                }
                Ok(Decision::Refuse(answer)) => Ok(match *request.method() {
                    // The question was a GET.
                    Method::HEAD => answer.map(|_| Body::empty()),
                    _ => answer,
                }),
                Err(error) => {
                    let error = Chain(&*error);
                    tracing::debug!(%error, "the authentication service cannot be asked");
                    Ok(unavailable(shape))
                }
            }
        })
    }
}

/// What another service has said of a request.
enum Decision {
    /// It may pass, with these headers.
    Pass(Copied),
    /// This is the client's answer.
    Refuse(Response<Body>),
}

impl Settings {
    /// Asks, and remembers what may be remembered under `key`.
    async fn decide<A, R>(
        &self,
        auth: A,
        question: Request<Body>,
        key: Option<cache::Key>,
    ) -> Result<Decision, BoxError>
    where
        A: Service<Request<Body>, Response = Response<R>>,
        A::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let deadline = Instant::now() + self.timeout;
        let asked = timeout_at(deadline, auth.oneshot(question)).await;
        let answer = asked?.map_err(Into::into)?;
        if !answer.status().is_success() {
            let answer = answer::refusal(answer, self.max_answer_body, self.timeout)?;
            let (head, body) = answer.into_parts();
            // A head alone is no answer yet: what breaks off here is still no one's.
            let body = begun(body, 1, deadline).await?;
            return Ok(Decision::Refuse(Response::from_parts(head, body)));
        }
        let (head, body) = answer.into_parts();
        answer::drain(body).await;
        let copied: Copied = self
            .copied
            .iter()
            .flat_map(|name| {
                let values = head.headers.get_all(name).iter();
                values.map(|value| (name.clone(), value.clone()))
            })
            .collect();
        if let Some((decisions, key)) = self.decisions.as_deref().zip(key) {
            decisions.remember(key, &copied, &head.headers);
        }
        Ok(Decision::Pass(copied))
    }

    fn in_words(&self) -> String {
        let mut text = format!(
            "asks {} whether the request may pass, and goes on as if it did",
            self.question.shown()
        );
        if let Some((first, others)) = self.copied.split_first() {
            text += &format!("; of the answer it takes {first}");
            for name in others {
                text += &format!(", {name}");
            }
        }
        text
    }

    /// Puts on a request what was copied, and nothing else under those names.
    fn mark<B>(&self, request: &mut Request<B>, copied: &Copied) {
        for name in &self.copied {
            own_header::clear(request, name);
        }
        for (name, value) in copied.iter() {
            request.headers_mut().append(name, value.clone());
        }
    }
}

/// The same whatever has failed: nobody is let pass because nobody could be asked.
fn unavailable(shape: Shape) -> Response<Body> {
    let mut response = reject(
        StatusCode::SERVICE_UNAVAILABLE,
        "the authentication service cannot be asked",
        shape,
    );
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, soon);
    response
}
