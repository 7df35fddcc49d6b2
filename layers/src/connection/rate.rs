//! A rate for each peer, in a table that does not grow.

use super::ConnectionRate;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Peers that are remembered at a time: 1 MiB of them.
const SLOTS: usize = 1 << 16;

/// Slots in which a peer may be found.
const WAYS: usize = 8;

/// The generic cell rate algorithm (ITU-T I.371, annex A, as virtual scheduling), for each peer.
///
/// Who has not come for as long as a burst takes to refill is as good as unknown, so the table forgets him when
/// his slot is needed. Where more peers than it can hold come in that time, it forgets the one who has taken the
/// least of his share.
#[derive(Debug)]
pub(super) struct Rate {
    began: Instant,
    /// Nanoseconds from one connection to the next.
    interval: u64,
    /// How far ahead of them a burst may come.
    tolerance: u64,
    /// Secret, so that nobody can choose addresses that share their slots with somebody else's.
    hasher: RandomState,
    slots: Mutex<Vec<Slot>>,
}

/// A peer's hash, and when his next connection is due: nanoseconds since the beginning. Plain integers in an array,
/// because memory of those comes zeroed, and untouched, from the system.
type Slot = [u64; 2];

impl Rate {
    pub(super) fn new(rate: ConnectionRate) -> Self {
        let interval = 1_000_000_000 / u64::from(rate.per_second.get());
        Self {
            began: Instant::now(),
            interval,
            tolerance: interval * u64::from(rate.burst.get() - 1),
            hasher: RandomState::new(),
            slots: Mutex::new(vec![[0; 2]; SLOTS]),
        }
    }

    /// Takes one connection from the peer's share, if there is one.
    pub(super) fn take(&self, peer: IpAddr) -> bool {
        let hash = self.hasher.hash_one(peer);
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let first = hash as usize % (SLOTS / WAYS) * WAYS;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let set = &mut slots[first..first + WAYS];
        if let Some([_, due]) = set.iter_mut().find(|[owner, _]| *owner == hash) {
            let is_early = *due > now.saturating_add(self.tolerance);
            if !is_early {
                *due = now.max(*due).saturating_add(self.interval);
            }
            return !is_early;
        }
        // An empty slot is due at 0, before all others.
        if let Some(slot) = set.iter_mut().min_by_key(|[_, due]| *due) {
            *slot = [hash, now.saturating_add(self.interval)];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;
    use std::time::Duration;

    fn rate(per_second: u32, burst: u32) -> Rate {
        let [per_second, burst] = [per_second, burst].map(|n| NonZeroU32::new(n).unwrap());
        Rate::new(ConnectionRate { per_second, burst })
    }

    fn taken(rate: &Rate, peer: IpAddr, tries: usize) -> usize {
        (0..tries).filter(|_| rate.take(peer)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_followed_by_the_rate() {
        let peer = IpAddr::from([192, 0, 2, 1]);
        let rate = rate(4, 3);
        assert_eq!(taken(&rate, peer, 9), 3);
        tokio::time::advance(Duration::from_millis(249)).await;
        assert_eq!(taken(&rate, peer, 9), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(taken(&rate, peer, 9), 1);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(taken(&rate, peer, 9), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(taken(&rate, peer, 9), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_extremes_do_not_overflow() {
        let peer = IpAddr::from([192, 0, 2, 1]);
        for (per_second, burst) in [(1, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX)] {
            assert!(rate(per_second, burst).take(peer), "{per_second} {burst}");
        }
        assert_eq!(taken(&rate(1, 1), peer, 9), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_peers_takes_no_more_memory_and_frees_nobody_who_is_past_his_share() {
        let greedy = IpAddr::from([192, 0, 2, 1]);
        let rate = rate(1, 10);
        assert_eq!(taken(&rate, greedy, 20), 10);
        for i in 0..2 * SLOTS as u32 {
            assert!(rate.take(Ipv4Addr::from_bits(i).into()));
        }
        assert_eq!(rate.slots.lock().unwrap().len(), SLOTS);
        assert_eq!(taken(&rate, greedy, 20), 0);
    }
}
