//! How many retries there may be, so that a service that fails is not asked ever more often.

use crate::window::{Counts, Window};
use std::time::Duration;

/// Requests and retries are remembered for so long.
const MEMORY: Duration = Duration::from_secs(10);

/// So many retries for a hundred requests of the last ten seconds, and some that are always free.
///
/// It is our own beside `tower::retry::budget::TpsBudget`, which takes a lock for each request and can only express
/// the shares 1/n: 30 % would be a third, and 60 % all.
#[derive(Debug)]
pub(super) struct Budget {
    /// Requests, the marked ones being retries.
    window: Window,
    percent: u64,
    free: u64,
}

impl Budget {
    pub(super) fn new(percent: u32, free_per_second: u32) -> Self {
        Self {
            window: Window::new(MEMORY),
            percent: percent.into(),
            free: u64::from(free_per_second) * MEMORY.as_secs(),
        }
    }
}

impl tower::retry::budget::Budget for Budget {
    /// There is a request.
    fn deposit(&self) {
        self.window.add(Counts { all: 1, marked: 0 });
    }

    /// Takes a retry, if one may be had. Threads that ask at the same instant may each get the last one.
    fn withdraw(&self) -> bool {
        let Counts { all, marked } = self.window.counts();
        let may = (marked + 1) * 100 <= all * self.percent + self.free * 100;
        if may {
            self.window.add(Counts { all: 0, marked: 1 });
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::retry::budget::Budget as _;

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_requests_and_some_are_free() {
        for (percent, free, requests, retries) in [
            (20, 0, 0, 0),
            (20, 0, 4, 0),
            (20, 0, 5, 1),
            (20, 0, 100, 20),
            (30, 0, 100, 30),
            (60, 0, 100, 60),
            (100, 0, 100, 100),
            (0, 1, 100, 10),
            (20, 1, 100, 30),
            (0, 0, 100, 0),
        ] {
            let budget = Budget::new(percent, free);
            (0..requests).for_each(|_| budget.deposit());
            let had = (0..1000).take_while(|_| budget.withdraw()).count();
            assert_eq!(had, retries, "{percent} {free} {requests}");
            // What was not had weighs nothing, and all is forgotten in time.
            tokio::time::advance(MEMORY).await;
            (0..requests).for_each(|_| budget.deposit());
            let had = (0..1000).take_while(|_| budget.withdraw()).count();
            assert_eq!(had, retries, "{percent} {free} {requests}");
        }
    }
}
