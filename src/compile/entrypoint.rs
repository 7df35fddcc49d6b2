//! `entrypoints "name"`: limits, and the table of the routers that listen to it.
//! The admin API's listener is one more, with one route.

use super::datagram::{self, UdpRoutes};
use super::middleware::Layers;
use super::route::Routes;
use super::stream::{self, TcpRoutes};
use super::tls::Tls;
use super::{CompiledEntrypoint, Connections, Kept, Serves};
use crate::config::{Address, EncodedSlash, EntrypointConfig, GatewayConfig, HttpConfig, Protocol};
use crate::dispatch::table::{Route, Table};
use crate::rule::{self, Rule};
use crate::serve::before::BeforeLayer;
use crate::serve::http_server::HttpLimits;
use crate::serve::proxy_protocol::ProxyProtocol;
use crate::stack::{ConnectionLayer, Request};
use crate::telemetry::EntrypointSignals;
use a3s_layers::connection::AllowLayer;
use a3s_layers::peer::TrustedProxies;
use a3s_layers::redirect::{RedirectLayer, Scheme};
use a3s_layers::reject::{Shape, reject};
use http::StatusCode;
use std::future::ready;
use std::sync::Arc;
use tower::util::{BoxCloneSyncService, BoxCloneSyncServiceLayer};
use tower::{Layer, service_fn};

/// The name of the admin API's listener.
pub const ADMIN_ENTRYPOINT: &str = "admin@internal";

pub(super) fn entrypoint(
    name: &str,
    config: &EntrypointConfig,
    (whole, kept): (&GatewayConfig, &Kept),
    (routes, tcp_routes, udp_routes): (&Routes, &TcpRoutes, &UdpRoutes),
    outer: &Layers<'_>,
    tls: Option<&Tls>,
) -> CompiledEntrypoint {
    let listens = |router: &str| {
        let names = &whole.routers[router].entrypoints;
        names.is_empty() || names.iter().any(|listed| listed == name)
    };
    let ends = |is_http| {
        let layer = BeforeLayer::new(Arc::clone(tls?.terms(is_http)));
        Some(BoxCloneSyncServiceLayer::new(layer))
    };
    let mut own = tcp_routes
        .iter()
        .filter(|route| listens(&route.name))
        .peekable();
    let timeout = config.tls.as_ref().map(|tls| tls.handshake_timeout);
    // What is agreed on with clients of HTTP is not what others ask for.
    let connections =
        (own.peek().is_some()).then(|| stream::connections(own, ends(false).as_ref(), timeout));
    let serves = match config.protocol {
        Protocol::Http => {
            let routes = routes.iter().filter(|route| listens(route.name()));
            let routes = routes.map(|route| route.behind(&outer.http));
            let table = Table::new(match redirect(config, whole) {
                Some(redirect) => redirected(routes, &redirect),
                None => routes.collect(),
            });
            let table = table.asking(tls.map(Tls::asked).cloned());
            http(&config.http, table, ends(true), connections)
        }
        Protocol::Tcp => Serves::Tcp(connections.unwrap_or_default()),
        Protocol::Udp => {
            let routes = udp_routes.iter().filter(|route| listens(&route.name));
            datagram::serves(config, routes.cloned().collect())
        }
    };
    CompiledEntrypoint {
        name: name.into(),
        address: config.address.clone(),
        protocol: config.protocol,
        max_connections: config
            .max_connections
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        admission: admission(config, outer),
        trusted_proxies: TrustedProxies::new(config.trusted_proxies.iter().copied()),
        signals: Some(Arc::new(EntrypointSignals::new(
            name.into(),
            kept.metrics.entrypoint(&name.into()),
            Arc::clone(&kept.signals),
        ))),
        serves,
    }
}

/// What sends requests to the entrypoint of `redirect_to`.
fn redirect(config: &EntrypointConfig, whole: &GatewayConfig) -> Option<RedirectLayer> {
    let target = whole.entrypoints.get(config.redirect_to.as_ref()?)?;
    let (scheme, usual) = match target.tls {
        Some(_) => (Scheme::Https, 443),
        None => (Scheme::Http, 80),
    };
    let port = match &target.address {
        Address::Socket(address) => address.port(),
        Address::Host { port, .. } => *port,
        Address::Unix(_) => return None,
    };
    let port = (port != usual).then_some(port);
    let layer = RedirectLayer::scheme(scheme, port);
    Some(layer.permanent().keeping_method())
}

/// Has requests redirected before a router serves them, and where none does. What has come to the right scheme and
/// port already, as a trusted proxy says, is served.
fn redirected(routes: impl Iterator<Item = Route>, redirect: &RedirectLayer) -> Vec<Route> {
    let nobody = service_fn(|request: Request| {
        let shape = Shape::of(request.headers());
        ready(Ok(reject(StatusCode::NOT_FOUND, "no route matches", shape)))
    });
    let rule = Rule::parse("PathPrefix(`/`)", rule::Protocol::Http);
    let rest = Route {
        name: "redirect@internal".into(),
        priority: i64::MIN,
        rule: rule.expect("a rule that we wrote"),
        service: BoxCloneSyncService::new(nobody),
    };
    let routes = routes.chain([rest]);
    let routes = routes.map(|route| Route {
        service: BoxCloneSyncService::new(redirect.layer(route.service)),
        ..route
    });
    routes.collect()
}

/// Who it is comes first, and who is not allowed at all takes nobody's place.
fn admission(config: &EntrypointConfig, outer: &Layers<'_>) -> Vec<ConnectionLayer> {
    let proxy = config.proxy_protocol.as_ref().map(|proxy| {
        let trusted = TrustedProxies::new(proxy.trusted_ips.iter().copied());
        let proxy = ProxyProtocol::new(trusted, proxy.header_timeout);
        BoxCloneSyncServiceLayer::new(BeforeLayer::new(proxy))
    });
    let allowed = &config.tcp_allowed_ips;
    let allow = (!allowed.is_empty()).then(|| AllowLayer::new(allowed.iter().copied()));
    let allow = allow.map(BoxCloneSyncServiceLayer::new).into_iter();
    proxy
        .into_iter()
        .chain(allow)
        .chain(outer.connection.iter().copied().cloned())
        .collect()
}

/// The listener of `admin { }`, if there is one.
pub(super) fn admin(config: &GatewayConfig, kept: &Kept) -> Option<CompiledEntrypoint> {
    let admin = config.admin.as_ref()?;
    let rule = Rule::parse("PathPrefix(`/`)", rule::Protocol::Http);
    let route = Route {
        name: ADMIN_ENTRYPOINT.into(),
        priority: 0,
        rule: rule.expect("a rule that we wrote"),
        service: kept.admin_listener.clone(),
    };
    Some(CompiledEntrypoint {
        name: ADMIN_ENTRYPOINT.into(),
        address: admin.address.clone(),
        protocol: Protocol::Http,
        max_connections: None,
        admission: Vec::new(),
        trusted_proxies: TrustedProxies::default(),
        // Whoever watches the gateway is no traffic of its.
        signals: None,
        serves: http(&HttpConfig::default(), Table::new(vec![route]), None, None),
    })
}

fn http(
    config: &HttpConfig,
    table: Table,
    tls: Option<ConnectionLayer>,
    first: Option<Connections>,
) -> Serves {
    Serves::Http {
        limits: limits(config),
        rejects_encoded_slash: config.encoded_slash == EncodedSlash::Reject,
        table: Arc::new(table),
        tls,
        first: first.map(Box::new),
    }
}

fn limits(http: &HttpConfig) -> HttpLimits {
    HttpLimits {
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        request_timeout: http.request_timeout,
        max_headers: http.max_headers,
        max_header_bytes: http.max_header_bytes,
        h2_max_streams: http.h2_max_streams,
        h2_max_resets: http.h2_max_resets,
        h2c: http.h2c,
    }
}
