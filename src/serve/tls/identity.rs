//! Who we are: a certificate chain and its key.

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate and a key are of no use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The first file holds no PEM, or none that can be read.
    #[error("the certificate: {0}")]
    Chain(pem::Error),
    /// The first file holds no certificate.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// The second file holds no private key that can be read.
    #[error("the key: {0}")]
    Key(pem::Error),
    /// The key is of no kind that is known, or another certificate's.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// Reads a chain and a key (PKCS#8, PKCS#1 or SEC1), both in PEM.
pub fn identity(
    chain: &str,
    key: &str,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, IdentityError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(IdentityError::Chain)?;
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(IdentityError::Key)?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}
