//! One name: what it stands for, and when it is asked for again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// More addresses of a name than this are left out, the highest ones: an answer is not to fill the memory.
pub(super) const MAX_ADDRESSES: usize = 256;

/// However often it has failed, a name is asked for again after this time.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Somebody who knows what names stand for.
pub(super) trait Ask: Send + Sync + 'static {
    /// Asks once, and not for ever.
    fn ask(&self, name: &str) -> impl Future<Output = Reply> + Send;
}

/// What somebody says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) v4: Part,
    pub(super) v6: Part,
    /// How long it is good for.
    pub(super) ttl: Duration,
}

/// The part of a reply that is of one family of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// There may be none.
    Found(Vec<IpAddr>),
    /// Why nobody knows.
    Failed(String),
}

impl Reply {
    /// Nothing is known.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        let failed = Part::Failed(why.into());
        Self {
            v4: failed.clone(),
            v6: failed,
            ttl: Duration::ZERO,
        }
    }
}

/// A name, and what is known of it.
#[derive(Debug)]
pub(super) struct Name {
    host: Arc<str>,
    addresses: Arc<[IpAddr]>,
    /// How often in a row it could not be looked up.
    failures: u32,
    is_asked: bool,
    wait: Duration,
}

impl Name {
    /// One that is still to be asked for; until then it has these addresses.
    pub(super) fn new(host: Arc<str>, addresses: Arc<[IpAddr]>) -> Self {
        Self {
            host,
            addresses,
            failures: 0,
            is_asked: false,
            wait: Duration::ZERO,
        }
    }

    pub(super) fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// In order, each once.
    pub(super) fn addresses(&self) -> &Arc<[IpAddr]> {
        &self.addresses
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// How long to wait before it is asked for again.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// A configuration waits for it no longer.
    pub(super) fn is_late(&mut self) {
        self.failures = 1;
        let (name, kept) = (&self.host, self.addresses.len());
        tracing::warn!(%name, kept, "a name takes long to look up: the configuration does not wait for it");
    }

    /// Learns from a reply; whether its addresses have changed. A reply without any, and a part of one that failed,
    /// leave what was known. It is good for its time to live, within these bounds.
    pub(super) fn learn(&mut self, reply: Reply, (min, max): (Duration, Duration)) -> bool {
        self.is_asked = true;
        let ttl = reply.ttl.clamp(min, max.max(min));
        let (addresses, failure) = self.merge(reply);
        match &failure {
            None => {
                if self.failures > 0 {
                    tracing::info!(name = %self.host, "a name is looked up again without a failure");
                }
                self.failures = 0;
                self.wait = later(ttl);
            }
            Some(why) => {
                if self.failures == 0 {
                    let (name, kept) = (&self.host, self.addresses.len());
                    tracing::warn!(%name, kept, why, "a name cannot be looked up: its last addresses stay");
                }
                self.failures = self.failures.saturating_add(1);
                self.wait = later(backoff(self.failures, min));
            }
        }
        let has_changed = *addresses != *self.addresses;
        if has_changed {
            let (name, before, now) = (&self.host, self.addresses.len(), addresses.len());
            tracing::info!(%name, before, now, "the addresses of a name have changed");
            self.addresses = addresses.into();
        }
        has_changed
    }

    /// What it stands for after a reply, and what was wrong with that.
    fn merge(&self, reply: Reply) -> (Vec<IpAddr>, Option<String>) {
        let mut failure = None;
        let mut found = BTreeSet::new();
        for (part, is_v4) in [(reply.v4, true), (reply.v6, false)] {
            match part {
                Part::Found(addresses) => {
                    let addresses = addresses.iter().map(IpAddr::to_canonical);
                    found.extend(addresses.filter(is_of_a_server));
                }
                Part::Failed(why) => {
                    let known = self.addresses.iter().copied();
                    found.extend(known.filter(|ip| ip.is_ipv4() == is_v4));
                    failure = Some(why);
                }
            }
        }
        if found.is_empty() {
            let none = || "it has no address".to_owned();
            return (self.addresses.to_vec(), Some(failure.unwrap_or_else(none)));
        }
        // The order of an answer changes with each; that of addresses does not.
        (found.into_iter().take(MAX_ADDRESSES).collect(), failure)
    }
}

/// Whether a server may be there. `0.0.0.0` leads to this machine, whatever somebody meant by it.
fn is_of_a_server(ip: &IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

/// Twice as long after each failure.
fn backoff(failures: u32, first: Duration) -> Duration {
    let factor = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(MAX_BACKOFF.max(first))
}

/// A little later, by chance: gateways that were started together do not ask together for ever. Never earlier, for
/// then whoever is asked has the same answer still.
fn later(time: Duration) -> Duration {
    time.mul_f64(1.0 + fastrand::f64() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn found(v4: &[&str], v6: &[&str], ttl: u64) -> Reply {
        Reply {
            v4: Part::Found(addresses(v4)),
            v6: Part::Found(addresses(v6)),
            ttl: Duration::from_secs(ttl),
        }
    }

    fn name() -> Name {
        Name::new("a.test".into(), [].into())
    }

    /// The wait, up to the tenth that chance adds.
    fn waits(name: &Name, seconds: f64) {
        let wait = name.wait().as_secs_f64();
        assert!((seconds..=seconds * 1.1).contains(&wait), "{wait}");
    }

    #[test]
    fn an_answer_is_good_for_its_time_to_live_within_bounds() {
        for (ttl, seconds) in [
            (0, 1.0),
            (1, 1.0),
            (30, 30.0),
            (300, 300.0),
            (86_400, 300.0),
        ] {
            let mut name = name();
            assert!(name.learn(found(&["10.0.0.1"], &[], ttl), BOUNDS));
            waits(&name, seconds);
        }
    }

    #[test]
    fn the_order_of_an_answer_is_no_change() {
        let mut name = name();
        assert!(name.learn(found(&["10.0.0.2", "10.0.0.1"], &["::2"], 9), BOUNDS));
        let known = addresses(&["10.0.0.1", "10.0.0.2", "::2"]);
        assert_eq!(**name.addresses(), known);
        let again = found(&["10.0.0.1", "10.0.0.2", "10.0.0.1"], &["::2"], 9);
        assert!(!name.learn(again, BOUNDS));
        assert!(name.learn(found(&["10.0.0.3"], &[], 9), BOUNDS));
        assert_eq!(**name.addresses(), addresses(&["10.0.0.3"]));
    }

    #[test]
    fn the_last_good_answer_stays_and_failures_are_asked_about_less_and_less() {
        let mut name = name();
        assert!(!name.learn(Reply::failed("timed out"), BOUNDS));
        waits(&name, 1.0);
        assert!(name.learn(found(&["10.0.0.1"], &["::1"], 9), BOUNDS));
        let known = Arc::clone(name.addresses());
        let replies = [Reply::failed("timed out"), found(&[], &[], 900)];
        for (failure, seconds) in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
            .into_iter()
            .enumerate()
        {
            assert!(!name.learn(replies[failure % 2].clone(), BOUNDS));
            assert_eq!(*name.addresses(), known);
            waits(&name, seconds);
        }
        for _ in 0..100 {
            name.learn(Reply::failed("timed out"), BOUNDS);
        }
        waits(&name, 60.0);
        assert!(!name.learn(found(&["10.0.0.1"], &["::1"], 9), BOUNDS));
        waits(&name, 9.0);
        name.learn(Reply::failed("timed out"), BOUNDS);
        waits(&name, 1.0);
    }

    #[test]
    fn a_family_that_cannot_be_looked_up_stays_as_it_was() {
        let mut name = name();
        name.learn(found(&["10.0.0.1"], &["::1"], 9), BOUNDS);
        let half = Reply {
            v6: Part::Failed("refused".to_owned()),
            ..found(&["10.0.0.2"], &[], 9)
        };
        assert!(name.learn(half.clone(), BOUNDS));
        assert_eq!(**name.addresses(), addresses(&["10.0.0.2", "::1"]));
        // It is asked for again as after any failure.
        waits(&name, 1.0);
        let mut new = self::name();
        assert!(new.learn(half, BOUNDS));
        assert_eq!(**new.addresses(), addresses(&["10.0.0.2"]));
    }

    #[test]
    fn what_is_no_address_of_a_server_is_left_out_and_so_are_too_many() {
        let mut name = name();
        let odd = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.1"];
        let odd6 = ["::", "ff02::1", "::ffff:10.0.0.1", "::ffff:10.0.0.2"];
        name.learn(found(&odd, &odd6, 9), BOUNDS);
        assert_eq!(**name.addresses(), addresses(&["10.0.0.1", "10.0.0.2"]));
        let all = (0..10_000u32).map(|n| IpAddr::from((0x0b00_0000 + n).to_be_bytes()));
        let all: Vec<_> = all.collect();
        let many = Reply {
            v4: Part::Found(all.clone()),
            ..found(&[], &[], 9)
        };
        name.learn(many, BOUNDS);
        assert_eq!(**name.addresses(), all[..MAX_ADDRESSES]);
    }
}
