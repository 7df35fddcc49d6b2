//! The state of a circuit: one word, changed by compare and swap, and a window of counts.

use super::Settings;
use crate::classify::Verdict;
use crate::journal::Journal;
use crate::window::{Counts, Window};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What a circuit does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// It lets them pass.
    Closed,
    /// It refuses them.
    Open,
    /// It lets a few pass, to see whether the service is well again.
    HalfOpen,
}

impl CircuitState {
    /// Each of them, in their order.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// One word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[derive(Debug)]
pub(super) struct Breaker {
    pub(super) settings: Settings,
    start: Instant,
    word: AtomicU64,
    /// How often it became closed, open and half-open.
    became: [AtomicU64; 3],
    /// Requests of the closed circuit, the marked ones being failures; where a ratio opens it.
    window: Option<Window>,
}

/// How long a probe keeps its place whose request had not wholly come when it began.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(1);

/// A state as it is packed into a word: 2 bits for which it is, 40 for the milliseconds at which it began (34 years),
/// and 22 for its counts. What began in one state says nothing in another; the time tells them apart, because an open
/// circuit stays so for at least a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        since: u64,
        /// Without a success between them.
        failures: u32,
    },
    Open {
        since: u64,
    },
    HalfOpen {
        since: u64,
        /// Under way.
        probes: u32,
        successes: u32,
        /// Whether one of them began before its request had wholly come.
        uploads: bool,
    },
}

const SINCE_BITS: u32 = 40;
const SINCE_MASK: u64 = (1 << SINCE_BITS) - 1;
const COUNT_BITS: u32 = 22;
const HALF_BITS: u32 = 11;

/// No threshold is higher, for what counts up to it has no more bits.
pub(super) const MAX_FAILURES: u32 = (1 << COUNT_BITS) - 1;
pub(super) const MAX_SUCCESSES: u32 = (1 << HALF_BITS) - 1;

impl State {
    fn first_probe(since: u64, successes: u32, uploads: bool) -> Self {
        Self::HalfOpen {
            since,
            probes: 1,
            successes,
            uploads,
        }
    }

    /// That of the state in [`CircuitState::ALL`].
    fn place(self) -> usize {
        match self {
            Self::Closed { .. } => 0,
            Self::Open { .. } => 1,
            Self::HalfOpen { .. } => 2,
        }
    }

    fn pack(self) -> u64 {
        let (kind, since, count) = match self {
            Self::Closed { since, failures } => (0, since, failures),
            Self::Open { since } => (1, since, 0),
            Self::HalfOpen {
                since,
                probes,
                successes,
                uploads,
            } => (
                2 + u64::from(uploads),
                since,
                (probes << HALF_BITS) | successes,
            ),
        };
        (kind << (SINCE_BITS + COUNT_BITS)) | (since << COUNT_BITS) | u64::from(count)
    }

    fn unpack(word: u64) -> Self {
        let since = (word >> COUNT_BITS) & SINCE_MASK;
        let count = word as u32 & MAX_FAILURES;
        match word >> (SINCE_BITS + COUNT_BITS) {
            0 => Self::Closed {
                since,
                failures: count,
            },
            1 => Self::Open { since },
            kind => Self::HalfOpen {
                since,
                probes: count >> HALF_BITS,
                successes: count & MAX_SUCCESSES,
                uploads: kind == 3,
            },
        }
    }
}

impl Breaker {
    pub(super) fn new(settings: Settings) -> Self {
        let window = settings.error_ratio.map(|_| Window::new(settings.window));
        let closed = State::Closed {
            since: 0,
            failures: 0,
        };
        Self {
            settings,
            start: Instant::now(),
            word: AtomicU64::new(closed.pack()),
            became: Default::default(),
            window,
        }
    }

    pub(super) fn state(&self) -> CircuitState {
        match self.load() {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { since } if self.cooldown_of(since).is_some() => CircuitState::Open,
            State::Open { .. } | State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    pub(super) fn became(&self) -> [(CircuitState, u64); 3] {
        let [closed, open, half_open] = &self.became;
        [
            (CircuitState::Closed, closed),
            (CircuitState::Open, open),
            (CircuitState::HalfOpen, half_open),
        ]
        .map(|(state, times)| (state, times.load(Ordering::Relaxed)))
    }

    /// Lets a request pass, or says in how long to come again. It matters whether it has come as a whole.
    pub(super) fn admit(self: &Arc<Self>, is_whole: bool) -> Result<Permit, Duration> {
        loop {
            let state = self.load();
            let (next, since) = match state {
                State::Closed { since, .. } => return Ok(self.permit(since, false)),
                State::Open { since } => match self.cooldown_of(since) {
                    Some(rest) => return Err(rest),
                    None => {
                        let since = self.now();
                        (State::first_probe(since, 0, !is_whole), since)
                    }
                },
                State::HalfOpen {
                    since,
                    probes,
                    successes,
                    uploads,
                } => {
                    let has_place = probes + successes < self.settings.success_threshold;
                    if has_place && probes > 0 {
                        let next = State::HalfOpen {
                            since,
                            probes: probes + 1,
                            successes,
                            uploads: uploads || !is_whole,
                        };
                        (next, since)
                    } else if has_place || self.patience_of(since, uploads).is_none() {
                        // Probes of which nothing is heard hold no places for ever.
                        let since = self.now();
                        (State::first_probe(since, successes, !is_whole), since)
                    } else {
                        return Err(Duration::from_secs(1));
                    }
                }
            };
            if self.change(state, next) {
                return Ok(self.permit(since, true));
            }
        }
    }

    /// Says in a rehearsal what it does now, and counts nothing.
    pub(super) fn look(&self, journal: &Journal) -> Result<(), Duration> {
        match self.state() {
            CircuitState::Closed => {
                journal.would("counts how it ends: the circuit is closed");
                Ok(())
            }
            CircuitState::HalfOpen => {
                journal.would("tries with it, if no other request does: the circuit is half-open");
                Ok(())
            }
            CircuitState::Open => {
                journal.would("lets nothing pass: the circuit is open");
                let rest = match self.load() {
                    State::Open { since } => self.cooldown_of(since),
                    _ => None,
                };
                Err(rest.unwrap_or(Duration::from_secs(1)))
            }
        }
    }

    fn permit(self: &Arc<Self>, since: u64, is_probe: bool) -> Permit {
        Permit {
            breaker: Arc::clone(self),
            since,
            is_probe,
            is_settled: false,
            started: self.settings.latency.map(|_| Instant::now()),
        }
    }

    /// What a request of the closed circuit came to.
    fn settle(&self, began: u64, verdict: Verdict) {
        let is_failure = match verdict {
            Verdict::Success => false,
            Verdict::Failure => true,
            Verdict::Neither => return,
        };
        let mut is_counted = false;
        loop {
            let state = self.load();
            let State::Closed { since, failures } = state else {
                return;
            };
            if since != began {
                return;
            }
            if !std::mem::replace(&mut is_counted, true)
                && let Some(window) = &self.window
            {
                let marked = u64::from(is_failure);
                window.add(Counts { all: 1, marked });
            }
            let next = match (is_failure, failures) {
                (false, 0) => return,
                (false, _) => State::Closed { since, failures: 0 },
                (true, _) if self.is_too_much(failures + 1) => State::Open { since: self.now() },
                (true, _) => State::Closed {
                    since,
                    failures: failures + 1,
                },
            };
            if self.change(state, next) {
                return;
            }
        }
    }

    fn is_too_much(&self, failures: u32) -> bool {
        if failures >= self.settings.failure_threshold {
            return true;
        }
        let (Some(window), Some(ratio)) = (&self.window, self.settings.error_ratio) else {
            return false;
        };
        let Counts { all, marked } = window.counts();
        all >= u64::from(self.settings.min_requests) && marked as f64 >= ratio * all as f64
    }

    /// What a probe came to. One that began in an earlier half-open state says as much of the service, but it has no
    /// place to give back.
    fn settle_probe(&self, began: u64, verdict: Verdict) {
        loop {
            let state = self.load();
            let State::HalfOpen {
                since,
                probes,
                successes,
                uploads,
            } = state
            else {
                return;
            };
            let still_probing = |successes| State::HalfOpen {
                since,
                probes: probes.saturating_sub(u32::from(since == began)),
                successes,
                uploads,
            };
            let next = match verdict {
                Verdict::Failure => State::Open { since: self.now() },
                Verdict::Neither => still_probing(successes),
                Verdict::Success if successes + 1 < self.settings.success_threshold => {
                    still_probing(successes + 1)
                }
                Verdict::Success => {
                    // Before anything of the new state can be in it.
                    self.window.as_ref().inspect(|window| window.clear());
                    State::Closed {
                        since: self.now(),
                        failures: 0,
                    }
                }
            };
            if self.change(state, next) {
                return;
            }
        }
    }

    fn load(&self) -> State {
        State::unpack(self.word.load(Ordering::Acquire))
    }

    fn change(&self, from: State, to: State) -> bool {
        let changed =
            self.word
                .compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Acquire);
        if changed.is_err() {
            return false;
        }
        let (before, after) = (from.place(), to.place());
        if before != after {
            self.became[after].fetch_add(1, Ordering::Relaxed);
        }
        let middleware = self.settings.name.as_deref();
        match (from, to) {
            (State::Open { .. }, State::Open { .. }) => {}
            (_, State::Open { .. }) => tracing::warn!(middleware, "a circuit breaker opened"),
            (State::HalfOpen { .. }, State::Closed { .. }) => {
                tracing::info!(middleware, "a circuit breaker closed");
            }
            _ => {}
        }
        true
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX) & SINCE_MASK
    }

    /// What is left of the cooldown that began then.
    fn cooldown_of(&self, since: u64) -> Option<Duration> {
        self.rest_of(self.settings.cooldown, since)
    }

    /// What is left of the time for which probes keep their places that began then.
    fn patience_of(&self, since: u64, uploads: bool) -> Option<Duration> {
        let cooldown = self.settings.cooldown;
        let patience = match uploads {
            true => cooldown.min(UPLOAD_PATIENCE),
            false => cooldown,
        };
        self.rest_of(patience, since)
    }

    fn rest_of(&self, time: Duration, since: u64) -> Option<Duration> {
        let passed = Duration::from_millis(self.now().saturating_sub(since));
        time.checked_sub(passed).filter(|rest| !rest.is_zero())
    }
}

/// A request that was let pass. One that is dropped before it is settled says nothing, and frees its place.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    /// When the state began in which it was let pass.
    since: u64,
    is_probe: bool,
    is_settled: bool,
    started: Option<Instant>,
}

impl Permit {
    /// Whether it matters how long it takes.
    pub(super) fn is_timed(&self) -> bool {
        self.started.is_some()
    }

    /// Tells what it came to; for so long as `waited` it was its client that was waited for.
    pub(super) fn settle(mut self, verdict: Verdict, waited: Duration) {
        let latency = self.breaker.settings.latency;
        let is_slow = |started: Instant| {
            let took = started.elapsed().saturating_sub(waited);
            latency.is_some_and(|most| took > most)
        };
        let verdict = match verdict {
            Verdict::Success if self.started.is_some_and(is_slow) => Verdict::Failure,
            verdict => verdict,
        };
        self.is_settled = true;
        self.tell(verdict);
    }

    fn tell(&self, verdict: Verdict) {
        match self.is_probe {
            true => self.breaker.settle_probe(self.since, verdict),
            false => self.breaker.settle(self.since, verdict),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_settled {
            self.tell(Verdict::Neither);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_what_it_was_packed_from() {
        for state in [
            State::Closed {
                since: 0,
                failures: 0,
            },
            State::Closed {
                since: SINCE_MASK,
                failures: MAX_FAILURES,
            },
            State::Open { since: 12_345 },
            State::HalfOpen {
                since: SINCE_MASK,
                probes: MAX_SUCCESSES,
                successes: 0,
                uploads: false,
            },
            State::HalfOpen {
                since: 1,
                probes: 0,
                successes: MAX_SUCCESSES,
                uploads: true,
            },
        ] {
            assert_eq!(State::unpack(state.pack()), state);
        }
    }
}
