//! Reads whole bodies before it passes them on: a slow client holds no server, and a slow reader neither.
//!
//! ```
//! use a3s_layers::buffering::BufferingLayer;
//! use axum::body::Body;
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(BufferingLayer::new().max_request_body(4))
//!     .service(service_fn(|request: Request<Body>| async {
//!         Ok::<_, Infallible>(Response::new(request.into_body()))
//!     }));
//! let response = service.clone().oneshot(Request::new(Body::from("1234"))).await.unwrap();
//! assert_eq!(response.status(), 200);
//! let response = service.oneshot(Request::new(Body::from("12345"))).await.unwrap();
//! assert_eq!(response.status(), 413);
//! # });
//! ```

mod read;

use crate::answer::AnswerFuture;
use crate::error::{BoxError, Failure};
use crate::journal::Journal;
use crate::reject::{Shape, reject};
use crate::rescue::answer_to;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use read::{Memory, Unread, read};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Reads the body of a request to its end before the service below is called, and that of a response before the
/// response goes up. Trailers are kept.
///
/// | what | answer |
/// |---|---|
/// | a request body past its limit | 413, at once where its length says so |
/// | one that breaks off, or does not come in time | 400, 408 |
/// | a response body past its limit | 502 |
/// | one that breaks off, or stalls | 502, 504 |
/// | no memory left for either | 503 with `Retry-After` |
///
/// Streams pass as they are, for they would never end or wait for each other: gRPC, upgrades and `CONNECT` both ways,
/// and responses that are `text/event-stream` or say `X-Accel-Buffering: no`, as nginx has it.
///
/// One exchange holds at most the two limits; all of them together, and of all clones,
/// [`max_memory`](Self::max_memory). A body counts until its last byte has been written, so one whose reader is slow
/// holds its part. The layer has no clock: how long a client may take to send or to read is for whoever has its
/// connection to say.
#[derive(Debug, Clone)]
pub struct BufferingLayer {
    limits: Limits,
    memory: Arc<Memory>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    request: usize,
    response: usize,
}

impl Limits {
    fn tell(self, is_stream: bool, journal: &Journal) {
        let Self { request, response } = self;
        journal.would(match (is_stream, request, response) {
            (true, ..) | (_, 0, 0) => "buffers nothing: it may be a stream".to_owned(),
            (_, 0, _) => format!("reads the whole answer, up to {response} bytes"),
            (_, _, 0) => format!("reads the whole request, up to {request} bytes"),
            _ => format!("reads the whole request, up to {request} bytes, and the whole answer, up to {response}"),
        });
    }
}

impl Default for BufferingLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl BufferingLayer {
    /// 1 MiB for a request, 1 MiB for a response, 64 MiB for all.
    pub fn new() -> Self {
        Self {
            limits: Limits {
                request: 1 << 20,
                response: 1 << 20,
            },
            memory: Memory::new(64 << 20),
        }
    }

    /// The most bytes of a request's body; with 0 requests are not buffered, and have no limit.
    pub fn max_request_body(mut self, max: usize) -> Self {
        self.limits.request = max;
        self
    }

    /// The most bytes of a response's body; with 0 responses are not buffered, and have no limit.
    pub fn max_response_body(mut self, max: usize) -> Self {
        self.limits.response = max;
        self
    }

    /// The most bytes that all bodies together may hold.
    pub fn max_memory(mut self, max: usize) -> Self {
        self.memory = Memory::new(max);
        self
    }
}

impl<S> Layer<S> for BufferingLayer {
    type Service = Buffering<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Buffering {
            inner,
            limits: self.limits,
            memory: Arc::clone(&self.memory),
        }
    }
}

/// The service made by [`BufferingLayer`].
#[derive(Debug, Clone)]
pub struct Buffering<S> {
    inner: S,
    limits: Limits,
    memory: Arc<Memory>,
}

impl<S, B, R> Service<Request<B>> for Buffering<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
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
        let request = request.map(Body::new);
        if let Some(journal) = Journal::rehearsed(&request) {
            self.limits.tell(is_stream(&request), &journal);
        }
        let reads_request = self.limits.request > 0 && !request.body().is_end_stream();
        if is_stream(&request) || (!reads_request && self.limits.response == 0) {
            return AnswerFuture::pass(self.inner.call(request));
        }
        let teller = Teller {
            shape: Shape::of(request.headers()),
            version: request.version(),
        };
        // The one that was polled is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let (limits, memory) = (self.limits, Arc::clone(&self.memory));
        AnswerFuture::decide(async move {
            let (head, mut body) = request.into_parts();
            if reads_request {
                body = match read(body, limits.request, &memory).await {
                    Ok(body) => body,
                    Err(unread) => return Ok(teller.no_request(unread)),
                };
            }
            let response = inner.call(Request::from_parts(head, body)).await?;
            let response = response.map(Body::new);
            if limits.response == 0 || response.body().is_end_stream() || flows(&response) {
                return Ok(response);
            }
            let (head, body) = response.into_parts();
            Ok(match read(body, limits.response, &memory).await {
                Ok(body) => Response::from_parts(head, body),
                Err(unread) => teller.no_response(unread),
            })
        })
    }
}

/// Whether the two sides may talk at the same time.
fn is_stream<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::CONNECT
        || headers.contains_key(UPGRADE)
        || has_type(headers, &["application/grpc"])
}

/// Whether a response is to be read while it is written.
fn flows<B>(response: &Response<B>) -> bool {
    let headers = response.headers();
    let says_no = headers.get(X_ACCEL_BUFFERING);
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        || has_type(headers, &["application/grpc", "text/event-stream"])
        || says_no.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no"))
}

fn has_type(headers: &HeaderMap, types: &[&str]) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    types.iter().any(|name| {
        let value = value.as_bytes();
        let begins = value
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
        // `application/grpc+proto`, `application/grpc-web`: all of them are streams.
        begins && !value.get(name.len()).is_some_and(u8::is_ascii_alphanumeric)
    })
}

/// Tells the sender of a request what became of it.
struct Teller {
    shape: Shape,
    version: Version,
}

impl Teller {
    fn no_request(&self, unread: Unread) -> Response<Body> {
        match unread {
            Unread::TooLarge => self.failed(Failure::BodyTooLarge),
            Unread::Failed(error) => self.failed(Failure::of_request_body(&error)),
            Unread::NoMemory => {
                let mut response = self.no_memory();
                if self.version < Version::HTTP_2 {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                response
            }
        }
    }

    fn no_response(&self, unread: Unread) -> Response<Body> {
        match unread {
            Unread::TooLarge => reject(
                StatusCode::BAD_GATEWAY,
                "the upstream server's answer is too large",
                self.shape,
            ),
            Unread::Failed(error) => self.failed(Failure::of(&error)),
            Unread::NoMemory => self.no_memory(),
        }
    }

    fn failed(&self, failure: Failure) -> Response<Body> {
        answer_to(failure, self.shape, self.version)
    }

    fn no_memory(&self) -> Response<Body> {
        let mut response = reject(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway's buffers are full",
            self.shape,
        );
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(RETRY_AFTER, soon);
        response
    }
}
