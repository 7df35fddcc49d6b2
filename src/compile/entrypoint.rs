//! `entrypoints "name"`: limits, and the table of the routers that listen to it.
//! The admin API's listener is one more, with one route.

use super::route::Routes;
use super::{CompiledEntrypoint, Kept};
use crate::config::{EncodedSlash, EntrypointConfig, GatewayConfig, HttpConfig};
use crate::dispatch::table::{Route, Table};
use crate::rule::{Protocol, Rule};
use crate::serve::http_server::HttpLimits;
use crate::stack::{ConnectionLayer, HttpLayer};
use a3s_layers::connection::AllowLayer;
use a3s_layers::peer::TrustedProxies;
use tower::util::BoxCloneSyncServiceLayer;

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
        admission: admission(config),
        trusted_proxies: TrustedProxies::new(config.trusted_proxies.iter().copied()),
        limits: limits(&config.http),
        rejects_encoded_slash: config.http.encoded_slash == EncodedSlash::Reject,
        table: Table::new(table),
    }
}

fn admission(config: &EntrypointConfig) -> Vec<ConnectionLayer> {
    let allowed = &config.tcp_allowed_ips;
    let allow = (!allowed.is_empty()).then(|| AllowLayer::new(allowed.iter().copied()));
    allow
        .map(BoxCloneSyncServiceLayer::new)
        .into_iter()
        .collect()
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
        admission: Vec::new(),
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
