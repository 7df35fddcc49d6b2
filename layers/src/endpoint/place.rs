//! A request with its place at a server: taken when the server is picked, given up when the exchange is over.

use super::Endpoint;
use super::passive::Fault;
use crate::classify::Verdict;
use crate::error::Failure;
use crate::journal::{Journal, TryId};
use crate::observe::{End, Exchange, ObserveFuture, ObservedBody, Outcome};
use http::{HeaderMap, Request, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tower::{Layer, Service};

/// An exchange, or a connection, that is under way at a server.
#[derive(Debug)]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    /// The server's ejections when it began.
    ejections: u64,
    /// Whether its end says no more of the server.
    is_judged: bool,
    began: Instant,
    awaits: Awaits,
    journal: Option<Journal>,
    /// What it is in the course of a request whose trace is recorded.
    noted: Option<TryId>,
}

/// What the time says of the server if nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// It has not answered yet.
    Answer,
    /// Neither has it, but it may wait for the client itself.
    Body,
    /// It has answered, or it is not to blame.
    Nothing,
}

/// How long the body of a request was awaited while it was sent: an extension of the response, by whoever sends it.
/// The time is the client's, and the server's latency is without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwaitedBody(pub Duration);

impl InFlight {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            ejections: endpoint.ejections(),
            endpoint,
            is_judged: false,
            began: Instant::now(),
            awaits: Awaits::Answer,
            journal: None,
            noted: None,
        }
    }

    /// The server.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The server has done what was asked of it.
    pub fn succeed(&mut self) {
        if !std::mem::replace(&mut self.is_judged, true) {
            self.endpoint.succeeded(self.ejections);
        }
    }

    /// A connection has come to be, which is all that was asked of the server: its latency is the time that this took.
    pub fn connected(&mut self) {
        self.succeed();
        self.awaits = Awaits::Nothing;
        let (waited, now) = self.waited();
        self.endpoint.latency.answered(waited, now);
    }

    /// What the server does from now on is judged anew: it has done what was asked of it, and more will be.
    pub fn judge_again(&mut self) {
        self.is_judged = false;
        self.ejections = self.endpoint.ejections();
    }

    /// Ends it as one that failed before there was an answer, or a connection.
    pub fn fail(mut self, failure: Failure) {
        if !failure.is_of_request() {
            self.endpoint.failures.fetch_add(1, Ordering::Relaxed);
            let (waited, now) = self.waited();
            // Where a body was awaited, nobody knows for how long.
            let is_known = self.awaits == Awaits::Answer;
            let waited = if is_known { waited } else { Duration::ZERO };
            self.endpoint.latency.failed(waited, now);
        }
        self.awaits = Awaits::Nothing;
        self.blame(Fault::of(failure, false));
    }

    fn blame(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault
            && !std::mem::replace(&mut self.is_judged, true)
        {
            self.endpoint.failed(fault, self.ejections);
        }
    }

    /// How long it has taken so far, and the time of the endpoint's clock.
    fn waited(&self) -> (Duration, Duration) {
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.began);
        (waited, self.endpoint.clock(now))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.awaits == Awaits::Answer {
            let (waited, now) = self.waited();
            self.endpoint.latency.given_up(waited, now);
        }
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange for InFlight {
    fn head<B>(&mut self, response: &Response<B>) {
        self.awaits = Awaits::Nothing;
        let (waited, now) = self.waited();
        let awaited = response.extensions().get();
        let theirs = awaited.map_or(Duration::ZERO, |AwaitedBody(time)| *time);
        let took = waited.saturating_sub(theirs);
        if let Some(journal) = &self.journal {
            journal.answered(waited);
        }
        // A good head is no good answer yet: what a server says after it may be cut off each time.
        if Verdict::of(response) == Verdict::Failure {
            self.endpoint.latency.answered_badly(took, now);
            self.blame(Some(Fault::Answer(response.status())));
        } else {
            self.endpoint.latency.answered(took, now);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        // With gRPC that is where an answer says how it ended; what it was in HTTP, is known to be good.
        if Verdict::is_failure_of_grpc(trailers) {
            self.blame(Some(Fault::Answer(StatusCode::OK)));
        }
    }

    fn end(mut self, outcome: &Outcome) {
        if let Some(noted) = self.noted
            && let Some(course) = self.journal.as_ref().and_then(Journal::course)
        {
            course.ended(noted, outcome);
        }
        match (outcome.end, outcome.failure) {
            (End::Complete, _) => self.succeed(),
            (End::Failed, failure) => {
                let failure = failure.unwrap_or(Failure::Reset);
                match outcome.status {
                    None => self.fail(failure),
                    Some(_) => {
                        let fault = Fault::of(failure, true);
                        let count = u64::from(fault.is_some());
                        self.endpoint.failures.fetch_add(count, Ordering::Relaxed);
                        self.blame(fault);
                    }
                }
            }
            (End::Dropped, _) => {}
        }
    }
}

/// What a [`Balance`](crate::balance::Balance) hands to the member that it has picked.
#[derive(Debug)]
pub struct Placed<R> {
    /// What was asked of the balance.
    pub request: R,
    /// Its place at the member's endpoint.
    pub place: InFlight,
}

/// Keeps the place of a request until its response's body has ended, and hands on the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlaceLayer(());

impl PlaceLayer {
    /// For the member of a balance.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for PlaceLayer {
    type Service = Seated<S>;

    fn layer(&self, inner: S) -> Seated<S> {
        Seated { inner }
    }
}

/// The service made by [`PlaceLayer`].
#[derive(Debug, Clone)]
pub struct Seated<S> {
    inner: S,
}

impl<S, B, R> Service<Placed<Request<B>>> for Seated<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    B: http_body::Body,
    R: http_body::Body,
    R::Error: 'static,
{
    type Response = Response<ObservedBody<R, InFlight>>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future, InFlight>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, placed: Placed<Request<B>>) -> Self::Future {
        let Placed {
            mut request,
            mut place,
        } = placed;
        if !request.body().is_end_stream() {
            place.awaits = Awaits::Body;
        }
        if let Some(journal) = request.extensions().get::<Journal>().cloned() {
            journal.tries(&place.endpoint);
            if let Some(course) = journal.course() {
                place.noted = course.ask(&place.endpoint, &mut request);
            }
            place.journal = Some(journal);
        }
        ObserveFuture::new(place, || self.inner.call(request))
    }
}
