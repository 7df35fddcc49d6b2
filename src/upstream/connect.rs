//! A server's address, and a new connection to it.

use super::tls::TlsError;
use crate::stack::Socket;
use a3s_layers::error::{Failure, UpstreamError};
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What is spoken to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/2 in the clear, with prior knowledge.
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, as the server likes.
    Https,
    /// Bytes, whatever they mean.
    Tcp,
}

/// One server as connections see it. Its pools live on the workers, and end with it.
#[derive(Debug)]
pub struct Origin {
    id: u64,
    scheme: Scheme,
    host: Box<str>,
    port: u16,
    authority: Authority,
    connect_timeout: Duration,
    idle_timeout: Duration,
    tls: Option<Tls>,
    speaks_h2: AtomicBool,
}

#[derive(Debug)]
struct Tls {
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
}

impl Origin {
    /// A server at a host and port, which `Host` calls `authority`. A new connection must be there within
    /// the first timeout, and an idle one is closed after the second. `tls` is there for [`Scheme::Https`];
    /// its second half is the name to ask for where it is not the host.
    pub fn new(
        scheme: Scheme,
        (host, port): (&str, u16),
        authority: &str,
        (connect_timeout, idle_timeout): (Duration, Duration),
        tls: Option<(Arc<rustls::ClientConfig>, Option<&str>)>,
    ) -> Result<Self, TlsError> {
        let authority = authority
            .parse()
            .map_err(|_| TlsError::Name(authority.to_owned()))?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let tls = match tls {
            Some((config, name)) => {
                let name = name.unwrap_or(host);
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| TlsError::Name(name.to_owned()))?;
                Some(Tls { config, name })
            }
            None => None,
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            scheme,
            host: host.into(),
            port,
            authority,
            connect_timeout,
            idle_timeout,
            tls,
            speaks_h2: AtomicBool::new(scheme == Scheme::H2c),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// How long a new connection may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long an idle connection is kept.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// What stands in `Host` when the client's is not kept.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `https` or `http`, as HTTP/2's `:scheme`.
    pub(super) fn uri_scheme(&self) -> http::uri::Scheme {
        match self.scheme {
            Scheme::Https => http::uri::Scheme::HTTPS,
            Scheme::Http | Scheme::H2c | Scheme::Tcp => http::uri::Scheme::HTTP,
        }
    }

    /// Whether its last connection turned out to speak HTTP/2.
    pub(super) fn speaks_h2(&self) -> bool {
        self.speaks_h2.load(Ordering::Relaxed)
    }

    /// Opens a connection for HTTP; the second half says whether it speaks HTTP/2.
    pub(super) async fn connect_http(&self) -> Result<(TokioIo<Socket>, bool), UpstreamError> {
        let io = self.connect().await?;
        let h2 = match &io {
            Socket::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            Socket::Tcp(_) | Socket::Unix(_) => self.scheme == Scheme::H2c,
        };
        self.speaks_h2.store(h2, Ordering::Relaxed);
        Ok((TokioIo::new(io), h2))
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Socket, UpstreamError> {
        match tokio::time::timeout(self.connect_timeout, self.open()).await {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(error)) => Err(UpstreamError::new(Failure::Connect, error)),
            Err(_) => Err(Failure::ConnectTimeout.into()),
        }
    }

    async fn open(&self) -> io::Result<Socket> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Socket::Tcp(stream),
            Some(tls) => {
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                let stream = connector.connect(tls.name.clone(), stream).await?;
                Socket::Tls(Box::new(stream))
            }
        })
    }
}
