//! What the system says of names: `/etc/resolv.conf` and `/etc/hosts`, which are read again when they change.

use hickory_resolver::Hosts;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use std::net::IpAddr;
use std::time::SystemTime;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// What tells one version of the files from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version([Option<(SystemTime, u64)>; 2]);

impl Version {
    /// That of the files as they are now.
    pub(super) fn now() -> Self {
        Self([RESOLV_CONF, HOSTS].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        }))
    }
}

/// The DNS servers of the system, and how it searches; an error where there are none.
pub(super) fn servers() -> Result<(ResolverConfig, ResolverOpts), String> {
    read_system_conf().map_err(|error| format!("{RESOLV_CONF}: {error}"))
}

/// The names of `/etc/hosts`; none where it cannot be read.
pub(super) fn hosts() -> Hosts {
    Hosts::from_system().unwrap_or_default()
}

/// What `/etc/hosts` says of a name, if it says something: then nobody else is asked.
pub(super) fn in_hosts(hosts: &Hosts, name: &Name) -> Option<[Vec<IpAddr>; 2]> {
    let found = [RecordType::A, RecordType::AAAA].map(|family| {
        let lookup = hosts.lookup_static_host(&Query::query(name.clone(), family));
        let lookup = lookup.iter().flat_map(|lookup| lookup.answers());
        lookup.filter_map(|record| record.data.ip_addr()).collect()
    });
    found
        .iter()
        .any(|family: &Vec<_>| !family.is_empty())
        .then_some(found)
}

/// The names to ask for, in order, where `name` is written: with the domains of the search list behind it, unless it
/// ends in a dot; first as it is, if it has so many dots (resolv.conf(5), `search` and `ndots`).
pub(super) fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut bare = name.clone();
    bare.set_fqdn(true);
    if name.is_fqdn() {
        return vec![bare];
    }
    let searched = search.iter().filter_map(|domain| {
        let mut full = name.clone().append_domain(domain).ok()?;
        full.set_fqdn(true);
        Some(full)
    });
    // Labels are separated by dots.
    match usize::from(name.num_labels()) > ndots {
        true => std::iter::once(bare).chain(searched).collect(),
        false => searched.chain([bare.clone()]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_list_comes_before_or_after_the_name_itself() {
        let search = ["ns.svc.test", "test"].map(|domain| Name::from_ascii(domain).unwrap());
        for (name, ndots, expected) in [
            ("db", 1, &["db.ns.svc.test.", "db.test.", "db."][..]),
            ("db.", 1, &["db."]),
            (
                "db.other",
                1,
                &["db.other.", "db.other.ns.svc.test.", "db.other.test."],
            ),
            (
                "db.other",
                5,
                &["db.other.ns.svc.test.", "db.other.test.", "db.other."],
            ),
            (
                "a.b.c.d.e.f",
                5,
                &[
                    "a.b.c.d.e.f.",
                    "a.b.c.d.e.f.ns.svc.test.",
                    "a.b.c.d.e.f.test.",
                ],
            ),
        ] {
            let name = Name::from_ascii(name).unwrap();
            let found = candidates(&name, &search, ndots);
            let found: Vec<_> = found.iter().map(Name::to_string).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn hosts_may_say_several_things_of_a_name() {
        let mut hosts = Hosts::default();
        let text = "10.0.0.1 a b.test # c\n::1 a\n10.0.0.2 a\nbroken d\n";
        hosts.read_hosts_conf(text.as_bytes()).unwrap();
        let look = |name| in_hosts(&hosts, &Name::from_ascii(name).unwrap());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let a = [vec![ip("10.0.0.1"), ip("10.0.0.2")], vec![ip("::1")]];
        assert_eq!(look("a"), Some(a));
        assert_eq!(look("b.test."), Some([vec![ip("10.0.0.1")], vec![]]));
        for name in ["c", "d", "test"] {
            assert_eq!(look(name), None, "{name}");
        }
    }
}
