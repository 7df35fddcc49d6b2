//! A stream that ends where a server says more than anybody asked for.
//!
//! redis keeps an answer until all of it has come, and has no limit for that.

use pin_project_lite::pin_project;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may come without our having said anything, as most of them. An answer of ours has some 30.
const MOST: usize = 256 * 1024;

/// Bytes that may come for each that we send. A command has 150 of them, and an error in answer to it some 200.
const FOR_EACH: usize = 4;

pin_project! {
    pub(super) struct Bounded<S> {
        #[pin]
        inner: S,
        left: usize,
    }
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, left: MOST }
    }
}

impl<S: AsyncRead> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buf.filled().len();
        ready!(this.inner.poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        let Some(left) = this.left.checked_sub(read) else {
            let error = "the server says more than it was asked for";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        };
        *this.left = left;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite> AsyncWrite for Bounded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.inner.poll_write(cx, buf))?;
        let more = written.saturating_mul(FOR_EACH);
        *this.left = this.left.saturating_add(more).min(MOST);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}
