//! What the service and the guard of one connection tell each other of its exchanges.

use super::upgrade::Switched;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many exchanges of a connection have begun and ended, told by the service to the guard, and what they mean
/// for the connection's end.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    begun: AtomicU32,
    ended: AtomicU32,
    resting: AtomicBool,
    with_connection: AtomicBool,
    unread: AtomicBool,
    switched: Mutex<Option<Switched>>,
}

impl Exchanges {
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have ended.
    pub(super) fn ended(&self) -> u32 {
        self.ended.load(Ordering::Relaxed)
    }

    /// The guard has found the connection at rest.
    pub(super) fn rest(&self) {
        self.resting.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub(super) fn are_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    /// The body of the response that begins now ends where the connection does.
    pub(super) fn end_with_connection(&self) {
        self.with_connection.store(true, Ordering::Relaxed);
    }

    /// Whether a client takes the connection's end for that of a body.
    pub(super) fn do_end_with_connection(&self) -> bool {
        self.with_connection.load(Ordering::Relaxed)
    }

    /// More of a request's body is given up than is thrown away to keep a connection.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether a connection is of no more use, as nobody has read what stands next on it.
    pub(super) fn have_left_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// The last of them was answered with 101: the connection is `switched` to another protocol.
    pub(super) fn switch(&self, switched: Switched) {
        *self.switched() = Some(switched);
    }

    /// What the connection goes on with, if it does.
    pub(super) fn take_switched(&self) -> Option<Switched> {
        self.switched().take()
    }

    /// Whether the connection goes on with something.
    pub(super) fn have_switched(&self) -> bool {
        self.switched().is_some()
    }

    fn switched(&self) -> MutexGuard<'_, Option<Switched>> {
        self.switched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one has begun that has not ended.
    pub(super) fn are_running(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.ended()
    }
}
