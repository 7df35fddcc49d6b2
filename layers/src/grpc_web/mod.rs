//! Lets browsers call gRPC services: gRPC-Web on the client's side, gRPC on the server's.
//!
//! ```
//! use a3s_layers::grpc_web::GrpcWebLayer;
//! use axum::body::Body;
//! use http::{HeaderMap, HeaderValue, Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(GrpcWebLayer::new())
//!     .service(service_fn(|request: Request<Body>| async move {
//!         assert_eq!(request.headers()["content-type"], "application/grpc+proto");
//!         let mut trailers = HeaderMap::new();
//!         trailers.insert("grpc-status", HeaderValue::from_static("0"));
//!         let messages = request.into_body().with_trailers(async { Some(Ok(trailers)) });
//!         let answer = Response::builder().header("content-type", "application/grpc+proto");
//!         Ok::<_, std::convert::Infallible>(answer.body(Body::new(messages)).unwrap())
//!     }));
//! let request = Request::post("/echo.Echo/Say")
//!     .header("content-type", "application/grpc-web+proto")
//!     .body(Full::from("\0\0\0\0\x02hi"))
//!     .unwrap();
//! let answer = service.oneshot(request).await.unwrap();
//! assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
//! let body = answer.into_body().collect().await.unwrap().to_bytes();
//! assert_eq!(body, &b"\0\0\0\0\x02hi\x80\0\0\0\x10grpc-status: 0\r\n"[..]);
//! # });
//! ```

mod base64;
mod body;

use crate::error::BoxError;
use crate::grpc::Dialect;
use axum::body::Body;
use body::{DecodedBody, WebBody};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower::{Layer, Service};

/// Turns requests in gRPC-Web into gRPC, and the answers back
/// ([the protocol](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md)).
///
/// - `application/grpc-web`, with `+proto` or another format: the messages pass as they are.
/// - `application/grpc-web-text`: the messages are in base64, each piece of an answer padded by itself, so that none
///   waits for the next. An answer is text where the request is, or where `Accept` asks for it. A request that is no
///   base64 fails with [`Failure::RequestBody`](crate::error::Failure::RequestBody).
/// - The trailers of an answer come as its last message. An answer of a head alone ("trailers-only") stays one, with
///   `grpc-status` in its head: pages of another origin see that only if they may read it
///   (`Access-Control-Expose-Headers: grpc-status, grpc-message`).
/// - The server is asked with `application/grpc` and `TE: trailers`.
/// - An answer that is not gRPC, and every request that is not gRPC-Web, pass untouched.
///
/// Nothing is held but up to three characters of base64. Binary metadata (`-bin`) stays in base64 in text too, as
/// clients expect of Envoy. Browsers ask first whether they may: [`CorsLayer`](crate::cors::CorsLayer) is to answer,
/// in front of this layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct GrpcWebLayer {
    _private: (),
}

impl GrpcWebLayer {
    /// It has nothing to be set.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for GrpcWebLayer {
    type Service = GrpcWeb<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcWeb { inner }
    }
}

/// The service made by [`GrpcWebLayer`].
#[derive(Debug, Clone)]
pub struct GrpcWeb<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for GrpcWeb<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = GrpcWebFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        let answer_in = to_native(&mut request);
        GrpcWebFuture {
            inner: self.inner.call(request),
            answer_in,
        }
    }
}

/// Makes gRPC of a request in gRPC-Web; returns the dialect in which to answer, if it was one.
fn to_native(request: &mut Request<Body>) -> Option<Dialect> {
    let headers = request.headers_mut();
    let (dialect, format) = match Dialect::parse(headers.get(CONTENT_TYPE)?.as_bytes())? {
        (Dialect::Native, _) => return None,
        (dialect, format) => (dialect, format),
    };
    let native = content_type(Dialect::Native, format);
    let wants_text = dialect == Dialect::WebText || accepts_text(headers);
    headers.insert(CONTENT_TYPE, native);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // It spoke of what the server does not send.
    headers.remove(ACCEPT);
    if dialect == Dialect::WebText {
        headers.remove(CONTENT_LENGTH);
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(DecodedBody::new(body));
    }
    Some(match wants_text {
        true => Dialect::WebText,
        false => Dialect::Web,
    })
}

fn accepts_text(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| {
        let mut ranges = accept.as_bytes().split(|byte| *byte == b',');
        ranges.any(|range| {
            let range = Dialect::parse(range.trim_ascii());
            range.is_some_and(|(dialect, _)| dialect == Dialect::WebText)
        })
    })
}

/// A media type with what stood behind the name of another, such as `+proto`.
fn content_type(dialect: Dialect, format: &[u8]) -> HeaderValue {
    let name = match dialect {
        Dialect::Native => "application/grpc",
        Dialect::Web => "application/grpc-web",
        Dialect::WebText => "application/grpc-web-text",
    };
    // The end of a value is one, too.
    HeaderValue::from_bytes(&[name.as_bytes(), format].concat())
        .unwrap_or_else(|_| HeaderValue::from_static(name))
}

pin_project! {
    /// The future of [`GrpcWeb`].
    pub struct GrpcWebFuture<F> {
        #[pin]
        inner: F,
        answer_in: Option<Dialect>,
    }
}

impl<F, R, E> Future for GrpcWebFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?.map(Body::new);
        Poll::Ready(Ok(match *this.answer_in {
            Some(dialect) => to_web(response, dialect),
            None => response,
        }))
    }
}

/// Makes gRPC-Web of an answer in gRPC. One in anything else is what it is.
fn to_web(mut response: Response<Body>, dialect: Dialect) -> Response<Body> {
    let headers = response.headers_mut();
    let content_type = match headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes()) {
        Some(kind) => match Dialect::parse(kind) {
            Some((Dialect::Native, format)) => content_type(dialect, format),
            _ => return response,
        },
        None => return response,
    };
    headers.insert(CONTENT_TYPE, content_type);
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRAILER);
    response.map(|body| Body::new(WebBody::new(body, dialect == Dialect::WebText)))
}
