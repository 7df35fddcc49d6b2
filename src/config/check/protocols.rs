//! Requests, connections and datagrams: what is for the one is not for the others.

use super::Check;
use super::place::{Key, keys};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{
    self, ADMIN_SERVICE, Address, EntrypointConfig, GatewayConfig, HttpConfig, LoadBalancerConfig,
    MiddlewareConfig, RouterConfig, ServiceConfig, TimeoutsConfig, UpstreamTlsConfig,
};
use crate::rule::Protocol;
use a3s_layers::balance::HashOn;
use std::collections::{HashMap, HashSet};

/// What services take, as far as it is known.
type Services<'c> = HashMap<&'c str, Protocol>;

/// What routers and services take.
pub(super) fn kind(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "requests",
        Protocol::Tcp => "connections",
        Protocol::Udp => "datagrams",
    }
}

pub(super) fn mixed(message: String) -> Problem {
    Problem::new(Code::Mixed, message)
}

impl Check<'_> {
    pub(super) fn protocols(&mut self) {
        let config = self.config;
        for (name, entrypoint) in &config.entrypoints {
            let protocol = entrypoint.protocol.of_routers();
            self.keys_of_udp(name, entrypoint);
            self.proxy_protocol(name, entrypoint);
            // Where requests are what comes out of connections, those come first.
            if protocol != Protocol::Http {
                self.keys_of_http(name, entrypoint);
                let user = ("entrypoint", "entrypoints", name.as_str());
                self.strays(user, &entrypoint.middlewares, protocol);
            }
        }
        let mut services = Services::from([(ADMIN_SERVICE, Protocol::Http)]);
        for (name, service) in &config.services {
            if let Some(protocol) = self.taken_by(name, service) {
                services.insert(name, protocol);
                match &service.load_balancer {
                    Some(balancer) if service.revisions.is_empty() => {
                        self.servers(name, balancer, protocol);
                    }
                    _ => {}
                }
            }
        }
        for (name, router) in &config.routers {
            if let Some(protocol) = self.protocol_of(router) {
                self.router(name, router, protocol);
                let user = format!("router `{name}`");
                let place = keys!["routers", name, "service"];
                self.leads_to(&user, &place, &router.service, protocol, &services);
                let user = ("router", "routers", name.as_str());
                self.strays(user, &router.middlewares, protocol);
            }
        }
        for (name, service) in &config.services {
            let Some(&protocol) = services.get(&**name) else {
                continue;
            };
            for (block, other) in service.leads_to() {
                let place = keys!["services", name, block, "service"];
                if block == "mirror" && protocol != Protocol::Http {
                    let takes = kind(protocol);
                    let message = format!("service `{name}` is for {takes}, which have no copies");
                    self.report(&place, mixed(message));
                } else {
                    let user = format!("service `{name}`");
                    self.leads_to(&user, &place, other, protocol, &services);
                }
            }
        }
        for (name, middleware) in &config.middlewares {
            if let Some(service) = middleware.settings().service() {
                let place = keys!["middlewares", name, "service"];
                let user = format!("middleware `{name}`");
                self.leads_to(&user, &place, service, Protocol::Http, &services);
            }
        }
    }

    /// Keys of HTTP on an entrypoint that does not speak it.
    fn keys_of_http(&mut self, name: &str, entrypoint: &EntrypointConfig) {
        let keys = [
            ("http", entrypoint.http != HttpConfig::default()),
            ("trusted_proxies", !entrypoint.trusted_proxies.is_empty()),
        ];
        let one = match entrypoint.protocol {
            config::Protocol::Udp => "UDP",
            _ => "TCP",
        };
        for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
            let message =
                format!("`{key}` is for entrypoints of HTTP, and `{name}` is one of {one}");
            self.report(&keys!["entrypoints", name, *key], mixed(message));
        }
    }

    /// Keys of UDP on an entrypoint that does not speak it, and of connections on one that does.
    fn keys_of_udp(&mut self, name: &str, entrypoint: &EntrypointConfig) {
        let default = EntrypointConfig::new(entrypoint.address.clone());
        let is_udp = entrypoint.protocol == config::Protocol::Udp;
        let timeout = entrypoint.udp_session_timeout_secs != default.udp_session_timeout_secs;
        let sessions = entrypoint.udp_max_sessions != default.udp_max_sessions;
        let keys = [
            ("udp_session_timeout_secs", timeout),
            ("udp_max_sessions", sessions),
        ];
        for (key, _) in keys.iter().filter(|(_, is_set)| *is_set && !is_udp) {
            let message = format!("`{key}` is for entrypoints of UDP, and `{name}` is none");
            self.report(&keys!["entrypoints", name, *key], mixed(message));
        }
        if !is_udp {
            return;
        }
        if entrypoint.max_connections.is_some() {
            let message = format!("entrypoint `{name}` is for datagrams, and has no connections");
            let help = "write `udp_max_sessions`".to_owned();
            let place = keys!["entrypoints", name, "max_connections"];
            self.report(&place, mixed(message).help(help));
        }
        if let Address::Unix(_) = entrypoint.address {
            let message = "datagrams come to a port, and not to a Unix socket";
            let problem = Problem::new(Code::InvalidValue, message);
            self.report(&keys!["entrypoints", name, "address"], problem);
        }
    }

    fn proxy_protocol(&mut self, name: &str, entrypoint: &EntrypointConfig) {
        let Some(proxy) = &entrypoint.proxy_protocol else {
            return;
        };
        if entrypoint.protocol == config::Protocol::Udp {
            let message = "the PROXY protocol is for connections, and not for datagrams";
            let place = keys!["entrypoints", name, "proxy_protocol"];
            self.report(&place, mixed(message.to_owned()));
        }
        let place = keys!["entrypoints", name, "proxy_protocol", "trusted_ips"];
        if proxy.trusted_ips.is_empty() && self.is_read(&place) {
            let message = "nobody is trusted, and every connection would be refused";
            self.report(&place, Problem::new(Code::Choice, message));
        }
    }

    fn router(&mut self, name: &str, router: &RouterConfig, protocol: Protocol) {
        let config = self.config;
        for (index, named) in router.entrypoints.iter().enumerate() {
            let there = config.entrypoints.get(named);
            let there = there.map(|entrypoint| entrypoint.given_to(router));
            if let Some(there) = there.filter(|there| *there != protocol) {
                let message = format!(
                    "router `{name}` takes {}, and entrypoint `{named}` is for {}",
                    kind(protocol),
                    kind(there)
                );
                let place = keys!["routers", name, "entrypoints", index];
                self.report(&place, mixed(message));
            }
        }
        if protocol != Protocol::Tcp && router.passes_tls() {
            let takes = kind(protocol);
            let message = format!(
                "TLS is passed through with connections, and router `{name}` takes {takes}"
            );
            self.report(
                &keys!["routers", name, "tls", "passthrough"],
                mixed(message),
            );
        }
        if protocol != Protocol::Http && router.timeout.is_some() {
            let takes = kind(protocol);
            let message = format!("`timeout` is for requests, and router `{name}` takes {takes}");
            self.report(&keys!["routers", name, "timeout"], mixed(message));
        }
    }

    /// A service that takes what is not sent to it.
    fn leads_to(
        &mut self,
        user: &str,
        place: &[Key<'_>],
        service: &str,
        sends: Protocol,
        services: &Services<'_>,
    ) {
        if let Some(takes) = services.get(service)
            && *takes != sends
        {
            let (sends, takes) = (kind(sends), kind(*takes));
            let message = format!("{user} takes {sends}, and service `{service}` is for {takes}");
            let has_revisions = (self.config.services.get(service))
                .is_some_and(|service| !service.revisions.is_empty());
            let also = match has_revisions {
                true => self.at(&keys!["services", service, "revisions"]),
                false => self.at(&keys!["services", service, "load_balancer", "servers"]),
            };
            self.report(place, mixed(message).also(also, "its servers"));
        }
    }

    /// Middlewares that do not see what passes here.
    fn strays(&mut self, user: (&str, &'static str, &str), names: &[String], protocol: Protocol) {
        let (what, section, user) = user;
        for (index, name) in names.iter().enumerate() {
            let Some(stray) = stray(self.config, name, protocol) else {
                continue;
            };
            let kind = stray.kind();
            let (takes, for_) = (
                self::kind(protocol),
                self::kind(stray.settings().protocol()),
            );
            let message =
                format!("{what} `{user}` takes {takes}, and `{name}` is for {for_}: `{kind}`");
            let place = keys![section, user, "middlewares", index];
            self.report(&place, mixed(message));
        }
    }

    /// What a router takes; none where that cannot be known, because an entrypoint cannot be read.
    pub(super) fn protocol_of(&self, router: &RouterConfig) -> Option<Protocol> {
        let is_read = |name: &String| self.is_read(&keys!["entrypoints", name, "protocol"]);
        let first = router
            .entrypoints
            .iter()
            .find(|name| self.config.entrypoints.contains_key(*name));
        self.config
            .protocol_of(router)
            .filter(|_| first.is_none_or(is_read))
    }

    /// What a service takes; none where that cannot be known, because a server cannot be read.
    fn taken_by(&self, name: &str, service: &ServiceConfig) -> Option<Protocol> {
        let balancer = service.load_balancer.as_ref();
        let servers = 0..balancer.map_or(0, |balancer| balancer.servers.len());
        let url = |index: usize| keys!["services", name, "load_balancer", "servers", index, "url"];
        let is_read = self.is_read(&keys!["services", name, "revisions"])
            && self.is_read(&keys!["services", name, "load_balancer", "servers"])
            && servers.into_iter().all(|index| self.is_read(&url(index)));
        is_read.then(|| service.protocol())
    }

    /// Servers of both kinds, and keys that one of them knows nothing of.
    fn servers(&mut self, name: &str, balancer: &LoadBalancerConfig, protocol: Protocol) {
        for (index, server) in balancer.servers.iter().enumerate() {
            let takes = server.url.scheme().protocol();
            if takes != protocol {
                let message = format!(
                    "service `{name}` is for {}, and this server for {}",
                    kind(protocol),
                    kind(takes)
                );
                let place = keys!["services", name, "load_balancer", "servers", index, "url"];
                self.report(&place, mixed(message));
            }
        }
        if protocol == Protocol::Http {
            return;
        }
        if protocol == Protocol::Udp && balancer.proxy_protocol.is_some() {
            let message =
                "the PROXY protocol is for connections, and the servers are for datagrams";
            let place = keys!["services", name, "load_balancer", "proxy_protocol"];
            self.report(&place, mixed(message.to_owned()));
        }
        let (timeouts, default) = (&balancer.timeouts, TimeoutsConfig::default());
        let hash = balancer.consistent_hash.as_ref();
        let hashes = hash.is_some_and(|hash| hash.on != HashOn::ClientIp);
        let keys = [
            (&["tls"][..], balancer.tls != UpstreamTlsConfig::default()),
            (&["pass_host"], !balancer.pass_host),
            (&["consistent_hash", "on"], hashes),
            (
                &["timeouts", "response"],
                timeouts.response != default.response,
            ),
            (
                &["timeouts", "idle"],
                protocol == Protocol::Udp && timeouts.idle.is_some(),
            ),
        ];
        for (path, _) in keys.iter().filter(|(_, is_set)| *is_set) {
            let key = path.last().copied().unwrap_or_default();
            let takes = kind(protocol);
            let message = format!("`{key}` is for requests, and the servers are for {takes}");
            let here = ["services", name, "load_balancer"].into_iter();
            let place: Vec<_> = here.chain(path.iter().copied()).map(Key::Name).collect();
            self.report(&place, mixed(message));
        }
    }
}

/// The first of the middlewares that a name stands for which is not for `protocol`.
fn stray<'c>(
    config: &'c GatewayConfig,
    name: &'c str,
    protocol: Protocol,
) -> Option<&'c MiddlewareConfig> {
    let (mut open, mut seen) = (vec![name], HashSet::new());
    while let Some(name) = open.pop() {
        // A chain that goes round in a circle is told elsewhere.
        if !seen.insert(name) {
            continue;
        }
        match config.middlewares.get(name) {
            Some(MiddlewareConfig::Chain(chain)) => {
                open.extend(chain.middlewares.iter().rev().map(String::as_str));
            }
            Some(other) if other.settings().protocol() != protocol => return Some(other),
            _ => {}
        }
    }
    None
}
