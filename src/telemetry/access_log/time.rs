//! The time of day, without an allocation.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment in UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
    millis: u32,
}

impl Moment {
    /// Before 1970 it is that.
    pub(super) fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": civil_from_days. Years begin in March.
        let days = since.as_secs() / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self {
            year: year + era * 400 + u64::from(month <= 2),
            month,
            day: of_year - (153 * shifted + 2) / 5 + 1,
            second: since.as_secs() % 86_400,
            millis: since.subsec_millis(),
        }
    }

    fn clock(&self) -> (u64, u64, u64) {
        (self.second / 3_600, self.second / 60 % 60, self.second % 60)
    }

    /// As RFC 3339 has it: `2026-11-26T07:11:13.042Z`.
    pub(super) fn rfc3339(&self) -> [u8; 24] {
        let (hour, minute, second) = self.clock();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |end: usize, mut number: u64, count: usize| {
            for at in (end - count..end).rev() {
                text[at] = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(4, self.year, 4);
        put(7, self.month, 2);
        put(10, self.day, 2);
        put(13, hour, 2);
        put(16, minute, 2);
        put(19, second, 2);
        put(23, self.millis.into(), 3);
        text
    }

    /// As Apache has it: `26/Nov/2026:07:11:13 +0000`.
    pub(super) fn apache(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = self.clock();
        let month = MONTHS[(self.month - 1) as usize];
        let (day, year) = (self.day, self.year);
        write!(
            f,
            "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.007Z"),
            (1_798_761_599, "2026-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7);
            assert_eq!(Moment::at(at).rfc3339(), *text.as_bytes());
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Moment::at(before).rfc3339(), *b"1970-01-01T00:00:00.000Z");
    }
}
