//! What is dear is done one at a time, and only so many wait for their turn.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many may wait for the one whose turn it is.
const MAX_WAITING: usize = 15;

/// Turns, one after another.
#[derive(Debug)]
pub(super) struct Turns {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_WAITING + 1)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Turns {
    /// Waits for a turn; none where too many wait already.
    pub(super) async fn take(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        Some(Turn {
            _turn: turn,
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready, task::spawn};

    #[test]
    fn one_has_its_turn_and_so_many_wait() {
        let turns = Turns::default();
        let first = assert_ready!(spawn(turns.take()).poll()).expect("nobody is there");
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| spawn(turns.take())).collect();
        for each in &mut waiting {
            assert_pending!(each.poll());
        }
        assert!(assert_ready!(spawn(turns.take()).poll()).is_none());
        drop(first);
        let second = assert_ready!(waiting[0].poll()).expect("it has waited");
        assert_pending!(waiting[1].poll());
        // Who goes away leaves its place.
        waiting.truncate(2);
        let mut late = spawn(turns.take());
        assert_pending!(late.poll());
        drop((second, waiting));
        assert!(assert_ready!(late.poll()).is_some());
    }
}
