//! The bytes between two connections, both ways, each way to its own end.
//!
//! tokio's `copy_bidirectional` ends both ways when one cannot write, and what a server has said before it hung up
//! is lost then; and it keeps two buffers for as long as a connection is idle. Here a connection that is idle, or
//! whose peers read as fast as the others write, has none.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once, and the most that is held for a peer who does not read.
const CHUNK: usize = 16 * 1024;

/// How many bytes went each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) to_server: u64,
    pub(super) to_client: u64,
}

/// Copies until both sides have said all that they had to say. The end of one is passed on and does not end the
/// other.
///
/// # Errors
/// One side broke off.
pub(super) async fn copy<C, S>(client: &mut C, server: &mut S) -> io::Result<Copied>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut to_server = Way::default();
    let mut to_client = Way::default();
    std::future::poll_fn(|cx| {
        let there = to_server.poll(cx, client, server)?;
        let back = to_client.poll(cx, server, client)?;
        match there.is_ready() && back.is_ready() {
            true => Poll::Ready(io::Result::Ok(())),
            false => Poll::Pending,
        }
    })
    .await?;
    Ok(Copied {
        to_server: to_server.copied,
        to_client: to_client.copied,
    })
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    copied: u64,
    /// What was read and could not be written yet, and how much of it has been since.
    rest: Vec<u8>,
    written: usize,
    state: State,
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
            Ok(()) | Err(Broken::Writing) => {
                self.rest = Vec::new();
                self.state = State::Over;
                Poll::Ready(Ok(()))
            }
        }
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
    Writing,
}

/// Everything that is done to the writer.
impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Writing
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
    use tokio_test::io::Builder;
    use tokio_test::task;

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
        let copying = async move { copy(&mut client_end, &mut server_end).await };
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
        let copying = async move { copy(&mut client_end, &mut server).await };
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
                true => copy(&mut other_end, &mut one).await,
                false => copy(&mut one, &mut other_end).await,
            };
            assert_eq!(copied.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }
}
