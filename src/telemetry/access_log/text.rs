//! What clients say, in a form that no client can forge a line with.

use super::Redaction;
use std::fmt::{self, Write};

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Bytes as text, with U+FFFD for what is none.
pub(super) struct Lossy<'a>(pub(super) &'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

/// A target, or a URL, whose query tells no secrets.
pub(super) struct Target<'a> {
    pub(super) text: &'a [u8],
    pub(super) redaction: &'a Redaction,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = memchr::memchr(b'?', self.text) else {
            return Lossy(self.text).fmt(f);
        };
        Lossy(&self.text[..=at]).fmt(f)?;
        let mut rest = &self.text[at + 1..];
        loop {
            let end = rest.iter().position(|byte| b"&;#".contains(byte));
            let pair = &rest[..end.unwrap_or(rest.len())];
            match memchr::memchr(b'=', pair) {
                Some(equals) if self.redaction.hides_parameter(&pair[..equals]) => {
                    Lossy(&pair[..=equals]).fmt(f)?;
                    f.write_str(MASK)?;
                }
                _ => Lossy(pair).fmt(f)?,
            }
            let Some(end) = end else { return Ok(()) };
            f.write_char(char::from(rest[end]))?;
            rest = &rest[end + 1..];
        }
    }
}

/// Whether a name in a query, which may be escaped, is `known`, which is in lower case.
pub(super) fn is_parameter(written: &[u8], known: &str) -> bool {
    let mut written = written.iter().copied();
    let mut next = || {
        let byte = match written.next()? {
            b'%' => {
                let mut ahead = written.clone();
                match (ahead.next().and_then(digit), ahead.next().and_then(digit)) {
                    (Some(high), Some(low)) => {
                        written = ahead;
                        high << 4 | low
                    }
                    _ => b'%',
                }
            }
            byte => byte,
        };
        Some(byte.to_ascii_lowercase())
    };
    known.bytes().all(|byte| next() == Some(byte)) && next().is_none()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Writes text between quotes as Apache does: what is no printable ASCII, `"` and `\` are escaped.
pub(super) struct Escaped<W>(pub(super) W);

impl<W: Write> Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                0x20..0x7f => self.0.write_char(char::from(byte))?,
                _ => write!(self.0, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_however_they_are_escaped() {
        assert!(is_parameter(b"token", "token"));
        assert!(is_parameter(b"ToKeN", "token"));
        assert!(is_parameter(b"%74oke%6E", "token"));
        for other in [&b"tokens"[..], b"toke", b"%7token", b"token%", b"", b"%"] {
            assert!(!is_parameter(other, "token"));
        }
    }

    #[test]
    fn only_the_values_of_secrets_are_hidden() {
        let redaction = Redaction::new(["token"], []);
        for (text, shown) in [
            ("/a", "/a"),
            ("/token=1", "/token=1"),
            ("/a?token=1", "/a?token=***"),
            ("/a?token", "/a?token"),
            ("/a?token=", "/a?token=***"),
            ("/a?x=1&Token=a=b;y#token=2", "/a?x=1&Token=***;y#token=***"),
            ("/a?", "/a?"),
            ("/a?&&", "/a?&&"),
        ] {
            let target = Target {
                text: text.as_bytes(),
                redaction: &redaction,
            };
            assert_eq!(target.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn no_line_ends_between_quotes() {
        let mut out = Escaped(String::new());
        write!(out, "a\"b\\c\r\n\0ä{}", Lossy(b"\xff")).unwrap();
        assert_eq!(out.0, r#"a\"b\\c\r\n\x00\xc3\xa4\xef\xbf\xbd"#);
    }
}
