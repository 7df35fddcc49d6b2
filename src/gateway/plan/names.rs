//! Names of servers are not looked up: each has an address that stands for it.

use crate::compile;
use crate::config::GatewayConfig;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Names of servers, each with an address that stands for it: those of RFC 6666, which lead nowhere.
pub(super) struct Names {
    names: HashMap<IpAddr, Arc<str>>,
}

impl Names {
    pub(super) fn of(configs: [&GatewayConfig; 2]) -> Self {
        let services = configs
            .into_iter()
            .flat_map(|config| config.services.values());
        let names = services.flat_map(|service| {
            let names = service.servers().filter_map(|server| server.url.name());
            names.map(str::to_owned).collect::<Vec<_>>()
        });
        let names: BTreeSet<String> = names.collect();
        let address = |number| IpAddr::from(Ipv6Addr::from((0x100_u128 << 112) | number));
        let all = names.into_iter().zip(1..);
        Self {
            names: all
                .map(|(name, number)| (address(number), name.into()))
                .collect(),
        }
    }

    pub(super) fn addresses(&self) -> compile::Addresses {
        let each = |(ip, name): (&IpAddr, &Arc<str>)| (Arc::clone(name), Arc::from([*ip]));
        self.names.iter().map(each).collect()
    }

    /// A server as it is written.
    pub(super) fn written(&self, id: &str) -> String {
        let address = |(_, rest): (_, &str)| rest.split_once(']').map(|(ip, _)| ip.to_owned());
        let address = id.split_once('[').and_then(address);
        let name = address.and_then(|address| {
            let name = self.names.get(&address.parse().ok()?)?;
            Some(id.replace(&format!("[{address}]"), name))
        });
        name.unwrap_or_else(|| id.to_owned())
    }
}
