//! What becomes of the connections of a service: counted while they go on, so that long ones are seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What has become of the connections of a service. It outlives configurations.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    opened: AtomicU64,
    ended: [AtomicU64; End::ALL.len()],
    received: AtomicU64,
    sent: AtomicU64,
}

/// How a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides had said all that they had to say.
    Whole,
    /// One side broke off.
    Broken,
    /// Nothing went for too long.
    Idle,
    /// No server could be reached.
    Unserved,
    /// It was there still at the end of the drain.
    CutOff,
}

impl End {
    /// Every end, in their order.
    pub const ALL: [Self; 5] = [
        Self::Whole,
        Self::Broken,
        Self::Idle,
        Self::Unserved,
        Self::CutOff,
    ];

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Unserved => "unserved",
            Self::CutOff => "cut_off",
        }
    }
}

impl ConnectionCounts {
    /// All that there were.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How those have ended that have.
    pub fn ended(&self) -> impl Iterator<Item = (End, u64)> {
        let counts = self.ended.iter().map(|count| count.load(Ordering::Relaxed));
        End::ALL.into_iter().zip(counts)
    }

    /// Those that are there.
    pub fn open(&self) -> u64 {
        // In this order, so that none has ended that was not opened.
        let ended: u64 = self.ended().map(|(_, count)| count).sum();
        self.opened().saturating_sub(ended)
    }

    /// Bytes of clients.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of servers.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Counts a connection, from now on until what is given back is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Counted {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Counted {
            all: Arc::clone(self),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            end: End::Whole,
        }
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Counted {
    all: Arc<ConnectionCounts>,
    received: AtomicU64,
    sent: AtomicU64,
    end: End,
}

impl Counted {
    /// More bytes have come of either side.
    pub(super) fn moved(&self, received: u64, sent: u64) {
        for (own, all, bytes) in [
            (&self.received, &self.all.received, received),
            (&self.sent, &self.all.sent, sent),
        ] {
            if bytes > 0 {
                own.fetch_add(bytes, Ordering::Relaxed);
                all.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) -> End {
        self.end
    }

    /// It has ended, and not as a whole.
    pub(super) fn end_as(&mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.ended[self.end as usize].fetch_add(1, Ordering::Relaxed);
    }
}
