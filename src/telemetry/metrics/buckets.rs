//! How long exchanges took, in buckets.

use std::time::Duration;

/// The upper bounds of the buckets but the last, which has none, in nanoseconds and in seconds as they are shown.
/// Those of Traefik (0.1, 0.3, 1.2 and 5 s) are among them.
pub const BOUNDS: [(u64, &str); 16] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (300_000_000, "0.3"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (1_200_000_000, "1.2"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
];

/// With the one that has no bound.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The bucket of an exchange that took so long.
pub(super) fn bucket(took: Duration) -> usize {
    let nanos = nanos(took);
    BOUNDS.partition_point(|(bound, _)| *bound < nanos)
}

pub(super) fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// The time within which the share `quantile` (0 to 1) of the exchanges was over, as Prometheus' `histogram_quantile`
/// has it: in proportion within a bucket; the highest bound where it is past that, and none where there are no
/// exchanges.
pub fn quantile(counts: &[u64; BUCKETS], quantile: f64) -> Option<Duration> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = quantile * all as f64;
    let (mut before, mut lower) = (0.0, 0);
    for (count, (upper, _)) in counts.iter().zip(BOUNDS) {
        let count = *count as f64;
        if before + count >= rank && count > 0.0 {
            let within = (rank - before) / count * (upper - lower) as f64;
            return Some(Duration::from_nanos(lower + within as u64));
        }
        (before, lower) = (before + count, upper);
    }
    Some(Duration::from_nanos(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_took_as_long_as_its_bound() {
        for (micros, at) in [
            (0, 0),
            (500, 0),
            (501, 1),
            (100_000, 7),
            (10_000_000, 15),
            (10_000_001, 16),
        ] {
            assert_eq!(bucket(Duration::from_micros(micros)), at, "{micros}");
        }
        assert_eq!(bucket(Duration::MAX), 16);
        let parsed =
            BOUNDS.map(|(nanos, text)| (nanos as f64 / 1e9) == text.parse::<f64>().unwrap());
        assert_eq!(parsed, [true; 16]);
    }

    #[test]
    fn a_quantile_is_in_proportion_within_its_bucket() {
        let mut counts = [0; BUCKETS];
        assert_eq!(quantile(&counts, 0.5), None);
        (counts[3], counts[7]) = (50, 50);
        let ms = |quantile_of| quantile(&counts, quantile_of).unwrap().as_micros();
        assert_eq!((ms(0.25), ms(0.5), ms(0.9)), (3750, 5000, 90_000));
        counts = [0; BUCKETS];
        counts[16] = 1;
        assert_eq!(quantile(&counts, 0.99), Some(Duration::from_secs(10)));
    }
}
