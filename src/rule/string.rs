//! The strings of a rule: raw between backticks, with Go's escapes between double quotes.

use super::RuleError;
use super::parse::{Parser, error, is_name};
use std::ops::Range;

/// A string between the parentheses of a matcher.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) value: String,
    /// Where it stands, with its quotes.
    pub(super) span: Range<usize>,
}

impl Argument {
    pub(super) fn text(&self) -> Box<str> {
        self.value.as_str().into()
    }

    pub(super) fn error(&self, message: impl Into<String>, help: Option<String>) -> RuleError {
        RuleError {
            message: message.into(),
            span: self.span.clone(),
            help,
        }
    }
}

impl Parser<'_> {
    /// The string that begins here.
    pub(super) fn string(&mut self) -> Result<Argument, RuleError> {
        let start = self.at;
        match self.peek() {
            Some('`') => {
                let inner = &self.text[start + 1..];
                let Some(length) = memchr::memchr(b'`', inner.as_bytes()) else {
                    return Err(error(
                        start..self.text.len(),
                        "the string is never closed",
                        Some("end it with a backtick".to_owned()),
                    ));
                };
                self.at = start + length + 2;
                Ok(Argument {
                    // As in Go, where a raw string has no carriage returns.
                    value: inner[..length].replace('\r', ""),
                    span: start..self.at,
                })
            }
            Some('"') => self.quoted(),
            Some('\'') => {
                let inner = &self.text[start + 1..];
                let end = inner
                    .find('\'')
                    .map_or(self.text.len(), |at| start + at + 2);
                let inner = inner.split(['\'', ',', ')']).next().unwrap_or_default();
                Err(error(
                    start..end,
                    "single quotes do not make a string",
                    Some(format!("write it in backticks: `{inner}`")),
                ))
            }
            Some(c) if is_name(c) || c == '/' || c == '*' => {
                let rest = &self.text[start..];
                let length = rest
                    .find(|c: char| c.is_whitespace() || ",()`\"'&|!".contains(c))
                    .unwrap_or(rest.len());
                let word = &rest[..length];
                Err(error(
                    start..start + length,
                    format!("expected a string, found `{word}`"),
                    Some(format!("write it in backticks: `{word}`")),
                ))
            }
            _ => {
                let help = "strings stand in backticks or double quotes".to_owned();
                Err(self.unexpected("expected a string", Some(help)))
            }
        }
    }

    /// A string in double quotes, with Go's escapes.
    fn quoted(&mut self) -> Result<Argument, RuleError> {
        let start = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            match self.peek() {
                Some('"') => break,
                Some('\\') => self.escape(&mut bytes)?,
                Some(c) if c != '\n' => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += c.len_utf8();
                }
                _ => {
                    return Err(error(
                        start..self.at,
                        "the string is never closed",
                        Some("end it with `\"` on the same line".to_owned()),
                    ));
                }
            }
        }
        self.at += 1;
        let span = start..self.at;
        match String::from_utf8(bytes) {
            Ok(value) => Ok(Argument { value, span }),
            Err(_) => Err(error(span, "the string is not UTF-8", None)),
        }
    }

    /// The escape that begins here.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), RuleError> {
        let start = self.at;
        self.at += 1;
        let c = self.peek();
        let invalid = |end: usize| {
            error(
                start..end,
                "invalid escape",
                Some("write `\\\\` for a backslash, or put the string in backticks".to_owned()),
            )
        };
        let simple = match c {
            Some('a') => Some(0x07),
            Some('b') => Some(0x08),
            Some('f') => Some(0x0c),
            Some('n') => Some(b'\n'),
            Some('r') => Some(b'\r'),
            Some('t') => Some(b'\t'),
            Some('v') => Some(0x0b),
            Some('\\') => Some(b'\\'),
            Some('"') => Some(b'"'),
            _ => None,
        };
        if let Some(byte) = simple {
            bytes.push(byte);
            self.at += 1;
            return Ok(());
        }
        let (skipped, digits, radix) = match c {
            Some('x') => (1, 2, 16),
            Some('u') => (1, 4, 16),
            Some('U') => (1, 8, 16),
            Some('0'..='7') => (0, 3, 8),
            _ => return Err(invalid(self.at + c.map_or(0, char::len_utf8))),
        };
        self.at += skipped;
        let end = self.at + digits;
        let value = self
            .text
            .get(self.at..end)
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|text| u32::from_str_radix(text, radix).ok());
        let Some(value) = value else {
            return Err(invalid(self.at));
        };
        self.at = end;
        if matches!(c, Some('u' | 'U')) {
            let c = char::from_u32(value).ok_or_else(|| invalid(end))?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            bytes.push(u8::try_from(value).map_err(|_| invalid(end))?);
        }
        Ok(())
    }
}
