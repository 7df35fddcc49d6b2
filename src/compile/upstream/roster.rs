//! Who the servers of a pool are: those that are written, each at the addresses that its name has just now.

use super::origin::{origin, proxy_version, tls_settings};
use crate::compile::Addresses;
use crate::config::{LoadBalancerConfig, Scheme, ServerConfig, ServerUrl};
use crate::upstream::tls::{TlsError, client_config};
use crate::upstream::{Origin, Server, Target};
use a3s_layers::endpoint::Endpoint;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The servers as they are written, and what is needed to reach them wherever they are.
#[derive(Debug)]
pub(super) struct Roster {
    entries: Vec<Entry>,
    max_in_flight: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    url: ServerUrl,
    weight: u16,
    /// The way to it, but for where it listens.
    way: Origin,
}

impl Roster {
    /// The servers of `list`, of the service of this name, which are reached as `config` says.
    pub(super) fn new(
        service: &str,
        config: &LoadBalancerConfig,
        list: &[ServerConfig],
    ) -> Result<Self, TlsError> {
        let is_https = |server: &ServerConfig| server.url.scheme() == Scheme::Https;
        let tls = match list.iter().any(is_https) {
            true => Some(client_config(&tls_settings(&config.tls))?),
            false => None,
        };
        let service = Arc::<str>::from(service);
        let entry = |server: &ServerConfig| {
            let nowhere = Target::Addresses(Vec::new());
            let url = &server.url;
            Ok(Entry {
                url: url.clone(),
                weight: server.weight,
                way: origin(url, nowhere, &config.timeouts, &config.tls, tls.clone())?
                    .with_proxy_header(config.proxy_protocol.map(proxy_version))
                    .of_service(Arc::clone(&service)),
            })
        };
        Ok(Self {
            entries: list.iter().map(entry).collect::<Result<_, TlsError>>()?,
            max_in_flight: config.max_in_flight.map(|max| max as usize),
        })
    }

    /// The names that are to be looked up.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| entry.url.name())
    }

    /// The servers while names have these addresses. One of those that are `known` goes on, if it is the same: how it
    /// stands, and its connections.
    pub(super) fn servers(&self, addresses: &Addresses, known: &Known<'_>) -> Vec<Server> {
        let mut servers: Vec<Server> = Vec::with_capacity(self.entries.len());
        let mut indices = HashMap::new();
        for entry in &self.entries {
            for (id, target) in entry.places(addresses) {
                // Two names of one address are one server, as the first says; it has the larger weight.
                if let Some(index) = indices.get(&id) {
                    let twin: &mut Server = &mut servers[*index];
                    twin.weight = twin.weight.max(entry.weight);
                    continue;
                }
                indices.insert(id.clone(), servers.len());
                servers.push(known.server(id, target, entry));
            }
        }
        servers
    }

    /// Limits the servers, some of which a configuration that still runs may have as well, as this one says.
    pub(super) fn limit(&self, servers: &[Server]) {
        for server in servers {
            server.endpoint.set_max_in_flight(self.max_in_flight);
        }
    }
}

impl Entry {
    /// Where it is: each place is a server of its own, with its id.
    fn places(&self, addresses: &Addresses) -> Vec<(String, Target)> {
        let url = &self.url;
        if let Some(path) = url.socket() {
            return vec![(url.to_string(), Target::Unix(path.to_owned()))];
        }
        let fixed = url.addresses();
        let found = match url.name() {
            Some(name) => addresses.get(name).map_or(&[][..], |found| &**found),
            None => &fixed,
        };
        let socket = |ip: &IpAddr| SocketAddr::new(*ip, url.port());
        match found {
            [one, other] if one.is_ipv4() != other.is_ipv4() => {
                // IPv6 first (RFC 8305, 4; RFC 6724, 2.1).
                let (v4, v6) = match one.is_ipv4() {
                    true => (one, other),
                    false => (other, one),
                };
                let both = [v6, v4].map(socket).to_vec();
                vec![(url.to_string(), Target::Addresses(both))]
            }
            _ => found
                .iter()
                .map(|ip| {
                    let target = Target::Addresses(vec![socket(ip)]);
                    (url.at(*ip).to_string(), target)
                })
                .collect(),
        }
    }
}

/// The servers until now, by id.
pub(super) struct Known<'s> {
    servers: HashMap<&'s str, &'s Server>,
    /// Whether they are connected to as before.
    same_way: bool,
}

impl<'s> Known<'s> {
    /// None.
    pub(super) fn nobody() -> Self {
        Self {
            servers: HashMap::new(),
            same_way: false,
        }
    }

    /// Those that a pool has now.
    pub(super) fn of(servers: &'s [Server]) -> Self {
        let by_id = servers.iter().map(|server| (server.endpoint.id(), server));
        Self {
            servers: by_id.collect(),
            same_way: true,
        }
    }

    /// As they are known to a pool under another configuration.
    pub(super) fn before(
        config: &LoadBalancerConfig,
        before: &LoadBalancerConfig,
        servers: &'s [Server],
    ) -> Self {
        Self {
            same_way: before.tls == config.tls
                && before.timeouts == config.timeouts
                && before.proxy_protocol == config.proxy_protocol,
            ..Self::of(servers)
        }
    }

    fn server(&self, id: String, target: Target, entry: &Entry) -> Server {
        let known = self.servers.get(&*id);
        // The id of a name with two addresses does not say which.
        let known = known.filter(|known| *known.origin.target() == target);
        // Another name of the same address may have been the first until now.
        let is_same =
            |origin: &Origin| self.same_way && origin.authority() == entry.way.authority();
        let endpoint = known.map(|known| Arc::clone(&known.endpoint));
        let origin = known.filter(|known| is_same(&known.origin));
        let origin = origin.map(|known| Arc::clone(&known.origin));
        Server {
            endpoint: endpoint.unwrap_or_else(|| self.newcomer(id)),
            origin: origin.unwrap_or_else(|| Arc::new(entry.way.to(target))),
            weight: entry.weight,
        }
    }

    /// A server that was not there. Where it joins others, it starts slowly if that is wanted.
    fn newcomer(&self, id: String) -> Arc<Endpoint> {
        let endpoint = Endpoint::new(id);
        if !self.servers.is_empty() {
            endpoint.begin();
        }
        endpoint
    }
}
