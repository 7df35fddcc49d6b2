//! Text of others, made harmless for a terminal and a log: it stays in its line, and moves nothing.

use std::fmt::{self, Write};

/// A text whose control characters, and those that change the direction of writing, are shown as escapes. Tabs stay.
#[derive(Debug, Clone, Copy)]
pub struct Visible<'a>(pub &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f, |char, f| write!(f, "{}", char.escape_default()))
    }
}

/// The same for a document in JSON, whose own line ends stay; it is the same document.
#[derive(Debug, Clone, Copy)]
pub struct VisibleJson<'a>(pub &'a str);

impl fmt::Display for VisibleJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.split('\n').enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            // All of them have four digits.
            write(line, f, |char, f| write!(f, "\\u{:04x}", u32::from(char)))?;
        }
        Ok(())
    }
}

fn write(
    text: &str,
    f: &mut fmt::Formatter<'_>,
    escape: impl Fn(char, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(moves) {
        f.write_str(&rest[..at])?;
        let mut chars = rest[at..].chars();
        if let Some(char) = chars.next() {
            escape(char, f)?;
        }
        rest = chars.as_str();
    }
    f.write_str(rest)
}

/// Whether a character does something to others: controls, separators of lines, and marks of direction (UAX 9, 2).
pub fn moves(char: char) -> bool {
    match char {
        '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        char => char.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_shown_as_it_is_escaped() {
        for (text, shown) in [
            ("plain é 漢 🦀\t", "plain é 漢 🦀\t"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\r\nb", "a\\r\\nb"),
            (
                "\u{202e}x\u{2066}y\u{200f}",
                "\\u{202e}x\\u{2066}y\\u{200f}",
            ),
            ("\u{9b}31m\u{7f}\u{2028}", "\\u{9b}31m\\u{7f}\\u{2028}"),
        ] {
            assert_eq!(Visible(text).to_string(), shown, "{text:?}");
        }
    }

    #[test]
    fn json_says_the_same() {
        let value = serde_json::json!({ "a\u{1b}\u{202e}": ["\u{7f}\u{9b}\n", "é"] });
        let shown = VisibleJson(&format!("{value:#}")).to_string();
        assert!(!shown.replace('\n', "").contains(moves), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, value);
    }
}
