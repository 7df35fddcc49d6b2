//! An exchange from the moment its request is known to the end of its answer, at the entrypoint: above the dispatcher,
//! so that refusals are seen as well.

use super::metrics::{CLIENT_GONE, Counts, Kind, Made, Spoken, Took, Verb};
use super::traces::Traced;
use super::{RouteSignals, RunningSignals};
use crate::stack::Request;
use a3s_layers::error::Failure;
use a3s_layers::journal::Journal;
use a3s_layers::observe::{self, ObserveFuture, ObservedBody, Outcome, Traffic};
use a3s_layers::reject::Refused;
use http::{Response, StatusCode};
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
    /// Whether the answer is a refusal.
    is_refused: bool,
    /// What failed, where there was no answer of a server.
    failure: Option<Failure>,
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
        let tracer = running.tracer.as_ref();
        let traced = tracer.and_then(|tracer| tracer.begin(&entrypoint.name, request, &journal));
        Self {
            entrypoint: Arc::clone(entrypoint),
            journal,
            traced,
            verb: Verb::of(request.method()),
            spoken: Spoken::of_request(request.headers()),
            traffic: None,
            is_refused: false,
            failure: None,
        }
    }

    /// Counts it, and what it came to on its way.
    fn count(&self, outcome: &Outcome) {
        let code = outcome.status.map_or(CLIENT_GONE, |status| status.as_u16());
        let kind = Kind::new(code, self.verb, self.spoken);
        let received = self.traffic.as_ref().map_or(0, Traffic::received);
        let took = Took {
            time: self.journal.began().elapsed(),
            request_bytes: self.journal.request_bytes() + received,
            response_bytes: outcome.response_bytes,
        };
        self.entrypoint.counts.end(kind, &took);
        let Some(route) = self.journal.route::<RouteSignals>() else {
            return;
        };
        route.router_counts.end(kind, &took);
        let service = &route.service_counts;
        service.exchanges.end(kind, &took);
        service.retried(self.journal.retries());
        if let Some(failure) = self.failure.or(outcome.failure) {
            service.failed(failure);
        }
        let made = match outcome.status {
            None => Made::Dropped,
            Some(_) if self.is_refused => Made::Refused,
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
        let extensions = response.extensions();
        self.is_refused = extensions.get::<Refused>().is_some();
        self.failure = extensions.get().copied();
        if is_switched {
            self.traffic = extensions.get().cloned();
        }
    }

    fn end(self, outcome: &Outcome) {
        self.count(outcome);
        if let Some(traced) = self.traced {
            traced.end(outcome, &self.journal);
        }
    }
}
