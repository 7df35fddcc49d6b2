//! Who is next, where each has a share.

use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The shares of the revisions of a [`Split`](super::Split): a handle by which they are moved while it runs.
///
/// ```
/// use a3s_layers::split::Shares;
///
/// let shares = Shares::new(&[90, 10]);
/// shares.set(&[50, 50]);
/// assert_eq!(shares.get(), [50, 50]);
/// ```
#[derive(Debug)]
pub struct Shares {
    turns: ArcSwap<Turns>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Turns {
    shares: Box<[u8]>,
    /// One round.
    turns: Box<[u32]>,
}

impl Shares {
    /// A share for each revision, in hundredths if they sum up to 100; 0 gets nothing.
    pub fn new(shares: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            turns: ArcSwap::new(Turns::new(shares)),
            next: AtomicUsize::new(0),
        })
    }

    /// Goes on with these. Their number stays: those that are lacking are 0, those that are too many are not looked at.
    pub fn set(&self, shares: &[u8]) {
        let count = self.turns.load().shares.len();
        let shares = shares.iter().copied().chain(std::iter::repeat(0));
        let shares: Vec<_> = shares.take(count).collect();
        self.turns.store(Turns::new(&shares));
    }

    /// As they are now.
    pub fn get(&self) -> Vec<u8> {
        self.turns.load().shares.to_vec()
    }

    pub(super) fn of(&self, index: usize) -> u8 {
        let turns = self.turns.load();
        turns.shares.get(index).copied().unwrap_or_default()
    }

    /// The next one in turn that `takes`. A turn that is left out is over, so that the others share it as they share
    /// everything.
    pub(super) fn next(&self, takes: impl Fn(usize) -> bool) -> Option<usize> {
        let Turns { shares, turns } = &**self.turns.load();
        // Each is asked once, as far as there are bits.
        let mut refused = 0u128;
        for _ in 0..turns.len() {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % turns.len();
            let index = turns[turn] as usize;
            let bit = 1u128.checked_shl(turns[turn]).unwrap_or_default();
            if refused & bit == 0 {
                if takes(index) {
                    return Some(index);
                }
                refused |= bit;
            }
        }
        // Others may have had the turns in between.
        (0..shares.len()).find(|index| shares[*index] > 0 && takes(*index))
    }
}

impl Turns {
    fn new(shares: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            turns: spread(shares),
            shares: shares.into(),
        })
    }
}

/// One round in which each has as many turns as its share, in lowest terms, spread as evenly as can be: after each
/// turn each has had its part of the turns so far, give or take less than one.
///
/// It is the proportionate fairness of Baruah, Cohen, Plaxton and Varvel (1996) for one resource. Of a round of `n`
/// turns, number `k` of one with `w` of them may come from turn `k n / w` on, and must have come before turn
/// `(k + 1) n / w`; who must come first is taken.
fn spread(shares: &[u8]) -> Box<[u32]> {
    let divisor = shares.iter().copied().fold(0, gcd).max(1);
    let weights: Vec<_> = shares.iter().map(|w| u32::from(w / divisor)).collect();
    let round: u32 = weights.iter().sum();
    let mut had = vec![0; weights.len()];
    let turns = (0..round).map(|turn| {
        let may_come = |index: &usize| {
            let (had, weight) = (had[*index], weights[*index]);
            weight > 0 && had * round / weight <= turn
        };
        let must_come = |index: &usize| ((had[*index] + 1) * round).div_ceil(weights[*index]);
        let first = (0..weights.len()).filter(may_come).min_by_key(must_come);
        let first = first.expect("as many turns as there are in the round");
        had[first] += 1;
        first as u32
    });
    turns.collect()
}

fn gcd(a: u8, b: u8) -> u8 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_evenly() {
        for (shares, turns) in [
            (&[100][..], &[0][..]),
            (&[50, 50], &[0, 1]),
            (&[75, 25], &[0, 0, 0, 1]),
            (&[0, 100], &[1]),
            (&[50, 25, 25], &[0, 1, 0, 2]),
            (&[40, 60], &[1, 0, 1, 0, 1]),
            (&[0, 0], &[]),
            (&[], &[]),
        ] {
            assert_eq!(&*spread(shares), turns, "{shares:?}");
        }
    }
}
