//! Buckets in memory, and no more of them than may be.
//!
//! governor's own stores are maps without a bound that somebody has to sweep. This one drops what has refilled
//! when it needs room, and where that is not enough, the buckets that are nearest to full: whoever is over a
//! limit is remembered longest, and no new client pays for the others.

use foldhash::fast::RandomState;
use governor::nanos::Nanos;
use governor::state::StateStore;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For each key the time, in nanoseconds since the limiter's start, at which its bucket is full again.
type Shard = HashMap<u64, u64, RandomState>;

/// A power of two: how many workers may count at a time.
const SHARDS: usize = 64;

/// Fewer keys than this are held in one shard, so that small bounds are exact.
const FEW_KEYS: usize = 1024;

/// Clones are the same store.
#[derive(Debug, Clone)]
pub(super) struct BoundedStore {
    shards: Arc<[Mutex<Shard>]>,
    most_in_shard: usize,
    /// The time in which one request comes back.
    interval: u64,
}

impl BoundedStore {
    pub(super) fn new(max_keys: usize, interval: Nanos) -> Self {
        let shards = if max_keys < FEW_KEYS { 1 } else { SHARDS };
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            most_in_shard: max_keys.div_ceil(shards).max(1),
            interval: interval.as_u64(),
        }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        // The upper bits: a map uses the lower ones.
        let index = (key >> 32) as usize & (self.shards.len() - 1);
        // Nothing is half-way done where a lock was poisoned.
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let lens = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.len()
        });
        lens.sum()
    }
}

impl StateStore for BoundedStore {
    /// A hash of the key. Two keys that hash alike would share a bucket; with a million there is one chance
    /// in forty million that any two do.
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(*key);
        if let Some(full_at) = shard.get_mut(key) {
            let (outcome, next) = decide(Some((*full_at).into()))?;
            *full_at = next.as_u64();
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        let next = next.as_u64();
        if shard.len() >= self.most_in_shard || shard.len() == shard.capacity() {
            // A new bucket lacks one request.
            let now = next.saturating_sub(self.interval);
            make_room(&mut shard, now, self.most_in_shard);
        }
        shard.insert(*key, next);
        Ok(outcome)
    }
}

/// The same store for who looks and takes nothing.
#[derive(Debug)]
pub(super) struct Looking(pub(super) BoundedStore);

impl StateStore for Looking {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let full_at = self.0.shard(*key).get(key).copied();
        decide(full_at.map(Nanos::from)).map(|(outcome, _)| outcome)
    }
}

/// Makes room for one more and, so that this is rare, for as many again as there are, within `most`.
fn make_room(shard: &mut Shard, now: u64, most: usize) {
    shard.retain(|_, full_at| *full_at > now);
    if shard.len() >= most {
        let mut times: Vec<u64> = shard.values().copied().collect();
        let (_, quarter, _) = times.select_nth_unstable(most / 4);
        let quarter = *quarter;
        shard.retain(|_, full_at| *full_at > quarter);
    }
    shard.reserve(shard.len().max(8).min(most - shard.len()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use governor::middleware::NoOpMiddleware;
    use governor::{Quota, RateLimiter};
    use std::num::NonZeroU32;
    use std::time::Duration;

    const INTERVAL: Duration = Duration::from_secs(1);

    type Limiter = RateLimiter<u64, BoundedStore, FakeRelativeClock, NoOpMiddleware<Nanos>>;

    fn limiter(max_keys: usize, burst: u32) -> (Limiter, FakeRelativeClock) {
        let quota = Quota::with_period(INTERVAL).expect("above 0");
        let quota = quota.allow_burst(NonZeroU32::new(burst).expect("above 0"));
        let clock = FakeRelativeClock::default();
        let store = BoundedStore::new(max_keys, INTERVAL.into());
        (RateLimiter::new(quota, store, clock.clone()), clock)
    }

    #[test]
    fn there_are_never_more_keys_than_may_be() {
        for max_keys in [1, 2, 7, 100, 5000] {
            let (limiter, clock) = limiter(max_keys, 10);
            for key in 0..20_000_u64 {
                clock.advance(Duration::from_nanos(1));
                assert!(
                    limiter
                        .check_key(&key.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                        .is_ok()
                );
            }
            let store = limiter.into_state_store();
            assert!(store.len() <= store.most_in_shard * store.shards.len());
            assert!(store.most_in_shard * store.shards.len() < max_keys + SHARDS);
        }
    }

    #[test]
    fn whoever_is_over_the_limit_stays_so_in_a_flood_of_others() {
        let (limiter, clock) = limiter(100, 10);
        while limiter.check_key(&0).is_ok() {}
        for key in 1..100_000_u64 {
            clock.advance(Duration::from_nanos(1));
            assert!(
                limiter.check_key(&key).is_ok(),
                "a new client pays for others"
            );
        }
        assert!(limiter.check_key(&0).is_err());
    }

    #[test]
    fn what_has_refilled_goes_first() {
        let (limiter, clock) = limiter(usize::MAX, 1);
        for key in 0..200_000_u64 {
            // A thousand of them are short of a request at any time.
            clock.advance(INTERVAL / 1000);
            assert!(
                limiter
                    .check_key(&key.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                    .is_ok()
            );
        }
        let len = limiter.into_state_store().len();
        assert!(len < 10_000, "{len} keys are remembered");
    }
}
