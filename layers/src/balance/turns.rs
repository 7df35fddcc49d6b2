//! Members in turn, each as often as its weight says.

use std::sync::atomic::{AtomicUsize, Ordering};

/// More turns than this in one cycle are scaled down: memory stays bounded and a share is off by
/// less than one in this many.
const MAX_TURNS: u64 = 4096;

/// A cycle of turns, and whose is the next.
#[derive(Debug)]
pub(super) struct Turns {
    cycle: Box<[u32]>,
    next: AtomicUsize,
}

impl Turns {
    pub(super) fn new(cycle: Box<[u32]>) -> Self {
        Self {
            cycle,
            next: AtomicUsize::new(0),
        }
    }

    /// The next one in turn that is open. A turn that is left out is over: else the one after it would get it all.
    pub(super) fn next(&self, open: impl Fn(usize) -> bool) -> Option<usize> {
        let mut turns = (0..self.cycle.len()).map(|_| self.turn());
        let found = turns.find(|index| open(*index));
        // Others take turns at the same time: those that were left may all have been of one that is not open.
        found.or_else(|| self.any(open))
    }

    /// The first that is open from the next turn on.
    fn any(&self, open: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.next.load(Ordering::Relaxed) % self.cycle.len();
        let (before, after) = self.cycle.split_at(start);
        let mut turns = after.iter().chain(before).map(|index| *index as usize);
        turns.find(|index| open(*index))
    }

    fn turn(&self) -> usize {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.cycle.len();
        self.cycle[turn] as usize
    }
}

/// One cycle of smooth weighted round-robin (nginx, `ngx_http_upstream_round_robin.c`): at each turn
/// every member gains its weight, the richest is taken and pays the sum.
pub(super) fn smooth(weights: &[u32]) -> Box<[u32]> {
    let weights = reduced(weights);
    let sum: i64 = weights.iter().sum();
    let mut current = vec![0i64; weights.len()];
    (0..sum)
        .map(|_| {
            let mut best = 0;
            for (index, weight) in weights.iter().enumerate() {
                current[index] += weight;
                if current[index] > current[best] {
                    best = index;
                }
            }
            current[best] -= sum;
            best as u32
        })
        .collect()
}

/// The weights in lowest terms, scaled down where a cycle would be too long; a weight above 0 keeps a turn.
fn reduced(weights: &[u32]) -> Vec<i64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|w| u64::from(w / divisor)).sum();
    let limit = MAX_TURNS.max(weights.len() as u64);
    weights
        .iter()
        .map(|weight| {
            let weight = u64::from(weight / divisor);
            let turns = if sum <= limit {
                weight
            } else {
                (weight * limit / sum).max(weight.min(1))
            };
            i64::try_from(turns).unwrap_or(1)
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighted_turns_are_interleaved_as_nginx_does() {
        for (weights, turns) in [
            (&[5, 1, 1][..], &[0, 0, 1, 0, 2, 0, 0][..]),
            (&[1, 1], &[0, 1]),
            (&[10, 10], &[0, 1]),
            (&[2, 0, 1], &[0, 2, 0]),
            (&[0, 0], &[]),
            (&[], &[]),
        ] {
            assert_eq!(&*smooth(weights), turns, "{weights:?}");
        }
    }

    #[test]
    fn huge_weights_stay_bounded_and_in_proportion() {
        let turns = smooth(&[u32::from(u16::MAX), 1, 32_768]);
        assert!(turns.len() as u64 <= MAX_TURNS + 3);
        let share = |index| turns.iter().filter(|turn| **turn == index).count();
        assert_eq!(share(1), 1);
        assert!((share(0) as f64 / share(2) as f64 - 2.0).abs() < 0.01);
    }
}
