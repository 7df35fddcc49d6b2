//! The sessions of one worker: found by client, and known by when they last moved.
//!
//! A datagram moves nothing here. The order is by the time of which the table knows; where it says that a session has
//! been idle for longest, the session itself is asked, and takes its new place if it has moved since. So each datagram
//! costs a look-up, and each session a logarithm now and then.

use crate::stack::drain::Ticket;
use crate::stack::udp::Flow;
use foldhash::fast::RandomState;
use slab::Slab;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Who sends, and to which of our addresses.
pub(super) type Key = (SocketAddr, Option<IpAddr>);

/// Where a session stands in the table, and which of those that have stood there it is.
pub(super) type Id = (usize, u64);

/// A session that runs. Dropped, it has ended.
pub(super) struct Entry {
    key: Key,
    pub(super) flow: Arc<Flow>,
    /// The configuration under which it was last judged.
    pub(super) epoch: u64,
    serial: u64,
    known: Instant,
    task: AbortHandle,
    _ticket: Ticket,
}

impl Entry {
    /// Whether it has ended by itself.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
pub(super) struct Sessions {
    entries: Slab<Entry>,
    keys: HashMap<Key, usize, RandomState>,
    order: BTreeSet<(Instant, usize)>,
    next: u64,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        self.keys.get(key).copied()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Entry> {
        self.entries.get_mut(index)
    }

    /// Adds a session, which `start` runs under its id.
    pub(super) fn add(
        &mut self,
        key: Key,
        flow: Arc<Flow>,
        epoch: u64,
        ticket: Ticket,
        start: impl FnOnce(Id) -> AbortHandle,
    ) -> usize {
        let vacant = self.entries.vacant_entry();
        let (index, known) = (vacant.key(), flow.moved());
        let serial = self.next;
        self.next += 1;
        vacant.insert(Entry {
            key,
            flow,
            epoch,
            serial,
            known,
            task: start((index, serial)),
            _ticket: ticket,
        });
        self.keys.insert(key, index);
        self.order.insert((known, index));
        index
    }

    pub(super) fn remove(&mut self, index: usize) {
        if let Some(entry) = self.entries.try_remove(index) {
            self.keys.remove(&entry.key);
            self.order.remove(&(entry.known, index));
        }
    }

    /// Removes a session that has ended by itself, if it is still there.
    pub(super) fn ended(&mut self, (index, serial): Id) {
        let entry = self.entries.get(index);
        if entry.is_some_and(|entry| entry.serial == serial) {
            self.remove(index);
        }
    }

    /// A session that has been idle since `since` or longer, or one that has moved since it was last looked at, with
    /// whether it is the latter. None where no other needs to be looked at.
    pub(super) fn look(&mut self, since: Instant) -> Option<(usize, bool)> {
        let (known, index) = *self.order.first()?;
        if known > since {
            return None;
        }
        Some((index, self.refresh(known, index)))
    }

    /// The one that has been idle for longest.
    pub(super) fn idlest(&mut self) -> Option<usize> {
        while let Some((known, index)) = self.order.first().copied() {
            if !self.refresh(known, index) {
                return Some(index);
            }
        }
        None
    }

    /// Whether it has moved; then it stands where it belongs.
    fn refresh(&mut self, known: Instant, index: usize) -> bool {
        let Some(entry) = self.entries.get_mut(index) else {
            self.order.remove(&(known, index));
            return true;
        };
        let moved = entry.flow.moved();
        if moved <= known {
            return false;
        }
        entry.known = moved;
        self.order.remove(&(known, index));
        self.order.insert((moved, index));
        true
    }

    pub(super) fn indices(&self) -> Vec<usize> {
        self.entries.iter().map(|(index, _)| index).collect()
    }
}
