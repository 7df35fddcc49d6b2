//! A byte stream to a client or a server, whatever it runs over.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// An open stream.
#[derive(Debug)]
pub enum Socket {
    /// In the clear.
    Plain(Raw),
    /// Encrypted, with us at either end.
    Tls(Box<TlsStream<Raw>>),
}

/// What the kernel carries.
#[derive(Debug)]
pub enum Raw {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(Raw::Tcp(stream))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Plain(Raw::Unix(stream))
    }
}

macro_rules! each {
    ($type:ident: $first:ident, $second:ident, $value:expr, $stream:ident => $call:expr) => {
        match $value {
            $type::$first($stream) => $call,
            $type::$second($stream) => $call,
        }
    };
}

impl Raw {
    async fn readable(&self) -> io::Result<()> {
        each!(Raw: Tcp, Unix, self, stream => stream.readable().await)
    }

    async fn broken(&self) -> io::Result<Option<io::Error>> {
        each!(Raw: Tcp, Unix, self, stream => {
            stream.ready(Interest::ERROR).await.and(stream.take_error())
        })
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
        }
    }
}

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(Raw: Tcp, Unix, self, stream => stream.as_fd())
    }
}

impl Socket {
    /// What the kernel carries.
    pub fn raw(&self) -> &Raw {
        match self {
            Self::Plain(raw) => raw,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(raw) => raw.readable().await,
            // What is decrypted already is not the kernel's to tell.
            Self::Tls(_) => Ok(()),
        }
    }

    /// Waits until the other end has broken off, whether or not there is something to read. A half-close is not told.
    pub async fn broken(&self) -> io::Error {
        // Somebody else may have been told already.
        self.raw().broken().await.map_or_else(
            |error| error,
            |error| error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        )
    }

    /// Has the kernel ask the other end, from time to time, whether it is still there: first when it has been silent
    /// for so long. Who is on this machine is not asked.
    pub fn ask_if_silent(&self, silence: Duration) {
        if let Some(stream) = self.raw().tcp() {
            let keep_alive = TcpKeepalive::new().with_time(silence);
            // Where that is not possible, a peer that has vanished is found when it is written to.
            let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
        }
    }

    /// Has the kernel break off where the other end takes nothing of what there is for it for so long, and counts as
    /// gone. Only Linux can.
    pub fn give_up_after(&self, time: Duration) {
        #[cfg(target_os = "linux")]
        if let Some(stream) = self.raw().tcp() {
            let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            // Where that is not possible, the kernel goes by its own patience.
            let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = time;
    }

    /// Sees to it that it is reset when it is dropped: the other end cannot take that for the end of what was to be
    /// said. A Unix socket knows no such way.
    pub fn reset_on_drop(&self) {
        if let Some(stream) = self.raw().tcp() {
            // A socket that cannot be told is closed as any other.
            let _ = stream.set_zero_linger();
        }
    }

    /// Takes [`Socket::reset_on_drop`] back.
    pub fn close_on_drop(&self) {
        if let Some(stream) = self.raw().tcp() {
            let _ = SockRef::from(stream).set_linger(None);
        }
    }
}

macro_rules! stream {
    ($type:ident: $first:ident, $second:ident) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                each!($type: $first, $second, self.get_mut(), stream => {
                    Pin::new(stream).poll_read(cx, buf)
                })
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                each!($type: $first, $second, self.get_mut(), stream => {
                    Pin::new(stream).poll_write(cx, buf)
                })
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
                each!($type: $first, $second, self.get_mut(), stream => {
                    Pin::new(stream).poll_write_vectored(cx, bufs)
                })
            }

            fn is_write_vectored(&self) -> bool {
                each!($type: $first, $second, self, stream => stream.is_write_vectored())
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!($type: $first, $second, self.get_mut(), stream => {
                    Pin::new(stream).poll_flush(cx)
                })
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!($type: $first, $second, self.get_mut(), stream => {
                    Pin::new(stream).poll_shutdown(cx)
                })
            }
        }
    };
}

stream!(Raw: Tcp, Unix);
stream!(Socket: Plain, Tls);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_gives_up_on_a_peer_who_takes_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = Socket::from(TcpStream::connect(address).await.unwrap());
        socket.give_up_after(Duration::from_secs(600));
        let millis = rustix::net::sockopt::tcp_user_timeout(socket.raw()).unwrap();
        assert_eq!(millis, 600_000);
    }
}
