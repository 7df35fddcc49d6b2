//! What the names of servers stand for: looked up before a configuration runs, and again while it does, as long as
//! each answer is good for.
//!
//! A name is looked up once, whoever uses it. Its last good answer stays until there is another: a DNS server that
//! fails, or that knows nothing of the name all of a sudden, takes no server away.

mod ask;
mod name;
mod system;

use crate::config::DnsConfig;
use ask::Dns;
use name::{Ask, Name, Reply};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// How long a configuration waits for its new names, all of them together. One that has no answer by then is looked up
/// while the configuration runs.
const PATIENCE: Duration = Duration::from_secs(3);

/// What names stand for.
pub type Addresses = HashMap<Arc<str>, Arc<[IpAddr]>>;

/// Somebody who goes by what a name stands for.
#[derive(Clone)]
pub struct Follower {
    /// The name.
    pub name: Arc<str>,
    /// Is told its addresses, in order and each once; the same ones may be told again.
    pub tell: Arc<Tell>,
}

/// Takes note of the addresses of a name.
pub type Tell = dyn Fn(&[IpAddr]) + Send + Sync;

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Follower").field(&self.name).finish()
    }
}

/// The names that are followed. Each ends with its place in here.
#[derive(Debug, Default)]
pub struct Resolver {
    config: DnsConfig,
    dns: Option<Arc<Dns>>,
    names: HashMap<Arc<str>, Followed>,
}

/// Names that have been looked up for a configuration that does not run yet.
#[derive(Debug)]
pub struct Prepared {
    config: DnsConfig,
    dns: Option<Arc<Dns>>,
    names: Vec<Name>,
}

impl Resolver {
    /// What each name stands for now.
    pub fn addresses(&self) -> Addresses {
        let names = self.names.iter();
        names
            .map(|(name, followed)| (Arc::clone(name), lock(&followed.told).addresses.clone()))
            .collect()
    }

    /// Looks up those of `names` that are new, in parallel and for no longer than three seconds. Those that are
    /// followed already are not looked up, unless other DNS servers are to be asked.
    pub async fn prepare(&self, config: &DnsConfig, names: BTreeSet<Arc<str>>) -> Prepared {
        let is_same = self.config == *config;
        let is_new = |name: &Arc<str>| !is_same || !self.names.contains_key(name);
        let new: Vec<_> = names.into_iter().filter(is_new).collect();
        let dns = match &self.dns {
            Some(dns) if is_same => Some(Arc::clone(dns)),
            _ if new.is_empty() => None,
            _ => Some(Arc::new(Dns::new(config))),
        };
        let mut prepared = Prepared {
            config: config.clone(),
            names: new.into_iter().map(|name| self.unasked(name)).collect(),
            dns,
        };
        if let Some(dns) = prepared.dns.clone() {
            let bounds = (config.min_ttl, config.max_ttl);
            look_up(&dns, &mut prepared.names, bounds).await;
        }
        prepared
    }

    /// With the addresses that it had when other DNS servers were asked.
    fn unasked(&self, name: Arc<str>) -> Name {
        let known = self.names.get(&name);
        let known = known.map(|followed| lock(&followed.told).addresses.clone());
        Name::new(name, known.unwrap_or_default())
    }

    /// Follows the names of `followers` from now on, and no others, and tells each follower what there is to tell.
    /// Those that are new have been `prepared`.
    pub fn follow(&mut self, prepared: Prepared, followers: Vec<Follower>) {
        let mut by_name: HashMap<Arc<str>, Vec<Follower>> = HashMap::new();
        for follower in followers {
            let name = Arc::clone(&follower.name);
            by_name.entry(name).or_default().push(follower);
        }
        let bounds = (prepared.config.min_ttl, prepared.config.max_ttl);
        let mut before = std::mem::take(&mut self.names);
        for name in prepared.names {
            let Some(followers) = by_name.remove(name.host()) else {
                continue;
            };
            let Some(dns) = &prepared.dns else { continue };
            let host = Arc::clone(name.host());
            let followed = Followed::new(name, Arc::clone(dns), bounds);
            followed.lead(followers);
            self.names.insert(host, followed);
        }
        for (name, followers) in by_name {
            if let Some(followed) = before.remove(&name) {
                followed.lead(followers);
                self.names.insert(name, followed);
            }
        }
        self.config = prepared.config;
        self.dns = prepared.dns.filter(|_| !self.names.is_empty());
    }
}

impl Prepared {
    /// What each of its names stands for.
    pub fn addresses(&self) -> Addresses {
        let names = self.names.iter();
        names
            .map(|name| (Arc::clone(name.host()), Arc::clone(name.addresses())))
            .collect()
    }
}

/// Asks for all of `names`. Those without an answer in time stay as they are, and are asked for again at once.
async fn look_up(dns: &Arc<impl Ask>, names: &mut [Name], bounds: (Duration, Duration)) {
    let mut asking = JoinSet::new();
    for (index, name) in names.iter().enumerate() {
        let (dns, host) = (Arc::clone(dns), Arc::clone(name.host()));
        asking.spawn(async move { (index, dns.ask(&host).await) });
    }
    let all = async {
        while let Some(asked) = asking.join_next().await {
            if let Ok((index, reply)) = asked {
                names[index].learn(reply, bounds);
            }
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        for name in names.iter_mut().filter(|name| !name.is_asked()) {
            name.is_late();
        }
    }
}

/// A name that is looked up again and again.
#[derive(Debug)]
struct Followed {
    told: Arc<Mutex<Told>>,
    task: AbortHandle,
}

/// What is told of a name, and to whom.
#[derive(Debug)]
struct Told {
    addresses: Arc<[IpAddr]>,
    followers: Vec<Follower>,
}

impl Followed {
    fn new(mut name: Name, dns: Arc<impl Ask>, bounds: (Duration, Duration)) -> Self {
        let told = Arc::new(Mutex::new(Told {
            addresses: Arc::clone(name.addresses()),
            followers: Vec::new(),
        }));
        let telling = Arc::clone(&told);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(name.wait()).await;
                let reply: Reply = dns.ask(name.host()).await;
                if name.learn(reply, bounds) {
                    lock(&telling).tell(name.addresses());
                }
            }
        });
        Self {
            told,
            task: task.abort_handle(),
        }
    }

    /// Tells these from now on.
    fn lead(&self, followers: Vec<Follower>) {
        let mut told = lock(&self.told);
        told.followers = followers;
        let addresses = Arc::clone(&told.addresses);
        told.tell(&addresses);
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
        // It may be about to tell something.
        lock(&self.told).followers.clear();
    }
}

impl Told {
    fn tell(&mut self, addresses: &Arc<[IpAddr]>) {
        self.addresses = Arc::clone(addresses);
        for follower in &self.followers {
            (follower.tell)(addresses);
        }
    }
}

/// A follower that panics leaves nothing half-done.
fn lock(told: &Mutex<Told>) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
