//! Sizes: bytes, or `"64KiB"`, `"10MiB"`.

use super::{STAND_IN, ValueError};
use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use std::fmt;

const UNITS: [(&str, usize); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

pub(crate) fn parse(text: &str) -> Result<usize, ValueError> {
    if text == STAND_IN {
        return Ok(0);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return Err(ValueError::new("expected a whole number of bytes")
            .help("write it like \"64KiB\" or \"10MiB\""));
    }
    let unit = &text[digits..];
    let scale = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, scale)) => *scale,
        None if unit.is_empty() => 1,
        None => {
            return Err(ValueError::new(format!("unknown unit `{unit}`"))
                .at(digits..text.len())
                .help("the units are `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB` and `B`"));
        }
    };
    (text[..digits].parse().ok())
        .and_then(|number: usize| number.checked_mul(scale))
        .ok_or_else(|| ValueError::new("the size is too large"))
}

/// Writes a size as [`parse`] reads it.
pub(crate) fn format(bytes: usize) -> String {
    match UNITS[4..]
        .iter()
        .rev()
        .find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale))
    {
        Some((unit, scale)) => format!("{}{unit}", bytes / scale),
        None => format!("{bytes}B"),
    }
}

pub(crate) fn serialize<S: Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*value))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Read;

    impl Visitor<'_> for Read {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size such as \"64KiB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
            parse(text).map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, bytes: u64) -> Result<usize, E> {
            usize::try_from(bytes).map_err(|_| E::custom("the size is too large"))
        }
    }

    deserializer.deserialize_any(Read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_alike() {
        for (text, bytes, written) in [
            ("64KiB", 65_536, "64KiB"),
            ("10MiB", 10 << 20, "10MiB"),
            ("1KB", 1000, "1000B"),
            ("12", 12, "12B"),
            ("2048", 2048, "2KiB"),
            ("0", 0, "0B"),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
            assert_eq!(format(bytes), written);
            assert_eq!(parse(written).unwrap(), bytes);
        }
        for text in [
            "",
            "KiB",
            "1kib",
            "1 KiB",
            "-1",
            "99999999999999999999GiB",
            "1é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
