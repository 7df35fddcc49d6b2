//! One request and its response, between the parser and our stacks.

use super::body::{BodyTimeouts, RequestBody, ResponseBody, Running};
use super::door::Door;
use super::exchanges::Exchanges;
use super::extended_connect::{self, ExtendedConnect};
use super::head::too_many_fields;
use super::upgrade;
use crate::stack::arrival::introduce;
use crate::stack::drain::Notice;
use crate::stack::upgrade::Upgrade;
use crate::stack::{Request, Response, reason};
use a3s_layers::hop_by_hop::disarm;
use a3s_layers::journal::Journal;
use a3s_layers::reject::{Shape, reject};
use a3s_layers::trailers::TrailerGuard;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use tower::Service;
use tower::util::{Oneshot, ServiceExt};

/// The service of one connection: makes of what the parser read a request as our stacks know it.
pub(super) struct Exchange<S> {
    pub(super) service: S,
    pub(super) door: Door,
    /// For what goes on beside the connection's own task.
    pub(super) notice: Notice,
    pub(super) exchanges: Arc<Exchanges>,
    pub(super) closing: Arc<AtomicBool>,
    pub(super) timeouts: BodyTimeouts,
    pub(super) max_headers: usize,
}

impl<S> hyper::service::Service<http::Request<Incoming>> for Exchange<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = ExchangeFuture<S>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let running = Running::begin(&self.exchanges);
        let journal = Journal::new();
        let version = request.version();
        let is_bodiless = version == Version::HTTP_2 && request.method() == Method::HEAD;
        let waits = request.headers().contains_key(EXPECT);
        let may_trail = may_trail(version, request.body());
        let mut request = request.map(|incoming| {
            if incoming.is_end_stream() {
                Body::empty()
            } else {
                let (timeouts, exchanges) = (self.timeouts, &self.exchanges);
                let journal = journal.clone();
                let body = RequestBody::new(incoming, timeouts, exchanges, journal, waits);
                Body::new(body)
            }
        });
        if version == Version::HTTP_2 {
            join_cookies(request.headers_mut());
        }
        // HTTP/1's parser has counted them, HTTP/2's has not.
        let mut reason = reason::HEAD_TOO_LARGE;
        let refused = too_many_fields(request.headers(), self.max_headers);
        let mut refusal = refused.map(|(status, message)| {
            let shape = Shape::of(request.headers());
            Box::new(reject(status, message, shape))
        });
        disarm(request.headers_mut());
        let upgrade = match request.body().is_end_stream() {
            true => upgrade::asked(version, request.headers()),
            false => None,
        };
        if let Some(upgrade) = &upgrade {
            request.extensions_mut().insert(upgrade.clone());
        }
        let connect = match request.method() == Method::CONNECT {
            true => extended_connect::translate(&mut request, &self.door.peer, &self.notice),
            false => None,
        };
        let connect = connect.transpose().unwrap_or_else(|unknown| {
            refusal.get_or_insert_with(|| {
                reason = reason::NOT_SPOKEN;
                unknown
            });
            None
        });
        if connect.is_some() {
            journal.set_method(Method::CONNECT);
        }
        introduce(&mut request, &self.door.peer);
        request.extensions_mut().insert(journal);
        if may_trail {
            request.extensions_mut().insert(TrailerGuard::new());
        }
        if let Some(answer) = &refusal {
            self.door.answered(&request, answer, reason);
        }
        ExchangeFuture {
            inner: match &refusal {
                None => Some(Asked::ask(self.service.clone(), request)),
                Some(_) => None,
            },
            refusal,
            is_bodiless,
            has_chunks: version > Version::HTTP_10,
            running: Some(running),
            upgrade,
            connect,
            // HTTP/2 says it with GOAWAY, and has no `Connection`.
            closing: (version < Version::HTTP_2).then(|| Arc::clone(&self.closing)),
        }
    }
}

fn has_length(response: &Response) -> bool {
    response.body().size_hint().exact().is_some() || response.headers().contains_key(CONTENT_LENGTH)
}

/// Whether trailers may come after a body. With HTTP/1 it has to be chunked (RFC 9112, 7.1.2).
fn may_trail(version: Version, body: &Incoming) -> bool {
    let is_chunked = || body.size_hint().exact().is_none();
    !body.is_end_stream() && (version == Version::HTTP_2 || is_chunked())
}

/// Leaves of an answer to a HEAD its head, with the length that the body would have had.
fn drop_body(response: &mut Response) {
    let body = std::mem::take(response.body_mut());
    if let Some(length @ 1..) = body.size_hint().exact() {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
}

/// HTTP/2 may send a cookie in crumbs; to everybody else it is one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let line = Bytes::from(crumbs.join(&b"; "[..]));
    if let Ok(line) = HeaderValue::from_maybe_shared(line) {
        headers.insert(COOKIE, line);
    }
}

pin_project! {
    /// A service that has been asked.
    #[project = ProjectedAsked]
    enum Asked<S: Service<Request>> {
        Called { #[pin] future: S::Future },
        Waiting { #[pin] oneshot: Oneshot<S, Request> },
    }
}

impl<S: Service<Request>> Asked<S> {
    /// Calls at once a service that is ready: a client may be gone before anybody polls, and that is to be told by who
    /// tells of requests.
    fn ask(mut service: S, request: Request) -> Self {
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        match ready {
            Poll::Ready(Ok(())) => Self::Called {
                future: service.call(request),
            },
            _ => Self::Waiting {
                oneshot: service.oneshot(request),
            },
        }
    }
}

impl<S: Service<Request>> Future for Asked<S> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ProjectedAsked::Called { future } => future.poll(cx),
            ProjectedAsked::Waiting { oneshot } => oneshot.poll(cx),
        }
    }
}

pin_project! {
    pub(super) struct ExchangeFuture<S: Service<Request>> {
        #[pin]
        inner: Option<Asked<S>>,
        refusal: Option<Box<Response>>,
        // HTTP/1's encoder knows what a HEAD is, HTTP/2's would send the body.
        is_bodiless: bool,
        // HTTP/1.0 has none: there a body without length ends with the connection.
        has_chunks: bool,
        running: Option<Running>,
        upgrade: Option<Upgrade>,
        connect: Option<Box<ExtendedConnect>>,
        closing: Option<Arc<AtomicBool>>,
    }
}

impl<S> Future for ExchangeFuture<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Output = Result<http::Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.inner.as_pin_mut() {
            Some(inner) => ready!(inner.poll(cx))?,
            None => *this.refusal.take().expect("polled after it was ready"),
        };
        if *this.is_bodiless {
            drop_body(&mut response);
        }
        let running = this.running.take().expect("polled after it was ready");
        if let Some(connect) = this.connect.take() {
            connect.settle(&mut response, &running);
        } else if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            upgrade::settle(&mut response, this.upgrade.take(), &running);
        }
        let is_closing = this
            .closing
            .as_ref()
            .is_some_and(|closing| closing.load(Ordering::Relaxed) || running.has_left_unread());
        if is_closing && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if !*this.has_chunks && !has_length(&response) {
            running.ends_with_connection();
        }
        let is_h2 = this.closing.is_none();
        Poll::Ready(Ok(
            response.map(|inner| ResponseBody::new(inner, running, is_h2))
        ))
    }
}
