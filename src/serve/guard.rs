//! Stands between a client's socket and the HTTP/1 parser, and refuses what the parser would let pass or
//! could not answer: heads that are too long or too slow, bare line feeds, two lengths, a length beside a
//! transfer coding. It also closes connections on which nothing moves.
//!
//! The parser decides what a message is; the guard only walks along, line by line, to know where heads begin.
//! What it refuses never reaches the parser: reading ends with an error, and whoever drives the connection
//! writes [`Guard::refusal`] to the client.
//!
//! It keeps one timer for each connection, looked at when a read has to wait. The common request, a head
//! that comes in one piece, sets no timer and copies nothing.

use super::refusal::Refusal;
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A connection without a request for so long rests: its parser is taken down until the next one comes, and with
/// it some 20 KiB of buffers. Soon enough to matter, late enough not to cost a busy client anything.
const REST_AFTER: Duration = Duration::from_millis(50);

/// The limits that the guard holds a client to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GuardLimits {
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_header_bytes: usize,
}

/// How many exchanges of a connection have begun and ended, told by the service to the guard.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    begun: AtomicU32,
    ended: AtomicU32,
    resting: AtomicBool,
}

impl Exchanges {
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self) -> u32 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Whether the guard has found the connection at rest.
    pub(super) fn are_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    fn are_running(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.ended()
    }
}

#[derive(Debug)]
pub(super) struct Guard<I> {
    io: I,
    /// What was read to find out the protocol, to be read again.
    ahead: BytesMut,
    limits: GuardLimits,
    exchanges: Arc<Exchanges>,
    /// `None` for HTTP/2, whose frames are the parser's matter.
    walk: Option<Walk>,
    /// Heads that went to the parser whole.
    heads: u32,
    refusal: Option<Refusal>,
    timer: Option<Pin<Box<Sleep>>>,
    times_head: bool,
    /// Since when nothing has moved, as far as the timer has looked.
    still_since: Option<Instant>,
    moved: bool,
    write_waits: bool,
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
            heads: 0,
            refusal: None,
            timer: None,
            times_head: false,
            still_since: None,
            moved: false,
            write_waits: false,
        }
    }

    /// Why reading ended, if the guard ended it at a head. What it ends within a body fails the request that
    /// the body belongs to, and is answered there.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.filter(|_| self.is_at_head())
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

    pub(super) fn into_io(self) -> I {
        self.io
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
            return bytes.len();
        };
        let mut at = 0;
        let mut whole = 0;
        while at < bytes.len() {
            match walk.step(&bytes[at..], self.limits.max_header_bytes) {
                Ok(Step { taken, ends_head }) => {
                    at += taken;
                    self.heads = self.heads.wrapping_add(u32::from(ends_head));
                    if !walk.is_in_head() {
                        whole = at;
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
            let deadline = Instant::now() + self.limits.header_timeout;
            self.set_timer(deadline);
        } else if !walk.is_in_head() {
            self.times_head = false;
        }
        at
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
            if self.times_head {
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
                        self.exchanges.resting.store(true, Ordering::Relaxed);
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
        let place = self.walk.as_ref().map(|walk| walk.place);
        place == Some(Place::Between)
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

impl<I: AsyncRead + Unpin> AsyncRead for Guard<I> {
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
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            match Pin::new(&mut this.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => this.moved = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    return match ready!(this.poll_silence(cx)) {
                        // The end of the stream: the parser closes without a word.
                        Silence::Idle => Poll::Ready(Ok(())),
                        Silence::InHead => {
                            this.refusal = Some(Refusal::SlowHead);
                            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                        }
                        Silence::Deaf => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    };
                }
            }
        } else {
            let taken = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead.split_to(taken));
            if this.ahead.is_empty() {
                this.ahead = BytesMut::new();
            }
        }
        let passed = this.inspect(&buf.filled()[before..]);
        buf.set_filled(before + passed);
        if passed == 0 && this.refusal.is_some() {
            return Pin::new(this).poll_read(cx, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> Guard<I> {
    fn wrote<T>(&mut self, result: Poll<T>) -> Poll<T> {
        self.write_waits = result.is_pending();
        self.moved |= result.is_ready();
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guard<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(result)
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
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where in a stream of HTTP/1 requests the next byte stands (RFC 9112).
#[derive(Debug, Default)]
struct Walk {
    place: Place,
    /// The part of a line whose rest is still to come.
    line: Vec<u8>,
    head_bytes: usize,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between requests; empty lines are skipped (RFC 9112, 2.2).
    #[default]
    Between,
    RequestLine,
    Fields,
    /// So many bytes of body or chunk are left; `true`: a chunk, with its line end.
    Body(u64, bool),
    ChunkSize,
    Trailers,
}

struct Step {
    taken: usize,
    ends_head: bool,
}

impl Walk {
    fn is_in_head(&self) -> bool {
        matches!(self.place, Place::RequestLine | Place::Fields)
    }

    /// Takes a line, or as much of a body as there is.
    fn step(&mut self, bytes: &[u8], max_head: usize) -> Result<Step, Refusal> {
        let step = |taken| Step {
            taken,
            ends_head: false,
        };
        if let Place::Body(left, is_chunk) = self.place {
            let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.place = match left - taken as u64 {
                0 if is_chunk => Place::ChunkSize,
                0 => Place::Between,
                left => Place::Body(left, is_chunk),
            };
            return Ok(step(taken));
        }
        if self.place == Place::Between {
            match bytes[0] {
                b'\r' | b'\n' => return Ok(step(1)),
                _ => self.place = Place::RequestLine,
            }
        }
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.head_bytes += taken;
        if self.head_bytes > max_head {
            return Err(match self.place {
                Place::RequestLine => Refusal::TargetTooLong,
                _ => Refusal::HeadTooLarge,
            });
        }
        if end.is_none() {
            self.line.extend_from_slice(bytes);
            return Ok(step(taken));
        }
        let ends_head = if self.line.is_empty() {
            self.take_line(&bytes[..taken])?
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..taken]);
            self.take_line(&line)?
        };
        Ok(Step { taken, ends_head })
    }

    /// Takes a whole line with its end; true where it ends a head.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, Refusal> {
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or(Refusal::Malformed("a line ends in a bare line feed"))?;
        match self.place {
            Place::RequestLine => self.place = Place::Fields,
            Place::Fields if line.is_empty() => {
                self.place = match (self.chunked, self.length) {
                    (true, _) => Place::ChunkSize,
                    (false, Some(length)) if length > 0 => Place::Body(length, false),
                    _ => Place::Between,
                };
                self.head_bytes = 0;
                self.length = None;
                self.chunked = false;
                return Ok(true);
            }
            Place::Fields => self.take_field(line)?,
            Place::ChunkSize => {
                self.head_bytes = 0;
                self.place = match chunk_size(line)? {
                    0 => Place::Trailers,
                    // The chunk's own line end is walked over with it.
                    size => Place::Body(size.saturating_add(2), true),
                };
            }
            Place::Trailers if line.is_empty() => {
                self.head_bytes = 0;
                self.place = Place::Between;
            }
            Place::Trailers | Place::Between | Place::Body(..) => {}
        }
        Ok(false)
    }

    /// Looks at the two fields that frame a message (RFC 9112, 6).
    fn take_field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        const AMBIGUOUS: Refusal =
            Refusal::Malformed("Content-Length stands beside Transfer-Encoding");
        // Names of 14 and 17 bytes that start with c or t: other lines are left at once.
        let (Some(b'c' | b'C' | b't' | b'T'), Some(name)) = (line.first(), field_name(line)) else {
            return Ok(());
        };
        let value = line[name.len() + 1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.chunked {
                return Err(AMBIGUOUS);
            }
            if self.length.is_some() {
                return Err(Refusal::Malformed("more than one Content-Length"));
            }
            self.length = Some(decimal(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.length.is_some() {
                return Err(AMBIGUOUS);
            }
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed(
                    "the only transfer coding known is chunked",
                ));
            }
            self.chunked = true;
        }
        Ok(())
    }
}

/// The name on a line, if it has the length of one that matters.
fn field_name(line: &[u8]) -> Option<&[u8]> {
    [14, 17]
        .into_iter()
        .find(|end| line.get(*end) == Some(&b':'))
        .map(|end| &line[..end])
}

fn decimal(digits: &[u8]) -> Result<u64, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("Content-Length is not a number");
    // The parser keeps the last two for itself, and would call them too large.
    const MAX: u64 = u64::MAX - 2;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .filter(|length| *length <= MAX)
        .ok_or(MALFORMED)
}

fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("a chunk's size is not a number");
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    let digits = line[..end].trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(MALFORMED);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks through `input` in pieces of every size; returns the heads passed or the refusal.
    fn walk(input: &[u8]) -> Result<u32, Refusal> {
        let mut results = (1..=input.len()).map(|size| {
            let (mut walk, mut heads) = (Walk::default(), 0);
            for piece in input.chunks(size) {
                let mut at = 0;
                while at < piece.len() {
                    let Step { taken, ends_head } = walk.step(&piece[at..], 200)?;
                    assert!(taken > 0, "no progress");
                    at += taken;
                    heads += u32::from(ends_head);
                }
            }
            Ok(heads)
        });
        let first = results.next().expect("an input");
        assert!(
            results.all(|result| result == first),
            "pieces change the walk"
        );
        first
    }

    #[test]
    fn heads_are_found_behind_every_kind_of_body() {
        let input = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n\
            POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\nGET / HTTP\r\n\
            \r\nPOST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n\
            5;x=y\r\n12\r\n3\r\n00a\r\n\n\n\n\n\n\n\n\n\n\n\r\n0\r\nt: x\r\n\r\n\
            GET / HTTP/1.1\r\n\r\n";
        assert_eq!(walk(input), Ok(4));
    }

    #[test]
    fn ambiguous_and_endless_heads_are_refused() {
        let long = "a".repeat(200);
        for (input, refusal) in [
            ("GET / HTTP/1.1\nhost: a\n\n".to_owned(), "bare"),
            ("GET / HTTP/1.1\r\nhost: a\n\r\n".to_owned(), "bare"),
            (
                "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
                    .to_owned(),
                "beside",
            ),
            (
                "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n"
                    .to_owned(),
                "beside",
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 1\r\n\r\n".to_owned(),
                "more than one",
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n".to_owned(),
                "not a number",
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n".to_owned(),
                "not a number",
            ),
            (
                "GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n".to_owned(),
                "coding",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n"
                    .to_owned(),
                "size",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n".to_owned(),
                "size",
            ),
            (format!("GET /{long} HTTP/1.1\r\n"), "TargetTooLong"),
            (format!("GET / HTTP/1.1\r\na: {long}\r\n"), "HeadTooLarge"),
        ] {
            let result = walk(input.as_bytes());
            let text = format!("{result:?}");
            assert!(
                result.is_err() && text.contains(refusal),
                "{input:?}: {text}"
            );
        }
    }
}
