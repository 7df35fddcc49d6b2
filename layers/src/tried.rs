//! Which servers a request has been sent to, so that another try goes elsewhere.

use crate::endpoint::Endpoint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The servers that a request has been sent to: an extension of the request. Clones share the list.
///
/// Whoever may send a request again puts it there ([`retry`](crate::retry), [`failover`](crate::failover)); a
/// [`Balance`](crate::balance::Balance) adds to it, and picks a server that is not on it if there is one.
#[derive(Debug, Clone, Default)]
pub struct Tried(Arc<Course>);

#[derive(Debug, Default)]
struct Course {
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
    has_others: AtomicBool,
}

impl Tried {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a server. It is listed once, however often it is tried.
    pub fn add(&self, endpoint: &Arc<Endpoint>) {
        let mut endpoints = self.endpoints();
        if !endpoints.iter().any(|known| Arc::ptr_eq(known, endpoint)) {
            endpoints.push(Arc::clone(endpoint));
        }
    }

    /// Those so far, in the order of their first tries.
    pub fn to_vec(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints().clone()
    }

    /// Whether the balance that picked the last server had another one to pick that is not on the list.
    pub fn has_others(&self) -> bool {
        self.0.has_others.load(Ordering::Relaxed)
    }

    /// Notes whether there was another server to pick.
    pub(crate) fn note_others(&self, has_others: bool) {
        self.0.has_others.store(has_others, Ordering::Relaxed);
    }

    pub(crate) fn endpoints(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        let endpoints = self.0.endpoints.lock();
        endpoints.unwrap_or_else(PoisonError::into_inner)
    }
}
