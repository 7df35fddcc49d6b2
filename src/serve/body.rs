//! The bodies of a client's exchange: a request's, which may not stall, and a response's, whose end is told.

use super::exchanges::Exchanges;
use super::patience::{Waits, note};
use super::upgrade::Switched;
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::hop_by_hop::strip_request;
use a3s_layers::journal::Journal;
use a3s_layers::peer::remove_forwarded;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TE};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a request's body may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyTimeouts {
    /// Between two frames.
    pub(super) idle: Duration,
    /// For the whole of it.
    pub(super) whole: Option<Duration>,
}

/// What is left of a body that nobody wants, and no more, may be thrown away to keep its connection. It has come
/// with the head, as a rule; the parser reads once more, and closes where that is not all.
const THROWN_AWAY: u64 = 8 * 1024;

/// The body of a request, with a limit on how long it may be silent.
pub(super) struct RequestBody {
    incoming: Incoming,
    exchanges: Arc<Exchanges>,
    journal: Journal,
    thrown_away: u64,
    is_over: bool,
    idle: Duration,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// A client that `waits` has been told to send it only when it is asked for (RFC 9110, 10.1.1).
    pub(super) fn new(
        incoming: Incoming,
        timeouts: BodyTimeouts,
        exchanges: &Arc<Exchanges>,
        journal: Journal,
        waits: bool,
    ) -> Self {
        Self {
            incoming,
            exchanges: Arc::clone(exchanges),
            journal,
            thrown_away: if waits { 0 } else { THROWN_AWAY },
            is_over: false,
            idle: timeouts.idle,
            deadline: timeouts.whole.map(|whole| Instant::now() + whole),
            timer: None,
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| {
            let silent = Instant::now() + self.idle;
            let until = self
                .deadline
                .map_or(silent, |deadline| deadline.min(silent));
            Box::pin(tokio::time::sleep_until(until))
        });
        timer.as_mut().poll(cx)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer = None;
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    self.journal.received(data.len() as u64);
                }
                self.is_over = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
                Poll::Ready(frame.map(|frame| {
                    frame
                        .map(settle_trailers)
                        .map_err(|error| UpstreamError::new(Failure::RequestBody, error).into())
                }))
            }
            Poll::Pending => self
                .poll_late(cx)
                .map(|()| Some(Err(UpstreamError::from(Failure::RequestTimeout).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let is_over = self.is_over || self.incoming.is_end_stream();
        let left = self.incoming.size_hint().upper();
        if !is_over && left.is_none_or(|left| left > self.thrown_away) {
            self.exchanges.leave_unread();
        }
    }
}

/// Takes from trailers what belongs in a head, or not even there (RFC 9110, 6.5.1). Servers may merge the two, and
/// nobody speaks for a proxy that late, trusted or not.
fn settle_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            strip_request(&mut trailers);
            remove_forwarded(&mut trailers);
            for name in [TE, HOST, CONTENT_LENGTH] {
                trailers.remove(name);
            }
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// An exchange that counts as running until this is dropped.
pub(super) struct Running(Arc<Exchanges>);

impl Running {
    pub(super) fn begin(exchanges: &Arc<Exchanges>) -> Self {
        exchanges.begin();
        Self(Arc::clone(exchanges))
    }

    /// One more, that ends by itself.
    pub(super) fn another(&self) -> Self {
        Self::begin(&self.0)
    }

    pub(super) fn switch(&self, switched: Switched) {
        self.0.switch(switched);
    }

    pub(super) fn has_left_unread(&self) -> bool {
        self.0.have_left_unread()
    }

    pub(super) fn ends_with_connection(&self) {
        self.0.end_with_connection();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// No larger piece of an answer is handed to HTTP/2 at a time: what it has been given and cannot send is held in
/// memory, and a client who takes that much in the idle timeout is not given up.
const PIECE: usize = 64 * 1024;

pin_project! {
    /// The body of a response, and the exchange with it.
    pub(super) struct ResponseBody {
        #[pin]
        inner: Body,
        running: Running,
        is_in_pieces: bool,
        rest: Bytes,
    }
}

impl ResponseBody {
    /// Over HTTP/2 it `is_in_pieces`.
    pub(super) fn new(inner: Body, running: Running, is_in_pieces: bool) -> Self {
        Self {
            inner,
            running,
            is_in_pieces,
            rest: Bytes::new(),
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if !*this.is_in_pieces {
            return this.inner.poll_frame(cx);
        }
        if !this.rest.is_empty() {
            note(Waits::ForClient);
            return Poll::Ready(Some(Ok(Frame::data(take_piece(this.rest)))));
        }
        let polled = this.inner.poll_frame(cx);
        note(match polled {
            Poll::Ready(_) => Waits::ForClient,
            Poll::Pending => Waits::ForServer,
        });
        polled.map_ok(|frame| match frame.into_data() {
            Ok(data) => {
                *this.rest = data;
                Frame::data(take_piece(this.rest))
            }
            Err(frame) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

fn take_piece(rest: &mut Bytes) -> Bytes {
    match rest.len() > PIECE {
        true => rest.split_to(PIECE),
        false => std::mem::take(rest),
    }
}
