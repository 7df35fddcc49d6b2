//! `tls { }` of an entrypoint: who we are to clients, and who they must be.

use super::values::duration;
use crate::config::schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// TLS with clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate chain for names that no other is for (PEM); with `key_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM: PKCS#8, PKCS#1 or SEC1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// More certificates, each for the names that it holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateConfig>,
    /// The oldest version of TLS that is spoken.
    pub min_version: TlsVersion,
    /// The application protocols to agree on, the best first. By default those of HTTP on an entrypoint of HTTP, and
    /// none, which is any, on one of TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<String>>,
    /// Whether a client is refused that asks for a name which no certificate is for.
    pub sni_strict: bool,
    /// Asks clients who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuthConfig>,
    /// How long a handshake may take.
    #[serde(with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub handshake_timeout: Duration,
}

impl Default for TlsConfig {
    fn default() -> TlsConfig {
        TlsConfig {
            cert_file: None,
            key_file: None,
            certificates: Vec::new(),
            min_version: TlsVersion::default(),
            alpn: None,
            sni_strict: false,
            client_auth: None,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl TlsConfig {
    /// The files of its certificates, the default one first.
    pub fn files(&self) -> impl Iterator<Item = (&PathBuf, &PathBuf)> {
        let default = self.cert_file.as_ref().zip(self.key_file.as_ref());
        let others = self.certificates.iter();
        default
            .into_iter()
            .chain(others.map(|each| (&each.cert_file, &each.key_file)))
    }
}

impl TlsConfig {
    /// All files that it names.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [self.cert_file.as_mut(), self.key_file.as_mut()];
        let others = self.certificates.iter_mut();
        let authorities = self.client_auth.as_mut();
        own.into_iter()
            .flatten()
            .chain(others.flat_map(|each| [&mut each.cert_file, &mut each.key_file]))
            .chain(authorities.map(|auth| &mut auth.ca_file))
    }
}

impl RouterTlsConfig {
    /// The file with the authorities, if there is one.
    pub(super) fn ca_file_mut(&mut self) -> Option<&mut PathBuf> {
        self.client_auth.as_mut().map(|auth| &mut auth.ca_file)
    }
}

/// TLS of a router's clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouterTlsConfig {
    /// Whether TLS goes to the servers as it comes: they have the certificates. Of connections only.
    pub passthrough: bool,
    /// Asks clients who they are that come to the host names of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuthConfig>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// The certificate chain, its own first (PEM).
    pub cert_file: PathBuf,
    /// Its key (PEM: PKCS#8, PKCS#1 or SEC1).
    pub key_file: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V1_3,
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAuthConfig {
    /// The authorities whose certificates are believed (PEM).
    pub ca_file: PathBuf,
    /// Whether a client must have one.
    #[serde(default)]
    pub mode: ClientAuthMode,
}

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// Whoever has none is refused.
    #[default]
    Require,
    /// One that is shown must be good.
    Optional,
}
