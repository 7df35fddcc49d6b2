//! An exchange from the moment its request is known to the end of its answer, at the entrypoint: above the dispatcher,
//! so that refusals are seen as well.

use super::access_log::Captured;
use super::ended::{Ended, Failed, Marks};
use super::metrics::{Counts, Kind, Made, Spoken, Took, Verb};
use super::traces::Traced;
use super::{RouteSignals, RunningSignals};
use crate::stack::{Doorkeeper, Request, TurnedAway};
use a3s_layers::journal::Journal;
use a3s_layers::observe::{self, ObserveFuture, ObservedBody, Outcome, Traffic};
use http::{Method, Response, StatusCode};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// What is known of an entrypoint, for all of its exchanges.
#[derive(Debug)]
pub struct EntrypointSignals {
    name: Arc<str>,
    counts: Arc<Counts>,
    running: RunningSignals,
}

impl EntrypointSignals {
    /// Of the entrypoint `name`.
    pub fn new(name: Arc<str>, counts: Arc<Counts>, running: RunningSignals) -> Self {
        Self {
            name,
            counts,
            running,
        }
    }

    /// The entrypoint's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is told beside the metrics.
    pub fn running(&self) -> &RunningSignals {
        &self.running
    }
}

/// Observes every exchange of an entrypoint: the only observer of requests that there is.
///
/// What lies below writes in the request's [`Journal`], which it puts there where the server has not.
#[derive(Debug, Clone)]
pub struct SignalsLayer {
    entrypoint: Arc<EntrypointSignals>,
}

impl SignalsLayer {
    /// Of this entrypoint.
    pub fn new(entrypoint: Arc<EntrypointSignals>) -> Self {
        Self { entrypoint }
    }
}

impl<S> Layer<S> for SignalsLayer {
    type Service = Signalled<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Signalled {
            inner,
            entrypoint: Arc::clone(&self.entrypoint),
        }
    }
}

/// The service made by [`SignalsLayer`].
#[derive(Debug, Clone)]
pub struct Signalled<S> {
    inner: S,
    entrypoint: Arc<EntrypointSignals>,
}

impl<S, R> Service<Request> for Signalled<S>
where
    S: Service<Request, Response = Response<R>>,
    S::Error: 'static,
    R: http_body::Body,
    R::Error: 'static,
{
    type Response = Response<ObservedBody<R, Exchange>>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future, Exchange>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let exchange = Exchange::begin(&self.entrypoint, &mut request);
        ObserveFuture::new(exchange, || self.inner.call(request))
    }
}

/// One exchange under way.
#[derive(Debug)]
pub struct Exchange {
    entrypoint: Arc<EntrypointSignals>,
    journal: Journal,
    verb: Verb,
    spoken: Spoken,
    /// What goes past the bodies.
    traffic: Option<Traffic>,
    marks: Marks,
    /// What its line in the access log tells of the request, where there is one.
    captured: Option<Box<Captured>>,
    /// Where its trace is recorded.
    traced: Option<Box<Traced>>,
}

impl Exchange {
    fn begin(entrypoint: &Arc<EntrypointSignals>, request: &mut Request) -> Self {
        let journal = match request.extensions().get::<Journal>() {
            Some(journal) => journal.clone(),
            None => {
                let journal = Journal::new();
                request.extensions_mut().insert(journal.clone());
                journal
            }
        };
        entrypoint.counts.begin();
        let running = entrypoint.running.load();
        let access_log = running.access_log.as_ref();
        let tracer = running.tracer.as_ref();
        let traced = tracer.and_then(|tracer| tracer.begin(&entrypoint.name, request, &journal));
        Self {
            entrypoint: Arc::clone(entrypoint),
            captured: access_log.map(|log| Box::new(Captured::of(request, &journal, log))),
            verb: Verb::of(journal.method().unwrap_or(request.method())),
            journal,
            traced,
            spoken: Spoken::of_request(request.headers()),
            traffic: None,
            marks: Marks::of_request(request.method()),
        }
    }

    fn ended<'a>(&'a self, outcome: &Outcome) -> Ended<'a> {
        let route = self.journal.route::<RouteSignals>();
        let received = self.traffic.as_ref().map_or(0, Traffic::received);
        let position = self.journal.position();
        Ended {
            journal: Some(&self.journal),
            entrypoint: &self.entrypoint.name,
            route,
            status: outcome.status,
            reason: self.marks.reason(outcome, route, position),
            took: self.journal.began().elapsed(),
            request_bytes: self.journal.request_bytes() + received,
            response_bytes: outcome.response_bytes,
        }
    }

    /// Counts it, and what it came to on its way.
    fn count(&self, ended: &Ended<'_>, outcome: &Outcome) {
        let kind = Kind::new(ended.code(), self.verb, self.spoken);
        let took = took(ended);
        self.entrypoint.counts.end(kind, &took);
        let Some(route) = ended.route else {
            return;
        };
        route.router_counts.end(kind, &took);
        let service = &route.service_counts;
        service.exchanges.end(kind, &took);
        service.retried(self.journal.retries());
        match self.marks.failed(outcome) {
            Some(Failed::Of(failure)) => service.failed(failure),
            Some(Failed::Cut) => service.cut(),
            None => {}
        }
        let made = match outcome.status {
            None => Made::Dropped,
            Some(_) if self.marks.is_refused => Made::Refused,
            Some(_) => Made::Answered,
        };
        route.count_chain(self.journal.position(), made);
    }
}

impl observe::Exchange for Exchange {
    fn head<B>(&mut self, response: &Response<B>) {
        if let Some(traced) = &mut self.traced {
            traced.head(response);
        }
        let is_switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.spoken = self.spoken.with_answer(is_switched, response.headers());
        self.marks.see(response);
        if is_switched {
            self.traffic = response.extensions().get().cloned();
        }
    }

    fn end(mut self, outcome: &Outcome) {
        let traced = self.traced.take();
        let ended = self.ended(outcome);
        self.count(&ended, outcome);
        if let Some(captured) = &self.captured
            && let Some(log) = &self.entrypoint.running.load().access_log
        {
            log.write(captured, &ended);
        }
        if let Some(traced) = traced {
            let running = self.entrypoint.running.load();
            let reason = ended.reason;
            traced.end(outcome, &self.journal, reason, &running.redaction);
        }
    }
}

/// The method that the client sent.
pub(super) fn method_of(request: &Request) -> &Method {
    let journal = request.extensions().get::<Journal>();
    let sent = journal.and_then(Journal::method);
    sent.unwrap_or(request.method())
}

fn took(ended: &Ended<'_>) -> Took {
    Took {
        time: ended.took,
        request_bytes: ended.request_bytes,
        response_bytes: ended.response_bytes,
    }
}

/// Requests that are refused before they are any are counted, and have their line, as all others.
impl Doorkeeper for EntrypointSignals {
    fn turned_away(&self, away: &TurnedAway<'_>) {
        let ended = Ended {
            journal: None,
            entrypoint: &self.name,
            route: None,
            status: Some(away.status),
            reason: Some(away.reason),
            took: away.took,
            request_bytes: 0,
            response_bytes: away.response_bytes,
        };
        let verb = away.request.map(|request| Verb::of(method_of(request)));
        let spoken = away
            .request
            .map(|request| Spoken::of_request(request.headers()));
        let spoken = spoken.unwrap_or(Spoken::Http);
        let kind = Kind::new(ended.code(), verb.unwrap_or(Verb::OTHER), spoken);
        self.counts.begin();
        self.counts.end(kind, &took(&ended));
        if let Some(log) = &self.running.load().access_log {
            log.write(&Captured::turned_away(away.peer, away.request, log), &ended);
        }
    }
}
