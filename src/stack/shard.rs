//! Counts that each worker keeps for itself, on cache lines of its own; whoever looks adds them up.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// Makes this thread count in shard `index`.
pub fn use_shard(index: usize) {
    SHARD.set(index);
}

/// What each worker has of its own. It is made when a worker first counts, so that what is never used costs nothing.
#[derive(Debug)]
pub struct Sharded<T>(Box<[OnceLock<Box<T>>]>);

impl<T: Default> Sharded<T> {
    /// One for each core that this process may use.
    pub fn new() -> Self {
        static CORES: OnceLock<usize> = OnceLock::new();
        let count = || std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(*CORES.get_or_init(count))
    }

    /// So many, and one at least.
    pub fn of(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|_| OnceLock::new()).collect())
    }

    /// This thread's own.
    pub fn own(&self) -> &T {
        self.0[SHARD.get() % self.0.len()].get_or_init(Box::default)
    }

    /// All that there are.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(|each| &**each)
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Several counts of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct Line<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Several counts, each of all workers. What is taken away may have been added on another one.
pub type Tally<const N: usize> = Sharded<Line<N>>;

impl<const N: usize> Tally<N> {
    /// One more of the count at `index`.
    pub fn add(&self, index: usize) {
        self.add_all(index, 1);
    }

    /// So many more.
    pub fn add_all(&self, index: usize, more: u64) {
        self.own().0[index].fetch_add(more, Ordering::Relaxed);
    }

    /// One less.
    pub fn take(&self, index: usize) {
        self.own().0[index].fetch_sub(1, Ordering::Relaxed);
    }

    /// What there is of the count at `index`.
    pub fn sum(&self, index: usize) -> u64 {
        let counts = self
            .iter()
            .map(|line| line.0[index].load(Ordering::Relaxed));
        let sum = counts.fold(0_u64, u64::wrapping_add);
        // Between two workers a moment passes: what is taken away may be seen before it was added.
        if sum > u64::MAX / 2 { 0 } else { sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_count_adds_up_wherever_it_is_taken_away() {
        let tally = Tally::<2>::of(3);
        for shard in 0..4 {
            use_shard(shard);
            tally.add(0);
            tally.add(1);
        }
        use_shard(2);
        for _ in 0..3 {
            tally.take(1);
        }
        use_shard(0);
        assert_eq!((tally.sum(0), tally.sum(1)), (4, 1));
        tally.take(1);
        tally.take(1);
        assert_eq!(tally.sum(1), 0, "not yet added");
        assert_eq!(tally.iter().count(), 3);
    }
}
