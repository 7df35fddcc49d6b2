//! The JSON of a line, written straight into its buffer: a line is on the path of each request, and by way of serde
//! and `Display` it cost more than twice as much (`benches/README.md`).

use crate::stack::visible::moves;
use std::fmt::Display;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// Appends values.
#[derive(Debug)]
pub(super) struct Json<'b>(pub(super) &'b mut Vec<u8>);

impl Json<'_> {
    /// The key of an object, with what stands before it and after it. Keys have nothing that is to be escaped.
    pub(super) fn key(&mut self, is_first: bool, key: &str) {
        self.0.push(if is_first { b'{' } else { b',' });
        self.plain(key.as_bytes());
        self.0.push(b':');
    }

    pub(super) fn null(&mut self) {
        self.0.extend_from_slice(b"null");
    }

    pub(super) fn number(&mut self, number: u64) {
        let mut buffer = itoa::Buffer::new();
        self.0.extend_from_slice(buffer.format(number).as_bytes());
    }

    /// Milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.number(micros / 1_000);
        let rest = (micros % 1_000) as u16;
        let digit = |value: u16| b'0' + (value % 10) as u8;
        let digits = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
        self.0.extend_from_slice(&digits);
    }

    /// Text that may be anything, with U+FFFD for what is none.
    pub(super) fn string(&mut self, text: &[u8]) {
        self.open();
        self.text(text);
        self.close();
    }

    /// Text that has nothing that is to be escaped.
    pub(super) fn plain(&mut self, text: &[u8]) {
        self.open();
        self.0.extend_from_slice(text);
        self.close();
    }

    /// As [`plain`](Self::plain), by its `Display`.
    pub(super) fn displayed(&mut self, value: impl Display) {
        self.open();
        // Writing into a Vec does not fail.
        let _ = write!(self.0, "{value}");
        self.close();
    }

    pub(super) fn address(&mut self, address: IpAddr) {
        let IpAddr::V4(address) = address else {
            return self.displayed(address);
        };
        let [first, rest @ ..] = address.octets();
        self.open();
        self.number(first.into());
        for octet in rest {
            self.0.push(b'.');
            self.number(octet.into());
        }
        self.close();
    }

    pub(super) fn open(&mut self) {
        self.0.push(b'"');
    }

    pub(super) fn close(&mut self) {
        self.0.push(b'"');
    }

    /// A part of a string.
    pub(super) fn text(&mut self, text: &[u8]) {
        if is_plain(text) {
            return self.0.extend_from_slice(text);
        }
        for chunk in text.utf8_chunks() {
            for char in chunk.valid().chars() {
                self.char(char);
            }
            if !chunk.invalid().is_empty() {
                self.char(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    fn char(&mut self, char: char) {
        match char {
            '"' => self.0.extend_from_slice(br#"\""#),
            '\\' => self.0.extend_from_slice(br"\\"),
            '\n' => self.0.extend_from_slice(br"\n"),
            '\r' => self.0.extend_from_slice(br"\r"),
            '\t' => self.0.extend_from_slice(br"\t"),
            _ if moves(char) => {
                // Writing into a Vec does not fail, and each of them has four digits.
                let _ = write!(self.0, "\\u{:04x}", u32::from(char));
            }
            _ => {
                let mut buffer = [0; 4];
                let text = char.encode_utf8(&mut buffer);
                self.0.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Whether text stands in a string as it is. Without a branch for each byte: it is compiled to vectors.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |is_plain, byte| {
        is_plain & (0x20..0x7f).contains(byte) & (*byte != b'"') & (*byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Json<'_>)) -> String {
        let mut buffer = Vec::new();
        write(&mut Json(&mut buffer));
        String::from_utf8(buffer).unwrap()
    }

    proptest! {
        #[test]
        fn a_string_is_read_as_it_was_written(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let json = written(|json| json.string(&text));
            let read: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text));
        }

        #[test]
        fn as_is_any_text(text in "\\PC*|.*") {
            let json = written(|json| json.string(text.as_bytes()));
            prop_assert!(!json.chars().any(moves), "{}", json);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn milliseconds_are_those_of_the_duration(micros in any::<u64>()) {
            let json = written(|json| json.millis(Duration::from_micros(micros)));
            prop_assert_eq!(json, format!("{}.{:03}", micros / 1_000, micros % 1_000));
        }

        #[test]
        fn addresses_are_as_they_are_shown(address in any::<IpAddr>()) {
            let json = written(|json| json.address(address));
            prop_assert_eq!(json, format!("\"{address}\""));
        }
    }

    #[test]
    fn nothing_deceives_who_reads_it() {
        let json = written(|json| json.string("a\u{202e}b\u{2028}\u{7f}\u{85}ä\u{1b}[".as_bytes()));
        assert_eq!(json, r#""a\u202eb\u2028\u007f\u0085ä\u001b[""#);
    }
}
