//! The bytes between two connections, both ways, each way to its own end.
//!
//! tokio's `copy_bidirectional` ends both ways when one cannot write, and what a server has said before it hung up
//! is lost then; and it keeps two buffers for as long as a connection is idle. Here a connection that is idle, or
//! whose peers read as fast as the others write, has none.
//!
//! While a peer does not read, the other is not read from either, and reading is what tells that he has broken off. He
//! is watched for that meanwhile: a client who is gone must not keep his place for as long as a server likes.

mod stillness;

use crate::stack::Socket;
use bytes::BytesMut;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use stillness::Stillness;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// What is read at once, and the most that is held for a peer who does not read.
const CHUNK: usize = 16 * 1024;

/// How long a server may take nothing of what a client said who ended and is gone since.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many bytes went each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) to_server: u64,
    pub(super) to_client: u64,
}

/// What was read already of either side, and goes before the rest.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    pub(super) of_client: BytesMut,
    pub(super) of_server: BytesMut,
}

/// What is looked after while bytes go.
#[derive(Clone, Copy, Default)]
pub(super) struct Watch<'a> {
    /// How long nothing may go either way.
    pub(super) idle: Option<Duration>,
    /// Is told how many more bytes were read, of the client and of the server.
    pub(super) moved: Option<&'a (dyn Fn(u64, u64) + Sync)>,
}

/// Nothing went either way for too long.
#[derive(Debug, thiserror::Error)]
#[error("idle for too long")]
struct Idle;

/// Whether that was the end of a copying.
pub(super) fn is_idle(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Idle>())
}

/// A stream whose other end may break off while nobody reads.
pub(super) trait Breaks {
    /// Waits until the other end has broken off. That it has said all that it had to say is no such thing.
    fn broken(&self) -> impl Future<Output = io::Error> + Send;
}

impl Breaks for Socket {
    fn broken(&self) -> impl Future<Output = io::Error> + Send {
        Socket::broken(self)
    }
}

/// Copies until both sides have said all that they had to say, first of all what was read `ahead`. The end of one is
/// passed on and does not end the other.
///
/// # Errors
/// One side broke off, or nothing went for too long. What a side has said before that is passed on as far as the other
/// takes it without a wait.
pub(super) async fn copy<C, S>(
    client: &mut C,
    server: &mut S,
    ahead: Ahead,
    watch: Watch<'_>,
) -> io::Result<Copied>
where
    C: AsyncRead + AsyncWrite + Breaks + Unpin,
    S: AsyncRead + AsyncWrite + Breaks + Unpin,
{
    let mut ways = Ways::default();
    ways.to_server.begin_with(ahead.of_client);
    ways.to_client.begin_with(ahead.of_server);
    let mut progress = Progress::default();
    let mut stillness = pin!(Stillness::new(watch.idle));
    loop {
        let polled = std::future::poll_fn(|cx| Poll::Ready(ways.poll(cx, client, server)));
        let copied = polled.await;
        if progress.goes_on(&ways, watch) {
            stillness.as_mut().put_off();
        }
        if let Poll::Ready(copied) = copied {
            return copied;
        }
        if ways.woken(client, server, stillness.as_mut()).await {
            return Err(io::Error::new(io::ErrorKind::TimedOut, Idle));
        }
    }
}

/// How far both ways had got.
#[derive(Default)]
struct Progress {
    read: Copied,
    passed: u64,
}

impl Progress {
    /// Whether there is any since the last time.
    fn goes_on(&mut self, ways: &Ways, watch: Watch<'_>) -> bool {
        let before = std::mem::replace(&mut self.read, ways.copied());
        let passed = ways.to_server.passed() + ways.to_client.passed();
        let has_passed = std::mem::replace(&mut self.passed, passed) != passed;
        let has_read = before != self.read;
        if let (true, Some(moved)) = (has_read, watch.moved) {
            let read = self.read;
            moved(
                read.to_server - before.to_server,
                read.to_client - before.to_client,
            );
        }
        has_read || has_passed
    }
}

/// Both directions.
#[derive(Debug, Default)]
struct Ways {
    to_server: Way,
    to_client: Way,
    /// How far the server had got with what a client said who is gone, and until when it must get further.
    patience: Option<(u64, Instant)>,
}

impl Ways {
    fn poll<C, S>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        server: &mut S,
    ) -> Poll<io::Result<Copied>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self {
            to_server,
            to_client,
            ..
        } = self;
        let there = to_server.poll(cx, client, server)?;
        let back = to_client.poll(cx, server, client)?;
        // Whoever cannot be written to has gone as a reader, and is known to have broken off before he is read from.
        learn(&mut to_server.source, &mut to_client.refused);
        learn(&mut to_client.source, &mut to_server.refused);
        let copied = Copied {
            to_server: to_server.copied,
            to_client: to_client.copied,
        };
        for way in [&mut *to_server, &mut *to_client] {
            if way.reads() {
                continue;
            }
            if let Some(error) = way.source.take_if(|error| is_reset(error)) {
                return Poll::Ready(Err(error));
            }
            // It has been heard out, and hears no more.
            if way.state == State::Over && way.source.is_some() {
                return Poll::Ready(Ok(copied));
            }
        }
        if self.is_out_of_patience() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        match there.is_ready() && back.is_ready() {
            true => Poll::Ready(Ok(copied)),
            false => Poll::Pending,
        }
    }

    /// How many bytes were read.
    fn copied(&self) -> Copied {
        Copied {
            to_server: self.to_server.copied,
            to_client: self.to_client.copied,
        }
    }

    /// Whether a server takes too long over the last words of a client who is gone. A client may take his time to hear
    /// a server out that is gone: the place is his.
    fn is_out_of_patience(&mut self) -> bool {
        if self.to_server.reads() || self.to_server.source.is_none() {
            self.patience = None;
            return false;
        }
        let passed = self.to_server.passed();
        let now = Instant::now();
        match self.patience {
            Some((before, until)) if before == passed => until <= now,
            _ => {
                self.patience = Some((passed, now + PATIENCE));
                false
            }
        }
    }

    /// Waits until the task is woken, by whatever it was that the ways wait for, or by the breaking off of a side that
    /// is not read from. It is woken once for each: an error that is known is not watched for again. Whether it was
    /// still for too long.
    async fn woken<C: Breaks, S: Breaks>(
        &mut self,
        client: &C,
        server: &S,
        mut stillness: Pin<&mut Stillness>,
    ) -> bool {
        let (mut client, mut server) = (pin!(client.broken()), pin!(server.broken()));
        let until = self.patience.map(|(_, until)| until);
        let mut out_of_patience = pin!(sleep_until(until.unwrap_or_else(Instant::now)));
        let mut is_woken = false;
        std::future::poll_fn(|cx| {
            let is_news = self.to_server.watch(cx, client.as_mut())
                | self.to_client.watch(cx, server.as_mut());
            let is_over = until.is_some() && out_of_patience.as_mut().poll(cx).is_ready();
            let has_first = !std::mem::replace(&mut is_woken, true);
            match stillness.as_mut().poll(cx).is_ready() {
                // There may be something to read at last.
                true if has_first => Poll::Ready(true),
                _ if !has_first || is_news || is_over => Poll::Ready(false),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

fn learn(known: &mut Option<io::Error>, news: &mut Option<io::Error>) {
    if let Some(error) = news.take() {
        known.get_or_insert(error);
    }
}

/// Whether a side broke off in the middle of what it had to say. TCP tells the reset of a peer who had ended before
/// as a broken pipe.
fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, NotConnected, WriteZero};
    !matches!(error.kind(), BrokenPipe | NotConnected | WriteZero)
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    copied: u64,
    /// What was read and could not be written yet, and how much of it has been since.
    rest: Vec<u8>,
    written: usize,
    state: State,
    /// Why the one who is read from is known to be gone, though there may be more of him to read.
    source: Option<io::Error>,
    /// Why the one who is written to takes no more.
    refused: Option<io::Error>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// There is nothing more to read.
    Ending,
    Over,
}

impl Way {
    /// What was read of its source already.
    fn begin_with(&mut self, ahead: BytesMut) {
        self.copied = ahead.len() as u64;
        self.rest = ahead.into();
    }

    /// Whether its source is read from, and not left alone because of a peer who does not read, or since it has ended.
    fn reads(&self) -> bool {
        self.written == self.rest.len() && self.state != State::Over
    }

    /// What has been written of what was read.
    fn passed(&self) -> u64 {
        self.copied - (self.rest.len() - self.written) as u64
    }

    /// Whether the source turns out to have broken off, where reading does not tell.
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        broken: Pin<&mut impl Future<Output = io::Error>>,
    ) -> bool {
        if self.reads() || self.source.is_some() {
            return false;
        }
        let Poll::Ready(error) = broken.poll(cx) else {
            return false;
        };
        self.source = Some(error);
        true
    }

    /// Copies as much as it can. Ready where there is no more to come; it fails where reading fails.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        match ready!(self.poll_to_end(cx, from, to)) {
            Err(Broken::Reading(error)) => Poll::Ready(Err(error)),
            // A peer who hears no more may still have something to say: that he has hung up altogether is found when
            // he is read from.
            Err(Broken::Writing(error)) => {
                self.refused = Some(error);
                self.finish();
                Poll::Ready(Ok(()))
            }
            Ok(()) => {
                self.finish();
                Poll::Ready(Ok(()))
            }
        }
    }

    fn finish(&mut self) {
        self.rest = Vec::new();
        self.written = 0;
        self.state = State::Over;
    }

    fn poll_to_end<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while self.written < self.rest.len() {
                let rest = &self.rest[self.written..];
                self.written += ready!(poll_write(cx, to, rest))?;
            }
            self.rest = Vec::new();
            self.written = 0;
            match self.state {
                State::Open => ready!(self.poll_chunk(cx, from, to))?,
                State::Ending => return Pin::new(to).poll_shutdown(cx).map_err(Into::into),
                State::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads once, and writes what of it can be written at once.
    fn poll_chunk<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut space = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut space);
        match Pin::new(from).poll_read(cx, &mut chunk) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Reading(error))),
            Poll::Pending => {
                // Nothing more for now: what is on its way must not wait for it.
                ready!(Pin::new(to).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
        let chunk = chunk.filled();
        if chunk.is_empty() {
            // A reset is told once: whoever has heard of it already reads an end that is none.
            if let Some(error) = self.source.take_if(|error| is_reset(error)) {
                return Poll::Ready(Err(Broken::Reading(error)));
            }
            self.state = State::Ending;
            return Poll::Ready(Ok(()));
        }
        self.copied += chunk.len() as u64;
        let written = match poll_write(cx, to, chunk)? {
            Poll::Ready(written) => written,
            Poll::Pending => 0,
        };
        self.rest.extend_from_slice(&chunk[written..]);
        Poll::Ready(Ok(()))
    }
}

/// Where a way broke.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

/// Everything that is done to the writer.
impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Writing(error)
    }
}

fn poll_write<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    to: &mut W,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes)) {
        // Whoever takes nothing will take nothing later.
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(written),
    }
}

#[cfg(test)]
mod tests;
