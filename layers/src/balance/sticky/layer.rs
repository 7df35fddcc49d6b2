//! Reads the cookie of a session on the way in, and sets it on the way out.

use super::{Affinity, Sticky, Token};
use http::header::SET_COOKIE;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower::{Layer, Service};

/// Tells by a cookie which session a request belongs to: an [`Affinity`] among its extensions, for the balance below.
///
/// One that was there before, for another service, is gone. The cookie itself goes on to the server.
#[derive(Debug, Clone)]
pub struct SessionLayer {
    sticky: Sticky,
}

impl SessionLayer {
    /// Goes by this cookie.
    pub fn new(sticky: &Sticky) -> Self {
        Self {
            sticky: sticky.clone(),
        }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = Session<S>;

    fn layer(&self, inner: S) -> Session<S> {
        Session {
            inner,
            sticky: self.sticky.clone(),
        }
    }
}

/// The service made by [`SessionLayer`].
#[derive(Debug, Clone)]
pub struct Session<S> {
    inner: S,
    sticky: Sticky,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Session<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        match Affinity::read(request.headers(), self.sticky.name()) {
            Some(affinity) => drop(request.extensions_mut().insert(affinity)),
            None => drop(request.extensions_mut().remove::<Affinity>()),
        }
        self.inner.call(request)
    }
}

/// Sets the cookie on the answers of a server, for clients that do not have it: the one outside of the server's stack
/// that is nearest to it, so that it is this server, and no other, that has answered.
#[derive(Debug, Clone)]
pub struct KeepLayer {
    keep: Arc<Keeping>,
}

#[derive(Debug)]
struct Keeping {
    sticky: Sticky,
    token: Token,
    /// Written once, where it is the same each time.
    lasting: Option<HeaderValue>,
}

impl KeepLayer {
    /// Clients of this server are known by `token` from now on.
    pub fn new(sticky: &Sticky, token: Token) -> Self {
        Self {
            keep: Arc::new(Keeping {
                lasting: sticky.lasting(token),
                sticky: sticky.clone(),
                token,
            }),
        }
    }
}

impl Keeping {
    fn cookie<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let affinity = request.extensions().get::<Affinity>();
        let shown = affinity.and_then(|affinity| affinity.shown(self.token));
        match &self.lasting {
            Some(_) if shown.is_some() => None,
            Some(lasting) => Some(lasting.clone()),
            None => self.sticky.renewed(self.token, shown),
        }
    }
}

impl<S> Layer<S> for KeepLayer {
    type Service = Keep<S>;

    fn layer(&self, inner: S) -> Keep<S> {
        Keep {
            inner,
            keep: Arc::clone(&self.keep),
        }
    }
}

/// The service made by [`KeepLayer`].
#[derive(Debug, Clone)]
pub struct Keep<S> {
    inner: S,
    keep: Arc<Keeping>,
}

impl<S, B, R> Service<Request<B>> for Keep<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = KeepFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        KeepFuture {
            cookie: self.keep.cookie(&request),
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of [`Keep`].
    pub struct KeepFuture<F> {
        #[pin]
        inner: F,
        cookie: Option<HeaderValue>,
    }
}

impl<F, R, E> Future for KeepFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(cookie) = this.cookie.take() {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Poll::Ready(Ok(response))
    }
}
