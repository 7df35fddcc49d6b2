//! `entrypoints "name"`: limits, and the table of the routers that listen to it.
//! The admin API's listener is one more, with one route.

use super::route::Routes;
use super::{CompiledEntrypoint, Kept};
use crate::config::{EncodedSlash, EntrypointConfig, GatewayConfig, HttpConfig};
use crate::dispatch::table::{Route, Table};
use crate::rule::{Protocol, Rule};
use crate::serve::http_server::HttpLimits;
use crate::stack::HttpLayer;
use a3s_layers::peer::TrustedProxies;

/// The name of the admin API's listener.
pub const ADMIN_ENTRYPOINT: &str = "admin@internal";

pub(super) fn entrypoint(
    name: &str,
    config: &EntrypointConfig,
    whole: &GatewayConfig,
    routes: &Routes,
    outer: &[&HttpLayer],
) -> CompiledEntrypoint {
    let listens = |router: &str| {
        let names = &whole.routers[router].entrypoints;
        names.is_empty() || names.iter().any(|listed| listed == name)
    };
    let table = routes
        .iter()
        .filter(|route| listens(route.name()))
        .map(|route| route.behind(outer))
        .collect();
    CompiledEntrypoint {
        name: name.into(),
        address: config.address.clone(),
        max_connections: config
            .max_connections
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        trusted_proxies: TrustedProxies::new(config.trusted_proxies.iter().copied()),
        limits: limits(&config.http),
        rejects_encoded_slash: config.http.encoded_slash == EncodedSlash::Reject,
        table: Table::new(table),
    }
}

/// The listener of `admin { }`, if there is one.
pub(super) fn admin(config: &GatewayConfig, kept: &Kept) -> Option<CompiledEntrypoint> {
    let admin = config.admin.as_ref()?;
    let route = Route {
        name: ADMIN_ENTRYPOINT.into(),
        priority: 0,
        rule: Rule::parse("PathPrefix(`/`)", Protocol::Http).expect("a rule that we wrote"),
        service: kept.admin.clone(),
    };
    Some(CompiledEntrypoint {
        name: ADMIN_ENTRYPOINT.into(),
        address: admin.address.clone(),
        max_connections: None,
        trusted_proxies: TrustedProxies::default(),
        limits: limits(&HttpConfig::default()),
        rejects_encoded_slash: false,
        table: Table::new(vec![route]),
    })
}

fn limits(http: &HttpConfig) -> HttpLimits {
    HttpLimits {
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        request_timeout: http.request_timeout,
        max_headers: http.max_headers,
        max_header_bytes: http.max_header_bytes,
        h2_max_streams: http.h2_max_streams,
        h2c: http.h2c,
    }
}
