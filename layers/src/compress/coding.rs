//! The content codings, and which of them a client wants (RFC 9110, 12.5.3).

use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

/// A way to compress (RFC 9110, 8.4.1; RFC 7932; RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `zstd`.
    Zstd,
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
    /// `deflate`, with the header of zlib that it is to have.
    Deflate,
}

impl Coding {
    /// All of them, by how much they make of the time that they take.
    pub const ALL: [Coding; 4] = [Coding::Zstd, Coding::Brotli, Coding::Gzip, Coding::Deflate];

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    pub(super) fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    fn is_named(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name().as_bytes())
            || (self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// The best of `ours`, which stand in the order of our preference, for a client that sent these headers: what it
/// gives the most weight, and where that is equal the first. None where it wants none, or rather none.
pub(super) fn choose(headers: &HeaderMap, ours: &[Coding]) -> Option<Coding> {
    let accepted = Accepted::read(headers);
    let weights = ours
        .iter()
        .map(|coding| (*coding, accepted.weight(*coding)));
    // `max_by_key` would take the last of equals.
    let best = weights.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    (best.1 > 0 && best.1 >= accepted.identity.unwrap_or(0)).then_some(best.0)
}

/// The weights that a client gives, in thousandths.
#[derive(Default)]
struct Accepted {
    codings: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    others: Option<u16>,
}

impl Accepted {
    fn read(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        for item in lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')) {
            let mut parts = item.splitn(2, |b| *b == b';');
            let name = parts.next().unwrap_or_default().trim_ascii();
            // What cannot be read is as if it were not there.
            let Some(weight) = parts.next().map_or(Some(1000), weight) else {
                continue;
            };
            if name == b"*" {
                accepted.others = Some(weight);
            } else if name.eq_ignore_ascii_case(b"identity") {
                accepted.identity = Some(weight);
            } else if let Some(index) = Coding::ALL.iter().position(|coding| coding.is_named(name))
            {
                accepted.codings[index] = Some(weight);
            }
        }
        accepted
    }

    fn weight(&self, coding: Coding) -> u16 {
        let index = Coding::ALL.iter().position(|each| *each == coding);
        let named = index.and_then(|index| self.codings[index]);
        named.or(self.others).unwrap_or(0)
    }
}

/// `q=0.5` (RFC 9110, 12.4.2) in thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    let parameter = parameter.trim_ascii();
    let number = parameter
        .strip_prefix(b"q=")
        .or(parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = number.split_first()?;
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = digits.get(place).unwrap_or(&b'0');
        thousandths = thousandths * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coding::{Brotli, Deflate, Gzip, Zstd};

    #[test]
    fn the_client_s_weights_come_first_and_then_our_order() {
        let all = &Coding::ALL[..];
        for (lines, ours, expected) in [
            (&[][..], all, None),
            (&[""], all, None),
            (&["gzip, deflate, br, zstd"], all, Some(Zstd)),
            (&["gzip, deflate, br"], all, Some(Brotli)),
            (&["gzip", "br"], all, Some(Brotli)),
            (&["deflate, gzip"], all, Some(Gzip)),
            (&["deflate, gzip"], &[Deflate, Gzip], Some(Deflate)),
            (&["br;q=0.8, gzip;q=0.9"], all, Some(Gzip)),
            (&["br;q=0.8 , gzip ; q=0.800"], all, Some(Brotli)),
            (&["br;q=0.001"], all, Some(Brotli)),
            (&["br;q=0"], all, None),
            (&["br;q=0.000, gzip;Q=1.000"], all, Some(Gzip)),
            (&["GZip"], all, Some(Gzip)),
            (&["x-gzip"], all, Some(Gzip)),
            (&["br"], &[Gzip], None),
            (&["br"], &[], None),
            (&["*"], all, Some(Zstd)),
            (&["*;q=0"], all, None),
            (&["zstd;q=0, *"], all, Some(Brotli)),
            (&["gzip;q=0.5, *;q=0.1"], all, Some(Gzip)),
            (&["identity"], all, None),
            (&["identity;q=0"], all, None),
            (&["identity;q=0, *;q=0"], all, None),
            (&["identity, gzip;q=0.5"], all, None),
            (&["identity;q=0.5, gzip;q=0.5"], all, Some(Gzip)),
            (&["identity;q=0.2, gzip;q=0.5"], all, Some(Gzip)),
            (&["br;q=2, gzip"], all, Some(Gzip)),
            (&["br;q=1.001, gzip;q=0.1"], all, Some(Gzip)),
            (
                &["br;q=, zstd;q=0.1234, deflate;q=.5, gzip;q=0.1"],
                all,
                Some(Gzip),
            ),
            (&["br;q=-1, zstd;x=1, gzip;q=0."], all, None),
            (&[",,;,;q=1,\u{fc}"], all, None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                let line = HeaderValue::from_bytes(line.as_bytes()).expect("a value");
                headers.append(ACCEPT_ENCODING, line);
            }
            assert_eq!(choose(&headers, ours), expected, "{lines:?} {ours:?}");
        }
    }
}
