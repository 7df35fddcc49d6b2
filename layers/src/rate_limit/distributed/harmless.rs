//! What a server says, made fit for a log.

use std::fmt::{self, Write};

/// More of a text is cut off. Redis' own errors are shorter.
const LONGEST: usize = 300;

/// Shows a text that somebody else wrote: on one line, without control characters, and not all of it if it is long.
pub(super) struct Harmless<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Harmless<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut narrow = Narrow {
            f,
            left: LONGEST,
            is_full: false,
        };
        match write!(narrow, "{}", self.0) {
            Err(_) if narrow.is_full => f.write_str("..."),
            result => result,
        }
    }
}

struct Narrow<'f, 'a> {
    f: &'f mut fmt::Formatter<'a>,
    left: usize,
    is_full: bool,
}

impl Write for Narrow<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.left == 0 {
                self.is_full = true;
                return Err(fmt::Error);
            }
            self.left -= 1;
            match c {
                // They do nothing to a log, and are common.
                '\'' | '"' => self.f.write_char(c)?,
                // Also what turns the direction of writing, or is not seen.
                c => write!(self.f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_short_and_on_one_line() {
        let shown = |text: &str| Harmless(text).to_string();
        assert_eq!(shown("ERR it's \"é\""), "ERR it's \"é\"");
        assert_eq!(
            shown("a\r\nb\x1b[2J\0\u{202e}\u{85}"),
            r"a\r\nb\u{1b}[2J\0\u{202e}\u{85}"
        );
        let long = "x".repeat(LONGEST);
        assert_eq!(shown(&long), long);
        assert_eq!(shown(&format!("{long}y")), format!("{long}..."));
        assert!(shown(&"\n".repeat(1_000_000)).len() < 1000);
    }
}
