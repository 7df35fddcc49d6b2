//! What is not told of requests, wherever something is told of them: the access log, and explanations.

use http::HeaderName;
use std::fmt::{self, Write};

/// What stands for a secret.
pub const MASK: &str = "***";

/// Which parameters of queries, and which fields of headers, hold secrets.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    parameters: Box<[Box<str>]>,
    headers: Box<[HeaderName]>,
    parts: &'static [&'static str],
}

impl Redaction {
    /// The values of these parameters, in whichever case, and of these fields.
    pub fn new<'p>(
        parameters: impl IntoIterator<Item = &'p str>,
        headers: impl IntoIterator<Item = HeaderName>,
    ) -> Self {
        let parameters = parameters.into_iter();
        Self {
            parameters: parameters
                .map(|name| name.to_ascii_lowercase().into())
                .collect(),
            headers: headers.into_iter().collect(),
            parts: &[],
        }
    }

    /// And of all parameters and fields that have one of these, in lower case, in their names.
    #[must_use]
    pub fn and_with(mut self, parts: &'static [&'static str]) -> Self {
        self.parts = parts;
        self
    }

    /// Whether the value of a parameter is hidden, whose name may be escaped, and may be that of one of a list
    /// (`token[]`).
    pub fn hides_parameter(&self, written: &[u8]) -> bool {
        let name = || plain(written).take_while(|byte| *byte != b'[');
        let is = |known: &str| name().eq(known.bytes());
        self.parameters.iter().any(|known| is(known)) || {
            // Nothing is gathered where nothing is asked by parts.
            !self.parts.is_empty() && self.has_part(&name().collect::<Vec<_>>())
        }
    }

    /// Whether the value of a field is hidden.
    pub fn hides_header(&self, name: &HeaderName) -> bool {
        self.headers.contains(name) || self.has_part(name.as_str().as_bytes())
    }

    fn has_part(&self, name: &[u8]) -> bool {
        let has = |part: &&str| memchr::memmem::find(name, part.as_bytes()).is_some();
        self.parts.iter().any(has)
    }
}

/// A name in a query without its escapes, in lower case.
fn plain(written: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = written;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = after;
            return Some((high << 4 | low).to_ascii_lowercase());
        }
        Some(first.to_ascii_lowercase())
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Bytes as text, with U+FFFD for what is none.
pub struct Lossy<'a>(pub &'a [u8]);

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

/// A target, or a URL, that tells no secrets: neither in its query nor before its host.
pub struct Target<'a> {
    /// As it is written.
    pub text: &'a [u8],
    /// What is hidden of its query.
    pub redaction: &'a Redaction,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = memchr::memchr(b'?', self.text);
        let (before, query) = match at {
            Some(at) => self.text.split_at(at + 1),
            None => (self.text, &[][..]),
        };
        match memchr::memmem::find(before, b"://") {
            Some(scheme) => {
                let (scheme, rest) = before.split_at(scheme + 3);
                let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
                Lossy(scheme).fmt(f)?;
                Lossy(without_user(&rest[..end])).fmt(f)?;
                Lossy(&rest[end..]).fmt(f)?;
            }
            None => Lossy(before).fmt(f)?,
        }
        let redaction = self.redaction;
        let text = query;
        Query { text, redaction }.fmt(f)
    }
}

/// A query, without the `?` before it, that tells no secrets.
pub struct Query<'a> {
    /// As it is written.
    pub text: &'a [u8],
    /// What is hidden of it.
    pub redaction: &'a Redaction,
}

impl fmt::Display for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
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

/// An authority without the user and the password that stand before its host.
pub fn without_user(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b'@', authority) {
        Some(at) => &authority[at + 1..],
        None => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_however_they_are_written() {
        let redaction = Redaction::new(["token"], []);
        for name in [
            &b"token"[..],
            b"ToKeN",
            b"%74oke%6E",
            b"token[]",
            b"token%5B0%5D",
        ] {
            assert!(redaction.hides_parameter(name), "{}", Lossy(name));
        }
        for other in [
            &b"tokens"[..],
            b"toke",
            b"%7token",
            b"token%",
            b"",
            b"%",
            b"my_token",
        ] {
            assert!(!redaction.hides_parameter(other), "{}", Lossy(other));
        }
        let by_parts = redaction.and_with(&["tok"]);
        assert!(by_parts.hides_parameter(b"my_%54OKen"));
        assert!(by_parts.hides_header(&HeaderName::from_static("x-token")));
        assert!(!by_parts.hides_parameter(b"other"));
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
            ("http://u:p@h/a@b?token=1", "http://h/a@b?token=***"),
            ("http://u:p@h", "http://h"),
            ("http://u:p?x@h", "http://u:p?x@h"),
            ("/a@b", "/a@b"),
        ] {
            let target = Target {
                text: text.as_bytes(),
                redaction: &redaction,
            };
            assert_eq!(target.to_string(), shown, "{text}");
        }
        assert_eq!(without_user(b"u:p@h:80"), b"h:80");
        assert_eq!(without_user(b"h:80"), b"h:80");
    }
}
