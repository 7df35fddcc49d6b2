//! Gives errors a page that another service makes: the status stays, the body is another.
//!
//! ```
//! use a3s_layers::error_pages::ErrorPagesLayer;
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let pages = Router::new().route("/503.html", get(|| async { "We are back soon." }));
//! let service = ServiceBuilder::new()
//!     .layer(ErrorPagesLayer::new([404..=404, 500..=599], pages))
//!     .service(service_fn(|_: Request<Body>| async {
//!         let response = Response::builder().status(503).header("retry-after", "60");
//!         Ok::<_, std::convert::Infallible>(response.body(Body::from("overloaded")).unwrap())
//!     }));
//! let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
//! assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(response.headers()["retry-after"], "60");
//! let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
//! assert_eq!(body, "We are back soon.");
//! # });
//! ```

mod query;

pub use query::{PageQuery, PageQueryError};

use crate::begun::begun;
use crate::error::{BoxError, Chain};
use crate::journal::Journal;
use crate::peer::Client;
use crate::reject::Shape;
use axum::body::Body;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, VARY};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use pin_project_lite::pin_project;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt};

/// How long a page may take to begin, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a page is waited for before it takes the place of the answer. Most pages are here whole by then.
const BEGINNING: usize = 64 << 10;

/// The field of a request for a page, with the status that the page is for.
///
/// A request that has it gets no page: where the service of the pages is this layer once more, or another one that
/// asks this one, the way ends here. A client that sends it gets errors as they are.
pub const X_ERROR_PAGE_FOR: HeaderName = HeaderName::from_static("x-error-page-for");

/// Gives answers of some statuses the body of a page that the service `P` makes.
///
/// - The status stays, and so do the fields of the answer but for those of its body: `Retry-After`,
///   `WWW-Authenticate`, `Set-Cookie`, `Cache-Control`, ... The page gives its `Content-*` fields and adds to `Vary`;
///   what else it says of itself, as for caches, is not true of an error.
/// - The page is asked for with `GET`, or `HEAD` where the request was, by who asks and what they can read: `Host`,
///   `Accept`, `Accept-Encoding`, `Accept-Language`, forwarded fields and those of a trace. It is shown no cookies, no
///   credentials and no body.
/// - Where there is no page, because its service fails, takes too long, answers with something else than success or
///   breaks off, the answer is the one that there was. Up to 64 KiB of a page are waited for; one that breaks off
///   later cannot be taken back.
/// - Answers to gRPC are left alone: their error is not in the body.
///
/// The page is asked for below this layer: an error of its own gets no page. Nor does one of a request with
/// [`X_ERROR_PAGE_FOR`], which every request for a page has, so that none goes round in a circle.
#[derive(Debug)]
pub struct ErrorPagesLayer<P> {
    pages: Arc<Pages<P>>,
}

#[derive(Debug, Clone)]
struct Pages<P> {
    statuses: Vec<RangeInclusive<u16>>,
    service: P,
    query: PageQuery,
    timeout: Duration,
}

impl<P> Clone for ErrorPagesLayer<P> {
    fn clone(&self) -> Self {
        Self {
            pages: Arc::clone(&self.pages),
        }
    }
}

impl<P: Clone> ErrorPagesLayer<P> {
    /// Answers whose status is in one of `statuses` get the page that `service` has at `/{status}.html`.
    pub fn new(statuses: impl IntoIterator<Item = RangeInclusive<u16>>, service: P) -> Self {
        let pages = Pages {
            statuses: statuses.into_iter().collect(),
            service,
            query: PageQuery::default(),
            timeout: TIMEOUT,
        };
        Self {
            pages: Arc::new(pages),
        }
    }

    /// Where the pages are.
    pub fn query(mut self, query: PageQuery) -> Self {
        Arc::make_mut(&mut self.pages).query = query;
        self
    }

    /// How long to wait for a page to begin before the answer goes as it is; 5 s where nothing else is said.
    ///
    /// A page that has begun goes out when it is whole, or 64 KiB of it are there, or this time is over.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.pages).timeout = timeout;
        self
    }
}

impl<S, P> Layer<S> for ErrorPagesLayer<P> {
    type Service = ErrorPages<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ErrorPages {
            inner,
            pages: Arc::clone(&self.pages),
        }
    }
}

/// The service made by [`ErrorPagesLayer`].
#[derive(Debug)]
pub struct ErrorPages<S, P> {
    inner: S,
    pages: Arc<Pages<P>>,
}

impl<S: Clone, P> Clone for ErrorPages<S, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            pages: Arc::clone(&self.pages),
        }
    }
}

impl<S, P, B, R, Q> Service<Request<B>> for ErrorPages<S, P>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    P: Service<Request<Body>, Response = Response<Q>> + Clone + Send + Sync + 'static,
    P::Error: Into<BoxError>,
    P::Future: Send,
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ErrorPagesFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ErrorPagesFuture {
            asked: Asked::by(&request),
            inner: self.inner.call(request),
            pages: Arc::clone(&self.pages),
            page: None,
        }
    }
}

pin_project! {
    /// The future of [`ErrorPages`].
    pub struct ErrorPagesFuture<F, P> {
        #[pin]
        inner: F,
        // None for a request whose answer is left alone.
        asked: Option<Asked>,
        pages: Arc<Pages<P>>,
        page: Option<Pin<Box<dyn Future<Output = Response<Body>> + Send>>>,
    }
}

impl<F, P, R, Q, E> Future for ErrorPagesFuture<F, P>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    P: Service<Request<Body>, Response = Response<Q>> + Clone + Send + Sync + 'static,
    P::Error: Into<BoxError>,
    P::Future: Send,
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let page = match this.page {
            Some(page) => page,
            None => {
                let response = ready!(this.inner.poll(cx))?.map(Body::new);
                let has_page = this.pages.has(response.status());
                let Some(asked) = this.asked.take().filter(|_| has_page) else {
                    return Poll::Ready(Ok(response));
                };
                let pages = Arc::clone(this.pages);
                this.page.insert(Box::pin(pages.answer(response, asked)))
            }
        };
        page.as_mut().poll(cx).map(Ok)
    }
}

impl<P> Pages<P> {
    fn has(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.statuses.iter().any(|range| range.contains(&status))
    }
}

impl<P, Q> Pages<P>
where
    P: Service<Request<Body>, Response = Response<Q>> + Clone + Send + Sync + 'static,
    P::Error: Into<BoxError>,
    P::Future: Send,
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<BoxError>,
{
    /// `response` with a page, or as it is.
    async fn answer(self: Arc<Self>, response: Response<Body>, asked: Asked) -> Response<Body> {
        let Some(uri) = self.query.uri(response.status(), &asked.url) else {
            return response;
        };
        if let Some(journal) = &asked.rehearsal {
            journal.would(format!(
                "asks for the page {} in place of this answer",
                uri.path()
            ));
            return response;
        }
        let deadline = Instant::now() + self.timeout;
        let request = self
            .service
            .clone()
            .oneshot(asked.request(uri, response.status()));
        let (head, body) = match timeout_at(deadline, request).await {
            Ok(Ok(page)) if page.status().is_success() => page.into_parts(),
            Ok(Ok(page)) => {
                tracing::debug!(status = page.status().as_u16(), "no page for an error");
                return response;
            }
            Ok(Err(error)) => {
                let error = error.into();
                tracing::debug!(error = %Chain(&*error), "no page for an error");
                return response;
            }
            Err(_) => {
                tracing::debug!("no page for an error in time");
                return response;
            }
        };
        match begun(Body::new(body), BEGINNING, deadline).await {
            Ok(body) => dress(response, &head.headers, body),
            Err(error) => {
                tracing::debug!(error = %Chain(&*error), "no page for an error");
                response
            }
        }
    }
}

/// What a request tells the service that makes its page.
#[derive(Debug)]
struct Asked {
    is_head: bool,
    url: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
    client: Option<Client>,
    rehearsal: Option<Journal>,
}

impl Asked {
    fn by<B>(request: &Request<B>) -> Option<Self> {
        let is_for_page = request.headers().contains_key(X_ERROR_PAGE_FOR);
        if is_for_page || Shape::of(request.headers()).is_grpc() {
            return None;
        }
        let fields = request.headers().iter();
        let fields = fields.filter(|(name, _)| is_told(name));
        Some(Self {
            is_head: request.method() == Method::HEAD,
            url: request.uri().clone(),
            fields: fields
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            client: request.extensions().get().cloned(),
            rehearsal: Journal::rehearsed(request),
        })
    }

    fn request(self, uri: Uri, status: StatusCode) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        if self.is_head {
            *request.method_mut() = Method::HEAD;
        }
        *request.uri_mut() = uri;
        for (name, value) in self.fields {
            request.headers_mut().append(name, value);
        }
        let status = HeaderValue::from(status.as_u16());
        request.headers_mut().insert(X_ERROR_PAGE_FOR, status);
        if let Some(client) = self.client {
            request.extensions_mut().insert(client);
        }
        request
    }
}

fn is_told(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "forwarded"
            | "host"
            | "traceparent"
            | "tracestate"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-real-ip"
    )
}

/// The answer with the body of the page.
fn dress(response: Response<Body>, page: &HeaderMap, body: Body) -> Response<Body> {
    let (mut head, _) = response.into_parts();
    let described: Vec<_> = head
        .headers
        .keys()
        .filter(|name| is_of_body(name))
        .cloned()
        .collect();
    for name in described {
        head.headers.remove(name);
    }
    for (name, value) in page {
        if name.as_str().starts_with("content-") || name == VARY {
            head.headers.append(name.clone(), value.clone());
        }
    }
    Response::from_parts(head, body)
}

/// Whether a field speaks of the body that it came with, and of no other.
fn is_of_body(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-")
        || matches!(
            name,
            "accept-ranges"
                | "age"
                | "digest"
                | "etag"
                | "last-modified"
                | "link"
                | "repr-digest"
                | "trailer"
                | "transfer-encoding"
        )
}
