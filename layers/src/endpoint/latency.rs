//! How long a server takes to answer: a slow answer counts at once, and is forgotten with time.
//!
//! This is the peak-EWMA of Finagle (`com.twitter.finagle.loadbalancer.PeakEwma`), an exponentially weighted moving
//! average by time and not by number, which a larger sample replaces at once. What it adds are the ends of exchanges
//! that Finagle leaves to its failure accrual: a server that fails at once must not look fast.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// In this time what was is forgotten to 1/e, as Finagle's default is.
const DECAY: Duration = Duration::from_secs(10);

/// What is as old as this says nothing any more: then one request is tried.
const MEMORY: Duration = Duration::from_secs(60);

/// What a failure counts as, at the least. A server that fails again and again counts as twice what it was before,
/// up to the other bound: others may take longer than the first.
const FAILURE: [f64; 2] = [1.0, 60.0];

/// An answer that says that the server failed counts as so many times what it was, and as this much where nothing is
/// known: who fails a tenth of its requests counts as twice as slow, who fails all of them soon as the slowest. The
/// ones that a client provokes make no difference as long as they are few.
const BAD: f64 = 5.0;
const FIRST_BAD: f64 = 0.1;

/// The shortest time that is told from none, and the longest that is told at all.
const SAMPLES: [f32; 2] = [1e-6, 1e6];

/// What the balance goes by is as good as what was measured when it is no more than this part away from it.
const NEAR: f32 = 0.01;

/// Two averages. What answers took is [measured](Self::measured), and told to people; what failures count as is no
/// time that anything took, and only [expected](Self::expected) by the balance. Where nothing fails, the two are one.
#[derive(Debug, Default)]
pub(super) struct Latency {
    measured: Word,
    /// With what failures count as; nothing where that makes no difference, and then no answer writes it.
    feared: Word,
}

/// An average and the time of its last sample, in one word: seconds as `f32`, and milliseconds that count around.
#[derive(Debug, Default)]
struct Word(AtomicU64);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Average {
    /// 0 where there has been no sample.
    seconds: f32,
    at: u32,
}

impl Latency {
    /// An answer came after `took`. Times of day are those of one clock, which may begin at any time.
    pub(super) fn answered(&self, took: Duration, now: Duration) {
        let at = millis(now);
        let next = |before: Average| peak(before, took, at);
        let measured = self.measured.update(at, next);
        if self.feared.get().is_some() {
            let feared = self.feared.update(at, next);
            if feared.is_near(measured) {
                self.feared.forget_if(feared);
            }
        }
    }

    /// An answer came after `took`, and says that the server failed.
    pub(super) fn answered_badly(&self, took: Duration, now: Duration) {
        self.fear(now, |average, at| {
            let (took, before) = (took.as_secs_f64(), f64::from(average.seconds));
            if before == 0.0 {
                return took.max(FIRST_BAD);
            }
            let [_, most] = FAILURE;
            let (least, worse) = (took.max(before), took.max((BAD * before).min(most)));
            worse + (least - worse) * fade(average.age(at))
        });
        let at = millis(now);
        self.measured.update(at, |before| peak(before, took, at));
    }

    /// No answer came after `waited`, and none will.
    pub(super) fn failed(&self, waited: Duration, now: Duration) {
        let [least, most] = FAILURE;
        self.fear(now, |average, at| {
            let twice = 2.0 * average.at(at).unwrap_or_default();
            waited.as_secs_f64().max(twice.clamp(least, most))
        });
    }

    /// Nobody waits any more for an answer that had not come after `waited`: it would have taken longer.
    pub(super) fn given_up(&self, waited: Duration, now: Duration) {
        self.fear(now, |average, at| {
            let before = average.at(at).unwrap_or_default();
            waited.as_secs_f64().max(before)
        });
    }

    /// What a request is likely to take now, in seconds; none where nothing is known.
    pub(super) fn expected(&self, now: Duration) -> Option<f64> {
        self.known().at(millis(now))
    }

    /// What answers took, on average, as it was after the last one.
    pub(super) fn measured(&self) -> Option<Duration> {
        let Average { seconds, .. } = self.measured.get()?;
        let micros = (f64::from(seconds) * 1e6).round() as u64;
        Some(Duration::from_micros(micros))
    }

    /// Nothing is known any more.
    pub(super) fn forget(&self) {
        self.measured.set(Average::NONE);
        self.feared.set(Average::NONE);
    }

    fn known(&self) -> Average {
        let known = self.feared.get().or_else(|| self.measured.get());
        known.unwrap_or(Average::NONE)
    }

    fn fear(&self, now: Duration, next: impl Fn(Average, u32) -> f64) {
        let at = millis(now);
        let measured = self.measured.get().unwrap_or(Average::NONE);
        self.feared.update(at, |feared| {
            let before = if feared.is_none() { measured } else { feared };
            next(before, at)
        });
    }
}

/// The average with an answer that took so long.
fn peak(average: Average, took: Duration, at: u32) -> f64 {
    let (took, before) = (took.as_secs_f64(), f64::from(average.seconds));
    match took >= before {
        true => took,
        false => took + (before - took) * fade(average.age(at)),
    }
}

// Relaxed: the words decide nothing about other memory.
impl Word {
    fn get(&self) -> Option<Average> {
        let average = Average::unpack(self.0.load(Ordering::Relaxed));
        (!average.is_none()).then_some(average)
    }

    fn set(&self, average: Average) {
        self.0.store(average.pack(), Ordering::Relaxed);
    }

    /// Forgets this, unless it is something else by now.
    fn forget_if(&self, average: Average) {
        let (now, none) = (average.pack(), Average::NONE.pack());
        // Whoever has changed it knows more.
        let _ = (self.0).compare_exchange(now, none, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn update(&self, at: u32, next: impl Fn(Average) -> f64) -> Average {
        let mut updated = Average::NONE;
        // It does not fail: there is always a next one.
        let _ = (self.0).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let [shortest, longest] = SAMPLES;
            let seconds = next(Average::unpack(word)) as f32;
            let seconds = seconds.clamp(shortest, longest);
            updated = Average { seconds, at };
            Some(updated.pack())
        });
        updated
    }
}

impl Average {
    const NONE: Self = Self {
        seconds: 0.0,
        at: 0,
    };

    fn is_none(self) -> bool {
        self.seconds == 0.0
    }

    fn is_near(self, other: Self) -> bool {
        (self.seconds - other.seconds).abs() <= NEAR * other.seconds
    }

    fn unpack(word: u64) -> Self {
        Self {
            seconds: f32::from_bits((word >> 32) as u32),
            at: word as u32,
        }
    }

    fn pack(self) -> u64 {
        (u64::from(self.seconds.to_bits()) << 32) | u64::from(self.at)
    }

    /// How long ago its last sample was. One that another thread has just taken may be ahead of us.
    fn age(self, at: u32) -> Duration {
        const AHEAD: u32 = u32::MAX - 60_000;
        let age = at.wrapping_sub(self.at);
        Duration::from_millis(if age > AHEAD { 0 } else { age.into() })
    }

    /// What is left of it.
    fn at(self, at: u32) -> Option<f64> {
        let age = self.age(at);
        let is_known = !self.is_none() && age < MEMORY;
        is_known.then(|| f64::from(self.seconds) * fade(age))
    }
}

/// The share of what was that is still remembered.
fn fade(age: Duration) -> f64 {
    (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

/// They count around in 49 days.
fn millis(now: Duration) -> u32 {
    now.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn is(latency: &Latency, now: Duration, expected: f64) {
        let known = latency.expected(now).unwrap_or(0.0);
        let off = (known - expected).abs();
        assert!(off <= 1e-4 * expected, "{known} is not {expected}");
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_with_time() {
        let latency = Latency::default();
        assert_eq!((latency.expected(ms(0)), latency.measured()), (None, None));
        latency.answered(ms(10), ms(0));
        is(&latency, ms(0), 0.010);
        latency.answered(ms(1000), ms(0));
        is(&latency, ms(0), 1.0);
        // A fast one at the same time changes nothing, ten seconds later it is most of it.
        latency.answered(ms(10), ms(0));
        is(&latency, ms(0), 1.0);
        is(&latency, ms(10_000), (-1.0_f64).exp());
        latency.answered(ms(10), ms(10_000));
        is(&latency, ms(10_000), 0.010 + 0.990 * (-1.0_f64).exp());
        assert_eq!(latency.expected(ms(70_000)), None, "after a minute");
        assert!(latency.measured().is_some());
    }

    #[test]
    fn many_samples_in_a_time_count_as_much_as_few() {
        let (many, few) = (Latency::default(), Latency::default());
        for latency in [&many, &few] {
            latency.answered(ms(1000), ms(0));
        }
        for at in 1..=5000 {
            many.answered(ms(10), ms(at));
        }
        few.answered(ms(10), ms(5000));
        let [many, few] = [many, few].map(|each| each.expected(ms(5000)).unwrap_or_default());
        assert!((many / few - 1.0).abs() < 1e-3, "{many} {few}");
    }

    #[test]
    fn who_fails_does_not_look_fast() {
        let latency = Latency::default();
        for (second, expected) in [(0, 1.0), (0, 2.0), (0, 4.0), (10, 8.0 * (-1.0_f64).exp())] {
            latency.failed(ms(0), ms(second * 1000));
            is(&latency, ms(second * 1000), expected);
        }
        for _ in 0..10 {
            latency.failed(ms(0), ms(10_000));
        }
        is(&latency, ms(10_000), 60.0);
        latency.failed(ms(90_000), ms(10_000));
        is(&latency, ms(10_000), 90.0);
        // Bad answers are no good ones, however fast: at once they change nothing, one second later a little.
        let latency = Latency::default();
        latency.answered(ms(20), ms(0));
        latency.answered_badly(ms(1), ms(0));
        is(&latency, ms(0), 0.020);
        latency.answered_badly(ms(1), ms(1000));
        is(&latency, ms(1000), 0.100 - 0.080 * (-0.1_f64).exp());
        latency.answered_badly(ms(90), ms(1000));
        is(&latency, ms(1000), 0.090);
        for second in 2..=60 {
            latency.answered_badly(ms(1), ms(second * 1000));
        }
        let worst = latency.expected(ms(60_000)).unwrap_or_default();
        assert!((59.0..=60.0).contains(&worst), "{worst}");
        let first = Latency::default();
        first.answered_badly(ms(1), ms(0));
        is(&first, ms(0), 0.100);
    }

    #[test]
    fn who_gives_up_early_knows_nothing() {
        let latency = Latency::default();
        latency.answered(ms(20), ms(0));
        latency.given_up(ms(1), ms(0));
        is(&latency, ms(0), 0.020);
        latency.given_up(ms(500), ms(0));
        is(&latency, ms(0), 0.500);
    }

    #[test]
    fn what_failures_count_as_is_not_what_was_measured() {
        let latency = Latency::default();
        latency.failed(ms(3), ms(0));
        latency.given_up(ms(2000), ms(0));
        assert_eq!(latency.measured(), None);
        is(&latency, ms(0), 2.0);
        latency.answered(ms(20), ms(0));
        latency.answered_badly(ms(10), ms(0));
        latency.failed(ms(3), ms(0));
        assert_eq!(latency.measured(), Some(ms(20)));
        is(&latency, ms(0), 4.0);
        // An answer that says that the server failed took its time, and no more.
        latency.answered_badly(ms(40), ms(0));
        assert_eq!(latency.measured(), Some(ms(40)));
        latency.forget();
        assert_eq!((latency.measured(), latency.expected(ms(0))), (None, None));
    }

    #[test]
    fn after_good_answers_enough_the_balance_goes_by_what_was_measured() {
        let latency = Latency::default();
        latency.answered(ms(20), ms(0));
        latency.failed(ms(3), ms(0));
        let mut seconds = 0;
        while latency.feared.get().is_some() {
            seconds += 1;
            assert!(seconds < 200);
            latency.answered(ms(20), ms(seconds * 1000));
        }
        // From a second to a hundredth of 20 ms.
        assert!((80..=90).contains(&seconds), "{seconds}");
        is(&latency, ms(seconds * 1000), 0.020);
        // A slow answer takes the place of what was feared.
        latency.failed(ms(3), ms(100_000));
        latency.answered(ms(1500), ms(100_000));
        assert_eq!(latency.feared.get(), None);
        is(&latency, ms(100_000), 1.5);
    }

    #[test]
    fn no_time_is_too_short_or_too_long() {
        let latency = Latency::default();
        latency.answered(ms(0), ms(0));
        assert!(latency.expected(ms(0)).is_some_and(|known| known > 0.0));
        latency.answered(Duration::MAX, ms(u64::MAX));
        latency.failed(Duration::MAX, Duration::MAX);
        assert!(latency.expected(Duration::MAX).is_some_and(f64::is_finite));
        assert!(latency.measured().is_some());
        // Around the end of the milliseconds, and from a thread that is a little behind.
        let around = Latency::default();
        around.answered(ms(1000), ms(u64::from(u32::MAX)));
        is(&around, ms(u64::from(u32::MAX) + 10_000), (-1.0_f64).exp());
        is(&around, ms(u64::from(u32::MAX) - 5), 1.0);
    }
}
