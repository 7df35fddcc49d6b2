//! The bytes between two connections, both ways, each way to its own end.
//!
//! tokio's `copy_bidirectional` ends both ways when one cannot write, and what a server has said before it hung up
//! is lost then; and it keeps two buffers for as long as a connection is idle. Here a connection that is idle, or
//! whose peers read as fast as the others write, has none.
//!
//! While a peer does not read, the other is not read from either, and reading is what tells that he has broken off. He
//! is watched for that meanwhile: a client who is gone must not keep his place for as long as a server likes.

use crate::stack::Socket;
use bytes::BytesMut;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
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

/// Copies until both sides have said all that they had to say, first of all what was read `ahead`. The end of one is passed on and does not end the
/// other.
///
/// # Errors
/// One side broke off. What it has said before that is passed on as far as the other takes it without a wait.
pub(super) async fn copy<C, S>(client: &mut C, server: &mut S, ahead: Ahead) -> io::Result<Copied>
where
    C: AsyncRead + AsyncWrite + Breaks + Unpin,
    S: AsyncRead + AsyncWrite + Breaks + Unpin,
{
    let mut ways = Ways::default();
    ways.to_server.begin_with(ahead.of_client);
    ways.to_client.begin_with(ahead.of_server);
    loop {
        let polled = std::future::poll_fn(|cx| Poll::Ready(ways.poll(cx, client, server)));
        if let Poll::Ready(copied) = polled.await {
            return copied;
        }
        ways.woken(client, server).await;
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
    /// is not read from. It is woken once for each: an error that is known is not watched for again.
    async fn woken<C: Breaks, S: Breaks>(&mut self, client: &C, server: &S) {
        let (mut client, mut server) = (pin!(client.broken()), pin!(server.broken()));
        let until = self.patience.map(|(_, until)| until);
        let mut out_of_patience = pin!(sleep_until(until.unwrap_or_else(Instant::now)));
        let mut is_woken = false;
        std::future::poll_fn(|cx| {
            let is_news = self.to_server.watch(cx, client.as_mut())
                | self.to_client.watch(cx, server.as_mut());
            let is_over = until.is_some() && out_of_patience.as_mut().poll(cx).is_ready();
            match std::mem::replace(&mut is_woken, true) || is_news || is_over {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
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
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::oneshot;
    use tokio_test::io::{Builder, Mock};
    use tokio_test::task;

    /// It only ends.
    impl Breaks for DuplexStream {
        async fn broken(&self) -> io::Error {
            std::future::pending().await
        }
    }

    impl Breaks for Mock {
        async fn broken(&self) -> io::Error {
            std::future::pending().await
        }
    }

    /// An end of a socket, and what the kernel will tell of the other end.
    struct Kernel {
        io: DuplexStream,
        news: tokio::sync::Mutex<oneshot::Receiver<ErrorKind>>,
    }

    impl Breaks for Kernel {
        async fn broken(&self) -> io::Error {
            let news = &mut *self.news.lock().await;
            news.await.expect("asked once it is known").into()
        }
    }

    impl AsyncRead for Kernel {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Kernel {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().io).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
        }
    }

    fn kernel(room: usize) -> (DuplexStream, oneshot::Sender<ErrorKind>, Kernel) {
        let (peer, io) = duplex(room);
        let (tell, news) = oneshot::channel();
        let news = tokio::sync::Mutex::new(news);
        (peer, tell, Kernel { io, news })
    }

    /// A copying between two peers, to be polled by hand, and the peers.
    fn between(
        room: usize,
    ) -> (
        task::Spawn<impl Future<Output = io::Result<Copied>>>,
        DuplexStream,
        DuplexStream,
    ) {
        let (client, mut client_end) = duplex(room);
        let (server, mut server_end) = duplex(room);
        let copying = async move { copy(&mut client_end, &mut server_end, Ahead::default()).await };
        (task::spawn(copying), client, server)
    }

    #[tokio::test]
    async fn each_side_may_end_before_the_other() {
        let (mut copying, mut client, mut server) = between(64);
        let mut buffer = [0; 64];
        assert!(copying.poll().is_pending());

        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        assert!(copying.is_woken() && copying.poll().is_pending());
        let read = server.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..read], b"question");
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0);

        server.write_all(b"an").await.unwrap();
        assert!(copying.is_woken() && copying.poll().is_pending());
        server.write_all(b"swer").await.unwrap();
        server.shutdown().await.unwrap();
        let copied = copying.await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        let (to_server, to_client) = (8, 6);
        assert_eq!(
            copied,
            Copied {
                to_server,
                to_client
            }
        );
    }

    #[tokio::test]
    async fn a_peer_who_does_not_read_holds_up_the_other() {
        let (mut copying, mut client, mut server) = between(8);
        let mut sent = 0;
        while let std::task::Poll::Ready(written) = task::spawn(client.write(&[7; 8])).poll() {
            sent += written.unwrap();
            assert!(copying.poll().is_pending());
            assert!(sent <= CHUNK + 2 * 8, "{sent}");
        }
        drop(client);
        let reading = async move {
            let mut read = Vec::new();
            server.read_to_end(&mut read).await.unwrap();
            drop(server);
            read
        };
        let (copied, read) = tokio::join!(copying, reading);
        assert_eq!(read, vec![7; sent]);
        assert_eq!(copied.unwrap().to_server, sent as u64);
    }

    #[tokio::test]
    async fn what_a_server_says_before_it_hangs_up_is_not_lost() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let mut server = Builder::new()
            .write_error(broken())
            .read(b"no")
            .wait(std::time::Duration::ZERO)
            .read(b" more")
            .build();
        let (client, mut client_end) = duplex(64);
        let copying = async move { copy(&mut client_end, &mut server, Ahead::default()).await };
        let (mut reading, mut writing) = tokio::io::split(client);
        writing.write_all(b"question").await.unwrap();
        let answering = async move {
            let mut answer = [0; 7];
            reading.read_exact(&mut answer).await.unwrap();
            answer
        };
        let (copied, answer) = tokio::join!(copying, answering);
        assert_eq!(&answer, b"no more");
        assert_eq!(copied.unwrap().to_client, 7);
    }

    #[tokio::test]
    async fn a_side_that_breaks_off_ends_both() {
        for server_breaks in [true, false] {
            let broken = || io::Error::from(ErrorKind::ConnectionReset);
            let mut one = Builder::new().read(b"half").read_error(broken()).build();
            let (_other, mut other_end) = duplex(64);
            let copied = match server_breaks {
                true => copy(&mut other_end, &mut one, Ahead::default()).await,
                false => copy(&mut one, &mut other_end, Ahead::default()).await,
            };
            assert_eq!(copied.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_breaks_off_while_the_other_does_not_read_ends_both() {
        use ErrorKind::{BrokenPipe, ConnectionReset};
        for (is_client, kind, ends) in [
            (true, ConnectionReset, true),
            (false, ConnectionReset, true),
            // It had said everything before.
            (true, BrokenPipe, false),
            (false, BrokenPipe, false),
        ] {
            let (mut one, tell, mut one_end) = kernel(64);
            let (mut other, _alive, mut other_end) = kernel(8);
            let copying = async move {
                match is_client {
                    true => copy(&mut one_end, &mut other_end, Ahead::default()).await,
                    false => copy(&mut other_end, &mut one_end, Ahead::default()).await,
                }
            };
            let mut copying = task::spawn(copying);
            one.write_all(&[7; 40]).await.unwrap();
            assert!(copying.poll().is_pending());
            // Whoever waits for a peer does nothing else, however much there is to read.
            one.write_all(&[7; 40]).await.unwrap();
            assert!(!copying.is_woken());

            tell.send(kind).unwrap();
            assert!(copying.is_woken(), "{is_client} {kind}");
            match copying.poll() {
                Poll::Ready(copied) => assert_eq!(copied.unwrap_err().kind(), kind),
                Poll::Pending => assert!(!ends, "{is_client} {kind}"),
            }
            if ends {
                continue;
            }
            assert!(!copying.is_woken(), "what is known is not told again");
            drop(one);
            let reading = async move {
                let mut read = Vec::new();
                other.read_to_end(&mut read).await.unwrap();
                drop(other);
                read
            };
            let (copied, read) = tokio::join!(copying, reading);
            assert_eq!(read, [7; 80]);
            let copied = copied.unwrap();
            assert_eq!(copied.to_client + copied.to_server, 80);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_hears_a_client_out_who_is_gone_as_long_as_it_listens() {
        let (mut client, tell, mut client_end) = kernel(64);
        let (mut server, _alive, mut server_end) = kernel(8);
        let copying = async move { copy(&mut client_end, &mut server_end, Ahead::default()).await };
        let mut copying = task::spawn(copying);
        client.write_all(&[7; 40]).await.unwrap();
        assert!(copying.poll().is_pending());
        tell.send(ErrorKind::BrokenPipe).unwrap();
        let almost = PATIENCE - Duration::from_millis(1);
        for _ in 0..3 {
            assert!(copying.poll().is_pending());
            tokio::time::sleep(almost).await;
            server.read_exact(&mut [0; 8]).await.unwrap();
        }
        assert!(copying.poll().is_pending());
        tokio::time::sleep(almost).await;
        assert!(!copying.is_woken());
        let copied = copying.await;
        assert_eq!(copied.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_side_that_has_ended_and_breaks_off_then_is_not_waited_for() {
        for is_client in [true, false] {
            let (mut one, tell, mut one_end) = kernel(64);
            let (mut other, _alive, mut other_end) = kernel(64);
            let copying = async move {
                match is_client {
                    true => copy(&mut one_end, &mut other_end, Ahead::default()).await,
                    false => copy(&mut other_end, &mut one_end, Ahead::default()).await,
                }
            };
            let mut copying = task::spawn(copying);
            one.write_all(b"bye").await.unwrap();
            one.shutdown().await.unwrap();
            assert!(copying.poll().is_pending());
            assert!(!copying.is_woken());
            tell.send(ErrorKind::BrokenPipe).unwrap();
            assert!(copying.is_woken());
            let copied = copying.await.unwrap();
            assert_eq!(copied.to_client + copied.to_server, 3);
            let mut read = [0; 3];
            other.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"bye");
        }
    }

    #[tokio::test]
    async fn a_reset_that_writing_has_told_of_is_not_taken_for_an_end() {
        let reset = io::Error::from(ErrorKind::ConnectionReset);
        let mut client = Builder::new().write_error(reset).read(b"ha").build();
        let (mut server, mut server_end) = duplex(64);
        server.write_all(b"answer").await.unwrap();
        let copied = copy(&mut client, &mut server_end, Ahead::default()).await;
        assert_eq!(copied.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
