//! How much may be looked at.

use std::cell::Cell;

/// What may still be looked at: about as many comparisons of a matcher with something. A search ends when it is spent,
/// so that no rules, however many or however they are made, take more than a moment.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Budget {
    /// As many comparisons.
    pub fn new(comparisons: usize) -> Self {
        Self(Cell::new(comparisons))
    }

    pub(in crate::rule) fn is_spent(&self) -> bool {
        self.left() == 0
    }

    /// Takes `cost` off; whether it was there.
    pub(in crate::rule) fn spend(&self, cost: usize) -> bool {
        let left = self.left().saturating_sub(cost);
        self.0.set(left);
        left > 0
    }

    pub(super) fn left(&self) -> usize {
        self.0.get()
    }

    /// Spends no more than `most` of it.
    pub(super) fn lend<T>(&self, most: usize, with: impl FnOnce(&Budget) -> T) -> T {
        let own = self.left().min(most);
        let lent = Budget::new(own);
        let done = with(&lent);
        self.spend(own - lent.left());
        done
    }
}
