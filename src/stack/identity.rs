//! Who we are to clients: a certificate chain and its key.

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long before its end a certificate is warned of.
pub const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate chain and its key, and what the certificate says of itself.
#[derive(Clone)]
pub struct Identity {
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
    /// The host names that it is for; a wildcard begins with `*.`.
    pub names: Arc<[Box<str>]>,
    /// Until when it is good.
    pub not_after: SystemTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why a certificate and a key are of no use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file of the certificate is of no use.
    #[error("{0}")]
    Chain(String),
    /// The file of the key is of no use, or the key of another certificate.
    #[error("{0}")]
    Key(String),
}

impl Identity {
    /// Reads a chain, its own certificate first, and a key (PKCS#8, PKCS#1 or SEC1), both in PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, IdentityError> {
        let chain = certificates(chain).map_err(IdentityError::Chain)?;
        let key = private_key(key).map_err(IdentityError::Key)?;
        let (names, not_after) = about(&chain[0]).map_err(IdentityError::Chain)?;
        let key = CertifiedKey::from_der(chain, key, &super::crypto::provider());
        let key = key.map_err(|error| {
            IdentityError::Key(match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the key is that of another certificate".to_owned()
                }
                error => format!("the key is of no kind that is known: {error}"),
            })
        })?;
        Ok(Self {
            key: Arc::new(key),
            names,
            not_after,
        })
    }

    /// How long it is good yet; none where it has expired.
    pub fn left(&self) -> Option<Duration> {
        self.not_after.duration_since(SystemTime::now()).ok()
    }
}

/// The certificates of a PEM file; there is at least one.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("not PEM: {}", told(&error)))?;
    match chain.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(chain),
    }
}

fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound if text.contains("ENCRYPTED PRIVATE KEY") => {
            "the key is encrypted: `openssl pkey` takes the passphrase off".to_owned()
        }
        pem::Error::NoItemsFound => "there is no private key in it".to_owned(),
        error => format!("not PEM: {}", told(&error)),
    })
}

/// Never what the file holds: it may be a key.
fn told(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section begins with no such line",
        pem::Error::Base64Decode(_) => "a section is no base64",
        _ => "it cannot be read",
    }
}

type Names = Arc<[Box<str>]>;

/// The names and the end of a certificate.
fn about(certificate: &[u8]) -> Result<(Names, SystemTime), String> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|_| "the first certificate is no X.509".to_owned())?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).into()),
        _ => None,
    });
    let seconds = certificate.validity().not_after.timestamp();
    let not_after = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Ok((names.collect(), not_after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn issue(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_tells_its_names_and_its_end() {
        let (chain, key) = issue(&["a.test", "*.b.test", "127.0.0.1"]);
        let identity = Identity::from_pem(&chain, &key).unwrap();
        let names: Vec<_> = identity.names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["a.test", "*.b.test"]);
        assert!(identity.left().is_some());
        assert!(!format!("{identity:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_of_no_use_is_told_without_what_it_holds() {
        let (chain, key) = issue(&["a.test"]);
        let (_, other) = issue(&["a.test"]);
        let cut = &key[..key.len() / 2];
        for (chain, key, expected) in [
            ("", &*key, "there is no certificate in it"),
            (&*key, &*key, "there is no certificate in it"),
            (&*chain, "", "there is no private key in it"),
            (&*chain, &*other, "the key is that of another certificate"),
            (&*chain, cut, "not PEM: a section has no end"),
            (
                &*chain,
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "the key is encrypted: `openssl pkey` takes the passphrase off",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &*key,
                "the first certificate is no X.509",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n",
                &*key,
                "not PEM: a section is no base64",
            ),
        ] {
            let error = Identity::from_pem(chain, key).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
