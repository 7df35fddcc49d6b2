//! One worker's counts of exchanges by kind: a table that is found its way in without a lock, and without an
//! allocation once a kind has been counted.

use super::Took;
use super::buckets::{BUCKETS, bucket, nanos};
use super::kind::{Kind, Spoken};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The kinds of each block, powers of two. Blocks are added where those before are full: most tables have one.
const BLOCKS: [usize; 6] = [4, 8, 16, 32, 64, 128];

/// The counts of at most 252 kinds, and of what is of none of them.
#[derive(Debug, Default)]
pub(super) struct Slots {
    blocks: [OnceLock<Block>; BLOCKS.len()],
    others: OnceLock<Box<[Slot; Spoken::ALL.len()]>>,
}

/// A table with open addressing. Kinds are never taken out: where a search meets an empty place, it has met all that
/// could have been put there.
#[derive(Debug)]
struct Block {
    /// Apart from what they stand for, so that a search reads few lines. 0 is none.
    kinds: Box<[AtomicU32]>,
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

impl Slots {
    pub(super) fn count(&self, kind: Kind, took: &Took) {
        self.slot(kind).count(took);
    }

    fn slot(&self, kind: Kind) -> &Slot {
        let word = kind.pack();
        let blocks = self.blocks.iter().zip(BLOCKS);
        let mut found = blocks.filter_map(|(block, size)| {
            let block = block.get_or_init(|| Block::new(size));
            block.slot(word)
        });
        found.next().unwrap_or_else(|| {
            let others = self.others.get_or_init(Box::default);
            &others[kind.spoken() as usize]
        })
    }

    /// Adds what was counted to `all`.
    pub(super) fn add_to(&self, all: &mut BTreeMap<Kind, Counted>) {
        for block in self.blocks.iter().filter_map(OnceLock::get) {
            for (kind, slot) in block.kinds.iter().zip(&block.slots) {
                let word = kind.load(Ordering::Acquire);
                if word != 0 {
                    slot.add_to(all.entry(Kind::unpack(word)).or_default());
                }
            }
        }
        for (slot, spoken) in self
            .others
            .get()
            .into_iter()
            .flat_map(|all| all.iter())
            .zip(Spoken::ALL)
        {
            let mut counted = Counted::default();
            slot.add_to(&mut counted);
            if counted.exchanges() > 0 {
                *all.entry(Kind::others(spoken)).or_default() += counted;
            }
        }
    }
}

impl Block {
    fn new(size: usize) -> Self {
        Self {
            kinds: (0..size).map(|_| AtomicU32::new(0)).collect(),
            slots: (0..size).map(|_| Slot::default()).collect(),
        }
    }

    fn slot(&self, word: u32) -> Option<&Slot> {
        let mask = self.kinds.len() - 1;
        // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
        let start = (word.wrapping_mul(0x9E37_79B9) >> 16) as usize;
        for step in 0..=mask {
            let at = (start + step) & mask;
            let place = &self.kinds[at];
            let there = match place.load(Ordering::Acquire) {
                0 => place
                    .compare_exchange(0, word, Ordering::AcqRel, Ordering::Acquire)
                    .map_or_else(|there| there, |_| word),
                there => there,
            };
            if there == word {
                return Some(&self.slots[at]);
            }
        }
        None
    }
}

impl Slot {
    fn count(&self, took: &Took) {
        self.buckets[bucket(took.time)].fetch_add(1, Ordering::Relaxed);
        for (sum, more) in [
            (&self.nanos, nanos(took.time)),
            (&self.request_bytes, took.request_bytes),
            (&self.response_bytes, took.response_bytes),
        ] {
            if more > 0 {
                sum.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    fn add_to(&self, counted: &mut Counted) {
        for (sum, bucket) in counted.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        counted.nanos += self.nanos.load(Ordering::Relaxed);
        counted.request_bytes += self.request_bytes.load(Ordering::Relaxed);
        counted.response_bytes += self.response_bytes.load(Ordering::Relaxed);
    }
}

/// What was counted of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Exchanges by how long they took, each in one bucket.
    pub buckets: [u64; BUCKETS],
    /// How long they took together.
    pub nanos: u64,
    /// Bytes of the bodies of requests, and of clients after a switch of the protocol.
    pub request_bytes: u64,
    /// Bytes of the bodies of answers, and of servers after a switch of the protocol.
    pub response_bytes: u64,
}

impl Counted {
    /// How many there were.
    pub fn exchanges(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long they took together.
    pub fn seconds(&self) -> f64 {
        self.nanos as f64 / 1e9
    }
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += more;
        }
        self.nanos += other.nanos;
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
    }
}
