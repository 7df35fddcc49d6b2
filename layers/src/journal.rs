//! What becomes of a request on its way: the journal that layers write, and whoever tells the outcome reads.
//!
//! ```
//! use a3s_layers::journal::Journal;
//! use http::Request;
//!
//! let journal = Journal::new();
//! let mut request = Request::new(());
//! request.extensions_mut().insert(journal.clone());
//!
//! // Somewhere below, a middleware passes the request on:
//! if let Some(journal) = request.extensions().get::<Journal>() {
//!     journal.reach(1);
//! }
//! assert_eq!(journal.position(), 1);
//! ```

mod course;

pub(crate) use course::TryId;
pub use course::{Course, Notes as CourseNotes, Step, Try};

use crate::endpoint::Endpoint;
use crate::rehearsal;
use crate::trace_context::TraceId;
use http::{HeaderValue, Method};
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The journal of one exchange: an extension of its request. Clones share it.
///
/// Layers write it and need none: where a request has no journal, nothing is noted. It costs one allocation for each
/// request; notes are atomic, but for the server, which is noted under a lock that nobody else wants. Where a trace is
/// recorded, the request's [`Course`] is noted as well.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Notes>);

#[derive(Debug)]
struct Notes {
    began: Instant,
    route: OnceLock<Arc<dyn Route>>,
    method: OnceLock<Method>,
    request_id: OnceLock<HeaderValue>,
    position: AtomicU32,
    tries: AtomicU32,
    retries: AtomicU32,
    request_bytes: AtomicU64,
    /// In nanoseconds; 0 is none yet.
    answered_in: AtomicU64,
    endpoint: Mutex<Option<Arc<Endpoint>>>,
    /// Of a request that is only served to see what would become of it.
    rehearsal: Option<Box<rehearsal::Notes>>,
    trace: OnceLock<Trace>,
}

/// What serves a request: whatever the dispatcher knows of it. Layers know what it is called.
pub trait Route: Any + fmt::Debug + Send + Sync {
    /// What the log calls the service that it leads to.
    fn service(&self) -> &str;
}

/// The trace that a request belongs to.
#[derive(Debug)]
struct Trace {
    id: TraceId,
    /// Where it is recorded.
    course: Option<Box<Course>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl Journal {
    /// Of an exchange that begins now.
    pub fn new() -> Self {
        Self::with(None)
    }

    pub(crate) fn with(rehearsal: Option<Box<rehearsal::Notes>>) -> Self {
        Self(Arc::new(Notes {
            began: Instant::now(),
            route: OnceLock::new(),
            method: OnceLock::new(),
            request_id: OnceLock::new(),
            position: AtomicU32::new(0),
            tries: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            request_bytes: AtomicU64::new(0),
            answered_in: AtomicU64::new(0),
            endpoint: Mutex::new(None),
            rehearsal,
            trace: OnceLock::new(),
        }))
    }

    pub(crate) fn rehearsal_notes(&self) -> Option<&rehearsal::Notes> {
        self.0.rehearsal.as_deref()
    }

    /// When the exchange began.
    pub fn began(&self) -> Instant {
        self.0.began
    }

    /// Notes the method that the client sent, once, where the request goes on with another.
    pub fn set_method(&self, method: Method) {
        let _ = self.0.method.set(method);
    }

    /// The method that the client sent, where it is not that of the request.
    pub fn method(&self) -> Option<&Method> {
        self.0.method.get()
    }

    /// Notes what serves the request, once. Returns whether it is noted: the first one stays, for a request is
    /// dispatched once.
    pub fn set_route(&self, route: Arc<dyn Route>) -> bool {
        let is_first = self.0.route.set(route).is_ok();
        if is_first && let Some(course) = self.course() {
            course.routed();
        }
        is_first
    }

    /// What serves the request, if it is a `T`.
    pub fn route<T: Any>(&self) -> Option<&T> {
        let route: &dyn Any = &**self.0.route.get()?;
        route.downcast_ref()
    }

    /// What the log calls the service that the request is for.
    pub fn service(&self) -> Option<&str> {
        Some(self.0.route.get()?.service())
    }

    /// Notes the ID of the request, once: the outermost who gives it one chooses.
    pub fn set_request_id(&self, id: &HeaderValue) {
        let _ = self.0.request_id.set(id.clone());
    }

    /// The ID of the request, if it has been given one.
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.0.request_id.get()
    }

    /// Notes how many middlewares of its chain have passed the request on; a retry goes back in it.
    pub fn reach(&self, position: u32) {
        self.0.position.store(position, Ordering::Relaxed);
        if let Some(course) = self.course() {
            course.step(position);
        }
    }

    /// How many middlewares have passed the request on. Where it is that of the next one, it is there, or was stopped
    /// there.
    pub fn position(&self) -> u32 {
        self.0.position.load(Ordering::Relaxed)
    }

    /// Notes that the request is sent once more.
    pub fn retry(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the request was sent once more.
    pub fn retries(&self) -> u32 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// Notes that so many bytes of the request's body have been read.
    pub fn received(&self, bytes: u64) {
        self.0.request_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of the request's body that have been read.
    pub fn request_bytes(&self) -> u64 {
        self.0.request_bytes.load(Ordering::Relaxed)
    }

    /// Notes that a server is asked.
    pub fn tries(&self, endpoint: &Arc<Endpoint>) {
        self.0.tries.fetch_add(1, Ordering::Relaxed);
        self.0.answered_in.store(0, Ordering::Relaxed);
        *self.server() = Some(Arc::clone(endpoint));
    }

    /// Notes that the head of the server's answer has come, so long after it was asked.
    pub fn answered(&self, after: Duration) {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.0.answered_in.store(nanos, Ordering::Relaxed);
    }

    /// How often a server was asked.
    pub fn count_tries(&self) -> u32 {
        self.0.tries.load(Ordering::Relaxed)
    }

    /// How long the last server that was asked took to the head of its answer; none where there was none.
    pub fn answered_in(&self) -> Option<Duration> {
        match self.0.answered_in.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// The last server that was asked.
    pub fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.server().clone()
    }

    /// Notes which trace the request belongs to, once; where it is recorded, its course is noted from there on.
    pub fn set_trace(&self, id: TraceId, course: Option<Box<Course>>) {
        // The first one stays.
        let _ = self.0.trace.set(Trace { id, course });
    }

    /// The trace that the request belongs to, if that is known.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.0.trace.get().map(|trace| trace.id)
    }

    /// The trace of the request with these extensions, for a line in the log.
    pub(crate) fn trace_of(extensions: &http::Extensions) -> Option<TraceId> {
        extensions.get::<Self>()?.trace_id()
    }

    /// The request's course, where its trace is recorded.
    pub fn course(&self) -> Option<&Course> {
        self.0.trace.get()?.course.as_deref()
    }

    fn server(&self) -> MutexGuard<'_, Option<Arc<Endpoint>>> {
        let endpoint = self.0.endpoint.lock();
        endpoint.unwrap_or_else(PoisonError::into_inner)
    }
}
