//! Counts of the last seconds, in a ring of atomics: no lock, and no task that turns it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The ring has this many buckets: what is counted goes back nine to ten tenths of the window.
const BUCKETS: u64 = 10;

/// A bucket is one word: the number of its turn, and two counts. A turn comes again after a million others, and
/// after four million events a bucket counts no more.
const TURN_BITS: u32 = 20;
const COUNT_BITS: u32 = 22;
const TURN_MASK: u64 = (1 << TURN_BITS) - 1;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// How many events there were in the last `length`, and how many of them were marked.
#[derive(Debug)]
pub(crate) struct Window {
    start: Instant,
    /// Microseconds of a bucket's turn.
    turn: u64,
    buckets: [AtomicU64; BUCKETS as usize],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) all: u64,
    pub(crate) marked: u64,
}

#[derive(Clone, Copy)]
struct Bucket {
    turn: u64,
    counts: Counts,
}

impl Bucket {
    fn unpack(word: u64) -> Self {
        Self {
            turn: word >> (2 * COUNT_BITS),
            counts: Counts {
                all: (word >> COUNT_BITS) & COUNT_MASK,
                marked: word & COUNT_MASK,
            },
        }
    }

    fn pack(self) -> u64 {
        (self.turn << (2 * COUNT_BITS)) | (self.counts.all << COUNT_BITS) | self.counts.marked
    }
}

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        let turn = length.as_micros() / u128::from(BUCKETS);
        Self {
            start: Instant::now(),
            turn: u64::try_from(turn).unwrap_or(u64::MAX).max(1),
            buckets: Default::default(),
        }
    }

    /// The turn that it is; the first is 1, for an untouched bucket is one of turn 0.
    fn now(&self) -> u64 {
        let micros = self.start.elapsed().as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX) / self.turn + 1
    }

    pub(crate) fn add(&self, added: Counts) {
        let now = self.now();
        let bucket = &self.buckets[(now % BUCKETS) as usize];
        // Relaxed: the counts decide nothing about other memory.
        let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let mut bucket = Bucket::unpack(word);
            if bucket.turn != now & TURN_MASK {
                bucket = Bucket {
                    turn: now & TURN_MASK,
                    counts: Counts::default(),
                };
            }
            bucket.counts.all += added.all;
            bucket.counts.marked += added.marked;
            let is_full = bucket.counts.all.max(bucket.counts.marked) > COUNT_MASK;
            (!is_full).then(|| bucket.pack())
        });
    }

    pub(crate) fn counts(&self) -> Counts {
        let now = self.now();
        let buckets = self.buckets.iter();
        buckets
            .map(|word| Bucket::unpack(word.load(Ordering::Relaxed)))
            .filter(|bucket| (now.wrapping_sub(bucket.turn) & TURN_MASK) < BUCKETS)
            .fold(Counts::default(), |sum, Bucket { counts, .. }| Counts {
                all: sum.all + counts.all,
                marked: sum.marked + counts.marked,
            })
    }

    pub(crate) fn clear(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const ONE: Counts = Counts { all: 1, marked: 0 };
    const MARKED: Counts = Counts { all: 1, marked: 1 };

    fn counts(all: u64, marked: u64) -> Counts {
        Counts { all, marked }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_is_not_counted() {
        let window = Window::new(Duration::from_secs(10));
        assert_eq!(window.counts(), counts(0, 0));
        for second in 0..10 {
            window.add(if second == 0 { MARKED } else { ONE });
            assert_eq!(window.counts(), counts(second + 1, 1));
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(window.counts(), counts(9, 0));
        // A bucket that was skipped begins anew, too.
        advance(Duration::from_secs(25)).await;
        assert_eq!(window.counts(), counts(0, 0));
        window.add(ONE);
        assert_eq!(window.counts(), counts(1, 0));
        window.clear();
        assert_eq!(window.counts(), counts(0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bucket_counts_no_more_and_spills_into_nothing() {
        let window = Window::new(Duration::from_secs(10));
        window.add(counts(COUNT_MASK, COUNT_MASK - 1));
        window.add(MARKED);
        assert_eq!(window.counts(), counts(COUNT_MASK, COUNT_MASK - 1));
        advance(Duration::from_secs(1)).await;
        window.add(MARKED);
        assert_eq!(window.counts(), counts(COUNT_MASK + 1, COUNT_MASK));
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let window = Window::new(Duration::from_secs(3600));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| window.add(MARKED)));
            }
        });
        assert_eq!(window.counts(), counts(40_000, 40_000));
    }
}
