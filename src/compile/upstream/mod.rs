//! `services "name"`: one stack each, shared by every router that names it. Each line only if it is configured.
//!
//! ```text
//! mirror( another service )                 a copy; never waits, never fails the request
//!    └ failover( this one, another service )
//!       └ session( cookie )                which server the client belongs to
//!          └ split( revisions by percent )
//!             └ balance( strategy )         picks a server, and takes a place at its endpoint
//!                └ place                    kept until the response's body has ended
//!                   └ keep( cookie )        on answers to those who belong elsewhere
//!                      └ forward( hop-by-hop, forwarded headers, Host )
//!                         └ client( timeouts, pooled connection )
//! ```
//!
//! and where the servers are of TCP, or of UDP:
//!
//! ```text
//! forward( bytes, or datagrams, both ways )
//!    └ failover( this one, another service )
//!       └ each( server once )
//!          └ balance( strategy )
//!             └ dial( a connection or a session, at its place until it ends )
//! ```

mod failover;
mod health_check;
mod mirror;
mod origin;
mod outlier;
mod pool;
mod respond;
mod revisions;
mod roster;
mod sticky;
mod websocket_hub;

pub(super) use origin::{origin, tls_settings};
pub use pool::Pool;

use super::{Addresses, CompileError, Kept};
use crate::config::{GatewayConfig, LoadBalancerConfig, ServiceConfig};
use crate::rule::Protocol;
use crate::stack::UpstreamService;
use crate::upstream::hub::{Hub, HubLimits};
use crate::upstream::probe::Check;
use crate::upstream::tcp::DialService;
use crate::upstream::tls::TlsError;
use crate::upstream::udp::UdpServers;
use crate::upstream::{ConnectionCounts, Servers};
use a3s_layers::failover::FailoverCourse;
use a3s_layers::mirror::MirrorCounts;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use sticky::Sessions;

/// The services of a configuration, by name.
pub type Services = HashMap<Arc<str>, Service>;

/// A service: its stack, and what of it is kept.
#[derive(Debug, Clone)]
pub struct Service {
    config: ServiceConfig,
    pub(super) stack: Stack,
    /// The part of the stack that leads to its own servers.
    own: Stack,
    pools: Vec<Arc<Pool>>,
    mirror: Option<Arc<MirrorCounts>>,
    /// Whether copies may come to it.
    is_shadow: bool,
    failover: Option<Arc<FailoverCourse>>,
    check: Option<Arc<Check>>,
    hub: Option<(Arc<Hub>, HubLimits)>,
    connections: Option<Arc<ConnectionCounts>>,
    /// There is one for each time that it is made.
    made: Arc<()>,
}

/// What a service does.
#[derive(Debug, Clone)]
pub(super) enum Stack {
    /// It answers requests.
    Http(UpstreamService),
    /// It leads connections to its servers.
    Tcp(DialService),
    /// It leads datagrams to its servers.
    Udp(UdpServers),
}

impl Service {
    /// Whether it is the very same, with all that it leads to.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.made, &other.made)
    }

    /// Its pools of servers: one, or one for each revision; none where it answers itself.
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// The pool of a revision, or the one of a service without revisions.
    fn pool(&self, revision: Option<&str>) -> Option<&Pool> {
        let mut pools = self.pools.iter().map(|pool| &**pool);
        pools.find(|pool| pool.revision().map(|name| &**name) == revision)
    }

    /// How its failover goes, if it has one.
    pub fn failover(&self) -> Option<&Arc<FailoverCourse>> {
        self.failover.as_ref()
    }

    /// Whether its own servers, its own answer, or its hub are as they are there. A hub goes on within other limits.
    fn is_made_as(&self, config: &ServiceConfig) -> bool {
        self.config.load_balancer == config.load_balancer
            && self.config.revisions == config.revisions
            && self.config.respond == config.respond
            && self.config.websocket_hub.is_some() == config.websocket_hub.is_some()
    }

    /// Requests come to it from now on.
    pub fn take_effect(&self) {
        self.pools.iter().for_each(|pool| pool.take_effect());
        if let Some((hub, limits)) = &self.hub {
            hub.set_limits(*limits);
        }
    }

    /// The channels that its clients share, if it has any.
    pub fn hub(&self) -> Option<&Arc<Hub>> {
        self.hub.as_ref().map(|(hub, _)| hub)
    }

    /// What has become of the copies for its mirror, if it has one.
    pub fn mirror(&self) -> Option<&Arc<MirrorCounts>> {
        self.mirror.as_ref()
    }

    /// What has become of the connections that routers led to it, if it is for connections.
    pub fn connections(&self) -> Option<&Arc<ConnectionCounts>> {
        self.connections.as_ref()
    }

    /// How its servers are asked whether they are well, if they are.
    pub fn health_check(&self) -> Option<&Arc<Check>> {
        self.check.as_ref()
    }

    /// The servers of each of its pools, with the name of the revision.
    pub fn servers(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &Arc<Servers>)> {
        let pools = self.pools.iter();
        pools.map(|pool| (pool.revision(), pool.servers()))
    }
}

pub(super) fn services(config: &GatewayConfig, kept: &Kept) -> Result<Services, CompileError> {
    let mut making = Making {
        config,
        shadows: mirror::shadows(config),
        kept: &kept.services,
        addresses: &kept.addresses,
        made: Services::with_capacity(config.services.len()),
        open: Vec::new(),
        same: HashSet::new(),
    };
    for name in config.services.keys() {
        making.service(name)?;
    }
    Ok(making.made)
}

/// The configuration's check lets services lead to one another no deeper.
const MAX_DEPTH: usize = 64;

/// Services are made after those that they lead to.
struct Making<'c> {
    config: &'c GatewayConfig,
    /// Those that copies may come to.
    shadows: HashSet<&'c str>,
    kept: &'c Services,
    addresses: &'c Addresses,
    made: Services,
    /// Those that wait for others.
    open: Vec<&'c str>,
    /// Those that are what they were before.
    same: HashSet<&'c str>,
}

impl<'c> Making<'c> {
    fn service(&mut self, name: &'c str) -> Result<(), CompileError> {
        if self.made.contains_key(name) {
            return Ok(());
        }
        let invalid = |what: &str| CompileError::Invalid(format!("service `{name}`: {what}"));
        let config = self.config.services.get(name);
        let config = config.ok_or_else(|| invalid("there is none of this name"))?;
        if self.open.contains(&name) || self.open.len() > MAX_DEPTH {
            return Err(invalid("it leads to itself"));
        }
        self.open.push(name);
        for (_, other) in config.leads_to() {
            self.service(other)?;
        }
        self.open.pop();
        let before = self.kept.get(name);
        let leads_to_same = || (config.leads_to()).all(|(_, other)| self.same.contains(other));
        let service = match before {
            // The same words are the same service, with its turn in the round and all.
            Some(before)
                if before.config == *config
                    && before.is_shadow == self.shadows.contains(name)
                    && leads_to_same() =>
            {
                let before = before.clone();
                self.same.insert(name);
                before
            }
            _ => {
                let mut service = service(name, config, before, &self.made, self.addresses)?;
                if self.shadows.contains(name) {
                    service.is_shadow = true;
                    service.stack = mirror::unmarked(service.stack);
                }
                service
            }
        };
        self.made.insert(name.into(), service);
        Ok(())
    }
}

fn service(
    name: &str,
    config: &ServiceConfig,
    before: Option<&Service>,
    others: &Services,
    addresses: &Addresses,
) -> Result<Service, CompileError> {
    let hub = config.websocket_hub.as_ref();
    let hub = hub.map(|hub| websocket_hub::hub(hub, before.and_then(Service::hub)));
    let (own, pools) = match (before.filter(|before| before.is_made_as(config)), &hub) {
        (Some(before), _) => (before.own.clone(), before.pools.clone()),
        (None, Some((hub, _))) => (Stack::Http(websocket_hub::stack(hub)), Vec::new()),
        (None, None) => own(name, config, before, addresses)?,
    };
    let check = match &config.load_balancer {
        Some(balancer) => health_check::health_check(name, config, balancer)?,
        None => None,
    };
    let connections = matches!(own, Stack::Tcp(_)).then(|| {
        let before = before.and_then(|before| before.connections.clone());
        before.unwrap_or_default()
    });
    let mut service = Service {
        config: config.clone(),
        check,
        connections,
        made: Arc::new(()),
        stack: own.clone(),
        own,
        pools,
        failover: None,
        mirror: None,
        is_shadow: false,
        hub,
    };
    if let Some(failover) = &config.failover {
        let course = before.and_then(|before| before.failover.clone());
        let course = course.unwrap_or_default();
        service.stack = failover::failover(name, failover, service.stack, others, &course)?;
        service.failover = Some(course);
    }
    if let Some(mirror) = &config.mirror {
        let before = before.and_then(|before| before.mirror.clone());
        let (stack, counts) = mirror::around(name, service.stack, mirror, others, before)?;
        service.stack = stack;
        service.mirror = Some(counts);
    }
    Ok(service)
}

/// Its own servers, or its own answer.
fn own(
    name: &str,
    config: &ServiceConfig,
    before: Option<&Service>,
    addresses: &Addresses,
) -> Result<(Stack, Vec<Arc<Pool>>), CompileError> {
    match (&config.load_balancer, &config.respond) {
        (_, None) if !config.revisions.is_empty() => {
            revisions::revisions(name, config, before, addresses)
        }
        (Some(balancer), None) => {
            let protocol = config.protocol();
            load_balancer(name, balancer, protocol, before, addresses)
        }
        (None, Some(respond)) => Ok((Stack::Http(respond::respond(name, respond)?), Vec::new())),
        _ => {
            let text = format!(
                "service `{name}`: needs one of `load_balancer`, `revisions`, `respond` and `websocket_hub`"
            );
            Err(CompileError::Invalid(text))
        }
    }
}

fn load_balancer(
    name: &str,
    config: &LoadBalancerConfig,
    protocol: Protocol,
    before: Option<&Service>,
    addresses: &Addresses,
) -> Result<(Stack, Vec<Arc<Pool>>), CompileError> {
    let common_before = before.map(|before| before.config.common());
    let known = before.and_then(|before| before.pool(None));
    let known = common_before.as_deref().zip(known);
    let members =
        pool::members(name, config, &config.servers, known, addresses).map_err(failed(name))?;
    let (stack, pool) = match protocol {
        Protocol::Http => {
            let sessions = Sessions::of(name, config)?;
            let sessions = sessions.as_ref();
            let (balance, pool) =
                pool::balanced(name, config, config.strategy, None, sessions, members);
            (Stack::Http(pool::stack(balance, sessions)), pool)
        }
        Protocol::Tcp => {
            let (stack, pool) = pool::tcp(name, config, members);
            (Stack::Tcp(stack), pool)
        }
        Protocol::Udp => {
            let (servers, pool) = pool::udp(name, config, members);
            (Stack::Udp(servers), pool)
        }
    };
    Ok((stack, vec![Arc::new(pool)]))
}

/// What is said where TLS to the servers of a service cannot be set up.
fn failed(service: &str) -> impl Fn(TlsError) -> CompileError + use<> {
    let service = service.to_owned();
    move |source| CompileError::Tls {
        service: service.clone(),
        source,
    }
}
