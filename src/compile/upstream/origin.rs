//! The way to a server.

use crate::config::{ProxyVersion, Scheme, ServerUrl, TimeoutsConfig, UpstreamTlsConfig};
use crate::stack::proxy_header;
use crate::upstream::tls::{TlsError, TlsSettings};
use crate::upstream::{self, Origin, Target};
use std::sync::Arc;

pub(in crate::compile) fn tls_settings(tls: &UpstreamTlsConfig) -> TlsSettings {
    TlsSettings {
        ca_file: tls.ca_file.clone(),
        identity: tls.cert_file.clone().zip(tls.key_file.clone()),
        insecure: tls.insecure,
    }
}

pub(super) fn proxy_version(version: ProxyVersion) -> proxy_header::Version {
    match version {
        ProxyVersion::V1 => proxy_header::Version::V1,
        ProxyVersion::V2 => proxy_header::Version::V2,
    }
}

/// The way to the server of `url`, which listens at `target`.
pub(in crate::compile) fn origin(
    url: &ServerUrl,
    target: Target,
    timeouts: &TimeoutsConfig,
    tls_config: &UpstreamTlsConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Origin, TlsError> {
    let scheme = match url.scheme() {
        Scheme::Http | Scheme::Unix => upstream::Scheme::Http,
        Scheme::H2c => upstream::Scheme::H2c,
        Scheme::Https => upstream::Scheme::Https,
        Scheme::Tcp => upstream::Scheme::Tcp,
        Scheme::Udp => upstream::Scheme::Udp,
    };
    let tls = tls.filter(|_| url.scheme() == Scheme::Https);
    let name = tls_config.server_name.as_deref().unwrap_or(url.host());
    Origin::new(
        scheme,
        target,
        &url.authority(),
        (timeouts.connect, timeouts.idle_of(url.scheme().protocol())),
        tls.map(|tls| (tls, name)),
    )
}
