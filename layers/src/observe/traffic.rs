//! What goes over a connection whose protocol was switched: it is in no body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes have gone each way since the protocol was switched: an extension of the 101, by whoever makes it.
///
/// The body of such an answer ends when the connection does; it has no bytes of its own. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Nothing has gone yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many bytes have come from the client.
    pub fn count_received(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes have gone to the client.
    pub fn count_sent(&self, bytes: u64) {
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that have come from the client.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Bytes that have gone to the client.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }
}
