//! A byte stream to a client or a server, whatever it runs over.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// An open stream.
#[derive(Debug)]
pub enum Socket {
    /// TCP in the clear.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS to a server.
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! each {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
            Socket::Tls($stream) => $call,
        }
    };
}

impl Socket {
    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
            // What is decrypted already is not the kernel's to tell.
            Self::Tls(_) => Ok(()),
        }
    }

    /// Waits until the other end has broken off, whether or not there is something to read. A half-close is not told.
    pub async fn broken(&self) -> io::Error {
        let error = match self {
            Self::Tcp(stream) => stream.ready(Interest::ERROR).await.and(stream.take_error()),
            Self::Unix(stream) => stream.ready(Interest::ERROR).await.and(stream.take_error()),
            Self::Tls(stream) => {
                let stream = stream.get_ref().0;
                stream.ready(Interest::ERROR).await.and(stream.take_error())
            }
        };
        // Somebody else may have been told already.
        error.map_or_else(
            |error| error,
            |error| error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        )
    }

    /// Has the kernel ask the other end, from time to time, whether it is still there: first when it has been silent
    /// for so long.
    pub fn ask_if_silent(&self, silence: Duration) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            // It is on this machine.
            Self::Unix(_) => return,
        };
        let keep_alive = TcpKeepalive::new().with_time(silence);
        // Where that is not possible, a peer that has vanished is found when it is written to.
        let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
    }

    /// Has the kernel break off where the other end takes nothing of what there is for it for so long, and counts as
    /// gone. Only Linux can.
    pub fn give_up_after(&self, time: Duration) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return,
        };
        #[cfg(target_os = "linux")]
        {
            let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            // Where that is not possible, the kernel goes by its own patience.
            let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (stream, time);
    }

    /// Sees to it that it is reset when it is dropped: the other end cannot take that for the end of what was to be
    /// said. A Unix socket knows no such way.
    pub fn reset_on_drop(&self) {
        // A socket that cannot be told is closed as any other.
        let _ = match self {
            Self::Tcp(stream) => stream.set_zero_linger(),
            Self::Unix(_) => Ok(()),
            Self::Tls(stream) => stream.get_ref().0.set_zero_linger(),
        };
    }

    /// Takes [`Socket::reset_on_drop`] back.
    pub fn close_on_drop(&self) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(_) => return,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let _ = SockRef::from(stream).set_linger(None);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head without a body is the common case, and `send` is cheaper than `writev`.
        if let [one] = bufs {
            return self.poll_write(cx, one);
        }
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_gives_up_on_a_peer_who_takes_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = Socket::Tcp(TcpStream::connect(address).await.unwrap());
        socket.give_up_after(Duration::from_secs(600));
        let Socket::Tcp(stream) = &socket else {
            unreachable!()
        };
        let millis = rustix::net::sockopt::tcp_user_timeout(stream).unwrap();
        assert_eq!(millis, 600_000);
    }
}
