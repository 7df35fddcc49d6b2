//! A client for what the gateway asks for itself: keys, decisions.

use super::upstream::{origin, tls_settings};
use crate::config::{HttpUrl, TimeoutsConfig, UpstreamTlsConfig};
use crate::stack::{Request, UpstreamService};
use crate::upstream::Target;
use crate::upstream::client::{Client, Timeouts, host_header};
use crate::upstream::tls::client_config;
use axum::body::Body;
use http::Response;
use http::header::HOST;
use std::sync::Arc;
use std::time::Duration;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

/// Asks the server of `url`, with pooled connections of its own; `timeout` is for the connection, for the head of an
/// answer, and for each piece of its body. `Host` is the server's where a request has none.
pub(super) fn client(
    url: &HttpUrl,
    tls: &UpstreamTlsConfig,
    timeout: Duration,
) -> Result<UpstreamService, BoxError> {
    let tls_config = match url.is_https() {
        true => Some(client_config(&tls_settings(tls))?),
        false => None,
    };
    let timeouts = TimeoutsConfig {
        connect: timeout,
        response: timeout,
        ..TimeoutsConfig::default()
    };
    let server = url.server();
    let target = Target::Name(server.host().to_owned(), server.port());
    let origin = Arc::new(origin(server, target, &timeouts, tls, tls_config)?);
    let host = host_header(&origin);
    let idle = timeout;
    let response = timeout;
    let service = ServiceBuilder::new()
        .map_request(move |mut request: Request| {
            let headers = request.headers_mut();
            headers.entry(HOST).or_insert_with(|| host.clone());
            request
        })
        .map_response(|response: Response<_>| response.map(Body::new))
        .service(Client::new(origin, Timeouts { response, idle }));
    Ok(BoxCloneSyncService::new(service))
}
