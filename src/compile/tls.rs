//! `tls { }` of an entrypoint: the terms that are agreed on with its clients.

use super::CompileError;
use crate::config::{TlsConfig, TlsVersion, text_file};
use crate::serve::tls::{Terms, identity};
use crate::stack::crypto::provider;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use std::path::Path;
use std::sync::Arc;
use tower::BoxError;

/// The application protocols of HTTP, the best first.
const HTTP: [&str; 2] = ["h2", "http/1.1"];

pub(super) fn terms(
    entrypoint: &str,
    config: &TlsConfig,
    is_http: bool,
) -> Result<Arc<Terms>, CompileError> {
    let failed = |source: BoxError| CompileError::Entrypoint {
        entrypoint: entrypoint.to_owned(),
        source,
    };
    let provider = provider();
    let mut identities = Vec::new();
    for (chain, key) in config.files() {
        let pair = read(chain).and_then(|chain| Ok((chain, read(key)?)));
        let (chain_text, key_text) = pair.map_err(failed)?;
        let identity = identity(&chain_text, &key_text, &provider);
        let identity =
            identity.map_err(|error| failed(format!("{}: {error}", chain.display()).into()))?;
        identities.push(Arc::new(identity));
    }
    let versions: &[_] = match config.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| failed(error.into()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(First(identities)));
    server.alpn_protocols = match &config.alpn {
        Some(protocols) => bytes(protocols),
        None if is_http => bytes(&HTTP),
        None => Vec::new(),
    };
    Ok(Arc::new(Terms {
        config: Arc::new(server),
        handshake_timeout: config.handshake_timeout,
    }))
}

fn bytes(protocols: &[impl AsRef<str>]) -> Vec<Vec<u8>> {
    let bytes = |protocol: &_| AsRef::<str>::as_ref(protocol).as_bytes().to_vec();
    protocols.iter().map(bytes).collect()
}

fn read(path: &Path) -> Result<String, BoxError> {
    text_file::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The one certificate that there is.
#[derive(Debug)]
struct First(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for First {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.first().cloned()
    }
}
