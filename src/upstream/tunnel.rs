//! What goes on between a client and a server whose connections were switched to another protocol: bytes, both ways.

use super::connect::Origin;
use super::copy::{Ahead, Breaks, Watch, copy};
use crate::stack::Socket;
use crate::stack::upgrade::{ClientStream, Upgraded};
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::observe::Traffic;
use a3s_layers::peer::Peer;
use bytes::{Bytes, BytesMut};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A server that has switched.
pub(super) struct Tunnel {
    origin: Arc<Origin>,
    server: Side<Socket>,
    ahead: Bytes,
    idle_timeout: Duration,
}

impl Tunnel {
    /// To the server of `origin`, of which these bytes were read already. It ends where nothing comes of either side
    /// for the timeout, or up to twice that.
    pub(super) fn new(
        origin: Arc<Origin>,
        server: Socket,
        ahead: Bytes,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            origin,
            server: Side::new(server),
            ahead,
            idle_timeout,
        }
    }

    /// Runs until both have said all that they had to say, or one has broken off.
    pub(super) async fn run(mut self, client: Upgraded) -> Result<(), BoxError> {
        let Upgraded { io, peer, .. } = client;
        let traffic = io.traffic().clone();
        let mut course = Course::new(self.origin, peer, traffic.clone());
        let mut client = Side::new(io);
        let ahead = Ahead {
            of_server: BytesMut::from(self.ahead),
            ..Ahead::default()
        };
        let server = &mut self.server;
        let copied = tokio::select! {
            copied = copy(&mut client, server, ahead, Watch::default()) => copied,
            () = still(&traffic, self.idle_timeout) => {
                course.why = "idle";
                client.finish();
                server.finish();
                return Ok(());
            }
        };
        let Err(error) = copied else {
            course.why = "ended";
            client.finish();
            server.finish();
            return Ok(());
        };
        let (why, failure) = match client.has_broken() {
            true => ("the client broke off", Failure::RequestBody),
            false => ("the server broke off", Failure::Reset),
        };
        course.why = why;
        Err(UpstreamError::new(failure, error).into())
    }
}

/// Ends where no bytes go for so long, or up to twice that.
async fn still(traffic: &Traffic, timeout: Duration) {
    let mut before = None;
    loop {
        let now = Some((traffic.received(), traffic.sent()));
        if now == std::mem::replace(&mut before, now) {
            return;
        }
        tokio::time::sleep(timeout).await;
    }
}

/// Tells the log of the end.
struct Course {
    origin: Arc<Origin>,
    peer: Arc<Peer>,
    traffic: Traffic,
    began: Instant,
    why: &'static str,
}

impl Course {
    fn new(origin: Arc<Origin>, peer: Arc<Peer>, traffic: Traffic) -> Self {
        Self {
            origin,
            peer,
            traffic,
            began: Instant::now(),
            why: "cut off",
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        tracing::debug!(
            server = %self.origin.authority(),
            peer = %self.peer.address(),
            received = self.traffic.received(),
            sent = self.traffic.sent(),
            seconds = self.began.elapsed().as_secs_f64(),
            why = self.why,
            "a switched connection has ended"
        );
    }
}

/// A stream of which it is known whether it broke, and that is reset if it is dropped before all was said.
struct Side<S: End> {
    io: S,
    has_broken: AtomicBool,
    is_finished: bool,
}

/// What a side is made of.
trait End: Breaks {
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
    fn new(io: S) -> Self {
        Self {
            io,
            has_broken: AtomicBool::new(false),
            is_finished: false,
        }
    }

    fn has_broken(&self) -> bool {
        self.has_broken.load(Ordering::Relaxed)
    }

    fn finish(&mut self) {
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

impl<S: End + AsyncRead + Unpin> AsyncRead for Side<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.note(polled)
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
