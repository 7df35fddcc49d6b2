//! How the fetches went, and which keys were not there.

use crate::auth::jwt::refusal::Refusal;
use std::time::Duration;
use tokio::time::Instant;

/// After a fetch that failed the next one waits one second, two, four, and never longer than this.
const MAX_RETRY: Duration = Duration::from_secs(5);

/// How often keys that are not there may have them fetched.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(5);

/// How long a key that was not there is not asked for again.
const MISSING_FOR: Duration = Duration::from_secs(30);

/// How many keys that were not there are remembered.
const MISSING: usize = 64;

pub(super) struct Status {
    pub(super) is_fetching: bool,
    /// How many fetches have failed since the last that did not.
    failures: u32,
    /// When an unknown key last had the keys fetched.
    asked: Option<Instant>,
    /// Names that were not there, hashed, and since when. Each has one place, which it takes from whoever had it
    /// before.
    missing: [Option<(u64, Instant)>; MISSING],
}

impl Default for Status {
    fn default() -> Self {
        Self {
            is_fetching: false,
            failures: 0,
            asked: None,
            missing: [None; MISSING],
        }
    }
}

impl Status {
    /// Whether keys may be fetched, or waited for, for one that is not there; or what to say of it.
    pub(super) fn may_ask(&mut self, name: u64) -> Result<(), Refusal> {
        let now = Instant::now();
        if let Some((missing, since)) = self.missing[slot(name)]
            && missing == name
            && now < since + MISSING_FOR
        {
            return Err(Refusal::KEY);
        }
        if !self.is_fetching {
            if self
                .asked
                .is_some_and(|asked| now < asked + UNKNOWN_INTERVAL)
            {
                return Err(self.verdict());
            }
            self.asked = Some(now);
        }
        Ok(())
    }

    /// What to say of a key that is not there, after it was waited for.
    pub(super) fn missed(&mut self, name: u64) -> Refusal {
        if self.is_fetching {
            return Refusal::Unavailable;
        }
        if self.failures == 0 {
            self.missing[slot(name)] = Some((name, Instant::now()));
        }
        self.verdict()
    }

    /// Nobody knows, where the last fetch failed.
    fn verdict(&self) -> Refusal {
        match self.failures {
            0 => Refusal::KEY,
            _ => Refusal::Unavailable,
        }
    }

    /// A fetch has brought keys; says whether the one before had failed.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// A fetch has failed; says whether it is the first to, and how long to wait for the next.
    pub(super) fn failed(&mut self) -> (bool, Duration) {
        let doubled = Duration::from_secs(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        (self.failures == 1, doubled.min(MAX_RETRY))
    }
}

fn slot(name: u64) -> usize {
    (name % MISSING as u64) as usize
}
