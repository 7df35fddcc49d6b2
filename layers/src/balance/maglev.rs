//! Maglev: a table in which each key finds a member, and nearly always the same one when others come or go.
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4. Each member
//! has an order of its own in which it would like the places of the table; they take turns in having the next one
//! that is free. Weights are in the turns, as in Envoy: who has twice the weight has twice as many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use xxhash_rust::xxh64::xxh64;

/// Places in the table: a prime, so that every step leads through all of them.
const PLACES: usize = 65_537;

/// So often a key is hashed whose member is not open; after that the open ones are looked for.
const HASHES: u64 = 8;

/// Seeds of the two hashes of a member, of keys, and, from the last on, of the next hashes of a key. Whatever they are,
/// they stay: with others every key would move.
const OFFSET: u64 = 0;
const STEP: u64 = 1;
const KEY: u64 = 2;
const AGAIN: u64 = 3;

/// The table: 128 KiB.
#[derive(Debug)]
pub(super) struct Maglev {
    places: Box<[u16]>,
    owners: Box<[Owner]>,
}

/// A member that has places.
#[derive(Debug)]
struct Owner {
    index: u16,
    weight: f64,
    name: u64,
}

/// The hash of a key: the same in every process, and on every machine.
pub(super) fn hash(key: &[u8]) -> u64 {
    xxh64(key, KEY)
}

impl Maglev {
    /// The table of members by their names and weights; those without a weight have no place. Of more members than
    /// there are places the last ones have none either.
    pub(super) fn new<'n>(members: impl Iterator<Item = (&'n str, u32)>) -> Self {
        let mut wishes: Vec<Wishes<'_>> = (0..=u16::MAX)
            .zip(members)
            .filter(|(_, (_, weight))| *weight > 0)
            .map(|(index, (name, weight))| Wishes::new(index, name, weight))
            .collect();
        // Whoever lists the same members in another order has the same table.
        wishes.sort_unstable_by_key(|wishes| wishes.name);
        let owners = wishes.iter().map(|wishes| Owner {
            index: wishes.index,
            weight: wishes.weight as f64,
            name: xxh64(wishes.name.as_bytes(), KEY),
        });
        Self {
            owners: owners.collect(),
            places: fill(&mut wishes),
        }
    }

    /// The member of a key, or the one after it that is open.
    pub(super) fn pick(&self, key: u64, open: impl Fn(usize) -> bool) -> Option<usize> {
        let hashes = (0..HASHES).map(|time| match time {
            0 => key,
            time => xxh64(&key.to_le_bytes(), AGAIN + time),
        });
        let mut members = hashes.filter_map(|hash| self.member(hash));
        members
            .find(|index| open(*index))
            .or_else(|| self.rendezvous(key, open))
    }

    fn member(&self, hash: u64) -> Option<usize> {
        let place = (hash % PLACES as u64) as usize;
        self.places.get(place).map(|index| usize::from(*index))
    }

    /// The one of those that are open which comes to the key first, where each comes as often as its weight says:
    /// rendezvous hashing (Thaler and Ravishankar, 1998) with weights (Schindelhauer and Schomaker, 2005). Nearly all
    /// are closed when it comes to this.
    fn rendezvous(&self, key: u64, open: impl Fn(usize) -> bool) -> Option<usize> {
        let time = |owner: &&Owner| {
            // From 0 to 1, without either.
            let even = ((xxh64(&key.to_le_bytes(), owner.name) >> 12) as f64 + 0.5) / 2f64.powi(52);
            -even.ln() / owner.weight
        };
        let open = self.owners.iter().filter(|owner| open(owner.index.into()));
        let first = open.min_by(|a, b| time(a).total_cmp(&time(b)))?;
        Some(first.index.into())
    }
}

/// The order in which a member would like the places, and when it may have the next one.
struct Wishes<'n> {
    index: u16,
    name: &'n str,
    weight: u64,
    place: usize,
    step: usize,
}

impl<'n> Wishes<'n> {
    fn new(index: u16, name: &'n str, weight: u32) -> Self {
        let hash = |seed, most: usize| (xxh64(name.as_bytes(), seed) % most as u64) as usize;
        Self {
            index,
            name,
            weight: weight.into(),
            place: hash(OFFSET, PLACES),
            step: hash(STEP, PLACES - 1) + 1,
        }
    }

    /// The next place that nobody has. There is one.
    fn take(&mut self, places: &mut [Option<u16>]) {
        while places[self.place].is_some() {
            self.place = (self.place + self.step) % PLACES;
        }
        places[self.place] = Some(self.index);
    }

    /// When it has the turn after so many: it comes sooner to those with more weight, to each at the same time as ever
    /// when others are gone.
    fn time(&self, turns: u64) -> u64 {
        (turns << 24) / self.weight
    }
}

fn fill(wishes: &mut [Wishes<'_>]) -> Box<[u16]> {
    if wishes.is_empty() {
        return Box::default();
    }
    let mut places = vec![None; PLACES];
    let mut turns: BinaryHeap<_> = (0..wishes.len())
        .map(|member| Reverse((0, member, 0)))
        .collect();
    for _ in 0..PLACES {
        if let Some(mut next) = turns.peek_mut() {
            let Reverse((time, member, count)) = &mut *next;
            let wishes = &mut wishes[*member];
            wishes.take(&mut places);
            *count += 1;
            *time = wishes.time(*count);
        }
    }
    places.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count)
            .map(|n| format!("http://10.0.{}.{}:8080", n / 256, n % 256))
            .collect()
    }

    fn table(names: &[String], weight: impl Fn(usize) -> u32) -> Maglev {
        let members = names.iter().map(String::as_str).enumerate();
        Maglev::new(members.map(|(index, name)| (name, weight(index))))
    }

    fn shares(table: &Maglev, count: usize) -> Vec<usize> {
        let mut shares = vec![0; count];
        for index in &table.places {
            shares[usize::from(*index)] += 1;
        }
        shares
    }

    #[test]
    fn places_are_shared_out_to_the_last_by_weight() {
        for count in [2, 3, 10, 1000] {
            let shares = shares(&table(&names(count), |_| 7), count);
            let even = PLACES / count;
            assert!(
                shares
                    .iter()
                    .all(|share| *share == even || *share == even + 1),
                "{count}: {shares:?}"
            );
        }
        let weights = [5, 0, 2, 1, 65_535];
        let sum = weights.iter().sum::<u32>();
        let shares = shares(&table(&names(5), |index| weights[index]), 5);
        for (share, weight) in shares.iter().zip(weights) {
            // Each has one at the beginning, whatever its weight.
            let exact = f64::from(weight) / f64::from(sum) * PLACES as f64;
            assert!((*share as f64 - exact).abs() <= 5.0, "{shares:?}");
            assert_eq!(*share == 0, weight == 0);
        }
    }

    #[test]
    fn a_table_is_the_same_everywhere_and_whatever_the_order() {
        let names = names(5);
        let one = table(&names, |index| index as u32 + 1);
        // Of this version of the table: where it changes, every key moves with an upgrade.
        let keys = [
            "",
            "a",
            "192.0.2.1",
            "/a/long/path/that/is/hashed/by/four/lanes",
        ];
        let picks = keys.map(|key| one.pick(hash(key.as_bytes()), |_| true));
        assert_eq!(picks, [1, 4, 2, 4].map(Some));
        let backward: Vec<_> = names.iter().rev().cloned().collect();
        let other = table(&backward, |index| 5 - index as u32);
        let same = std::iter::zip(&one.places, &other.places).all(|(a, b)| *a == 4 - *b);
        assert!(same);
    }

    /// How many places change hands when one of `count` members goes or comes, beside what has to: its own. The table
    /// has no chance in it, so that this is what it does, and the bounds are just above.
    #[test]
    fn a_member_that_goes_takes_little_more_with_it_than_what_is_its_own() {
        for (count, most) in [(2, 1.0), (3, 1.001), (10, 1.03), (100, 1.6)] {
            let names = names(count);
            let whole = table(&names, |_| 1);
            for gone in [0, count / 2, count - 1] {
                let less = table(&names, |index| u32::from(index != gone));
                let pairs = || std::iter::zip(&whole.places, &less.places);
                let own = pairs().filter(|(a, _)| usize::from(**a) == gone).count();
                let moved = pairs().filter(|(a, b)| a != b).count();
                let ratio = moved as f64 / own as f64;
                assert!(
                    ratio <= most,
                    "{count} less {gone}: {moved} instead of {own}, {ratio}"
                );
            }
        }
    }

    #[test]
    fn keys_of_a_closed_member_go_to_all_others_by_weight_and_no_other_key_moves() {
        const KEYS: u64 = 20_000;
        let weights = [1, 1, 2, 4];
        let table = table(&names(4), |index| weights[index]);
        let mut to = [0u64; 4];
        for key in 0..KEYS {
            let key = hash(&key.to_le_bytes());
            let before = table.pick(key, |_| true).expect("all are open");
            let after = table.pick(key, |index| index != 0).expect("some are open");
            match before {
                0 => to[after] += 1,
                _ => assert_eq!(before, after),
            }
        }
        let moved = to.iter().sum::<u64>() as f64;
        for (count, weight) in to.iter().zip(weights).skip(1) {
            // The number of keys that go to one is binomial: a hash stands for chance. Five standard deviations are
            // passed by one in 1.7 million, and the hash is always the same.
            let share = f64::from(weight) / 7.0;
            let deviation = (moved * share * (1.0 - share)).sqrt();
            let off = (*count as f64 - moved * share).abs();
            assert!(off < 5.0 * deviation, "{to:?}");
        }
        assert_eq!(to[0], 0);
    }

    #[test]
    fn the_only_one_that_is_open_is_found_and_nobody_where_there_is_none() {
        let names = names(1000);
        let table = table(&names, |index| u32::from(index != 500));
        for key in 0..200 {
            let key = hash(&[key]);
            assert_eq!(table.pick(key, |index| index == 999), Some(999));
            assert_eq!(
                table.pick(key, |index| index == 500),
                None,
                "it has no weight"
            );
            assert_eq!(table.pick(key, |_| false), None);
        }
        // Of two of which one has twice the weight.
        let weights = |index| u32::from(index < 998) + u32::from(index > 0);
        let table = self::table(&names, weights);
        let count = (0..3000u32)
            .filter(|key| {
                let key = hash(&key.to_le_bytes());
                table.pick(key, |index| index == 1 || index == 999) == Some(1)
            })
            .count();
        // Binomial with n = 3000 and p = 2/3: five standard deviations are 129.
        assert!(count.abs_diff(2000) < 129, "{count}");
    }

    #[test]
    fn no_member_and_too_many_are_no_trouble() {
        assert_eq!(table(&[], |_| 1).pick(7, |_| true), None);
        assert_eq!(table(&names(2), |_| 0).pick(7, |_| true), None);
        let many = names(70_000);
        let table = table(&many, |_| 1);
        assert_eq!(table.places.len(), PLACES);
        assert_eq!(shares(&table, 65_536).iter().min(), Some(&1));
    }
}
