//! The course of a request whose trace is recorded: when it came where.

use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::observe::{End, Outcome};
use crate::trace_context::TraceContext;
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many steps are noted. A chain is not as long, and a request that is tried again and again is seen to be.
const MAX_STEPS: usize = 128;

/// How many tries are noted; those past it are sent with a context of their own like the others.
const MAX_TRIES: usize = 32;

/// What is noted of a request whose trace is recorded, for whoever makes spans of it when it is over.
///
/// Each try at a server is a span: its context is what the server gets, in the headers and in the form in which the
/// request's own came.
#[derive(Debug)]
pub struct Course {
    context: TraceContext,
    notes: Mutex<Notes>,
}

/// What has been noted.
#[derive(Debug, Default)]
pub struct Notes {
    /// When something was found that serves the request.
    pub routed: Option<Instant>,
    /// Where in the chain of its middlewares it came, at most 128 times.
    pub steps: Vec<Step>,
    /// The servers that were asked, at most 32.
    pub tries: Vec<Try>,
}

/// A request has come somewhere in the chain of its middlewares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many middlewares have passed it on.
    pub position: u32,
    /// When.
    pub at: Instant,
}

/// A server was asked.
#[derive(Debug)]
pub struct Try {
    /// What the server was told of the trace.
    pub context: TraceContext,
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// What it was asked for.
    pub target: Option<PathAndQuery>,
    /// When.
    pub asked: Instant,
    /// When the exchange with it was over.
    pub ended: Option<Instant>,
    /// The status of its answer.
    pub status: Option<StatusCode>,
    /// What failed, before the answer or in its course.
    pub failure: Option<Failure>,
    /// Whether nobody waited for its end.
    pub is_given_up: bool,
}

/// A try, until its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TryId(usize);

impl Course {
    /// Of a request that is in the span of `context`, where its tries begin spans of their own.
    pub fn new(context: TraceContext) -> Self {
        Self {
            context,
            notes: Mutex::default(),
        }
    }

    /// Takes what has been noted so far.
    pub fn take(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }

    pub(super) fn routed(&self) {
        self.notes().routed.get_or_insert_with(Instant::now);
    }

    pub(super) fn step(&self, position: u32) {
        let mut notes = self.notes();
        if notes.steps.len() < MAX_STEPS {
            let at = Instant::now();
            notes.steps.push(Step { position, at });
        }
    }

    /// A request is about to be sent: it is given its context.
    pub(crate) fn ask<B>(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &mut Request<B>,
    ) -> Option<TryId> {
        let context = self.context.child();
        context.write(request.headers_mut());
        let mut notes = self.notes();
        let id = notes.tries.len();
        (id < MAX_TRIES).then(|| {
            notes.tries.push(Try {
                context,
                endpoint: Arc::clone(endpoint),
                target: request.uri().path_and_query().cloned(),
                asked: Instant::now(),
                ended: None,
                status: None,
                failure: None,
                is_given_up: false,
            });
            TryId(id)
        })
    }

    pub(crate) fn ended(&self, TryId(id): TryId, outcome: &Outcome) {
        // Whoever has taken the notes takes no more.
        if let Some(noted) = self.notes().tries.get_mut(id) {
            noted.ended = Some(Instant::now());
            noted.status = outcome.status;
            noted.failure = outcome.failure;
            noted.is_given_up = outcome.end == End::Dropped;
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
