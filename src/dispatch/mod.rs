//! Finds the stack that serves a request.
//!
//! An entrypoint holds one [`RequestDispatcher`]. A reload stores a new [`Table`] in it; a
//! request under way keeps the stack that it was given.

pub mod connection;
pub mod explain;
pub mod request;
pub mod session;
pub mod table;

use crate::rule::Facts;
use crate::stack::{HttpService, Request, Response, reason};
use a3s_layers::peer::Client;
use a3s_layers::reject::{Reason, Shape, reject};
use arc_swap::ArcSwap;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, StatusCode, Version};
use pin_project_lite::pin_project;
use request::Malformed;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use table::Table;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

/// Serves each request by the best route of the table.
///
/// It expects the server to have put a [`Client`] on each request.
#[derive(Debug, Clone)]
pub struct RequestDispatcher {
    table: Arc<ArcSwap<Table>>,
    rejects_encoded_slash: bool,
}

pin_project! {
    /// The answer of a route, or a refusal.
    pub struct DispatchFuture {
        #[pin]
        answer: Answer,
    }
}

pin_project! {
    #[project = ProjectedAnswer]
    enum Answer {
        Route { #[pin] answer: Oneshot<HttpService, Request> },
        Refusal { refusal: Ready<Result<Response, Infallible>> },
    }
}

impl Future for DispatchFuture {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answer.project() {
            ProjectedAnswer::Route { answer } => answer.poll(cx),
            ProjectedAnswer::Refusal { refusal } => Pin::new(refusal).poll(cx),
        }
    }
}

impl RequestDispatcher {
    /// Serves by whatever table is stored at the time of a request.
    pub fn new(table: Arc<ArcSwap<Table>>) -> Self {
        Self {
            table,
            rejects_encoded_slash: false,
        }
    }

    /// Refuses a path that has `%2F` in it: some servers take it for a slash, and rules do not.
    pub fn rejecting_encoded_slash(mut self, rejects: bool) -> Self {
        self.rejects_encoded_slash = rejects;
        self
    }

    fn find(&self, request: &mut Request) -> Result<HttpService, Refusal> {
        let found = self.look(request, |table, facts| {
            table.find(facts).map(|route| route.service.clone())
        });
        found?.ok_or(Refusal::NoRoute)
    }

    /// Gives a request its form, and looks into the table with what rules see of it.
    fn look<T>(
        &self,
        request: &mut Request,
        look: impl FnOnce(&Table, &Facts<'_>) -> T,
    ) -> Result<T, Refusal> {
        request::normalize(request)?;
        if self.rejects_encoded_slash && request.uri().path().contains("%2F") {
            return Err(Malformed::Path.into());
        }
        let client = request.extensions().get::<Client>();
        let client = client.ok_or(Refusal::UnknownClient)?;
        let table = self.table.load();
        let asked = table.asked().zip(client.peer().tls());
        request::with_facts(request, client.ip(), |facts| {
            if asked.is_some_and(|(asked, tls)| !asked.allows(facts.host, tls.asked)) {
                return Err(Refusal::Misdirected);
            }
            Ok(look(&table, facts))
        })
    }
}

impl Service<Request> for RequestDispatcher {
    type Response = Response;
    type Error = Infallible;
    type Future = DispatchFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let version = request.version();
        let answer = match self.find(&mut request) {
            Ok(service) => Answer::Route {
                answer: service.oneshot(request),
            },
            Err(refusal) => Answer::Refusal {
                refusal: ready(Ok(refusal.answer(request.headers(), version))),
            },
        };
        DispatchFuture { answer }
    }
}

/// Why a request reaches no route.
enum Refusal {
    Malformed(Malformed),
    /// No rule may judge a client that the server has not named.
    UnknownClient,
    /// Its connection was made on other terms than its host asks for.
    Misdirected,
    NoRoute,
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Refusal {
    fn answer(&self, headers: &HeaderMap, version: Version) -> Response {
        let (status, message, reason) = match self {
            Self::NoRoute => (StatusCode::NOT_FOUND, "no route matches", reason::NO_ROUTE),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "this host asks for a connection of its own",
                reason::MISDIRECTED,
            ),
            Self::UnknownClient => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "unknown client address",
                reason::INTERNAL,
            ),
            Self::Malformed(malformed @ Malformed::Connect) => (
                StatusCode::METHOD_NOT_ALLOWED,
                malformed.message(),
                reason::NOT_SPOKEN,
            ),
            Self::Malformed(malformed) => (
                StatusCode::BAD_REQUEST,
                malformed.message(),
                reason::MALFORMED,
            ),
        };
        let mut response = reject(status, message, Shape::of(headers));
        response.extensions_mut().insert(Reason(reason));
        // Whoever sends what is malformed may mean something else by the bytes that follow, too. HTTP/2
        // frames them and knows no such header.
        // A client that is misdirected needs another connection anyway.
        let ends = matches!(self, Self::Malformed(_) | Self::Misdirected);
        if ends && version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }
}

#[cfg(test)]
mod tests;
