//! How a balance picks one of its members.

use super::Member;
use crate::endpoint::Endpoint;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A load-balancing strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Each in turn, whatever its weight (but 0).
    #[default]
    RoundRobin,
    /// Each in turn as often as its weight says, the turns spread evenly: nginx's smooth weighted
    /// round-robin, `a a b a c a a` for the weights 5, 1, 1.
    Weighted,
    /// The one with the fewest exchanges under way for its weight; ties rotate.
    LeastConnections,
    /// Any one, by weight.
    Random,
}

/// More turns than this in one cycle are scaled down: memory stays bounded and a share is off by
/// less than one in this many.
const MAX_TURNS: u64 = 4096;

/// A strategy with its state, over members whose weights are known.
#[derive(Debug)]
pub(super) struct Picker {
    strategy: Strategy,
    /// Members that take traffic, in the order of their turns.
    turns: Box<[u32]>,
    next: AtomicUsize,
}

impl Picker {
    pub(super) fn new(strategy: Strategy, weights: &[u32]) -> Self {
        Self {
            strategy,
            turns: match strategy {
                Strategy::Weighted => smooth(weights),
                _ => (0u32..)
                    .zip(weights)
                    .filter(|(_, weight)| **weight > 0)
                    .map(|(index, _)| index)
                    .collect(),
            },
            next: AtomicUsize::new(0),
        }
    }

    /// A member whose endpoint is open, if there is one.
    pub(super) fn pick<S>(
        &self,
        members: &[Member<S>],
        is_open: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<usize> {
        let open = |index: usize| is_open(&members[index].endpoint);
        match *self.turns {
            [] => None,
            [only] => Some(only as usize).filter(|index| open(*index)),
            _ => match self.strategy {
                Strategy::RoundRobin | Strategy::Weighted => self.next_open(open),
                Strategy::LeastConnections => least(members, self.in_turn().filter(|i| open(*i))),
                Strategy::Random => random(members, open),
            },
        }
    }

    /// The next one in turn that is open. A turn that is left out is over: else the one after it would get it all.
    fn next_open(&self, open: impl Fn(usize) -> bool) -> Option<usize> {
        let mut turns = (0..self.turns.len()).map(|_| self.turn());
        let found = turns.find(|index| open(*index));
        // Others take turns at the same time: those that were left may all have been of one that is not open.
        found.or_else(|| self.in_turn().find(|index| open(*index)))
    }

    fn turn(&self) -> usize {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.turns.len();
        self.turns[turn] as usize
    }

    /// All members that take traffic, beginning with the one whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = usize> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.turns.len();
        let (before, after) = self.turns.split_at(start);
        after.iter().chain(before).map(|index| *index as usize)
    }
}

fn least<S>(members: &[Member<S>], candidates: impl Iterator<Item = usize>) -> Option<usize> {
    let load = |index: usize| {
        let member = &members[index];
        (member.endpoint.in_flight() as u64, u64::from(member.weight))
    };
    // `a/wa < b/wb` without dividing; `min_by` keeps the first of equals.
    candidates.min_by(|a, b| {
        let ((a, wa), (b, wb)) = (load(*a), load(*b));
        (a * wb).cmp(&(b * wa))
    })
}

fn random<S>(members: &[Member<S>], open: impl Fn(usize) -> bool) -> Option<usize> {
    let weights = || {
        let open = members.iter().enumerate().filter(|(index, _)| open(*index));
        open.map(|(index, member)| (index, u64::from(member.weight)))
    };
    let total = weights().map(|(_, weight)| weight).sum();
    let mut ticket = match total {
        0 => return None,
        _ => fastrand::u64(0..total),
    };
    for (index, weight) in weights() {
        match ticket.checked_sub(weight) {
            Some(rest) => ticket = rest,
            None => return Some(index),
        }
    }
    None
}

/// One cycle of smooth weighted round-robin (nginx, `ngx_http_upstream_round_robin.c`): at each turn
/// every member gains its weight, the richest is taken and pays the sum.
fn smooth(weights: &[u32]) -> Box<[u32]> {
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
