//! Draws members by weight.

/// After so many draws that found nobody open, those that are open are looked for.
const DRAWS: usize = 8;

/// Who is drawn how often.
#[derive(Debug)]
pub(super) struct Lots {
    /// The weights of all up to this one.
    sums: Box<[u64]>,
}

impl Lots {
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let sums = weights.scan(0, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Self {
            sums: sums.collect(),
        }
    }

    /// One that is open, if there is one: each with a chance that is its weight's share of all that are open.
    pub(super) fn draw(&self, open: impl Fn(usize) -> bool) -> Option<usize> {
        let total = self.sums.last().copied().filter(|total| *total > 0)?;
        for _ in 0..DRAWS {
            let ticket = fastrand::u64(0..total);
            let index = self.sums.partition_point(|sum| *sum <= ticket);
            if open(index) {
                return Some(index);
            }
        }
        self.among(open)
    }

    /// As [`Lots::draw`], in one pass over all of them.
    fn among(&self, open: impl Fn(usize) -> bool) -> Option<usize> {
        let mut urn = Urn::default();
        let mut before = 0;
        for (index, sum) in self.sums.iter().enumerate() {
            let weight = sum - before;
            before = *sum;
            if weight > 0 && open(index) {
                urn.add(index, weight as f64);
            }
        }
        urn.drawn
    }
}

/// One of those that were put in, each with a chance that is its weight's share: reservoir sampling with weights
/// (Chao, 1982) for a sample of one.
#[derive(Debug, Default)]
pub(super) struct Urn {
    total: f64,
    pub(super) drawn: Option<usize>,
}

impl Urn {
    pub(super) fn add(&mut self, index: usize, weight: f64) {
        self.total += weight;
        // The first needs no luck.
        if self.drawn.is_none() || fastrand::f64() * self.total < weight {
            self.drawn = Some(index);
        }
    }
}
