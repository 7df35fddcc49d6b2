//! Finds the stack that serves a request.
//!
//! An entrypoint holds one [`RequestDispatcher`]. A reload stores a new [`Table`](table::Table) in it; a
//! request under way keeps the stack that it was given.

pub mod path;
pub mod request;
pub mod table;

use crate::stack::{HttpService, Request, Response};
use a3s_layers::peer::Client;
use arc_swap::ArcSwap;
use axum::body::Body;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{StatusCode, Version};
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
        Self { table }
    }

    fn find(&self, request: &mut Request) -> Result<HttpService, Refusal> {
        request::normalize(request)?;
        let client = request.extensions().get::<Client>();
        let client_ip = client.ok_or(Refusal::UnknownClient)?.ip();
        let table = self.table.load();
        request::with_facts(request, client_ip, |facts| {
            table.find(facts).map(|route| route.service.clone())
        })
        .ok_or(Refusal::NoRoute)
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
                refusal: ready(Ok(refusal.answer(version))),
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
    NoRoute,
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Refusal {
    fn answer(&self, version: Version) -> Response {
        let (status, message) = match self {
            Self::NoRoute => (StatusCode::NOT_FOUND, "no route matches"),
            Self::UnknownClient => (StatusCode::INTERNAL_SERVER_ERROR, "unknown client address"),
            Self::Malformed(malformed @ Malformed::Connect) => {
                (StatusCode::METHOD_NOT_ALLOWED, malformed.message())
            }
            Self::Malformed(malformed) => (StatusCode::BAD_REQUEST, malformed.message()),
        };
        let mut response = refuse(status, message);
        // Whoever sends what is malformed may mean something else by the bytes that follow, too. HTTP/2
        // frames them and knows no such header.
        if matches!(self, Self::Malformed(_)) && version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }
}

fn refuse(status: StatusCode, message: &'static str) -> Response {
    let mut response = Response::new(Body::from(message));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests;
