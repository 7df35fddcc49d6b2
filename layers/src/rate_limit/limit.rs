//! How many requests in how much time.

use std::time::Duration;

/// A steady rate, and how many requests may come at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    rate: f64,
    period: Duration,
    burst: u32,
}

/// Why there is no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The rate is no number above 0.
    #[error("a rate is a number above 0")]
    Rate,
    /// More than one request for each nanosecond.
    #[error("a rate of more than {} requests in a second", Limit::HIGHEST_RATE)]
    TooFast,
    /// Nothing may come.
    #[error("a burst is 1 at least")]
    NoBurst,
    /// An empty bucket would take longer than a year to fill.
    #[error("a burst that takes longer than a year to come back at that rate")]
    TooSlow,
}

impl Limit {
    /// The most requests in a second.
    pub const HIGHEST_RATE: u32 = 1_000_000_000;

    const LONGEST_REFILL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// `rate` requests in each `period`, and as many at once (a fraction counts as one more).
    ///
    /// The rate may be a fraction: half a request each second is one in two seconds.
    ///
    /// # Errors
    /// [`LimitError`], where the two make no rate between one in a year and [`Limit::HIGHEST_RATE`].
    pub fn new(rate: f64, period: Duration) -> Result<Self, LimitError> {
        if !rate.is_finite() || rate <= 0.0 || period.is_zero() {
            return Err(LimitError::Rate);
        }
        if rate / period.as_secs_f64() > f64::from(Self::HIGHEST_RATE) {
            return Err(LimitError::TooFast);
        }
        // A float that is too large for it becomes the largest there is.
        Self {
            rate,
            period,
            burst: 1,
        }
        .with_burst(rate.ceil() as u32)
    }

    /// Lets `burst` requests come at once; from 1.
    ///
    /// # Errors
    /// [`LimitError::NoBurst`] and [`LimitError::TooSlow`].
    pub fn with_burst(self, burst: u32) -> Result<Self, LimitError> {
        if burst == 0 {
            return Err(LimitError::NoBurst);
        }
        let refill = self.period.as_secs_f64() / self.rate * f64::from(burst);
        if refill > Self::LONGEST_REFILL.as_secs_f64() {
            return Err(LimitError::TooSlow);
        }
        Ok(Self { burst, ..self })
    }

    /// The time in which one request comes back.
    pub fn interval(&self) -> Duration {
        let interval = Duration::from_secs_f64(self.period.as_secs_f64() / self.rate);
        interval.max(Duration::from_nanos(1))
    }

    /// How many requests may come at once.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// For who wants to read it.
    pub(super) fn in_words(&self) -> String {
        format!(
            "{} at once, then one each {:?}",
            self.burst,
            self.interval()
        )
    }

    /// The rate in whole seconds, to tell it: so many requests in so many seconds, the burst not above them.
    pub(super) fn in_seconds(&self) -> (u64, u64) {
        /// What is whole but for the last bits of a float is whole.
        const LAST_BITS: f64 = 1e-6;
        let period = self.period.as_secs_f64();
        let refill = period / self.rate * f64::from(self.burst);
        let window = (period.max(refill) - LAST_BITS).ceil().max(1.0);
        let quota = window * self.rate / period + LAST_BITS;
        (quota as u64, window as u64)
    }

    /// The time that `requests` take at the steady rate.
    pub(super) fn time_for(&self, requests: u32) -> Duration {
        self.interval().saturating_mul(requests)
    }
}

/// Whole seconds, rounded up, and never none.
pub(super) fn seconds(duration: Duration) -> u64 {
    let more = u64::from(duration.subsec_nanos() > 0);
    (duration.as_secs() + more).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: f64, period: u64) -> Limit {
        Limit::new(rate, Duration::from_millis(period)).expect("a limit")
    }

    #[test]
    fn a_rate_is_an_interval_and_a_burst() {
        for (rate, period, interval, burst) in [
            (1.0, 3_600_000, Duration::from_secs(3600), 1),
            (100_000.0, 1000, Duration::from_micros(10), 100_000),
            (0.5, 1000, Duration::from_secs(2), 1),
            (2.5, 1000, Duration::from_millis(400), 3),
            (10.0, 100, Duration::from_millis(10), 10),
            (1e9, 1000, Duration::from_nanos(1), 1_000_000_000),
        ] {
            let limit = limit(rate, period);
            assert_eq!(
                (limit.interval(), limit.burst()),
                (interval, burst),
                "{rate}"
            );
        }
    }

    #[test]
    fn what_makes_no_rate_is_refused() {
        let second = Duration::from_secs(1);
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Limit::new(rate, second), Err(LimitError::Rate), "{rate}");
        }
        assert_eq!(Limit::new(1.0, Duration::ZERO), Err(LimitError::Rate));
        assert_eq!(Limit::new(1e9 + 1.0, second), Err(LimitError::TooFast));
        assert_eq!(Limit::new(1e-9, second), Err(LimitError::TooSlow));
        assert_eq!(
            Limit::new(f64::MIN_POSITIVE, second),
            Err(LimitError::TooSlow)
        );
        let slow = limit(1.0, 3_600_000);
        assert_eq!(slow.with_burst(0), Err(LimitError::NoBurst));
        assert_eq!(slow.with_burst(u32::MAX), Err(LimitError::TooSlow));
    }

    #[test]
    fn a_limit_is_told_in_whole_seconds() {
        for (rate, period, burst, told) in [
            (100.0, 1000, 100, (100, 1)),
            (7.0, 1000, 7, (7, 1)),
            (10.0, 1000, 50, (50, 5)),
            (10.0, 1000, 15, (20, 2)),
            (10.0, 1000, 5, (10, 1)),
            (10.0, 100, 10, (100, 1)),
            (0.5, 1000, 1, (1, 2)),
            (1.0, 3_600_000, 1, (1, 3600)),
            (50.0, 60_000, 50, (50, 60)),
        ] {
            let limit = limit(rate, period).with_burst(burst).expect("a burst");
            assert_eq!(limit.in_seconds(), told, "{rate} in {period}, {burst}");
        }
    }
}
