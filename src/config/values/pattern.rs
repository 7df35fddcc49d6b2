//! Regular expressions.

use super::{STAND_IN, ValueError, parsed};
use crate::rule;
use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::str::FromStr;

/// A regular expression in the syntax that rules have, which is Go's; equal to another of the same text.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As it is matched.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl FromStr for Pattern {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Pattern, ValueError> {
        let written = if text == STAND_IN { "" } else { text };
        let regex = rule::regex(written).map_err(|reason| {
            ValueError::new(format!("`{text}` is not a regular expression: {reason}"))
        })?;
        Ok(Pattern {
            text: written.into(),
            regex,
        })
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        parsed(deserializer, "a regular expression", str::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_its_text() {
        let pattern: Pattern = "^/{x}/(\\d+)$".parse().unwrap();
        assert_eq!(pattern.as_str(), "^/{x}/(\\d+)$");
        assert!(pattern.regex().is_match("/{x}/12"));
        assert!(!pattern.regex().is_match("/{x}/١٢"));
        assert_eq!(pattern, pattern.as_str().parse().unwrap());
        assert_ne!(pattern, "^".parse().unwrap());
        let error = "(".parse::<Pattern>().unwrap_err();
        let expected = "`(` is not a regular expression: unclosed group";
        assert_eq!(error.message, expected);
    }
}
