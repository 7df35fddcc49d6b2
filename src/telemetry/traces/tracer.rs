//! Which requests are recorded, and what is kept of one until it is over.

use super::export::Queue;
use super::spans;
use crate::stack::Request;
use crate::stack::redaction::Redaction;
use a3s_layers::journal::{Course, Journal};
use a3s_layers::observe::{Outcome, Traffic};
use a3s_layers::peer::Client;
use a3s_layers::trace_context::{Incoming, Sampler, TraceContext};
use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderValue, Method, Response, Uri, Version};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Makes spans of requests.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    queue: Queue,
}

impl Tracer {
    /// Samples with `sampler` what nobody has decided on, and puts what is recorded into `queue`.
    pub fn new(sampler: Sampler, queue: Queue) -> Self {
        Self { sampler, queue }
    }

    /// Reads which trace a request belongs to, notes it, and says it to whoever is asked in the request's course.
    pub(in crate::telemetry) fn begin(
        self: &Arc<Self>,
        entrypoint: &Arc<str>,
        request: &mut Request,
        journal: &Journal,
    ) -> Option<Box<Traced>> {
        let incoming = Incoming::read(request.headers());
        let context = incoming.next(self.sampler);
        if !context.is_sampled() {
            match incoming.decision() {
                // Decided elsewhere: it passes as it came.
                Some(_) => {
                    if let Some(trace_id) = incoming.trace_id() {
                        journal.set_trace(trace_id, None);
                    }
                }
                None => {
                    incoming.tidy(request.headers_mut());
                    context.write(request.headers_mut());
                    journal.set_trace(context.trace_id, None);
                }
            }
            return None;
        }
        incoming.tidy(request.headers_mut());
        let inner = context.child();
        // Not only servers are asked: whoever authenticates is, and a mirror.
        inner.write(request.headers_mut());
        let course = Box::new(Course::new(inner));
        journal.set_trace(context.trace_id, Some(course));
        Some(Box::new(Traced {
            tracer: Arc::clone(self),
            entrypoint: Arc::clone(entrypoint),
            asked: Asked::of(request, journal),
            context,
            inner,
            clock: Clock::now(),
            head: None,
            reason: None,
            traffic: None,
        }))
    }
}

/// A request whose trace is recorded.
#[derive(Debug)]
pub struct Traced {
    tracer: Arc<Tracer>,
    pub(super) entrypoint: Arc<str>,
    pub(super) asked: Asked,
    /// The span of the entrypoint.
    pub(super) context: TraceContext,
    /// The span of the router, if it comes to one.
    pub(super) inner: TraceContext,
    pub(super) clock: Clock,
    /// When the head of the answer was there.
    pub(super) head: Option<Instant>,
    /// Why the answer is the gateway's own, or incomplete: the word of the access log.
    pub(super) reason: Option<Box<str>>,
    /// What goes past the bodies.
    pub(super) traffic: Option<Traffic>,
}

/// What is told of the request itself: it is gone when its spans are made.
#[derive(Debug)]
pub(super) struct Asked {
    /// As the client sent it.
    pub(super) method: Method,
    /// What it goes on with.
    pub(super) inner_method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) authority: Option<Authority>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) state: Option<HeaderValue>,
    pub(super) client: Option<Client>,
}

impl Asked {
    fn of(request: &Request, journal: &Journal) -> Self {
        let headers = request.headers();
        let host = || Authority::try_from(headers.get(HOST)?.as_bytes()).ok();
        Self {
            method: journal.method().unwrap_or(request.method()).clone(),
            inner_method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            authority: request.uri().authority().cloned().or_else(host),
            user_agent: headers.get(USER_AGENT).cloned(),
            state: headers.get("tracestate").cloned(),
            client: request.extensions().get::<Client>().cloned(),
        }
    }
}

/// The time of day of an instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    nanos: u64,
    at: Instant,
}

impl Clock {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.unwrap_or_default().as_nanos();
        Self {
            nanos: u64::try_from(nanos).unwrap_or(u64::MAX),
            at: Instant::now(),
        }
    }

    /// In nanoseconds since 1970.
    pub(super) fn nanos(self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.at).as_nanos() as u64;
        let before = self.at.saturating_duration_since(at).as_nanos() as u64;
        self.nanos.saturating_add(after).saturating_sub(before)
    }
}

impl Traced {
    pub(in crate::telemetry) fn head<B>(&mut self, response: &Response<B>) {
        self.head = Some(Instant::now());
        let extensions = response.extensions();
        self.traffic = extensions.get().cloned();
    }

    pub(in crate::telemetry) fn end(
        mut self: Box<Self>,
        outcome: &Outcome,
        journal: &Journal,
        reason: Option<&str>,
        redaction: &Redaction,
    ) {
        self.reason = reason.map(Into::into);
        let spans = spans::of(&self, outcome, journal, redaction);
        self.tracer.queue.put(spans);
    }
}
