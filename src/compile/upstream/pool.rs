//! A pool: servers, and the balance over them.

use super::outlier::Watch;
use super::roster::{Known, Roster};
use super::sticky::Sessions;
use crate::compile::Addresses;
use crate::config::{LoadBalancerConfig, ServerConfig, Strategy};
use crate::rule::Protocol;
use crate::stack::{Request, Response, UpstreamService};
use crate::upstream::client::{Client, Timeouts, host_header};
use crate::upstream::forward::ForwardLayer;
use crate::upstream::tcp::{DialEach, DialService, Dialler};
use crate::upstream::tls::TlsError;
use crate::upstream::udp::{UdpDialler, UdpServers};
use crate::upstream::{Server, Servers};
use a3s_layers::balance::{self, Balance, Member, Rules};
use a3s_layers::endpoint::{PlaceLayer, Placed};
use axum::body::Body;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceBuilder};

/// The servers of a service, or of a revision of it.
pub struct Pool {
    revision: Option<Arc<str>>,
    servers: Arc<Servers>,
    update: Update,
    watch: Watch,
    roster: Roster,
    /// What the names of its servers stand for; locked while that changes.
    addresses: Mutex<Addresses>,
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
    fn new(revision: Option<Arc<str>>, update: Update, watch: Watch, members: Members) -> Self {
        update(&members.servers);
        let servers = Servers::new();
        servers.set(members.servers);
        Self {
            revision,
            servers: Arc::new(servers),
            update,
            watch,
            roster: members.roster,
            addresses: Mutex::new(members.addresses),
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

    /// The names of servers that are to be looked up.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.roster.names()
    }

    /// Goes on with these addresses of a name. Servers that were there before go on; those that are no more get no new
    /// requests.
    pub fn set_addresses(&self, name: &str, found: &[IpAddr]) {
        self.update_addresses([(name, found)]);
    }

    /// As [`Pool::set_addresses`], for all of its names that are among these.
    pub fn set_all_addresses(&self, found: &Addresses) {
        let names = self.names();
        self.update_addresses(names.filter_map(|name| Some((name, &**found.get(name)?))));
    }

    fn update_addresses<'f>(&self, found: impl IntoIterator<Item = (&'f str, &'f [IpAddr])>) {
        let mut addresses = (self.addresses.lock()).unwrap_or_else(PoisonError::into_inner);
        let mut has_changed = false;
        for (name, found) in found {
            if addresses.get(name).is_none_or(|known| **known != *found) {
                addresses.insert(name.into(), found.into());
                has_changed = true;
            }
        }
        if !has_changed {
            return;
        }
        let known = self.servers.list();
        let servers = self.roster.servers(&addresses, &Known::of(&known));
        self.settle(&servers);
        (self.update)(&servers);
        self.servers.set(servers);
    }

    /// Requests come to it from now on, and its servers, some of which an earlier pool may have as well, are watched
    /// and limited as it says.
    pub fn take_effect(&self) {
        self.settle(&self.servers.list());
    }

    fn settle(&self, servers: &[Server]) {
        self.watch.servers(servers);
        self.roster.limit(servers);
    }
}

/// The servers that a pool begins with, and how it comes to others.
pub(super) struct Members {
    roster: Roster,
    addresses: Addresses,
    servers: Vec<Server>,
}

/// The servers of `list`, of the service `name`, whose names have these addresses. Those that were there `before` go
/// on: how they stand, and, where how to connect to them is still the same, their connections.
pub(super) fn members(
    name: &str,
    config: &LoadBalancerConfig,
    list: &[ServerConfig],
    before: Option<(&LoadBalancerConfig, &Pool)>,
    addresses: &Addresses,
) -> Result<Members, TlsError> {
    let roster = Roster::new(name, config, list)?;
    let known = before.map(|(before, pool)| (before, pool.servers.list()));
    let known = match &known {
        Some((before, servers)) => Known::before(config, before, servers),
        None => Known::nobody(),
    };
    let name = |name| addresses.get_key_value(name);
    let own = roster.names().filter_map(name);
    let own = own.map(|(name, found)| (Arc::clone(name), Arc::clone(found)));
    let own = own.collect();
    Ok(Members {
        servers: roster.servers(&own, &known),
        addresses: own,
        roster,
    })
}

/// A pool of HTTP servers, of a service or of a revision of it, and the balance over them.
pub(super) fn balanced(
    name: &str,
    config: &LoadBalancerConfig,
    strategy: Strategy,
    revision: Option<&str>,
    sessions: Option<&Sessions>,
    members: Members,
) -> (Balance<impl ToServer>, Pool) {
    let timeouts = Timeouts {
        response: config.timeouts.response,
        idle: config.timeouts.idle_of(Protocol::Http),
    };
    let pass_host = config.pass_host;
    let sessions = sessions.map(|sessions| sessions.clone().of_revision(revision));
    let kept = sessions.clone();
    let (balance, update) = balance(config, strategy, sessions.as_ref(), move |server| {
        let host = host_header(&server.origin);
        let keep = kept.as_ref().map(|kept| kept.keep(&server.endpoint));
        ServiceBuilder::new()
            .map_response(|response: http::Response<_>| response.map(Body::new))
            .layer(PlaceLayer::new())
            .option_layer(keep)
            .layer(ForwardLayer::new(host, pass_host))
            .service(Client::new(Arc::clone(&server.origin), timeouts))
    });
    let name = revision.map_or_else(|| name.to_owned(), |revision| format!("{name}/{revision}"));
    let watch = Watch::new(&name, &config.outlier, &members.servers);
    let pool = Pool::new(revision.map(Arc::from), update, watch, members);
    (balance, pool)
}

/// The stack of one server.
pub(super) trait ToServer:
    Service<Placed<Request>, Response = Response, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> ToServer for S where
    S: Service<Placed<Request>, Response = Response, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The whole stack that leads to the servers of a service, by way of whatever picks one.
pub(super) fn stack<S>(picks: S, sessions: Option<&Sessions>) -> UpstreamService
where
    S: Service<Request, Response = Response, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let stack = ServiceBuilder::new()
        .option_layer(sessions.map(Sessions::read))
        .service(picks);
    BoxCloneSyncService::new(stack)
}

/// A pool of TCP servers, and the stack that leads to them.
pub(super) fn tcp(
    name: &str,
    config: &LoadBalancerConfig,
    members: Members,
) -> (DialService, Pool) {
    let (balance, update) = balance(config, config.strategy, None, |server| {
        Dialler::new(Arc::clone(&server.origin))
    });
    let watch = Watch::new(name, &config.outlier, &members.servers);
    let pool = Pool::new(None, update, watch, members);
    (BoxCloneSyncService::new(DialEach::new(balance)), pool)
}

/// A pool of UDP servers, and the stack that leads to them.
pub(super) fn udp(name: &str, config: &LoadBalancerConfig, members: Members) -> (UdpServers, Pool) {
    let (balance, update) = balance(config, config.strategy, None, |server| {
        UdpDialler::new(Arc::clone(&server.origin))
    });
    let watch = Watch::new(name, &config.outlier, &members.servers);
    let pool = Pool::new(None, update, watch, members);
    let servers = UdpServers {
        dial: BoxCloneSyncService::new(DialEach::new(balance.clone())),
        clusters: vec![Arc::new(balance)],
    };
    (servers, pool)
}

fn balance<S: Clone + Send + Sync + 'static>(
    config: &LoadBalancerConfig,
    strategy: Strategy,
    sessions: Option<&Sessions>,
    service: impl Fn(&Server) -> S + Send + Sync + 'static,
) -> (Balance<S>, Update) {
    let balance = Balance::new(rules(config, strategy), Vec::new());
    let balance = match sessions {
        Some(sessions) => sessions.balance(balance),
        None => balance,
    };
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

fn rules(config: &LoadBalancerConfig, strategy: Strategy) -> Rules {
    Rules {
        strategy: match strategy {
            Strategy::RoundRobin => balance::Strategy::RoundRobin,
            Strategy::Weighted => balance::Strategy::Weighted,
            Strategy::LeastConnections => balance::Strategy::LeastConnections,
            Strategy::Random => balance::Strategy::Random,
            Strategy::P2cEwma => balance::Strategy::P2cEwma,
            Strategy::ConsistentHash => {
                let hash = config.consistent_hash.clone().unwrap_or_default();
                balance::Strategy::ConsistentHash(hash.on)
            }
        },
        slow_start: config.slow_start,
        panic_threshold_percent: config.panic_threshold_percent,
    }
}
