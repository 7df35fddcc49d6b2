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

    /// Whether the value of a parameter is hidden, whose name may be escaped, and may be that of a part of something
    /// (`token[]`, `user[password]`, `user.password`).
    pub fn hides_parameter(&self, written: &[u8]) -> bool {
        if !written.iter().any(|byte| b"%+[.".contains(byte)) {
            return self.hides_name(written);
        }
        let name: Vec<u8> = plain(written).collect();
        let parts_them = |byte: &u8| b"[]. ".contains(byte) || byte.is_ascii_control();
        name.split(parts_them).any(|part| self.hides_name(part))
    }

    fn hides_name(&self, name: &[u8]) -> bool {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        self.parameters.iter().any(|known| is(known))
            || !self.parts.is_empty() && self.has_part(&name.to_ascii_lowercase())
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

/// A name in a query without its escapes.
fn plain(written: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = written;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        Some(if first == b'+' { b' ' } else { first })
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

impl<'a> Target<'a> {
    /// Each piece of what may be told, from the first to the last. They are parted where there is ASCII.
    pub fn pieces(&self, each: impl FnMut(&'a [u8])) {
        pieces(self.text, self.redaction, next_parameter(self.text), each);
    }
}

/// Where the next parameter begins: in a query, in a fragment, or in a path (RFC 3986, 3.3).
fn next_parameter(text: &[u8]) -> Option<usize> {
    let at = text.iter().position(|byte| b"?#&;".contains(byte))?;
    Some(at + 1)
}

/// The pieces of text whose first parameter is there.
fn pieces<'a>(
    text: &'a [u8],
    redaction: &Redaction,
    mut parameter: Option<usize>,
    mut each: impl FnMut(&'a [u8]),
) {
    // What is told is told from here on.
    let (mut told, mut rest) = (text, text);
    while let Some(begin) = parameter {
        rest = &rest[begin..];
        let ends = |byte: &u8| b"?#&;=".contains(byte);
        let end = rest.iter().position(ends).unwrap_or(rest.len());
        if rest.get(end) == Some(&b'=') && redaction.hides_parameter(&rest[..end]) {
            let value = &rest[end + 1..];
            without_users(&told[..told.len() - value.len()], &mut each);
            each(MASK.as_bytes());
            let end = next_parameter(value).map_or(value.len(), |next| next - 1);
            told = &value[end..];
            rest = told;
        } else {
            rest = &rest[end..];
        }
        parameter = next_parameter(rest);
    }
    without_users(told, &mut each);
}

/// The pieces of text that has URLs, without the users and passwords of those.
fn without_users<'a>(mut text: &'a [u8], each: &mut impl FnMut(&'a [u8])) {
    while let Some(slashes) = memchr::memmem::find(text, b"//") {
        let (scheme, rest) = text.split_at(slashes + 2);
        let ends = |byte: &u8| b"/?# ,;&\"'<>".contains(byte);
        let end = rest.iter().position(ends).unwrap_or(rest.len());
        each(scheme);
        each(without_user(&rest[..end]));
        text = &rest[end..];
    }
    if !text.is_empty() {
        each(text);
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        self.pieces(|piece| result = result.and_then(|()| Lossy(piece).fmt(f)));
        result
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
        let mut result = Ok(());
        let each = |piece: &_| result = result.and_then(|()| Lossy(piece).fmt(f));
        pieces(self.text, self.redaction, Some(0), each);
        result
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
            b"user[token]",
            b"user%5BToken%5D[]",
            b"user.token",
            b"+token",
            b"%20token",
            b"token%00",
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
            b"user[tokens]",
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
            ("/", "/"),
            ("", ""),
            ("//u:p@h/a", "//h/a"),
            ("/a#token=1&b=2", "/a#token=***&b=2"),
            ("/a;token=1/b?c", "/a;token=***?c"),
            ("/a?b=c?token=1", "/a?b=c?token=***"),
            ("/a?b=c=token=1&token=1=2", "/a?b=c=token=1&token=***"),
            ("/a?to=http://u:p@h/", "/a?to=http://h/"),
            ("/a?to=http://u:p@h&b=c@d", "/a?to=http://h&b=c@d"),
            ("http://h/#token=1", "http://h/#token=***"),
            ("http://h, http://u:p@i/", "http://h, http://i/"),
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
