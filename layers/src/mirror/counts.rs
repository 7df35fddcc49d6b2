//! What becomes of copies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts what becomes of the copies of a mirror, and whose turn it is.
#[derive(Debug, Default)]
pub struct MirrorCounts {
    turn: AtomicU64,
    in_flight: AtomicUsize,
    answered: AtomicU64,
    failed: AtomicU64,
    full: AtomicU64,
    too_large: AtomicU64,
    incomplete: AtomicU64,
}

/// What has become of the copies of a mirror so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorTold {
    /// Being made or answered now.
    pub in_flight: usize,
    /// Sent, and answered, whatever the status.
    pub answered: u64,
    /// Sent, and not answered, or not in time.
    pub failed: u64,
    /// Not made: there were as many as there may be.
    pub dropped_full: u64,
    /// Not made: the body was too long.
    pub dropped_too_large: u64,
    /// Not made: the body did not come to its end, or not in time, or had trailers.
    pub dropped_incomplete: u64,
}

/// Why there is no copy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lost {
    Full,
    TooLarge,
    Incomplete,
}

impl MirrorCounts {
    /// The counts so far.
    pub fn told(&self) -> MirrorTold {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MirrorTold {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            answered: read(&self.answered),
            failed: read(&self.failed),
            dropped_full: read(&self.full),
            dropped_too_large: read(&self.too_large),
            dropped_incomplete: read(&self.incomplete),
        }
    }

    /// Whether the next request is one of the `percentage`: the sum of the shares passes a whole number (Bresenham's
    /// line, as it is drawn).
    pub(super) fn is_turn(&self, percentage: u8) -> bool {
        match percentage {
            0 => false,
            100.. => true,
            _ => {
                let step = self.turn.fetch_add(1, Ordering::Relaxed) % 100;
                let share = u64::from(percentage);
                (step + 1) * share / 100 > step * share / 100
            }
        }
    }

    /// A place for a copy, if there are fewer than `max`.
    pub(super) fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= max {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(Arc::clone(self)))
    }

    pub(super) fn lose(&self, lost: Lost) {
        let count = match lost {
            Lost::Full => &self.full,
            Lost::TooLarge => &self.too_large,
            Lost::Incomplete => &self.incomplete,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The place of a copy that is being made or answered.
#[derive(Debug)]
pub(super) struct Place(Arc<MirrorCounts>);

impl Place {
    pub(super) fn lose(self, lost: Lost) {
        self.0.lose(lost);
    }

    pub(super) fn end(self, is_answered: bool) {
        let count = match is_answered {
            true => &self.0.answered,
            false => &self.0.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_hundred_requests_have_the_percentage_and_any_few_are_off_by_less_than_one() {
        for percentage in 0..=100 {
            let counts = MirrorCounts::default();
            let turns: Vec<bool> = (0..300).map(|_| counts.is_turn(percentage)).collect();
            for length in [1, 2, 3, 7, 10, 50, 100] {
                for window in turns.windows(length) {
                    let taken = window.iter().filter(|taken| **taken).count();
                    let expected = length * usize::from(percentage);
                    assert!(
                        (taken * 100).abs_diff(expected) < 100,
                        "{percentage} % of {length}: {taken}"
                    );
                }
            }
        }
    }
}
