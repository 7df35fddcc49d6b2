//! Gives each request an ID, by which its log lines can be found.
//!
//! tower-http has one too, which keeps whatever anybody sends.
//!
//! ```
//! use a3s_layers::request_id::RequestIdLayer;
//! use axum::{Router, body::Body, routing::get};
//! use http::{HeaderMap, Request};
//! use tower::ServiceExt;
//!
//! # tokio_test::block_on(async {
//! let app: Router = Router::new()
//!     .route("/", get(|headers: HeaderMap| async move { headers["x-request-id"].as_bytes().to_vec() }))
//!     .layer(RequestIdLayer::new());
//! let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
//! let id = response.headers()["x-request-id"].clone();
//! let told = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
//! assert_eq!(told, id.as_bytes());
//! # });
//! ```

use crate::journal::Journal;
use crate::own_header;
use crate::peer::Client;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};
use tower::{Layer, Service};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest ID of somebody else's that is kept.
const MAX_LENGTH: usize = 128;

/// Puts an ID on each request: in its header, for the server; in the header of the answer, for the client; and as an
/// extension of both, a [`RequestId`], for other layers.
///
/// An ID is a UUID of version 7 (RFC 9562, 5.7): the time in milliseconds and 74 random bits. It is unique, and can be
/// guessed. One that comes with a request is kept where [`Keep`] says so and it is of 1 to 128 letters, digits and
/// `-._~+/=:@`; otherwise it is replaced. What the server says in that header of its answer is replaced too.
///
/// Of several of these layers around one service, with one header, the outermost chooses.
#[derive(Debug, Clone)]
pub struct RequestIdLayer {
    header: HeaderName,
    keep: Keep,
}

/// Whose IDs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Those of trusted proxies: a [`Client`] says who is one.
    #[default]
    Trusted,
    /// Everybody's.
    Always,
    /// Nobody's.
    Never,
}

/// The ID of a request: an extension of the request and of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// As it stands in the header.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("an ID is visible ASCII")
    }

    fn new() -> Self {
        let text = uuid_v7(SystemTime::now(), fastrand::u64(..), fastrand::u64(..));
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text));
        Self(value.expect("hexadecimal digits and hyphens are visible ASCII"))
    }
}

impl RequestIdLayer {
    /// In `X-Request-Id`, keeping the IDs of trusted proxies.
    pub fn new() -> Self {
        Self {
            header: X_REQUEST_ID,
            keep: Keep::default(),
        }
    }

    /// In another header.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// Keeps other IDs.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    fn id_of<B>(&self, request: &Request<B>) -> RequestId {
        let mut given = request.headers().get_all(&self.header).iter();
        let (Some(given), None) = (given.next(), given.next()) else {
            return RequestId::new();
        };
        // The layer above this one has chosen it.
        let ours = request.extensions().get::<RequestId>();
        if let Some(ours) = ours.filter(|ours| ours.0 == given) {
            return ours.clone();
        }
        let is_kept = match self.keep {
            Keep::Always => true,
            Keep::Never => false,
            Keep::Trusted => {
                let client = request.extensions().get::<Client>();
                client.is_some_and(|client| client.peer().is_trusted())
            }
        };
        match is_kept && is_id(given.as_bytes()) {
            true => RequestId(given.clone()),
            false => RequestId::new(),
        }
    }
}

impl Default for RequestIdLayer {
    fn default() -> Self {
        Self::new()
    }
}

fn is_id(given: &[u8]) -> bool {
    let is_sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
    (1..=MAX_LENGTH).contains(&given.len()) && given.iter().all(is_sound)
}

/// RFC 9562, 5.7: 48 bits of time, version, 12 random bits, variant, 62 random bits.
fn uuid_v7(now: SystemTime, random_a: u64, random_b: u64) -> [u8; 36] {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_millis() & 0xffff_ffff_ffff;
    let high = millis << 80 | 0x7 << 76 | u128::from(random_a & 0xfff) << 64;
    let low = 0b10 << 62 | u128::from(random_b >> 2);
    let uuid = high | low;
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    for (digit, at) in places.enumerate() {
        let nibble = (uuid >> (124 - 4 * digit)) as usize & 0xf;
        text[at] = b"0123456789abcdef"[nibble];
    }
    text
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestIdService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestIdService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service made by [`RequestIdLayer`].
#[derive(Debug, Clone)]
pub struct RequestIdService<S> {
    inner: S,
    layer: RequestIdLayer,
}

impl<S, B, R> Service<Request<B>> for RequestIdService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RequestIdFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = self.layer.id_of(&request);
        let header = self.layer.header.clone();
        own_header::set(&mut request, &header, Some(&id.0));
        request.extensions_mut().insert(id.clone());
        if let Some(journal) = request.extensions().get::<Journal>() {
            journal.set_request_id(&id.0);
        }
        RequestIdFuture {
            inner: self.inner.call(request),
            id: Some((header, id)),
        }
    }
}

pin_project! {
    /// The future of [`RequestIdService`].
    pub struct RequestIdFuture<F> {
        #[pin]
        inner: F,
        id: Option<(HeaderName, RequestId)>,
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for RequestIdFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some((header, id)) = this.id.take() {
            response.headers_mut().insert(header, id.0.clone());
            response.extensions_mut().insert(id);
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_uuid_is_as_the_rfc_has_it() {
        // RFC 9562, A.6.
        let at = UNIX_EPOCH + Duration::from_millis(0x017F_22E2_79B0);
        let uuid = uuid_v7(at, 0xCC3, 0x18C4_DC0C_0C07_398F << 2);
        assert_eq!(&uuid, b"017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        let uuid = uuid_v7(UNIX_EPOCH - Duration::from_secs(1), u64::MAX, u64::MAX);
        assert_eq!(&uuid, b"00000000-0000-7fff-bfff-ffffffffffff");
    }
}
