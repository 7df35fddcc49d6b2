//! Channels by name. One lives for as long as somebody is subscribed to it.

use super::lock;
use super::outbox::Outbox;
use slab::Slab;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

/// So many that workers seldom look for channels in the same one.
const SHARDS: usize = 32;

/// A shard with room for more than so many gives it back when few are left.
const SPARSE: usize = 64;

/// All channels.
#[derive(Debug)]
pub(super) struct Channels {
    hasher: RandomState,
    shards: [Mutex<HashMap<Arc<str>, Arc<Channel>>>; SHARDS],
}

/// A channel. Its lock orders its messages: every subscriber sees them as every other one does.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: Arc<str>,
    pub(super) state: Mutex<Subscribers>,
}

#[derive(Debug, Default)]
pub(super) struct Subscribers {
    pub(super) subscribers: Slab<Subscriber>,
    /// The last one has left: whoever comes now makes a new channel.
    is_over: bool,
}

/// A connection that is subscribed.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) outbox: Arc<Outbox>,
    /// What the channel is to it.
    pub(super) slot: usize,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Channels {
    fn shard(&self, name: &str) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Channel>>> {
        let hash = self.hasher.hash_one(name);
        // Below SHARDS, which fits.
        lock(&self.shards[(hash % SHARDS as u64) as usize])
    }

    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Channel>> {
        self.shard(name).get(name).cloned()
    }

    /// Puts a connection among the subscribers of a channel. False where it is there already.
    pub(super) fn join(&self, name: &str, outbox: &Arc<Outbox>) -> bool {
        loop {
            let channel = self.find_or_make(name);
            let mut state = lock(&channel.state);
            if state.is_over {
                continue;
            }
            let place = state.subscribers.vacant_entry();
            let Some(slot) = outbox.join(&channel, place.key()) else {
                return false;
            };
            place.insert(Subscriber {
                outbox: Arc::clone(outbox),
                slot,
            });
            return true;
        }
    }

    fn find_or_make(&self, name: &str) -> Arc<Channel> {
        let mut shard = self.shard(name);
        if let Some(channel) = shard.get(name) {
            return Arc::clone(channel);
        }
        let channel = Arc::new(Channel {
            name: name.into(),
            state: Mutex::default(),
        });
        shard.insert(Arc::clone(&channel.name), Arc::clone(&channel));
        channel
    }

    /// Takes away a channel, unless somebody has come to it meanwhile.
    pub(super) fn forget(&self, channel: &Channel) {
        let mut shard = self.shard(&channel.name);
        let mut state = lock(&channel.state);
        if state.subscribers.is_empty() && !state.is_over {
            state.is_over = true;
            shard.remove(&channel.name);
            if shard.capacity() > SPARSE && shard.len() < shard.capacity() / 8 {
                shard.shrink_to_fit();
            }
        }
    }
}
