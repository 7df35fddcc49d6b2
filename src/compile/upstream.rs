//! `services "name"`: one stack each, shared by every router that names it.
//!
//! ```text
//! balance( strategy )
//!    └ observe( the endpoint's counts )
//!       └ forward( hop-by-hop, forwarded headers, Host )
//!          └ client( timeouts, pooled connection )
//! ```
//!
//! and where the servers are of TCP:
//!
//! ```text
//! forward( bytes both ways )
//!    └ balance( strategy )
//!       └ dial( a connection, on the endpoint's counts until it ends )
//! ```

use super::{CompileError, Kept};
use crate::config::{
    GatewayConfig, LoadBalancerConfig, RespondConfig, Scheme, ServerConfig, ServerUrl,
    ServiceConfig, Strategy, TimeoutsConfig, UpstreamTlsConfig,
};
use crate::rule::Protocol;
use crate::stack::{ConnectionService, Request, Response, UpstreamService};
use crate::upstream::client::{Client, Timeouts, host_header};
use crate::upstream::forward::ForwardLayer;
use crate::upstream::tcp::{Dialler, TcpForward};
use crate::upstream::tls::{TlsSettings, client_config};
use crate::upstream::{self, Origin};
use a3s_layers::balance::{self, Balance, Member};
use a3s_layers::endpoint::{Endpoint, EndpointCounts};
use a3s_layers::observe::ObserveLayer;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::collections::HashMap;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

/// The services of a configuration, by name.
pub type Services = HashMap<Arc<str>, Service>;

/// A service: its stack, and what of it is kept.
#[derive(Debug, Clone)]
pub struct Service {
    config: ServiceConfig,
    pub(super) stack: Stack,
    endpoints: Servers,
}

/// What a service does.
#[derive(Debug, Clone)]
pub(super) enum Stack {
    /// It answers requests.
    Http(UpstreamService),
    /// It leads connections to its servers.
    Tcp(ConnectionService),
}

/// The servers of a service, each with its connections.
type Servers = Vec<(Arc<Endpoint>, Arc<Origin>)>;

impl Service {
    /// Its servers, in their order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint)
    }
}

pub(super) fn services(config: &GatewayConfig, kept: &Kept) -> Result<Services, CompileError> {
    config
        .services
        .iter()
        .map(|(name, config)| {
            let before = kept.services.get(&**name);
            let service = match before {
                // The same words are the same service, with its turn in the round and all.
                Some(before) if before.config == *config => before.clone(),
                _ => service(name, config, before)?,
            };
            Ok((name.as_str().into(), service))
        })
        .collect()
}

fn service(
    name: &str,
    config: &ServiceConfig,
    before: Option<&Service>,
) -> Result<Service, CompileError> {
    let (stack, endpoints) = match (&config.load_balancer, &config.respond) {
        (Some(balancer), None) => load_balancer(name, balancer, before)?,
        (None, Some(respond)) => (Stack::Http(self::respond(name, respond)?), Vec::new()),
        _ => {
            let text = format!("service `{name}`: needs one of `load_balancer` and `respond`");
            return Err(CompileError::Invalid(text));
        }
    };
    Ok(Service {
        config: config.clone(),
        stack,
        endpoints,
    })
}

fn load_balancer(
    name: &str,
    config: &LoadBalancerConfig,
    before: Option<&Service>,
) -> Result<(Stack, Servers), CompileError> {
    let failed = |source| CompileError::Tls {
        service: name.to_owned(),
        source,
    };
    // Connections go on where how to connect is still the same.
    let same_way = before.filter(|before| {
        let balancer = before.config.load_balancer.as_ref();
        balancer
            .is_some_and(|before| before.tls == config.tls && before.timeouts == config.timeouts)
    });
    let is_https = config
        .servers
        .iter()
        .any(|server| server.url.scheme() == Scheme::Https);
    let tls = match is_https {
        true => Some(client_config(&tls_settings(&config.tls)).map_err(failed)?),
        false => None,
    };
    let server = |server: &ServerConfig| {
        let id = server.url.to_string();
        let known = |service: Option<&Service>| {
            service?
                .endpoints
                .iter()
                .find(|(endpoint, _)| endpoint.id() == id)
                .cloned()
        };
        let endpoint = known(before).map_or_else(|| Endpoint::new(&*id), |(endpoint, _)| endpoint);
        let origin = match known(same_way) {
            Some((_, origin)) => origin,
            None => Arc::new(
                origin(&server.url, &config.timeouts, &config.tls, tls.clone()).map_err(failed)?,
            ),
        };
        Ok((endpoint, origin))
    };
    let servers = config
        .servers
        .iter()
        .map(server)
        .collect::<Result<_, _>>()?;
    let stack = match config.protocol() {
        Protocol::Http => Stack::Http(http_stack(config, &servers)),
        Protocol::Tcp => Stack::Tcp(tcp_stack(name, config, &servers)),
    };
    Ok((stack, servers))
}

fn http_stack(config: &LoadBalancerConfig, servers: &Servers) -> UpstreamService {
    let timeouts = Timeouts {
        response: config.timeouts.response,
        idle: config.timeouts.idle,
    };
    let balance = balance(config, servers, |endpoint, origin| {
        let host = host_header(origin);
        ServiceBuilder::new()
            .layer(ObserveLayer::new(EndpointCounts(Arc::clone(endpoint))))
            .layer(ForwardLayer::new(host, config.pass_host))
            .service(Client::new(Arc::clone(origin), timeouts))
    });
    BoxCloneSyncService::new(balance.map_response(|response| response.map(Body::new)))
}

fn tcp_stack(name: &str, config: &LoadBalancerConfig, servers: &Servers) -> ConnectionService {
    let balance = balance(config, servers, |endpoint, origin| {
        Dialler::new(Arc::clone(origin), Arc::clone(endpoint))
    });
    let takes_traffic = |server: &&ServerConfig| server.weight > 0;
    let tries = config.servers.iter().filter(takes_traffic).count();
    BoxCloneSyncService::new(TcpForward::new(name.into(), balance, tries))
}

fn balance<S>(
    config: &LoadBalancerConfig,
    servers: &Servers,
    service: impl Fn(&Arc<Endpoint>, &Arc<Origin>) -> S,
) -> Balance<S> {
    let member = |(server, (endpoint, origin)): (&ServerConfig, &(Arc<_>, Arc<_>))| Member {
        endpoint: Arc::clone(endpoint),
        weight: u32::from(server.weight),
        service: service(endpoint, origin),
    };
    let members = config.servers.iter().zip(servers).map(member);
    Balance::new(strategy(config.strategy), members.collect())
}

fn strategy(strategy: Strategy) -> balance::Strategy {
    match strategy {
        Strategy::RoundRobin => balance::Strategy::RoundRobin,
        Strategy::Weighted => balance::Strategy::Weighted,
        Strategy::LeastConnections => balance::Strategy::LeastConnections,
        Strategy::Random => balance::Strategy::Random,
    }
}

pub(super) fn tls_settings(tls: &UpstreamTlsConfig) -> TlsSettings {
    TlsSettings {
        ca_file: tls.ca_file.clone(),
        identity: tls.cert_file.clone().zip(tls.key_file.clone()),
        insecure: tls.insecure,
    }
}

pub(super) fn origin(
    url: &ServerUrl,
    timeouts: &TimeoutsConfig,
    tls_config: &UpstreamTlsConfig,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Origin, upstream::tls::TlsError> {
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

fn respond(name: &str, config: &RespondConfig) -> Result<UpstreamService, CompileError> {
    let invalid = |what: &str| CompileError::Invalid(format!("service `{name}`: {what}"));
    let status = StatusCode::from_u16(config.status).map_err(|_| invalid("no such status"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let name: HeaderName = name.parse().map_err(|_| invalid("not a header name"))?;
        let value: HeaderValue = value.parse().map_err(|_| invalid("not a header value"))?;
        headers.append(name, value);
    }
    let body = Bytes::from(config.body.clone());
    Ok(BoxCloneSyncService::new(service_fn(move |_: Request| {
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        std::future::ready(Ok::<_, BoxError>(response))
    })))
}
