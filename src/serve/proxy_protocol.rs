//! The PROXY protocol from those in front of us: a layer of connections that reads the header and goes by what it says.
//!
//! It is asked for, not looked for: where it is on, a connection without a header is refused, and so is one from a peer
//! that is not trusted, before a byte of it is read. Whoever could choose whether there is a header could choose who he is.

use crate::stack::drain::Phase;
use crate::stack::proxy_header::{self, Addresses, HeaderError, Progress, Said};
use crate::stack::{Connection, Socket};
use a3s_layers::connection::HasPeer;
use a3s_layers::peer::TrustedProxies;
use bytes::Buf;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tower::{Layer, Service};

/// What is read at once: the usual header, and what the client says with it.
const CHUNK: usize = 512;

/// Goes by the headers of some peers, and refuses everybody else.
#[derive(Debug, Clone)]
pub struct ProxyProtocolLayer {
    terms: Terms,
}

#[derive(Debug, Clone)]
struct Terms {
    trusted: TrustedProxies,
    timeout: Duration,
}

impl ProxyProtocolLayer {
    /// Believes the headers of those who are `trusted`. A header must be there within `timeout`.
    pub fn new(trusted: TrustedProxies, timeout: Duration) -> Self {
        Self {
            terms: Terms { trusted, timeout },
        }
    }
}

impl<S> Layer<S> for ProxyProtocolLayer {
    type Service = ProxyProtocol<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ProxyProtocol {
            inner,
            terms: self.terms.clone(),
        }
    }
}

/// The service made by [`ProxyProtocolLayer`]. Always ready, as connections' services are.
#[derive(Debug, Clone)]
pub struct ProxyProtocol<S> {
    inner: S,
    terms: Terms,
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the peer is not trusted")]
    Untrusted,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the PROXY header did not come in time")]
    Slow,
    #[error("the connection ended within the PROXY header: {0}")]
    Broken(#[from] io::Error),
    #[error("cut off")]
    CutOff,
}

impl<S> Service<Connection> for ProxyProtocol<S>
where
    S: Service<Connection, Response = (), Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut connection: Connection) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let terms = self.terms.clone();
        Box::pin(async move {
            match terms.read(&mut connection).await {
                Ok(Said::Itself) => {}
                Ok(Said::Proxied(Addresses {
                    source,
                    destination,
                })) => {
                    let peer = connection.peer.proxied(source, destination);
                    connection.peer = Arc::new(peer);
                }
                Err(refused) => {
                    let peer = connection.peer.address();
                    tracing::debug!(%peer, error = %refused, "a connection is refused");
                    connection.refuse();
                    return Ok(());
                }
            }
            inner.call(connection).await
        })
    }
}

impl Terms {
    /// Reads the header. What comes behind it stays with the connection.
    async fn read(&self, connection: &mut Connection) -> Result<Said, Refused> {
        if !self.trusted.contains(connection.peer_ip()) {
            return Err(Refused::Untrusted);
        }
        let Connection {
            io, ahead, ticket, ..
        } = connection;
        let header = async {
            loop {
                if !ahead.is_empty()
                    && let Progress::Whole(said, length) = proxy_header::read(ahead)?
                {
                    ahead.advance(length);
                    return Ok(said);
                }
                ahead.reserve(CHUNK);
                if read(io, ahead).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
        };
        tokio::select! {
            header = tokio::time::timeout(self.timeout, header) => {
                header.unwrap_or(Err(Refused::Slow))
            }
            () = ticket.reaches(Phase::Over) => Err(Refused::CutOff),
        }
    }
}

async fn read(io: &mut Socket, ahead: &mut bytes::BytesMut) -> io::Result<usize> {
    io.read_buf(ahead).await
}
