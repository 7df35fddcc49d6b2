//! Who may connect, and how often: layers of a service that is called with connections.
//!
//! A connection is any type that [can tell its peer](HasPeer); a service of connections is done with one when its
//! future ends. A peer that is refused gets no answer: its connection ends, and the service below never sees it.
//!
//! ```
//! use a3s_layers::connection::{AllowLayer, ConnectionLimits, LimitLayer};
//! use std::{convert::Infallible, net::SocketAddr};
//! use tokio::io::AsyncWriteExt;
//! use tokio::net::{TcpListener, TcpStream};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let limits = ConnectionLimits { max: Some(10_000), max_per_ip: Some(100), ..Default::default() };
//! let service = ServiceBuilder::new()
//!     .layer(AllowLayer::new(["127.0.0.0/8".parse().unwrap()]))
//!     .layer(LimitLayer::new(limits))
//!     .service(service_fn(|(mut stream, _): (TcpStream, SocketAddr)| async move {
//!         let _ = stream.write_all(b"hello").await;
//!         Ok::<_, Infallible>(())
//!     }));
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
//! let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
//! service.clone().oneshot(listener.accept().await.unwrap()).await.unwrap();
//! # client.readable().await.unwrap();
//! # let mut hello = [0; 5];
//! # assert_eq!(client.try_read(&mut hello).unwrap(), 5);
//! # });
//! ```

mod allow;
mod limit;
mod rate;

pub use allow::{Allow, AllowLayer};
pub use limit::{ConnectionLimits, ConnectionRate, Limit, LimitLayer, Permit};

use pin_project_lite::pin_project;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;

/// A connection that can tell who is at its other end.
pub trait HasPeer: Sized {
    /// The peer's address.
    fn peer_ip(&self) -> IpAddr;

    /// Ends a connection that is refused. It is dropped, unless the type knows a clearer way.
    fn refuse(self) {}
}

/// What `TcpListener::accept` gives.
impl HasPeer for (TcpStream, SocketAddr) {
    fn peer_ip(&self) -> IpAddr {
        self.1.ip()
    }

    /// Resets it: the peer cannot take that for an empty answer, and nothing of the connection stays with the
    /// kernel, which would keep one that we close first for a minute (`TIME_WAIT`).
    fn refuse(self) {
        // A socket that knows no such option is closed as any other.
        let _ = self.0.set_zero_linger();
    }
}

pin_project! {
    /// The future of a layer that lets a connection in or refuses it.
    ///
    /// `F` is the future of the service below, and `P` what is held until that has ended.
    pub struct AdmitFuture<F, P = ()> {
        // In this order: what is held is given back when the connection is gone.
        #[pin]
        inner: Option<F>,
        permit: Option<P>,
    }
}

impl<F, P> AdmitFuture<F, P> {
    fn admit(inner: F, permit: P) -> Self {
        Self {
            inner: Some(inner),
            permit: Some(permit),
        }
    }

    fn refuse(connection: impl HasPeer) -> Self {
        connection.refuse();
        Self {
            inner: None,
            permit: None,
        }
    }
}

impl<F: Future<Output = Result<R, E>>, P, R: Default, E> Future for AdmitFuture<F, P> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(R::default()));
        };
        let result = ready!(inner.poll(cx));
        this.inner.set(None);
        *this.permit = None;
        Poll::Ready(result)
    }
}
