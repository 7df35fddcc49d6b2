//! Active health: asks servers how they are, and tells their endpoints.
//!
//! ```text
//! Health
//!    └ pools            whose servers are asked, and how; each follows its list of servers
//!       └ probes        one for each server and check, whoever names them
//!          └ verdict    good and bad answers in a row
//! ```
//!
//! A server and a check that several services name are one probe, and its result goes to all of their endpoints. A probe
//! goes on over reloads with its counts and its connection, as long as somebody names it.

mod pools;
mod probe;
mod task;
mod verdict;

use crate::upstream::Servers;
use crate::upstream::probe::Check;
use pools::Pools;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Asks servers how they are, until it is dropped.
#[derive(Debug, Default)]
pub struct Health(Arc<Mutex<Pools>>);

impl Health {
    /// Asks nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on asks the servers of these pools as their checks say, and no others. What is known of a server is told
    /// before this returns. One of a pool that has no check any more is not called unhealthy any more.
    ///
    /// To be called within the runtime that is to ask.
    pub fn watch(&self, pools: impl IntoIterator<Item = (Arc<Servers>, Option<Arc<Check>>)>) {
        lock(&self.0).become_(pools, &Arc::downgrade(&self.0));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
