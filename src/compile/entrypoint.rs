//! `entrypoints "name"`: limits, and the table of the routers that listen to it.

use super::CompiledEntrypoint;
use super::route::Routes;
use crate::config::{EncodedSlash, EntrypointConfig, GatewayConfig};
use crate::dispatch::table::Table;
use crate::serve::http_server::HttpLimits;
use a3s_layers::peer::TrustedProxies;

pub(super) fn entrypoint(
    name: &str,
    config: &EntrypointConfig,
    whole: &GatewayConfig,
    routes: &Routes,
) -> CompiledEntrypoint {
    let http = &config.http;
    let listens = |router: &str| {
        let names = &whole.routers[router].entrypoints;
        names.is_empty() || names.iter().any(|listed| listed == name)
    };
    let table = routes
        .iter()
        .filter(|route| listens(&route.name))
        .cloned()
        .collect();
    CompiledEntrypoint {
        name: name.into(),
        address: config.address.clone(),
        max_connections: config
            .max_connections
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        trusted_proxies: TrustedProxies::new(config.trusted_proxies.iter().copied()),
        limits: HttpLimits {
            header_timeout: http.header_timeout,
            idle_timeout: http.idle_timeout,
            request_timeout: http.request_timeout,
            max_headers: http.max_headers,
            max_header_bytes: http.max_header_bytes,
            h2_max_streams: http.h2_max_streams,
            h2c: http.h2c,
        },
        rejects_encoded_slash: http.encoded_slash == EncodedSlash::Reject,
        table: Table::new(table),
    }
}
