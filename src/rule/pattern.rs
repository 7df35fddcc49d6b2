//! Regular expressions as operators know them from Traefik, which are Go's.
//!
//! Both engines are RE2's children and differ little: here a brace that begins no repetition is a literal,
//! `\d`, `\s`, `\w` and `\b` are ASCII, `\Q..\E` quotes, and a class has no set operations.

use super::witness::samples;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::OnceLock;

/// How much memory one compiled expression may take; `(a{1000}){1000}` is refused, not compiled.
const SIZE_LIMIT: usize = 1 << 20;

/// How much memory a thread may use to match one faster.
const CACHE_LIMIT: usize = 1 << 18;

/// A compiled regular expression, equal to another of the same text.
#[derive(Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    regex: Regex,
    /// Made when they are asked for.
    samples: OnceLock<Vec<Vec<u8>>>,
}

impl Pattern {
    /// Compiles `text`, or says in a few words why it cannot.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(&translate(text))
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(CACHE_LIMIT)
            .build()
            .map_err(|error| reason(&error))?;
        Ok(Self {
            text: text.into(),
            regex,
            samples: OnceLock::new(),
        })
    }

    pub(super) fn is_match(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// A few texts that it should match.
    pub(super) fn samples(&self) -> &[Vec<u8>] {
        self.samples.get_or_init(|| samples(&translate(&self.text)))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Compiles `text` for text, with the same syntax and limits.
pub(crate) fn regex(text: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(&translate(text))
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(CACHE_LIMIT)
        .build()
        .map_err(|error| reason(&error))
}

/// The last line of the library's message, which shows the expression above it.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it would need too much memory".to_owned(),
        other => {
            let text = other.to_string();
            let line = text.lines().last().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    }
}

/// Writes Go's syntax in the words of the `regex` crate.
fn translate(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '{', '[']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    // Whether the scan is between the brackets of a class.
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                rest = escape(rest, in_class, &mut out);
                continue;
            }
            '{' if !in_class && !is_repetition(rest) => out.push_str("\\{"),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                rest = after;
                // A bracket right at the beginning is a member of the class.
                for (head, written) in [("^", "^"), ("]", "\\]")] {
                    if let Some(after) = rest.strip_prefix(head) {
                        out.push_str(written);
                        rest = after;
                    }
                }
                continue;
            }
            '[' if after.starts_with(':') => {
                let end = after.find(":]").map_or(1, |end| end + 2);
                out.push('[');
                out.push_str(&after[..end]);
                rest = &after[end..];
                continue;
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            _ => out.push(c),
        }
        rest = after;
    }
    Cow::Owned(out)
}

/// Writes the escape at the beginning of `rest` and gives what follows it.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
    let (part, after) = rest.split_at(length);
    match part {
        "\\Q" if !in_class => {
            let end = after.find("\\E").unwrap_or(after.len());
            out.push_str(&regex::escape(&after[..end]));
            return after.get(end + "\\E".len()..).unwrap_or_default();
        }
        "\\d" if in_class => out.push_str("0-9"),
        "\\w" if in_class => out.push_str("0-9A-Za-z_"),
        "\\s" if in_class => out.push_str("\\t\\n\\f\\r "),
        "\\D" => out.push_str("[^0-9]"),
        "\\W" => out.push_str("[^0-9A-Za-z_]"),
        "\\S" => out.push_str("[^\\t\\n\\f\\r ]"),
        "\\d" => out.push_str("[0-9]"),
        "\\w" => out.push_str("[0-9A-Za-z_]"),
        "\\s" => out.push_str("[\\t\\n\\f\\r ]"),
        "\\b" => out.push_str("(?-u:\\b)"),
        "\\p" | "\\P" | "\\x" if after.starts_with('{') => {
            let end = after.find('}').map_or(0, |end| end + 1);
            out.push_str(part);
            out.push_str(&after[..end]);
            return &after[end..];
        }
        _ => out.push_str(part),
    }
    after
}

/// Whether the brace at the beginning of `rest` counts something: `{2}`, `{2,}` or `{2,3}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest[1..].split_once('}') else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inside.split_once(',') {
        None => is_number(inside),
        Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_is_that_of_go() {
        for (pattern, text, expected) in [
            ("{sub:[a-z]+}.a", "{sub:x}.a", true),
            ("^a{2}$", "aa", true),
            ("^a{2,}$", "aaa", true),
            ("^a{,2}$", "a{,2}", true),
            ("^\\d+$", "12", true),
            ("^\\d+$", "١٢", false),
            ("^[\\d-]+$", "1-2", true),
            ("^[^\\D]+$", "12", true),
            ("^[^\\W_]$", "_", false),
            ("\\bfoo\\b", "a foo b", true),
            ("^\\Qa.b{\\E+$", "a.b{{", true),
            ("^\\Qa.b", "a.b", true),
            ("^[[a]+$", "[a", true),
            ("^[]a]+$", "]a", true),
            ("^[^]a]+$", "]", false),
            ("^[a&&b]+$", "&", true),
            ("^[[:alpha:]_]+$", "ab_", true),
            ("^\\x{41}\\pL\\p{Greek}$", "Abα", true),
            ("^[^/]+$", "é", true),
            ("(?i)^ABC", "abc", true),
        ] {
            let pattern = Pattern::new(pattern).expect("a pattern");
            let found = pattern.is_match(text.as_bytes());
            assert_eq!(found, expected, "{} {text}", pattern.as_str());
        }
    }

    #[test]
    fn what_does_not_compile_has_a_short_reason() {
        for (pattern, expected) in [
            ("(", "unclosed group"),
            (
                "(?!x)",
                "look-around, including look-ahead and look-behind, is not supported",
            ),
            ("(a{1000}){1000}", "it would need too much memory"),
            (
                "\\",
                "incomplete escape sequence, reached end of pattern prematurely",
            ),
            ("[[:", "unclosed character class"),
        ] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert_eq!(error, expected);
        }
    }
}
