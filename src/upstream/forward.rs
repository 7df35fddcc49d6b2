//! What the server sees of a request, and the client of its response: no hop-by-hop field (RFC 9110, 7.6.1) but for
//! those of an upgrade, forwarded headers that can be believed, and framing made anew.

use crate::stack::Request;
use crate::stack::upgrade::Upgrade;
use a3s_layers::hop_by_hop::{strip_request, strip_response};
use a3s_layers::peer::{Client, X_FORWARDED_FOR};
use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Response, Version};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower::{Layer, Service};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Makes of a client's request what its server may see, and of the response what the client may.
#[derive(Debug, Clone)]
pub struct ForwardLayer {
    host: HeaderValue,
    pass_host: bool,
}

impl ForwardLayer {
    /// Sets `Host` to `host`, the server's own, unless the client's is passed on and it has one: HTTP/1.0 knows
    /// none, and the HTTP/1.1 that is spoken to servers must have one (RFC 9112, 3.2).
    pub fn new(host: HeaderValue, pass_host: bool) -> Self {
        Self { host, pass_host }
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Forward<S> {
        Forward {
            inner,
            host: self.host.clone(),
            pass_host: self.pass_host,
        }
    }
}

/// The service made by [`ForwardLayer`].
#[derive(Debug, Clone)]
pub struct Forward<S> {
    inner: S,
    host: HeaderValue,
    pass_host: bool,
}

impl<S: Service<Request, Response = Response<B>>, B> Service<Request> for Forward<S> {
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ForwardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // It stays: a server may be told of it before the request.
        let client = request.extensions().get::<Client>().cloned();
        let headers = request.headers_mut();
        strip_request(headers);
        if let Some(client) = client {
            set_forwarded(headers, &client);
        }
        let upgrade = request.extensions().get::<Upgrade>();
        if let Some(protocol) = upgrade.map(|upgrade| upgrade.protocol().clone()) {
            let headers = request.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
        }
        let headers = request.headers_mut();
        if !self.pass_host || !headers.contains_key(HOST) {
            headers.insert(HOST, self.host.clone());
        }
        ForwardFuture {
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of [`Forward`].
    pub struct ForwardFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E> Future for ForwardFuture<F> {
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.project().inner.poll(cx))?;
        strip_response(response.headers_mut());
        // The server's version is a matter of its connection (RFC 9110, 2.5).
        *response.version_mut() = Version::HTTP_11;
        Poll::Ready(Ok(response))
    }
}

/// Says who asked, and for what, beside what is said already: what a client wrote of itself was removed when its
/// request came in, so that this is the word of a trusted proxy or of a middleware.
fn set_forwarded(headers: &mut HeaderMap, client: &Client) {
    // At once: growing step by step would hash everything twice.
    headers.reserve(5);
    let peer = client.peer();
    let proto = HeaderValue::from_static(if peer.is_tls() { "https" } else { "http" });
    let host = headers.get(HOST).cloned();
    if headers.contains_key(X_FORWARDED_FOR) {
        append_forwarded_for(headers, peer.ip_text());
    } else {
        headers.insert(X_FORWARDED_FOR, peer.ip_text().clone());
    }
    headers.entry(X_FORWARDED_PROTO).or_insert(proto);
    headers
        .entry(X_FORWARDED_PORT)
        .or_insert_with(|| peer.local_port_text().clone());
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
    if !peer.is_trusted() {
        headers
            .entry(X_REAL_IP)
            .or_insert_with(|| peer.ip_text().clone());
    } else if let Ok(ip) = HeaderValue::from_str(&client.ip().to_string()) {
        headers.insert(X_REAL_IP, ip);
    }
}

/// One field line with the peer at its end.
fn append_forwarded_for(headers: &mut HeaderMap, peer: &HeaderValue) {
    let mut list = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(peer.as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(X_FORWARDED_FOR, list);
    }
}
