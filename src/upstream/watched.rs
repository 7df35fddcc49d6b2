//! A connection to a server that may not send what is out of proportion to our requests: it is driven on a worker that
//! others need.

use crate::stack::Socket;
use crate::stack::conduct::{Conduct, Excess};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What looks at what a server sends.
pub(super) trait Watch {
    /// Looks at what was read.
    fn read(&mut self, bytes: &[u8]) -> Result<(), Excess>;

    /// Looks at what was sent.
    fn wrote(&mut self, _: &[u8]) {}
}

/// Fails where its server has too much to say.
#[derive(Debug)]
pub(super) struct Watched<W> {
    io: Socket,
    watch: W,
}

impl<W> Watched<W> {
    pub(super) fn new(io: Socket, watch: W) -> Self {
        Self { io, watch }
    }

    pub(super) fn into_inner(self) -> Socket {
        self.io
    }
}

/// HTTP/2 has its frames looked at.
impl Watch for Conduct {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        Self::read(self, bytes).map(drop)
    }

    fn wrote(&mut self, bytes: &[u8]) {
        Self::wrote(self, bytes);
    }
}

/// The bytes that a server of HTTP/1.1 may still send before the head of its answer is there: interim answers (1xx),
/// of which there may be any number (RFC 9110, 15.2), and the parser stops at none of them. Whoever asks and whatever
/// is read share it.
#[derive(Debug, Clone)]
pub(super) struct BeforeHead(Arc<AtomicUsize>);

/// More than the longest head, and what may be read with it of the body.
const MOST_BEFORE_HEAD: usize = 256 * 1024;
const _: () = assert!(MOST_BEFORE_HEAD >= 2 * super::link::MAX_BUFFER);

impl BeforeHead {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(MOST_BEFORE_HEAD)))
    }

    /// A request is sent.
    pub(super) fn begin(&self) {
        self.0.store(MOST_BEFORE_HEAD, Ordering::Relaxed);
    }

    /// The head is there: what comes now is as long as it likes.
    pub(super) fn end(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }
}

impl Watch for BeforeHead {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        // One task at a time has the connection.
        let left = self.0.load(Ordering::Relaxed);
        if left != usize::MAX {
            let left = left.checked_sub(bytes.len()).ok_or(Excess::Heads)?;
            self.0.store(left, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<W: Watch + Unpin> AsyncRead for Watched<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = self.watch.read(&buf.filled()[before..]);
        Poll::Ready(read.map_err(io::Error::other))
    }
}

impl<W: Watch + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.watch.wrote(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let mut rest = written;
        for buf in bufs {
            let part = &buf[..rest.min(buf.len())];
            rest -= part.len();
            self.watch.wrote(part);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
