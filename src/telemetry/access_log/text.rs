//! What clients say, in a form that no client can forge a line with.

use std::fmt::{self, Write};

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
    use crate::stack::redaction::Lossy;

    #[test]
    fn no_line_ends_between_quotes() {
        let mut out = Escaped(String::new());
        write!(out, "a\"b\\c\r\n\0ä{}", Lossy(b"\xff")).unwrap();
        assert_eq!(out.0, r#"a\"b\\c\r\n\x00\xc3\xa4\xef\xbf\xbd"#);
    }
}
