//! Why a string is not the value it should be, with the place inside the string.

use serde::de::{Deserializer, Error, Visitor};
use std::{fmt, ops::Range};

/// A string that does not mean what it should.
///
/// `{}` prints the message alone. `{:#}` adds place and help in a form that the loader reads back: serde hands errors
/// on as text, and an alternate form keeps that detour out of every other reader's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// Where in the string, in bytes; `None` is all of it.
    pub span: Option<Range<usize>>,
    /// What to do about it.
    pub help: Option<String>,
}

impl ValueError {
    pub(crate) fn new(message: impl Into<String>) -> ValueError {
        ValueError {
            message: message.into(),
            span: None,
            help: None,
        }
    }

    pub(crate) fn at(mut self, span: Range<usize>) -> ValueError {
        self.span = Some(span);
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> ValueError {
        self.help = Some(help.into());
        self
    }

    /// Reads the alternate form back; any other text is a message alone.
    pub(crate) fn decode(text: &str) -> ValueError {
        let mut parts = text.splitn(5, MARK);
        let (Some(""), Some(start), Some(end), Some(help), Some(message)) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return ValueError::new(text);
        };
        let span = start.parse().ok().zip(end.parse().ok());
        ValueError {
            message: message.to_owned(),
            span: span.map(|(start, end)| start..end),
            help: Some(help.to_owned()).filter(|help| !help.is_empty()),
        }
    }
}

const MARK: char = '\u{1}';

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            let (start, end) = match &self.span {
                Some(span) => (span.start.to_string(), span.end.to_string()),
                None => Default::default(),
            };
            // The help comes before the message, so that a mark inside the message does no harm.
            let help = self.help.as_deref().unwrap_or_default().replace(MARK, " ");
            write!(f, "{MARK}{start}{MARK}{end}{MARK}{help}{MARK}")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

/// What the loader hands to a value whose text was refused, so that the rest of its block is still read and checked.
/// A configuration with a stand-in in it is never handed out.
pub(crate) const STAND_IN: &str = "\u{0}stand-in";

/// Reads a string and parses it; `what` completes "expected ...".
pub(crate) fn parsed<'de, D, T>(
    deserializer: D,
    what: &'static str,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Parsed<F> {
        what: &'static str,
        parse: F,
    }

    impl<T, F: FnOnce(&str) -> Result<T, ValueError>> Visitor<'_> for Parsed<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.what)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.parse)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Parsed { what, parse })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alternate_form_is_read_back_and_the_plain_form_is_the_message() {
        let error = ValueError::new("odd \u{1} text").at(3..5).help("do that");
        assert_eq!(ValueError::decode(&format!("{error:#}")), error);
        assert_eq!(error.to_string(), "odd \u{1} text");
        let bare = ValueError::new("x");
        assert_eq!(ValueError::decode(&format!("{bare:#}")), bare);
        assert_eq!(ValueError::decode("plain"), ValueError::new("plain"));
    }
}
