//! Statuses of errors: `404`, `"404"` or `"500-599"`.

use super::{STAND_IN, ValueError};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;

/// One status of an error, or those from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorStatuses(RangeInclusive<u16>);

const ERRORS: RangeInclusive<u16> = 400..=599;

impl ErrorStatuses {
    /// From the first to the last.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }

    fn parse(text: &str) -> Result<ErrorStatuses, ValueError> {
        if text == STAND_IN {
            return Ok(ErrorStatuses(ERRORS));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(ErrorStatuses(first..=last)),
            _ => Err(no_statuses(text)),
        }
    }
}

fn status(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let status = text.parse().ok().filter(|_| is_number)?;
    ERRORS.contains(&status).then_some(status)
}

fn no_statuses(text: impl fmt::Display) -> ValueError {
    ValueError::new(format!(
        "`{text}` is neither the status of an error nor a range of them"
    ))
    .help("write it like 404 or \"500-599\", from 400 to 599")
}

impl Serialize for ErrorStatuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0.start(), self.0.end()) {
            (first, last) if first == last => serializer.serialize_u16(*first),
            (first, last) => serializer.collect_str(&format_args!("{first}-{last}")),
        }
    }
}

impl<'de> Deserialize<'de> for ErrorStatuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ErrorStatuses, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = ErrorStatuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status or a range such as \"500-599\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ErrorStatuses, E> {
                ErrorStatuses::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<ErrorStatuses, E> {
                let status = u16::try_from(number).ok();
                let status = status.filter(|status| ERRORS.contains(status));
                let status = status.ok_or_else(|| E::custom(no_statuses(number)))?;
                Ok(ErrorStatuses(status..=status))
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
}
