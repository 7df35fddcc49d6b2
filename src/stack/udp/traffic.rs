//! What went through an entrypoint of datagrams. Each worker counts for itself, so that none waits for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a datagram went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Its client may not send any.
    NotAllowed,
    /// No router takes it.
    NoRoute,
    /// There is no server to send it to.
    NoServer,
    /// It is more than the way to its receiver takes at once.
    Busy,
    /// It is longer than the way to its receiver allows.
    TooLong,
    /// The kernel would not send it.
    Failed,
    /// It would have begun a session while the entrypoint is ending.
    Ending,
}

impl Dropped {
    const ALL: [Self; 7] = [
        Self::NotAllowed,
        Self::NoRoute,
        Self::NoServer,
        Self::Busy,
        Self::TooLong,
        Self::Failed,
        Self::Ending,
    ];

    /// One word for those who look.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::NoRoute => "no_route",
            Self::NoServer => "no_server",
            Self::Busy => "busy",
            Self::TooLong => "too_long",
            Self::Failed => "failed",
            Self::Ending => "ending",
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|why| *why as u8 == number)
    }
}

/// The counts of one worker, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerTraffic {
    /// Sessions begun.
    pub begun: AtomicU64,
    /// Sessions that ended to make room for others.
    pub evicted: AtomicU64,
    from_clients: Direction,
    to_clients: Direction,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

#[derive(Debug, Default)]
struct Direction {
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

impl Direction {
    fn count(&self, bytes: usize) {
        self.datagrams.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl WorkerTraffic {
    /// A datagram of a client has come.
    pub fn came(&self, bytes: usize) {
        self.from_clients.count(bytes);
    }

    /// An answer went to a client.
    pub fn answered(&self, bytes: usize) {
        self.to_clients.count(bytes);
    }

    /// A datagram went no further.
    pub fn dropped(&self, why: Dropped) {
        self.dropped[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// The counts of an entrypoint, one for each worker.
#[derive(Debug)]
pub struct Traffic(Box<[Arc<WorkerTraffic>]>);

impl Traffic {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Arc::default()).collect())
    }

    /// The counts of each worker.
    pub fn workers(&self) -> &[Arc<WorkerTraffic>] {
        &self.0
    }

    /// Sessions begun.
    pub fn begun(&self) -> u64 {
        self.sum(|worker| &worker.begun)
    }

    /// Sessions that ended to make room for others.
    pub fn evicted(&self) -> u64 {
        self.sum(|worker| &worker.evicted)
    }

    /// Datagrams of clients, and their bytes.
    pub fn from_clients(&self) -> (u64, u64) {
        let datagrams = self.sum(|worker| &worker.from_clients.datagrams);
        (datagrams, self.sum(|worker| &worker.from_clients.bytes))
    }

    /// Answers to clients, and their bytes.
    pub fn to_clients(&self) -> (u64, u64) {
        let datagrams = self.sum(|worker| &worker.to_clients.datagrams);
        (datagrams, self.sum(|worker| &worker.to_clients.bytes))
    }

    /// Datagrams, of clients and of servers, that went no further, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (Dropped, u64)> + '_ {
        let count = |why| self.sum(move |worker: &WorkerTraffic| &worker.dropped[why as usize]);
        Dropped::ALL.into_iter().map(move |why| (why, count(why)))
    }

    fn sum(&self, of: impl Fn(&WorkerTraffic) -> &AtomicU64) -> u64 {
        let counts = self
            .0
            .iter()
            .map(|worker| of(worker).load(Ordering::Relaxed));
        counts.sum()
    }
}
