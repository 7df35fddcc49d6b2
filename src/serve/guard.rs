//! Stands between a client's socket and the HTTP/1 parser, and refuses what the parser would let pass or
//! could not answer: heads that are too long or too slow, bare line feeds, two lengths, a length beside a
//! transfer coding. It also closes connections on which nothing moves.
//!
//! The parser decides what a message is; the guard only walks along, line by line, to know where heads begin.
//! What it refuses never reaches the parser: reading ends with an error, and whoever drives the connection
//! writes [`Guard::refusal`] to the client. What follows a head with an `Upgrade` is not looked at by either before that
//! is answered: it may be the first bytes of another protocol.
//!
//! Of HTTP/2 it looks at the heads of frames: what a client sends beside its requests is held against
//! [`Conduct`], and one that is out of proportion is told so (`GOAWAY`) and reads no further.
//!
//! It keeps one timer for each connection, looked at when a read has to wait. The common request, a head
//! that comes in one piece, sets no timer and copies nothing.

use super::exchanges::Exchanges;
use super::refusal::Refusal;
use super::walk::Walk;
use crate::stack::Socket;
use crate::stack::conduct::{Conduct, Excess};
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A connection without a request for so long rests: its parser is taken down until the next one comes, and with
/// it some 20 KiB of buffers. Soon enough to matter, late enough not to cost a busy client anything.
const REST_AFTER: Duration = Duration::from_millis(50);

/// What is read of a client who does not wait for the answer that decides what it means, beside what came with the
/// head.
const HELD: usize = 4 * 1024;

/// The limits that the guard holds a client to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GuardLimits {
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_header_bytes: usize,
    pub(super) h2_max_resets: u32,
}

/// `NO_ERROR` and `ENHANCE_YOUR_CALM` (RFC 9113, 7).
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What is read of a client that is sent away, so that it can read why: a socket closed with bytes unread resets.
const LEFT_UNREAD: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Guard<I> {
    io: I,
    /// What was read to find out the protocol, or behind a head that may be the last, and is to be read again.
    ahead: BytesMut,
    limits: GuardLimits,
    exchanges: Arc<Exchanges>,
    /// Of HTTP/1.
    walk: Option<Walk>,
    /// Of HTTP/2.
    conduct: Option<Box<Conduct>>,
    excess: Option<Excess>,
    /// Heads that went to the parser whole.
    heads: u32,
    refusal: Option<Refusal>,
    /// What follows may be of another protocol: nobody reads it until that is known.
    holds: bool,
    timer: Option<Pin<Box<Sleep>>>,
    times_head: bool,
    /// When a head began that did not come in one piece.
    head_since: Option<Instant>,
    /// Since when nothing has moved, as far as the timer has looked.
    still_since: Option<Instant>,
    moved: bool,
    write_waits: bool,
    is_marked: bool,
}

impl<I> Guard<I> {
    pub(super) fn new(
        io: I,
        ahead: BytesMut,
        is_h1: bool,
        limits: GuardLimits,
        exchanges: Arc<Exchanges>,
    ) -> Self {
        Self {
            io,
            ahead,
            limits,
            exchanges,
            walk: is_h1.then(Walk::default),
            conduct: (!is_h1).then(|| Box::new(Conduct::of_client(limits.h2_max_resets))),
            excess: None,
            heads: 0,
            refusal: None,
            holds: false,
            timer: None,
            times_head: false,
            head_since: None,
            still_since: None,
            moved: false,
            write_waits: false,
            is_marked: false,
        }
    }

    /// Why reading ended, if the guard ended it at a head. What it ends within a body fails the request that
    /// the body belongs to, and is answered there. Behind a body that ends with the connection, a refusal would be
    /// taken for a part of that.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
            .filter(|_| self.is_at_head() && !self.exchanges.do_end_with_connection())
    }

    /// How long the head has been under way that reading ended in.
    pub(super) fn head_took(&self) -> Duration {
        self.head_since
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn is_at_head(&self) -> bool {
        self.walk.as_ref().is_some_and(Walk::is_in_head)
    }

    /// Whether the parser still has what came before the bytes that were refused.
    fn owes_before_refusal(&self) -> bool {
        let owed = self.heads.wrapping_sub(self.exchanges.ended());
        // The message whose body was refused is itself in the parser's hands, waiting for more.
        owed > u32::from(!self.is_at_head())
    }

    /// Whether a response is still owed for a head that the parser has had.
    fn owes_response(&self) -> bool {
        match self.walk {
            Some(_) => self.heads != self.exchanges.ended(),
            None => self.exchanges.are_running(),
        }
    }

    /// Walks through what was just read; returns how much of it the parser may see.
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        let Some(walk) = &mut self.walk else {
            return self.judge(bytes);
        };
        self.moved = true;
        let mut at = 0;
        let mut whole = 0;
        while at < bytes.len() {
            match walk.step(&bytes[at..], self.limits.max_header_bytes) {
                Ok(step) => {
                    at += step.taken;
                    self.heads = self.heads.wrapping_add(u32::from(step.ends_head));
                    if !walk.is_in_head() {
                        whole = at;
                    }
                    if step.may_switch {
                        self.holds = true;
                        break;
                    }
                }
                Err(refusal) => {
                    self.refusal = Some(refusal);
                    return whole;
                }
            }
        }
        if walk.is_in_head() && !self.times_head {
            // A head has begun and not ended: from now on it has `header_timeout`.
            self.times_head = true;
            let now = Instant::now();
            self.head_since = Some(now);
            self.set_timer(now + self.limits.header_timeout);
        } else if !walk.is_in_head() {
            self.times_head = false;
            self.head_since = None;
        }
        at
    }

    /// Looks at frames that were just read; returns how much of them the parser may see. Who only pings does not keep
    /// a connection that nobody uses.
    fn judge(&mut self, bytes: &[u8]) -> usize {
        let Some(conduct) = &mut self.conduct else {
            return bytes.len();
        };
        match conduct.read(bytes) {
            Ok(works) => {
                self.moved |= works;
                bytes.len()
            }
            Err(excess) => {
                self.excess = Some(excess);
                0
            }
        }
    }

    fn set_timer(&mut self, deadline: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
    }

    /// How often the timer looks whether anything has moved.
    fn tick(&self) -> Duration {
        let idle_timeout = self.limits.idle_timeout;
        match self.walk {
            Some(_) => idle_timeout.min(REST_AFTER),
            None => idle_timeout,
        }
    }

    /// Ready when the client has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        if self.timer.is_none() {
            self.moved = false;
            self.set_timer(Instant::now() + self.tick());
        }
        while let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
            if self.times_head && !self.write_waits {
                return Poll::Ready(Silence::InHead);
            }
            let now = Instant::now();
            if std::mem::take(&mut self.moved) {
                self.still_since = None;
            } else {
                let since = *self
                    .still_since
                    .get_or_insert(now.checked_sub(self.tick()).unwrap_or(now));
                let is_long = now - since >= self.limits.idle_timeout;
                match (self.write_waits, self.owes_response()) {
                    (true, _) if is_long => return Poll::Ready(Silence::Deaf),
                    (false, false) if self.is_between() => {
                        self.exchanges.rest();
                        return Poll::Pending;
                    }
                    (false, false) if is_long => return Poll::Ready(Silence::Idle),
                    _ => {}
                }
            }
            self.set_timer(now + self.tick());
        }
        Poll::Pending
    }

    /// Whether the parser has nothing in hand: no part of a request.
    fn is_between(&self) -> bool {
        self.walk.as_ref().is_some_and(Walk::is_between)
    }
}

enum Silence {
    /// No stream for the idle timeout.
    Idle,
    /// A head that was begun is not ended.
    InHead,
    /// The client does not read what it asked for.
    Deaf,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Guard<I> {
    /// Reads on, and minds how long that takes.
    fn poll_io(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buf) {
            return Poll::Ready(read);
        }
        match ready!(self.poll_silence(cx)) {
            // The end of the stream: the parser closes without a word.
            Silence::Idle => {
                self.say_go_away(cx, NO_ERROR);
                Poll::Ready(Ok(()))
            }
            Silence::InHead => {
                self.refusal = Some(Refusal::SlowHead);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Silence::Deaf => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Keeps from the parser what it must not see yet, and tells it of an end before that.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            let mut space = [MaybeUninit::uninit(); HELD];
            let mut held = ReadBuf::uninit(&mut space);
            ready!(self.poll_io(cx, &mut held))?;
            if held.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.moved = true;
            self.ahead.extend_from_slice(held.filled());
        }
        // The parser reads again when it has answered.
        Poll::Pending
    }

    /// Says the last word on HTTP/2, if the client takes it at once.
    fn say_go_away(&mut self, cx: &mut Context<'_>, code: u32) {
        if let Some(conduct) = &self.conduct
            && let Some(frame) = conduct.farewell(code)
            && let Poll::Ready(Ok(_)) = Pin::new(&mut self.io).poll_write(cx, &frame)
        {
            let _ = Pin::new(&mut self.io).poll_flush(cx);
        }
    }

    /// Sends the client away: the parser is told that the connection has failed.
    fn send_away(&mut self, cx: &mut Context<'_>, excess: Excess) -> io::Error {
        self.say_go_away(cx, ENHANCE_YOUR_CALM);
        let mut sink = [0; 4096];
        let mut left = LEFT_UNREAD;
        while left > 0 {
            let mut sink = ReadBuf::new(&mut sink);
            match Pin::new(&mut self.io).poll_read(cx, &mut sink) {
                Poll::Ready(Ok(())) if !sink.filled().is_empty() => {
                    left = left.saturating_sub(sink.filled().len());
                }
                _ => break,
            }
        }
        io::Error::other(excess)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refusal.is_some() {
            // What came before is answered first; the parser reads again after that.
            return match this.owes_before_refusal() {
                true => Poll::Pending,
                false => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            };
        }
        if this.holds {
            if this.owes_response() || this.exchanges.have_switched() {
                return this.poll_held(cx);
            }
            // It was an ordinary request, and so is what follows.
            this.holds = false;
        }
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(this.poll_io(cx, buf))?;
        } else {
            let taken = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead.split_to(taken));
            if this.ahead.is_empty() {
                this.ahead = BytesMut::new();
            }
        }
        let passed = this.inspect(&buf.filled()[before..]);
        if this.holds {
            let mut held = BytesMut::from(&buf.filled()[before + passed..]);
            held.extend_from_slice(&this.ahead);
            this.ahead = held;
        }
        buf.set_filled(before + passed);
        if let Some(excess) = this.excess {
            return Poll::Ready(Err(this.send_away(cx, excess)));
        }
        if passed == 0 && this.refusal.is_some() {
            return Pin::new(this).poll_read(cx, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl Guard<Socket> {
    /// The socket, to be read from or closed as any other.
    pub(super) fn into_io(self) -> Socket {
        self.into_parts().0
    }

    /// The same, with what was read and nobody has seen.
    pub(super) fn into_parts(self) -> (Socket, BytesMut) {
        if self.is_marked {
            self.io.close_on_drop();
        }
        (self.io, self.ahead)
    }

    /// Sees to it that no client takes for whole what is not: however the connection ends, but for a shutdown when
    /// all is written, it ends in a reset where a body ends with it.
    fn mark_end(&mut self) {
        if !self.is_marked && self.exchanges.do_end_with_connection() {
            self.is_marked = true;
            self.io.reset_on_drop();
        }
    }

    /// Watches a client that does not read, from here too: the parser does not read on while it has another
    /// request in hand, and nothing at all behind a refusal.
    fn wrote(
        &mut self,
        result: Poll<io::Result<usize>>,
        bufs: &[io::IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.write_waits = result.is_pending();
        if let Poll::Ready(result) = result {
            let written = result.as_ref().map_or(0, |written| *written);
            self.moved |= match &mut self.conduct {
                Some(conduct) => conduct.wrote_of(bufs, written),
                None => true,
            };
            return Poll::Ready(result);
        }
        self.poll_silence(cx)
            .map(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Guard<Socket> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.mark_end();
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(result, &[io::IoSlice::new(buf)], cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.mark_end();
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(result, bufs, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusal().is_some() {
            // The parser has nothing more to say, but whoever drives the connection has.
            return Poll::Ready(Ok(()));
        }
        if self.is_marked {
            self.io.close_on_drop();
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
