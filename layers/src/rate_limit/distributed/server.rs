//! Which Redis, and how it is spoken to.

use redis::{Client, ClientTlsConfig, ConnectionAddr, TlsCertificates};
use std::fmt;

/// Which Redis, and how to speak to it.
#[derive(Clone)]
pub struct RedisServer(pub(super) Client);

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
        let client = Client::open(url).map_err(|error| invalid(&error))?;
        match client.get_connection_info().addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => Err(InvalidServer(
                "a server whose certificate is not checked is not secure".into(),
            )),
            _ => Ok(Self(client)),
        }
    }

    /// The same, with certificates.
    ///
    /// # Errors
    /// [`InvalidServer`], also where the URL is not of `rediss://`.
    pub fn with_tls(url: &str, tls: RedisTls) -> Result<Self, InvalidServer> {
        Self::new(url)?;
        let certificates = TlsCertificates {
            client_tls: tls
                .identity
                .map(|(client_cert, client_key)| ClientTlsConfig {
                    client_cert,
                    client_key,
                }),
            root_cert: tls.ca,
        };
        Client::build_with_tls(url, certificates)
            .map(Self)
            .map_err(|error| invalid(&error))
    }
}

fn invalid(error: &redis::RedisError) -> InvalidServer {
    // The rest is the kind of the error, in redis' words.
    let text = error.to_string();
    let (what, _) = text.split_once(" - ").unwrap_or((&text, ""));
    InvalidServer(what.into())
}

/// Names the server, and neither user nor password.
impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.get_connection_info().addr().to_string();
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
