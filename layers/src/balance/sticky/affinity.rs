//! What a request says of the session that it belongs to.

use http::HeaderMap;
use http::header::COOKIE;
use std::fmt;

/// The name of a server, or of a revision, that is shown to clients: 128 bits, written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u128);

impl Token {
    /// These bits. They should say nothing to clients, and clients should not be able to guess another's.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// Reads it as it is written; none where it is not written so.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut bits = 0;
        if text.len() != 32 {
            return None;
        }
        for digit in text {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            bits = bits << 4 | u128::from(value);
        }
        Some(Self(bits))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A token as a client shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) token: Token,
    /// When the client was given it, in seconds since 1970, where the cookie says so. Anybody can write anything
    /// there, and it means nothing but that a cookie is renewed.
    pub(super) given: Option<u64>,
}

impl Shown {
    /// `TOKEN` or `TOKEN.SECONDS`.
    fn parse(value: &[u8]) -> Option<Self> {
        let (token, given) = match memchr::memchr(b'.', value) {
            Some(dot) => (&value[..dot], Some(&value[dot + 1..])),
            None => (value, None),
        };
        Some(Self {
            token: Token::parse(token)?,
            given: match given {
                Some(given) => Some(std::str::from_utf8(given).ok()?.parse().ok()?),
                None => None,
            },
        })
    }
}

/// The tokens that a request shows, four at most: an extension of the request, put there by a
/// [`SessionLayer`](super::SessionLayer).
///
/// A browser has several cookies of one name if they are for several paths, and says them all.
#[derive(Debug, Clone, Copy)]
pub struct Affinity {
    shown: [Option<Shown>; 4],
}

impl Affinity {
    /// What the cookies of this name say; none where none of them is a token. Nothing is allocated, and the time is
    /// in proportion to the length of the lines (RFC 6265bis, 5.8.3; RFC 9113, 8.2.3: they may be several).
    pub fn read(headers: &HeaderMap, cookie: &str) -> Option<Self> {
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let mut found = pairs.filter_map(|pair| {
            let equals = memchr::memchr(b'=', pair)?;
            let name = pair[..equals].trim_ascii();
            let value = pair[equals + 1..].trim_ascii();
            (name == cookie.as_bytes()).then_some(())?;
            Shown::parse(unquoted(value))
        });
        let shown: [Option<Shown>; 4] = std::array::from_fn(|_| found.next());
        shown[0].map(|_| Self { shown })
    }

    /// The tokens, in their order.
    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        self.shown.iter().flatten().map(|shown| shown.token)
    }

    pub(super) fn shown(&self, token: Token) -> Option<Shown> {
        let mut shown = self.shown.into_iter().flatten();
        shown.find(|shown| shown.token == token)
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    let inner = inner.and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "00000000000000000000000000000001";
    const TWO: &str = "0123456789abcdef0123456789abcdef";

    fn read(lines: &[&[u8]]) -> Vec<(String, Option<u64>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = http::HeaderValue::from_bytes(line).expect("a header value");
            headers.append(COOKIE, line);
        }
        let affinity = Affinity::read(&headers, "sid");
        let shown = affinity
            .iter()
            .flat_map(|affinity| affinity.shown)
            .flatten();
        let shown = shown.map(|shown| (shown.token.to_string(), shown.given));
        shown.collect()
    }

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        let one = || vec![(ONE.to_owned(), None)];
        for line in [
            format!("sid={ONE}"),
            format!("a=b; sid={ONE}; c=d"),
            format!("a=b;sid={ONE};c=d"),
            format!("  sid = {ONE} ;"),
            format!("sid=\"{ONE}\""),
            format!("a=\"x y\"; sid={ONE}"),
            format!("novalue; =; ; sid={ONE}"),
            format!("sid=rubbish; sid={ONE}"),
            format!("sid={ONE}{ONE}; sid={ONE}"),
            format!("a={}; sid={ONE}", "x".repeat(20_000)),
        ] {
            assert_eq!(read(&[line.as_bytes()]), one(), "{line:.60}");
        }
        assert_eq!(
            read(&[b"\xff=\xfe", format!("sid={ONE}").as_bytes()]),
            one()
        );
    }

    #[test]
    fn several_of_one_name_are_all_read_up_to_four() {
        let line = format!("sid={ONE}; sid={TWO}.1800000000");
        let both = vec![
            (ONE.to_owned(), None),
            (TWO.to_owned(), Some(1_800_000_000)),
        ];
        assert_eq!(read(&[line.as_bytes()]), both);
        let lines = [format!("sid={ONE}"), format!("sid={TWO}.1800000000")];
        assert_eq!(read(&[lines[0].as_bytes(), lines[1].as_bytes()]), both);
        let many = format!("sid={ONE};").repeat(1_000);
        assert_eq!(read(&[many.as_bytes()]).len(), 4);
    }

    #[test]
    fn what_is_no_token_is_nobodys() {
        for value in [
            "",
            "\"",
            "\"\"",
            "1",
            "g0000000000000000000000000000001",
            "0123456789ABCDEF0123456789ABCDEF",
            "+123456789abcdef0123456789abcdef",
            "00000000000000000000000000000001.",
            "00000000000000000000000000000001.-1",
            "00000000000000000000000000000001.x",
            "00000000000000000000000000000001.1.1",
            "00000000000000000000000000000001.99999999999999999999999999",
            "http://127.0.0.1:8001",
        ] {
            assert_eq!(read(&[format!("sid={value}").as_bytes()]), [], "{value}");
        }
        for line in [
            format!("SID={ONE}"),
            format!("xsid={ONE}"),
            format!("sidx={ONE}"),
            ONE.to_owned(),
        ] {
            assert_eq!(read(&[line.as_bytes()]), [], "{line}");
        }
        assert_eq!(read(&[]), []);
    }
}
