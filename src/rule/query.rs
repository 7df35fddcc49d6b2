//! Queries, decoded while they are compared.

use std::cell::RefCell;

thread_local! {
    /// Where [`decoded`] puts a value. It grows at most to the longest URI that the HTTP library accepts
    /// (64 KiB) and is kept, so that a thread soon stops allocating.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whether some pair of `query` has this key and a value that passes `test`, which gets it as it came.
/// A pair whose escapes are broken is no pair.
pub(super) fn some(query: &str, key: &str, mut test: impl FnMut(&[u8]) -> bool) -> bool {
    query
        .as_bytes()
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .any(|pair| {
            let equals = memchr::memchr(b'=', pair);
            let name = &pair[..equals.unwrap_or(pair.len())];
            let value = equals.map_or(&[][..], |at| &pair[at + 1..]);
            equal(name, key) && test(value)
        })
}

/// The first value that `key` has in `query`, decoded. None where there is none, or none that is UTF-8.
pub fn value(query: &str, key: &str) -> Option<String> {
    let mut found = None;
    some(query, key, |raw| {
        decoded(raw, |bytes| {
            found = std::str::from_utf8(bytes).ok().map(str::to_owned);
            found.is_some()
        })
    });
    found
}

/// Whether `raw`, decoded, is `text`.
pub(super) fn equal(raw: &[u8], text: &str) -> bool {
    Decoded(raw).eq(text.bytes().map(Ok))
}

/// Gives `raw`, decoded, to `test`; `false` where it cannot be decoded.
pub(super) fn decoded(raw: &[u8], test: impl FnOnce(&[u8]) -> bool) -> bool {
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return test(raw);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.reserve(raw.len());
        for byte in Decoded(raw) {
            match byte {
                Ok(byte) => scratch.push(byte),
                Err(BrokenEscape) => return false,
            }
        }
        test(scratch)
    })
}

#[derive(PartialEq)]
struct BrokenEscape;

struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = Result<u8, BrokenEscape>;

    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(match first {
            b'+' => Ok(b' '),
            b'%' => match rest {
                [high, low, rest @ ..] => {
                    self.0 = rest;
                    hex(*high)
                        .zip(hex(*low))
                        .map(|(high, low)| high << 4 | low)
                        .ok_or(BrokenEscape)
                }
                _ => Err(BrokenEscape),
            },
            other => Ok(*other),
        })
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_value_are_compared_decoded() {
        for (query, key, value, expected) in [
            ("q=1", "q", "1", true),
            ("q=2&q=1", "q", "1", true),
            ("&&q=1&", "q", "1", true),
            ("%71=%31", "q", "1", true),
            ("q=a+b", "q", "a b", true),
            ("q=a%2Bb", "q", "a+b", true),
            ("q=a=b", "q", "a=b", true),
            ("q", "q", "", true),
            ("=1", "", "1", true),
            ("q=%C3%A9", "q", "é", true),
            ("q=%zz", "q", "%zz", false),
            ("q=1%", "q", "1", false),
            ("q=1%4", "q", "1", false),
            ("qq=1", "q", "1", false),
            ("", "", "", false),
        ] {
            let found = some(query, key, |raw| equal(raw, value));
            assert_eq!(found, expected, "{query} {key} {value}");
            let found = some(query, key, |raw| {
                decoded(raw, |bytes| bytes == value.as_bytes())
            });
            assert_eq!(found, expected, "{query} {key} {value}");
        }
    }
}
