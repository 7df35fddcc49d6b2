//! One side of a tunnel.

use super::copy::Breaks;
use super::frames::Frames;
use crate::stack::Socket;
use crate::stack::drain::{Notice, Phase};
use crate::stack::upgrade::ClientStream;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once of what nobody hears.
const SCRATCH: usize = 4 * 1024;

/// A stream of which it is known whether it broke, that may take leave of the other side in place of its own peer, and
/// that is reset if it is dropped before all was said.
pub(super) struct Side<S: End> {
    io: S,
    has_broken: AtomicBool,
    is_finished: bool,
    leave: Option<Box<Leave>>,
}

/// How leave is taken when connections are to end.
struct Leave {
    /// What is read here.
    frames: Frames,
    since: Phase,
    notice: Notice,
    state: State,
}

enum State {
    /// It is not yet time, or a frame is on its way.
    Listens,
    /// These are the last words; so many of them have been read.
    Says(Vec<u8>, usize),
    /// Nothing that still comes is passed on.
    Waits,
}

/// What a side is made of.
pub(super) trait End: Breaks {
    /// Sees to it that nobody takes for whole what is not.
    fn reset_on_drop(&self);
}

impl End for Socket {
    fn reset_on_drop(&self) {
        Socket::reset_on_drop(self);
    }
}

impl End for ClientStream {
    fn reset_on_drop(&self) {
        ClientStream::reset_on_drop(self);
    }
}

impl Breaks for ClientStream {
    fn broken(&self) -> impl Future<Output = io::Error> + Send {
        ClientStream::broken(self)
    }
}

impl<S: End> Side<S> {
    pub(super) fn new(io: S) -> Self {
        Self {
            io,
            has_broken: AtomicBool::new(false),
            is_finished: false,
            leave: None,
        }
    }

    /// From this phase on, a frame that says "going away" stands in place of what would be read here after the frame
    /// that is begun; after it comes the end, when the peer has taken leave or ended. What was read `ahead` is
    /// passed on already.
    pub(super) fn take_leave(
        &mut self,
        since: Phase,
        notice: Notice,
        is_client: bool,
        ahead: &[u8],
    ) {
        let mut frames = Frames::new(is_client);
        frames.walk(ahead);
        self.leave = Some(Box::new(Leave {
            frames,
            since,
            notice,
            state: State::Listens,
        }));
    }

    pub(super) fn has_broken(&self) -> bool {
        self.has_broken.load(Ordering::Relaxed)
    }

    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Err(_))) {
            self.has_broken.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: End> Drop for Side<S> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.io.reset_on_drop();
        }
    }
}

impl<S: End + Sync> Breaks for Side<S> {
    async fn broken(&self) -> io::Error {
        let error = self.io.broken().await;
        self.has_broken.store(true, Ordering::Relaxed);
        error
    }
}

impl<S: End + AsyncRead + Unpin> Side<S> {
    fn poll_io(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.note(polled)
    }

    /// Reads what comes of somebody whose words are not passed on any more, until he has taken leave.
    fn poll_leave(&mut self, cx: &mut Context<'_>, leave: &mut Leave) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); SCRATCH];
        while !leave.frames.is_closed() {
            let mut unheard = ReadBuf::uninit(&mut space);
            ready!(self.poll_io(cx, &mut unheard))?;
            if unheard.filled().is_empty() {
                break;
            }
            leave.frames.walk(unheard.filled());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_with_leave(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        leave: &mut Leave,
    ) -> Poll<io::Result<()>> {
        let phase = leave.notice.poll_phase(cx);
        if phase >= Phase::Closing && leave.frames.is_closed() {
            // Whoever has taken leave says nothing more, and need not show it.
            return Poll::Ready(Ok(()));
        }
        let is_time = phase >= leave.since;
        if is_time && matches!(leave.state, State::Listens) && leave.frames.is_between() {
            leave.state = State::Says(leave.frames.farewell(), 0);
        }
        match &mut leave.state {
            State::Listens => {}
            State::Says(words, said) => {
                let rest = &words[*said..];
                let now = &rest[..rest.len().min(buf.remaining())];
                buf.put_slice(now);
                *said += now.len();
                if *said == words.len() {
                    leave.state = State::Waits;
                }
                return Poll::Ready(Ok(()));
            }
            State::Waits => return self.poll_leave(cx, leave),
        }
        let before = buf.filled().len();
        ready!(self.poll_io(cx, buf))?;
        let read = &buf.filled()[before..];
        if !is_time {
            leave.frames.walk(read);
            return Poll::Ready(Ok(()));
        }
        // The frame that is begun goes on to its end, and no other is begun.
        let passed = leave.frames.step(read);
        if leave.frames.is_between() {
            let farewell = leave.frames.farewell();
            leave.frames.walk(&read[passed..]);
            leave.state = State::Says(farewell, 0);
            buf.set_filled(before + passed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: End + AsyncRead + Unpin> AsyncRead for Side<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(mut leave) = this.leave.take() else {
            return this.poll_io(cx, buf);
        };
        let polled = this.poll_with_leave(cx, buf, &mut leave);
        this.leave = Some(leave);
        polled
    }
}

impl<S: End + AsyncWrite + Unpin> AsyncWrite for Side<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.note(polled)
    }
}
