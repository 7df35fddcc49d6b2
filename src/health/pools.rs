//! Whose servers are asked, and how.

use super::lock;
use super::probe::Probe;
use super::task::Task;
use crate::upstream::probe::Check;
use crate::upstream::{Server, Servers, Target};
use a3s_layers::endpoint::{Endpoint, Trouble};
use http::uri::Authority;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::watch;

/// The pools by their lists of servers, and the probes of all of them.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pools: HashMap<Id, Pool>,
    probes: Probes,
}

/// The address of a list of servers, which is kept as long as its pool.
type Id = usize;

#[derive(Debug)]
struct Pool {
    servers: Arc<Servers>,
    check: Arc<Check>,
    members: Vec<Member>,
    _follower: Task,
}

/// An endpoint, and the probe that tells it.
#[derive(Debug)]
struct Member {
    key: Key,
    endpoint: Arc<Endpoint>,
}

/// What makes two servers that are asked one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    id: Box<str>,
    authority: Authority,
    target: Target,
    check: Arc<Check>,
}

impl Pools {
    /// Goes over to these pools. Those that stay are left alone.
    pub(super) fn become_(
        &mut self,
        pools: impl IntoIterator<Item = (Arc<Servers>, Option<Arc<Check>>)>,
        whole: &Weak<Mutex<Self>>,
    ) {
        let mut before = std::mem::take(&mut self.pools);
        let (mut left, mut unchecked) = (Vec::new(), Vec::new());
        for (servers, check) in pools {
            let Some(check) = check else {
                unchecked.push(servers);
                continue;
            };
            let id = Arc::as_ptr(&servers).addr();
            let pool = match before.remove(&id) {
                Some(pool) if pool.check == check => pool,
                other => {
                    // Who joins comes before who leaves: a probe that is only handed over goes on.
                    left.extend(other.into_iter().flat_map(|pool| pool.members));
                    self.pool(id, servers, check, whole)
                }
            };
            self.pools.insert(id, pool);
        }
        left.extend(before.into_values().flat_map(|pool| pool.members));
        absolve(&left, &unchecked);
        self.probes.leave(left);
    }

    fn pool(
        &mut self,
        id: Id,
        servers: Arc<Servers>,
        check: Arc<Check>,
        whole: &Weak<Mutex<Self>>,
    ) -> Pool {
        let mut changes = servers.watch();
        let list = Arc::clone(&changes.borrow_and_update());
        Pool {
            members: self.probes.join(&list, &check),
            servers,
            check,
            _follower: Task::spawn(follow(id, changes, Weak::clone(whole))),
        }
    }

    /// How many servers are asked, each in one way.
    #[cfg(test)]
    pub(super) fn probes(&self) -> usize {
        self.probes.0.len()
    }

    /// The servers of a pool have changed.
    fn update(&mut self, id: Id) {
        if let Some(pool) = self.pools.get_mut(&id) {
            let members = self.probes.join(&pool.servers.list(), &pool.check);
            let left = std::mem::replace(&mut pool.members, members);
            self.probes.leave(left);
        }
    }
}

/// Takes back what checks have said of servers that stay and are not checked any more. A server that does not stay
/// may still be picked, by who has begun with the configuration of before: it is left as it is.
fn absolve(left: &[Member], unchecked: &[Arc<Servers>]) {
    if left.is_empty() {
        return;
    }
    let left = left.iter().map(|member| Arc::as_ptr(&member.endpoint));
    let left: HashSet<_> = left.collect();
    for pool in unchecked {
        for server in pool.list().iter() {
            if left.contains(&Arc::as_ptr(&server.endpoint)) {
                server.endpoint.clear(Trouble::Unhealthy);
            }
        }
    }
}

async fn follow(id: Id, mut changes: watch::Receiver<Arc<[Server]>>, pools: Weak<Mutex<Pools>>) {
    while changes.changed().await.is_ok() {
        let Some(pools) = pools.upgrade() else { return };
        lock(&pools).update(id);
    }
}

#[derive(Debug, Default)]
struct Probes(HashMap<Key, Probe>);

impl Probes {
    fn join(&mut self, servers: &[Server], check: &Arc<Check>) -> Vec<Member> {
        let join = |server: &Server| {
            let key = Key {
                id: server.endpoint.id().into(),
                authority: server.origin.authority().clone(),
                target: server.origin.target().clone(),
                check: Arc::clone(check),
            };
            let begin = || Probe::begin(&server.origin, check);
            self.0.entry(key.clone()).or_insert_with(begin).join(server);
            Member {
                key,
                endpoint: Arc::clone(&server.endpoint),
            }
        };
        servers.iter().map(join).collect()
    }

    /// Ends what was only for those who have left.
    fn leave(&mut self, left: Vec<Member>) {
        for Member { key, endpoint } in left {
            if let Some(probe) = self.0.get(&key)
                && !probe.leave(&endpoint)
            {
                self.0.remove(&key);
            }
        }
    }
}
