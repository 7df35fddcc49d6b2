//! Values in a request's query (`application/x-www-form-urlencoded`, as the URL standard decodes it).

use crate::path::set_query;
use http::Uri;
#[cfg(any(feature = "api-key", test))]
use std::borrow::Cow;

/// The values of the parameter `name`, as they were written.
pub(super) fn raw_values<'u>(uri: &'u Uri, name: &str) -> impl Iterator<Item = &'u str> {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        is_name(key, name).then_some(value)
    })
}

/// Removes the parameter `name`; the others stay as they were written.
pub(super) fn remove(uri: &mut Uri, name: &str) {
    let Some(query) = uri.query() else { return };
    let is_other = |pair: &&str| !is_name(pair.split('=').next().unwrap_or_default(), name);
    let others: Vec<&str> = query.split('&').filter(is_other).collect();
    let others = (!others.is_empty()).then(|| others.join("&"));
    set_query(uri, others.as_deref());
}

/// What was written, decoded: `+` is a space, `%2B` a plus. What is no escape stands for itself.
#[cfg(any(feature = "api-key", test))]
pub(super) fn decode(raw: &str) -> Cow<'_, [u8]> {
    match raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        true => Cow::Owned(decoded(raw).collect()),
        false => Cow::Borrowed(raw.as_bytes()),
    }
}

fn is_name(raw: &str, name: &str) -> bool {
    decoded(raw).eq(name.bytes())
}

fn decoded(raw: &str) -> impl Iterator<Item = u8> {
    let mut rest = raw.as_bytes();
    std::iter::from_fn(move || {
        let (first, others) = rest.split_first()?;
        let escaped = match (first, others) {
            (b'%', [high, low, left @ ..]) => digit(*high).zip(digit(*low)).map(|hex| (hex, left)),
            _ => None,
        };
        let (byte, left) = match escaped {
            Some(((high, low), left)) => (high << 4 | low, left),
            None if *first == b'+' => (b' ', others),
            None => (*first, others),
        };
        rest = left;
        Some(byte)
    })
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_under_every_spelling_of_its_name() {
        for (query, values) in [
            ("key=a", &["a"][..]),
            ("a=1&key=a&key=b&keys=c", &["a", "b"]),
            ("%6bey=a&k%65y=b", &["a", "b"]),
            ("key", &[""]),
            ("key=a=b", &["a=b"]),
            ("KEY=a&a=key", &[]),
            ("", &[]),
        ] {
            let uri: Uri = format!("/?{query}").parse().expect("a URI");
            let found: Vec<&str> = raw_values(&uri, "key").collect();
            assert_eq!(found, values, "{query}");
        }
    }

    #[test]
    fn escapes_are_decoded_and_what_is_none_stays() {
        for (raw, expected) in [
            ("abc", "abc"),
            ("a%2Bb%2bc", "a+b+c"),
            ("a+b", "a b"),
            ("%2525", "%25"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%+1", "%zz% 1"),
            ("%%41", "%A"),
            ("%C3%BC", "ü"),
        ] {
            assert_eq!(decode(raw), expected.as_bytes(), "{raw}");
        }
    }

    #[test]
    fn only_the_parameter_is_removed() {
        for (uri, expected) in [
            ("/a?key=1", "/a"),
            ("/a?b=%2f&key=1&c", "/a?b=%2f&c"),
            ("/a?%6Bey=1&key=2&&b", "/a?&b"),
            ("/a?keys=1", "/a?keys=1"),
            ("http://h/?key", "http://h/"),
            ("/a", "/a"),
        ] {
            let mut uri: Uri = uri.parse().expect("a URI");
            remove(&mut uri, "key");
            assert_eq!(uri.to_string(), expected);
        }
    }
}
