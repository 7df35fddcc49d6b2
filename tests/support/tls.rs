//! An authority of our own, and what it certifies.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A certificate authority, with a directory for what goes into files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate for its own issuer where their names are the same.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "the authority of a test");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    /// The file with its own certificate.
    pub fn file(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for `name`, and its key.
    pub fn issue(&self, name: &str) -> (String, String) {
        let (certificate, key) = self.certify(name);
        (certificate.pem(), key.serialize_pem())
    }

    /// The files of a certificate for `name` and of its key.
    pub fn files(&self, name: &str) -> (String, String) {
        let (certificate, key) = self.certify(name);
        let (cert_file, key_file) = (self.path("cert.pem"), self.path("key.pem"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (
            cert_file.display().to_string(),
            key_file.display().to_string(),
        )
    }

    /// As [`Authority::files`], for several names, in files called `file`.
    pub fn pair(&self, file: &str, names: &[&str]) -> (String, String) {
        let (chain, key) = self.issue_for(names);
        let (cert_file, key_file) = (
            self.path(&format!("{file}.pem")),
            self.path(&format!("{file}.key")),
        );
        // The key first: whoever reads the two meanwhile finds that they do not go together.
        write(&key_file, &key);
        write(&cert_file, &chain);
        (
            cert_file.display().to_string(),
            key_file.display().to_string(),
        )
    }

    /// A certificate for several names, and its key.
    pub fn issue_for(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The files of a client's certificate, with this subject and URI, and of its key.
    pub fn client(&self, subject: &str, uri: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) = (self.path("client.pem"), self.path("client.key"));
        write(&cert_file, &certificate.pem());
        write(&key_file, &key.serialize_pem());
        (
            cert_file.display().to_string(),
            key_file.display().to_string(),
        )
    }

    /// A client that believes this authority, and offers these protocols.
    pub fn trusting(&self, alpn: &[&str]) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        self.trusting_with(provider, alpn)
    }

    /// The same, with cryptography of its own.
    pub fn trusting_with(
        &self,
        provider: Arc<rustls::crypto::CryptoProvider>,
        alpn: &[&str],
    ) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    fn certify(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }

    /// TLS for a server that is called `name`; it wants a certificate of ours where `asks` is set.
    pub fn server(&self, name: &str, alpn: &[&str], asks: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.certify(name);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// Writes a file as those do that others read meanwhile: there is either the old one or the new.
pub fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A stream to `name` at `address`, once hands are shaken.
pub async fn connect(
    config: rustls::ClientConfig,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    super::within("a handshake", connector.connect(name, stream)).await
}
