//! Which Redis, and how it is connected to.
//!
//! redis could connect by itself, but then takes answers of any length.

use super::bounded::Bounded;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Which Redis, and how to speak to it.
#[derive(Clone)]
pub struct RedisServer {
    connection: ConnectionInfo,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Certificates for a `rediss://` server; without any, it is judged by the system's roots.
#[derive(Debug, Clone, Default)]
pub struct RedisTls {
    /// The authorities that it is judged by instead, in PEM.
    pub ca: Option<Vec<u8>>,
    /// What we show it of ourselves: certificates and key, both in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why a URL or its certificates are of no use. It never names the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidServer(Box<str>);

impl RedisServer {
    /// The server at `redis://[user][:password@]host[:port][/database]`; `rediss://` with TLS,
    /// `redis+unix:///path/of/a/socket?db=0&pass=secret` on this machine.
    ///
    /// # Errors
    /// [`InvalidServer`].
    pub fn new(url: &str) -> Result<Self, InvalidServer> {
        let connection = connection_info(url)?;
        let tls = match connection.addr() {
            ConnectionAddr::TcpTls { host, .. } => Some(Tls::new(host, RedisTls::default())?),
            _ => None,
        };
        Ok(Self { connection, tls })
    }

    /// The same, with certificates.
    ///
    /// # Errors
    /// [`InvalidServer`], also where the URL is not of `rediss://`.
    pub fn with_tls(url: &str, tls: RedisTls) -> Result<Self, InvalidServer> {
        let connection = connection_info(url)?;
        let ConnectionAddr::TcpTls { host, .. } = connection.addr() else {
            return Err(invalid("certificates are for a `rediss://` server"));
        };
        let tls = Some(Tls::new(host, tls)?);
        Ok(Self { connection, tls })
    }

    pub(super) fn address(&self) -> &ConnectionAddr {
        self.connection.addr()
    }

    /// As whom, and to which database.
    pub(super) fn introduction(&self) -> &RedisConnectionInfo {
        self.connection.redis_settings()
    }

    pub(super) async fn connect(&self) -> io::Result<Bounded<Box<dyn Stream>>> {
        let stream: Box<dyn Stream> = match (self.address(), &self.tls) {
            (ConnectionAddr::Unix(path), _) => Box::new(UnixStream::connect(path).await?),
            (ConnectionAddr::Tcp(host, port), _) => Box::new(connect_tcp(host, *port).await?),
            (ConnectionAddr::TcpTls { host, port, .. }, Some(tls)) => {
                let stream = connect_tcp(host, *port).await?;
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                Box::new(connector.connect(tls.name.clone(), stream).await?)
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Bounded::new(stream))
    }
}

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to the address of a name that answers first.
async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for address in lookup_host((host, port)).await? {
        attempts.spawn(TcpStream::connect(address));
    }
    let mut outcome = Err(io::Error::other("the name has no address"));
    while let (Err(_), Some(attempt)) = (&outcome, attempts.join_next().await) {
        outcome = attempt.map_err(io::Error::other).flatten();
    }
    let stream = outcome?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Tls {
    fn new(host: &str, tls: RedisTls) -> Result<Self, InvalidServer> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| invalid("no certificate can have the name of this server"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(&error.to_string()))?
            .with_root_certificates(roots(tls.ca.as_deref())?);
        let config = match tls.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|_| invalid("there is no private key in PEM"))?;
                builder
                    .with_client_auth_cert(certificates(&chain)?, key)
                    .map_err(|error| invalid(&error.to_string()))?
            }
        };
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, InvalidServer> {
    let mut store = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates(ca)? {
                let added = store.add(certificate);
                added.map_err(|error| invalid(&error.to_string()))?;
            }
        }
        None => {
            // One odd certificate in the system's store must not take the others away.
            let system = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(system.certs);
        }
    }
    Ok(store)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidServer> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(invalid("there is no certificate in PEM")),
    }
}

fn connection_info(url: &str) -> Result<ConnectionInfo, InvalidServer> {
    let connection = url.into_connection_info().map_err(|error| {
        // The rest is the kind of the error, in redis' words.
        let text = error.to_string();
        let (what, _) = text.split_once(" - ").unwrap_or((&text, ""));
        invalid(what)
    })?;
    match connection.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => Err(invalid(
            "a server whose certificate is not checked is not secure",
        )),
        _ => Ok(connection),
    }
}

fn invalid(what: &str) -> InvalidServer {
    InvalidServer(what.into())
}

/// Names the server, and neither user nor password.
impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address().to_string();
        f.debug_tuple("RedisServer").field(&address).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_is_refused_without_being_told() {
        for url in [
            "",
            "http://:hunter2@localhost",
            "redis://:hunter2@",
            "redis://:hunter2@localhost/one",
            "rediss://:hunter2@localhost/#insecure",
            "rediss://:hunter2@localhost/#other",
            "redis://:hunter2@0.0.0.0",
        ] {
            let error = RedisServer::new(url).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let plain = RedisServer::with_tls("redis://localhost", RedisTls::default());
        assert!(plain.is_err());
        let tls = RedisTls {
            ca: Some(b"-----BEGIN CERTIFICATE-----\n!".to_vec()),
            identity: None,
        };
        assert!(RedisServer::with_tls("rediss://localhost", tls).is_err());
    }
}
