//! The PROXY protocol from those in front of us: reads the header of connections and goes by what it says.
//!
//! It is asked for, not looked for: where it is on, a connection without a header is refused, and so is one from a peer
//! that is not trusted, before a byte of it is read. Whoever could choose whether there is a header could choose who he is.

use super::before::Before;
use crate::stack::drain::Phase;
use crate::stack::proxy_header::{self, Addresses, HeaderError, Progress, Said};
use crate::stack::{Connection, Socket};
use a3s_layers::connection::HasPeer;
use a3s_layers::peer::TrustedProxies;
use bytes::Buf;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What is read at once: the usual header, and what the client says with it.
const CHUNK: usize = 512;

/// Goes by the headers of some peers, and refuses everybody else.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    trusted: TrustedProxies,
    timeout: Duration,
}

impl ProxyProtocol {
    /// Believes the headers of those who are `trusted`. A header must be there within `timeout`.
    pub fn new(trusted: TrustedProxies, timeout: Duration) -> Self {
        Self { trusted, timeout }
    }
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

impl Before for ProxyProtocol {
    async fn admit(self, mut connection: Connection) -> Option<Connection> {
        match self.read(&mut connection).await {
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
                return None;
            }
        }
        Some(connection)
    }
}

impl ProxyProtocol {
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
