//! Addresses of clients.

use super::{Budget, Found, first};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Those that are tried first, for they read well: of documentation, of private networks, of this machine.
const LIKED: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1)),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// An address that is in one network of each of the `wanted` lists, and in none of the `others`.
///
/// What is wanted is a union of ranges, and each begins where a network begins, or behind the end of one, or with the
/// first address of its family: these are all that have to be tried.
pub(super) fn search(wanted: &[&[IpNet]], others: &[&[IpNet]], budget: &Budget) -> Found<IpAddr> {
    // The second one reads better than the address of the network itself.
    let second = |net: &IpNet| next(net.network()).filter(|ip| net.contains(ip));
    let nets = || wanted.iter().chain(others).flat_map(|nets| nets.iter());
    let behind_mapped = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 1, 0, 0, 0));
    let edges = nets().flat_map(|net| [Some(net.network()), next(net.broadcast())]);
    let firsts = [
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv6Addr::UNSPECIFIED.into(),
        behind_mapped,
    ];
    let candidates = (LIKED.into_iter())
        .chain(nets().filter_map(second))
        .chain(edges.flatten())
        .chain(firsts);
    let cost = 1 + nets().count();
    first(candidates, true, (budget, cost), |ip| {
        let is_in = |nets: &&[IpNet]| nets.iter().any(|net| net.contains(ip));
        // One of IPv4 in IPv6 is seen as one of IPv4.
        ip.to_canonical() == *ip && wanted.iter().all(is_in) && !others.iter().any(is_in)
    })
}

fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip)
            .checked_add(1)
            .map(|ip| Ipv4Addr::from(ip).into()),
        IpAddr::V6(ip) => u128::from(ip)
            .checked_add(1)
            .map(|ip| Ipv6Addr::from(ip).into()),
    }
}
