//! Durations: `"750ms"`, `"10s"`, `"1m30s"`, `"2h"`; a bare number is seconds.

use super::{STAND_IN, ValueError};
use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use std::{fmt, time::Duration};

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const HELP: &str = "write it like \"750ms\", \"10s\", \"1m30s\" or \"2h\"";

/// Parses a duration; the units come in any order that a person would write, each a whole number.
pub(crate) fn parse(text: &str) -> Result<Duration, ValueError> {
    if text == STAND_IN {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(ValueError::new("a duration is missing").help(HELP));
    }
    let too_long = || ValueError::new("the duration is too long");
    let mut millis = 0u64;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return Err(ValueError::new("expected a whole number")
                .at(at..text.len())
                .help(HELP));
        }
        let number: u64 = rest[..digits].parse().map_err(|_| too_long())?;
        let unit_at = at + digits;
        let rest = &text[unit_at..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let scale = match UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]) {
            Some((_, scale)) => *scale,
            None if letters == 0 && at == 0 => 1_000,
            None if letters == 0 => {
                return Err(ValueError::new("a unit is missing")
                    .at(at..text.len())
                    .help(HELP));
            }
            None => {
                return Err(
                    ValueError::new(format!("unknown unit `{}`", &rest[..letters]))
                        .at(unit_at..unit_at + letters)
                        .help("the units are `ms`, `s`, `m`, `h` and `d`"),
                );
            }
        };
        millis = number
            .checked_mul(scale)
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(too_long)?;
        at = unit_at + letters;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration as [`parse`] reads it: the largest unit that divides it, or two units.
pub(crate) fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, scale) in UNITS.iter().rev() {
        if millis >= *scale {
            out.push_str(&format!("{}{unit}", millis / scale));
            millis %= scale;
        }
    }
    out
}

pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*value))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    struct Read;

    impl Visitor<'_> for Read {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"10s\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| E::custom(ValueError::new("not a duration").help(HELP)))
        }
    }

    deserializer.deserialize_any(Read)
}

/// The same for a duration that may be absent.
pub(crate) mod option {
    use super::{Deserializer, Duration, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for (text, millis, written) in [
            ("750ms", 750, "750ms"),
            ("10s", 10_000, "10s"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("2h", 7_200_000, "2h"),
            ("10", 10_000, "10s"),
            ("0s", 0, "0s"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(format(duration), written);
            assert_eq!(parse(written).unwrap(), duration);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_where_it_goes_wrong() {
        for (text, message, span) in [
            ("", "a duration is missing", None),
            ("10x", "unknown unit `x`", Some(2..3)),
            ("1m30", "a unit is missing", Some(2..4)),
            ("-1s", "expected a whole number", Some(0..3)),
            ("1.5s", "unknown unit `.`", Some(1..2)),
            ("1 s", "unknown unit ` s`", Some(1..3)),
            ("9é", "unknown unit `é`", Some(1..3)),
            ("99999999999999999999s", "the duration is too long", None),
            ("18446744073709551615h", "the duration is too long", None),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.span),
                (message, span),
                "{text}"
            );
        }
    }
}
