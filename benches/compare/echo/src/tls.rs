//! TLS: a new connection for each request, with a handshake of its own or one that is resumed.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper::header::CONNECTION;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use crate::Target;
use crate::load::Client;
use crate::message::SIZE;
use crate::tally::{Answer, Failure};
use crate::{http, tcp};

pub struct Caller {
    connector: TlsConnector,
    name: ServerName<'static>,
    addr: String,
    host: String,
}

/// Clients that no server has seen before.
pub fn strangers(
    target: &Target<'_>,
    connections: usize,
    certificate: &str,
) -> Result<Vec<Caller>, Failure> {
    callers(target, connections, certificate, Resumption::disabled)
}

/// Clients that come back, each with a session of its own.
pub fn acquaintances(
    target: &Target<'_>,
    connections: usize,
    certificate: &str,
) -> Result<Vec<Caller>, Failure> {
    callers(target, connections, certificate, || {
        Resumption::in_memory_sessions(1)
    })
}

fn callers(
    target: &Target<'_>,
    connections: usize,
    certificate: &str,
    resumption: impl Fn() -> Resumption,
) -> Result<Vec<Caller>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let name = ServerName::try_from(target.host.to_owned())?;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut config = terms(roots.clone())?;
        config.resumption = resumption();
        clients.push(Caller {
            connector: TlsConnector::from(Arc::new(config)),
            name: name.clone(),
            addr: target.addr.to_owned(),
            host: target.host.to_owned(),
        });
    }
    Ok(clients)
}

/// One version, one cipher suite, one group: what costs proxies the same.
fn terms(roots: RootCertStore) -> Result<ClientConfig, Failure> {
    let provider = CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl Client for Caller {
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        let stream = tcp::dial(&self.addr).await?;
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let kind = stream.get_ref().1.handshake_kind();
        let mut sender = http::handshake(stream).await?;
        let request = http::get("/1k", &self.host)
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK || body.len() != SIZE {
            let length = body.len();
            return Err(Failure::Wrong(format!("{status} and {length} bytes")));
        }
        Ok(Answer {
            bytes: body.len(),
            resumed: kind == Some(HandshakeKind::Resumed),
        })
    }
}
