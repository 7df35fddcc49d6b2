//! A set of networks, to be searched.

use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;

/// Networks that do not overlap, in the order of their addresses.
#[derive(Debug, Clone)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    pub(crate) fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let canonical = networks.into_iter().map(canonical).collect();
        let mut disjoint = IpNet::aggregate(&canonical);
        disjoint.sort_unstable_by_key(IpNet::network);
        Self(disjoint)
    }

    /// Whether an address, a canonical one, is in one of them.
    pub(crate) fn contain(&self, ip: IpAddr) -> bool {
        let after = self.0.partition_point(|network| network.network() <= ip);
        self.0[..after]
            .last()
            .is_some_and(|network| network.contains(&ip))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let v4 = v6
        .addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok())
        .map_or(network, IpNet::V4)
}
