//! The bodies that go to a server and come from it.

use super::connect::Origin;
use super::link::Link;
use super::pool::{self, Stream};
use crate::stack::Request;
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::trailers::TrailerGuard;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a connection may take to become free after its response has ended, as when the server
/// answered before it had read the whole request.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells whether a request's body is still on its way, and what became of it.
pub(super) struct Upload(Arc<Course>);

/// The course of an upload.
#[derive(Default)]
struct Course {
    ended: OnceLock<Instant>,
    /// The server has taken all that came.
    waits_for_client: AtomicBool,
    /// The server has taken something since this was last looked at.
    moved: AtomicBool,
    failure: OnceLock<Failure>,
    awaited: Awaited,
}

/// How long it was the client that did not send.
struct Awaited {
    began: Instant,
    /// Nanoseconds from the beginning to when it was first not there, and one more; 0 where it is.
    since: AtomicU64,
    /// Nanoseconds before that.
    total: AtomicU64,
}

impl Default for Awaited {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            since: AtomicU64::new(0),
            total: AtomicU64::new(0),
        }
    }
}

impl Awaited {
    /// One body is polled in one place at a time: nothing comes between what is read here and what is written.
    fn note(&self, is_awaited: bool) {
        let since = self.since.load(Ordering::Relaxed);
        match (since, is_awaited) {
            (0, true) => self.since.store(self.now() + 1, Ordering::Relaxed),
            (0, false) | (_, true) => {}
            (since, false) => {
                let more = self.now().saturating_sub(since - 1);
                self.total.fetch_add(more, Ordering::Relaxed);
                self.since.store(0, Ordering::Relaxed);
            }
        }
    }

    fn total(&self) -> Duration {
        let total = self.total.load(Ordering::Relaxed);
        let running = match self.since.load(Ordering::Relaxed) {
            0 => 0,
            since => self.now().saturating_sub(since - 1),
        };
        Duration::from_nanos(total.saturating_add(running))
    }

    fn now(&self) -> u64 {
        let nanos = self.began.elapsed().as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX - 1)
    }
}

impl Upload {
    /// Watches the body of `request`, if it has one, and its trailers: they say nothing that the head says, nor what
    /// was taken out of it.
    pub(super) fn watch(mut request: Request) -> (Request, Option<Self>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let mut guard = request.extensions_mut().remove::<TrailerGuard>();
        if let Some(guard) = &mut guard {
            guard.forbid_all(request.headers());
        }
        let course = Arc::<Course>::default();
        let upload = Self(Arc::clone(&course));
        let request = request.map(|inner| {
            Body::new(UploadBody {
                inner,
                course,
                guard,
            })
        });
        (request, Some(upload))
    }

    /// When it was over, if it is.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.0.ended.get().copied()
    }

    /// Whether the server has taken more of it since the last time, or all that there is.
    pub(super) fn is_moving(&self) -> bool {
        let moved = self.0.moved.swap(false, Ordering::Relaxed);
        moved || self.0.waits_for_client.load(Ordering::Relaxed)
    }

    /// How long the client kept it waiting, so far.
    pub(super) fn awaited(&self) -> Duration {
        self.0.awaited.total()
    }

    /// Why the body ended before its end, if it did: an HTTP/2 connection tells of a reset only.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.0.failure.get().copied()
    }
}

struct UploadBody {
    inner: Body,
    course: Arc<Course>,
    guard: Option<TrailerGuard>,
}

impl http_body::Body for UploadBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let course = &self.course;
        course.awaited.note(polled.is_pending());
        course
            .waits_for_client
            .store(polled.is_pending(), Ordering::Relaxed);
        let mut frame = ready!(polled);
        course.moved.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = &frame {
            let _ = self.course.failure.set(Failure::of_request_body(error));
        }
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
            && let Some(guard) = &self.guard
        {
            guard.strip(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        self.course.awaited.note(false);
        let _ = self.course.ended.set(Instant::now());
    }
}

/// The body of what a server answers with.
pub enum AnswerBody {
    /// What the server says.
    Message(ResponseBody),
    /// What goes on after the answer.
    GoesOn(Body),
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Message(body) => Pin::new(body).poll_frame(cx),
            Self::GoesOn(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(body) => body.is_end_stream(),
            Self::GoesOn(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Message(body) => body.size_hint(),
            Self::GoesOn(body) => body.size_hint(),
        }
    }
}

/// The body of a response: it gives its connection back at the end, and fails when it stalls.
pub struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
    idle_timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
    moved: bool,
    /// The request's body, which may still be on its way.
    upload: Option<Upload>,
}

/// A connection, or a place on one, on loan from the pool.
pub(super) enum Lease {
    /// A whole HTTP/1.1 connection.
    Link { origin: Arc<Origin>, link: Link },
    /// A stream of an HTTP/2 connection.
    Stream { _stream: Stream },
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        idle_timeout: Duration,
        upload: Option<Upload>,
    ) -> Self {
        let mut body = Self {
            incoming,
            lease: Some(lease),
            idle_timeout,
            idle: None,
            moved: false,
            upload,
        };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        let Some(Lease::Link { origin, mut link }) = self.lease.take() else {
            return;
        };
        link.settle();
        if link.is_ready() {
            pool::check_in(&origin, link);
        } else if !link.is_closed() {
            tokio::spawn(async move {
                let settled = tokio::time::timeout(SETTLE_TIMEOUT, link.ready()).await;
                if settled == Ok(true) {
                    pool::check_in(&origin, link);
                }
            });
        }
    }

    /// The next frame. An HTTP/1.1 connection is moved on when there is none yet.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(Lease::Link { link, .. }) = &mut self.lease else {
            return Pin::new(&mut self.incoming).poll_frame(cx);
        };
        let quiet = &mut Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(quiet) {
            return Poll::Ready(frame);
        }
        link.drive(cx);
        Pin::new(&mut self.incoming).poll_frame(quiet)
    }

    /// Whether nothing has come for the idle timeout. The timer is set when a read first has to wait, and
    /// looks at what has come since only when it fires: a stream is cut after one to two timeouts, and a
    /// frame costs no clock.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.idle_timeout;
        let sleep = self.idle.get_or_insert_with(|| {
            self.moved = false;
            Box::pin(tokio::time::sleep(timeout))
        });
        loop {
            ready!(sleep.as_mut().poll(cx));
            if !std::mem::take(&mut self.moved) {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(Instant::now() + timeout);
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match this.poll_incoming(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.moved = true;
                if this.incoming.is_end_stream() {
                    this.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                // Where the client's half broke off first, the server's was cut off with it.
                let failure = this.upload.as_ref().and_then(Upload::failure);
                let failure = failure.unwrap_or(Failure::Reset);
                Poll::Ready(Some(Err(UpstreamError::new(failure, error).into())))
            }
            Poll::Ready(None) => {
                this.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.poll_stalled(cx));
                this.lease = None;
                let error = UpstreamError::from(Failure::ResponseTimeout);
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests;
