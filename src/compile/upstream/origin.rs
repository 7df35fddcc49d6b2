//! The way to a server.

use crate::config::{Scheme, ServerUrl, TimeoutsConfig, UpstreamTlsConfig};
use crate::upstream::tls::{TlsError, TlsSettings};
use crate::upstream::{self, Origin};
use std::sync::Arc;

pub(in crate::compile) fn tls_settings(tls: &UpstreamTlsConfig) -> TlsSettings {
    TlsSettings {
        ca_file: tls.ca_file.clone(),
        identity: tls.cert_file.clone().zip(tls.key_file.clone()),
        insecure: tls.insecure,
    }
}

pub(in crate::compile) fn origin(
    url: &ServerUrl,
    timeouts: &TimeoutsConfig,
    tls_config: &UpstreamTlsConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Origin, TlsError> {
    let scheme = match url.scheme() {
        Scheme::Http => upstream::Scheme::Http,
        Scheme::H2c => upstream::Scheme::H2c,
        Scheme::Https => upstream::Scheme::Https,
        Scheme::Tcp => upstream::Scheme::Tcp,
    };
    let tls = tls.filter(|_| url.scheme() == Scheme::Https);
    Origin::new(
        scheme,
        (url.host(), url.port()),
        &url.authority(),
        (timeouts.connect, timeouts.idle),
        tls.map(|tls| (tls, tls_config.server_name.as_deref())),
    )
}
