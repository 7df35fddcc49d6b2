//! Statuses: `404`, `"404"` or `"500-599"`.

use super::{STAND_IN, ValueError};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;

/// One status, or those from one to another, all of them from `FIRST` to `LAST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRange<const FIRST: u16, const LAST: u16>(RangeInclusive<u16>);

/// Any statuses.
pub type AnyStatuses = StatusRange<100, 599>;

/// Statuses of errors.
pub type ErrorStatuses = StatusRange<400, 599>;

/// Statuses that an answer may end with.
pub type FinalStatuses = StatusRange<200, 599>;

impl<const FIRST: u16, const LAST: u16> StatusRange<FIRST, LAST> {
    const ALL: RangeInclusive<u16> = FIRST..=LAST;

    /// From the first to the last; `None` where these are not such statuses.
    pub fn new(range: RangeInclusive<u16>) -> Option<Self> {
        let (first, last) = (range.start(), range.end());
        let is_good = first <= last && Self::ALL.contains(first) && Self::ALL.contains(last);
        is_good.then_some(Self(range))
    }

    /// From the first to the last.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        if text == STAND_IN {
            return Ok(Self(Self::ALL));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = number(first).zip(number(last));
        let range = range.and_then(|(first, last)| Self::new(first..=last));
        range.ok_or_else(|| Self::none_such(text))
    }

    fn none_such(text: impl fmt::Display) -> ValueError {
        let (what, example) = match FIRST {
            400.. => ("the status of an error", "404 or \"500-599\""),
            _ => ("the status of an answer", "204 or \"200-399\""),
        };
        ValueError::new(format!("`{text}` is neither {what} nor a range of them"))
            .help(format!("write it like {example}, from {FIRST} to {LAST}"))
    }
}

fn number(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

impl<const FIRST: u16, const LAST: u16> Serialize for StatusRange<FIRST, LAST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0.start(), self.0.end()) {
            (first, last) if first == last => serializer.serialize_u16(*first),
            (first, last) => serializer.collect_str(&format_args!("{first}-{last}")),
        }
    }
}

impl<'de, const FIRST: u16, const LAST: u16> Deserialize<'de> for StatusRange<FIRST, LAST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<const FIRST: u16, const LAST: u16>;

        impl<const FIRST: u16, const LAST: u16> Visitor<'_> for Read<FIRST, LAST> {
            type Value = StatusRange<FIRST, LAST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status or a range such as \"500-599\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                StatusRange::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                let status = u16::try_from(number).ok();
                let status = status.and_then(|status| StatusRange::new(status..=status));
                status.ok_or_else(|| E::custom(Self::Value::none_such(number)))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_and_written_alike() {
        for (text, range, written) in [
            ("404", 404..=404, "404"),
            ("\"404\"", 404..=404, "404"),
            ("\"500-599\"", 500..=599, "\"500-599\""),
            ("\"404-404\"", 404..=404, "404"),
        ] {
            let read: ErrorStatuses = serde_json::from_str(text).unwrap();
            assert_eq!(read.range(), range);
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
        for text in [
            "200",
            "600",
            "65940",
            "-404",
            "404.5",
            "\"\"",
            "\"-\"",
            "\"500-\"",
            "\"599-500\"",
            "\"300-404\"",
            "\"5xx\"",
            "\"+404\"",
            "\"404 - 405\"",
            "\"400-450-500\"",
            "true",
        ] {
            assert!(
                serde_json::from_str::<ErrorStatuses>(text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn each_kind_has_its_own_bounds() {
        let read: FinalStatuses = serde_json::from_str("\"200-399\"").unwrap();
        assert_eq!(read.range(), 200..=399);
        for (text, message) in [
            ("101", "`101` is neither the status of an answer"),
            (
                "\"100-200\"",
                "`100-200` is neither the status of an answer",
            ),
            ("600", "`600` is neither the status of an answer"),
        ] {
            let error = serde_json::from_str::<FinalStatuses>(text).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
