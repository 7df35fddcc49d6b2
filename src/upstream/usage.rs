//! How the connections to a server are used, each worker counting for itself.

use crate::stack::shard::Tally;
use std::sync::Arc;

const OPENED: usize = 0;
const REUSED: usize = 1;
const OPEN: usize = 2;
const IDLE: usize = 3;

/// The connections of HTTP to a server.
#[derive(Debug, Default)]
pub struct Usage(Tally<4>);

/// A connection that is open until this is dropped.
#[derive(Debug)]
pub(super) struct Held(Arc<Usage>);

impl Usage {
    /// Those that were opened.
    pub fn opened(&self) -> u64 {
        self.0.sum(OPENED)
    }

    /// Requests that went on one that was there.
    pub fn reused(&self) -> u64 {
        self.0.sum(REUSED)
    }

    /// Those that are open.
    pub fn open(&self) -> u64 {
        self.0.sum(OPEN)
    }

    /// Those of HTTP/1.1 that wait for a request.
    pub fn idle(&self) -> u64 {
        self.0.sum(IDLE)
    }

    /// One was opened.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        self.0.add(OPENED);
        self.0.add(OPEN);
        Held(Arc::clone(self))
    }

    /// One that was there takes a request.
    pub(super) fn reuse(&self) {
        self.0.add(REUSED);
    }

    /// One waits from now on.
    pub(super) fn rest(&self) {
        self.0.add(IDLE);
    }

    /// One that waited does so no more.
    pub(super) fn wake(&self) {
        self.0.take(IDLE);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.take(OPEN);
    }
}
