//! A pool: servers, and the balance over them.

use super::origin::{origin, tls_settings};
use super::outlier::Watch;
use crate::config::{LoadBalancerConfig, Scheme, ServerConfig, Strategy};
use crate::stack::{ConnectionService, UpstreamService};
use crate::upstream::client::{Client, Timeouts, host_header};
use crate::upstream::forward::ForwardLayer;
use crate::upstream::tcp::{Dialler, TcpForward};
use crate::upstream::tls::{TlsError, client_config};
use crate::upstream::{Server, Servers};
use a3s_layers::balance::{self, Balance, Member};
use a3s_layers::endpoint::{Endpoint, PlaceLayer};
use axum::body::Body;
use std::fmt;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

/// The servers of a service, or of a revision of it.
pub struct Pool {
    revision: Option<Arc<str>>,
    servers: Arc<Servers>,
    update: Update,
    watch: Watch,
}

/// Hands servers to whoever picks among them.
type Update = Box<dyn Fn(&[Server]) + Send + Sync>;

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("revision", &self.revision)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl Pool {
    fn new(revision: Option<Arc<str>>, update: Update, watch: Watch, list: Vec<Server>) -> Self {
        update(&list);
        let servers = Servers::new();
        servers.set(list);
        Self {
            revision,
            servers: Arc::new(servers),
            update,
            watch,
        }
    }

    /// The revision that it is of, if the service has revisions.
    pub fn revision(&self) -> Option<&Arc<str>> {
        self.revision.as_ref()
    }

    /// Its servers.
    pub fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }

    /// Goes on with these servers.
    pub fn set_servers(&self, servers: Vec<Server>) {
        (self.update)(&servers);
        self.watch.servers(&servers);
        self.servers.set(servers);
    }

    /// Requests come to it from now on, and its servers, some of which an earlier pool may have as well, are watched
    /// as it says.
    pub fn take_effect(&self) {
        self.watch.servers(&self.servers.list());
    }
}

/// The servers of `list`. Those that were there `before` go on: how they stand, and, where how to connect to them is
/// still the same, their connections.
pub(super) fn servers(
    config: &LoadBalancerConfig,
    list: &[ServerConfig],
    before: Option<(&LoadBalancerConfig, &Pool)>,
) -> Result<Vec<Server>, TlsError> {
    let is_https = |server: &ServerConfig| server.url.scheme() == Scheme::Https;
    let tls = match list.iter().any(is_https) {
        true => Some(client_config(&tls_settings(&config.tls))?),
        false => None,
    };
    let goes_the_same_way = before
        .is_some_and(|(before, _)| before.tls == config.tls && before.timeouts == config.timeouts);
    let known = before.map(|(_, pool)| pool.servers.list());
    let server = |server: &ServerConfig| {
        let id = server.url.to_string();
        let known = known.iter().flat_map(|known| known.iter());
        let known = known.into_iter().find(|known| known.endpoint.id() == id);
        let origin = match known.filter(|_| goes_the_same_way) {
            Some(known) => Arc::clone(&known.origin),
            None => {
                let tls = tls.clone();
                Arc::new(origin(&server.url, &config.timeouts, &config.tls, tls)?)
            }
        };
        let endpoint = known.map(|known| Arc::clone(&known.endpoint));
        let endpoint = endpoint.unwrap_or_else(|| Endpoint::new(id));
        let max = config.max_in_flight.map(|max| max as usize);
        endpoint.set_max_in_flight(max);
        Ok(Server {
            endpoint,
            origin,
            weight: server.weight,
        })
    };
    list.iter().map(server).collect()
}

/// A pool of HTTP servers, and the stack that leads to them.
pub(super) fn http(
    name: &str,
    config: &LoadBalancerConfig,
    strategy: Strategy,
    revision: Option<Arc<str>>,
    servers: Vec<Server>,
) -> (UpstreamService, Pool) {
    let timeouts = Timeouts {
        response: config.timeouts.response,
        idle: config.timeouts.idle,
    };
    let pass_host = config.pass_host;
    let (balance, update) = balance(config, strategy, move |server| {
        let host = host_header(&server.origin);
        ServiceBuilder::new()
            .layer(PlaceLayer::new())
            .layer(ForwardLayer::new(host, pass_host))
            .service(Client::new(Arc::clone(&server.origin), timeouts))
    });
    let watch = Watch::new(name, &config.outlier, &servers);
    let pool = Pool::new(revision, update, watch, servers);
    let stack = balance.map_response(|response| response.map(Body::new));
    (BoxCloneSyncService::new(stack), pool)
}

/// A pool of TCP servers, and the stack that leads to them.
pub(super) fn tcp(
    name: &str,
    config: &LoadBalancerConfig,
    servers: Vec<Server>,
) -> (ConnectionService, Pool) {
    let (balance, update) = balance(config, config.strategy, |server| {
        Dialler::new(Arc::clone(&server.origin))
    });
    let watch = Watch::new(name, &config.outlier, &servers);
    let pool = Pool::new(None, update, watch, servers);
    let stack = TcpForward::new(name.into(), balance, Arc::clone(&pool.servers));
    (BoxCloneSyncService::new(stack), pool)
}

fn balance<S: Clone + Send + Sync + 'static>(
    config: &LoadBalancerConfig,
    strategy: Strategy,
    service: impl Fn(&Server) -> S + Send + Sync + 'static,
) -> (Balance<S>, Update) {
    let strategy = self::strategy(strategy);
    let panic_threshold = config.panic_threshold_percent;
    let balance = Balance::with_panic_threshold(strategy, panic_threshold, Vec::new());
    let member = move |server: &Server| Member {
        endpoint: Arc::clone(&server.endpoint),
        weight: u32::from(server.weight),
        service: service(server),
    };
    let updated = balance.clone();
    let update = move |servers: &[Server]| {
        updated.set_members(servers.iter().map(&member).collect());
    };
    (balance, Box::new(update))
}

fn strategy(strategy: Strategy) -> balance::Strategy {
    match strategy {
        Strategy::RoundRobin => balance::Strategy::RoundRobin,
        Strategy::Weighted => balance::Strategy::Weighted,
        Strategy::LeastConnections => balance::Strategy::LeastConnections,
        Strategy::Random => balance::Strategy::Random,
    }
}
