//! Paths: the form that goes upstream, and the form that rules see.

use std::borrow::Cow;

/// A path as it goes upstream, or `None` where it has no such form.
///
/// Escapes of unreserved characters are decoded, the others written in upper case; empty and dot segments
/// are gone. A slash at the end stays, and none comes to be there. Refused are broken escapes, `%00`, raw
/// bytes that are not visible ASCII, and a `..` that would leave the root. `path` begins with `/`.
pub fn normalize(path: &str) -> Option<Cow<'_, str>> {
    if is_normal(path.as_bytes())? {
        return Some(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path.as_bytes());
    let mut normal = String::with_capacity(decoded.len());
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => normal.truncate(normal.rfind('/')?),
            name => {
                normal.push('/');
                normal.push_str(name);
            }
        }
    }
    if decoded.ends_with('/') || normal.is_empty() {
        normal.push('/');
    }
    Some(Cow::Owned(normal))
}

/// The form in which rules see a [normal](normalize) path: decoded, but for the reserved characters and for
/// what would not be UTF-8.
pub fn routing(path: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'%', path.as_bytes()) else {
        return Cow::Borrowed(path);
    };
    let mut decoded = path.as_bytes()[..first].to_vec();
    let mut rest = &path.as_bytes()[first..];
    while let [next, after @ ..] = rest {
        match escaped(rest) {
            Some(byte) if !is_reserved(byte) => {
                decoded.push(byte);
                rest = &rest[3..];
            }
            _ => {
                decoded.push(*next);
                rest = after;
            }
        }
    }
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => escape_invalid(error.as_bytes()),
    })
}

/// Whether some segment is `..`, escaped or not.
pub(crate) fn has_parent_segment(path: &str) -> bool {
    fn behind_dot(segment: &str) -> Option<&str> {
        let spellings = [".", "%2E", "%2e"];
        spellings.iter().find_map(|dot| segment.strip_prefix(dot))
    }
    path.split('/')
        .any(|segment| behind_dot(segment).and_then(behind_dot) == Some(""))
}

/// Whether a path is in normal form already, or `None` where it is refused.
fn is_normal(path: &[u8]) -> Option<bool> {
    let mut is_normal = true;
    let mut rest = path;
    while let [next, after @ ..] = rest {
        rest = after;
        match next {
            b'/' => is_normal &= !begins_with_dot_segment(after) && after.first() != Some(&b'/'),
            b'%' => {
                let [high, low, after @ ..] = after else {
                    return None;
                };
                let byte = hex(*high)? << 4 | hex(*low)?;
                if byte == 0 {
                    return None;
                }
                let is_upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
                is_normal &= is_upper && !is_unreserved(byte);
                rest = after;
            }
            other if other.is_ascii_graphic() => {}
            _ => return None,
        }
    }
    Some(is_normal)
}

fn begins_with_dot_segment(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
    )
}

fn decode_unreserved(path: &[u8]) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let [next, after @ ..] = rest {
        match escaped(rest) {
            Some(byte) if is_unreserved(byte) => decoded.push(char::from(byte)),
            Some(byte) => push_escape(&mut decoded, byte),
            None => {
                decoded.push(char::from(*next));
                rest = after;
                continue;
            }
        }
        rest = &rest[3..];
    }
    decoded
}

/// Writes as text what is UTF-8, and as escapes what is not.
fn escape_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            push_escape(&mut text, *byte);
        }
    }
    text
}

fn push_escape(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    for digit in [byte >> 4, byte & 0xf] {
        text.push(char::from(DIGITS[usize::from(digit)]));
    }
}

/// The byte that the escape at the beginning stands for.
fn escaped(rest: &[u8]) -> Option<u8> {
    match rest {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 2.2, and the escape character itself.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, normal, seen) in [
            ("/", "/", "/"),
            ("/a/b/", "/a/b/", "/a/b/"),
            ("/a%20b", "/a%20b", "/a b"),
            ("/a%2fb", "/a%2Fb", "/a%2Fb"),
            ("/%c3%a9", "/%C3%A9", "/é"),
            ("/%41%7e", "/A~", "/A~"),
            ("/a%2541", "/a%2541", "/a%2541"),
            ("/%ff%20", "/%FF%20", "/%FF "),
            ("/%C3%A9%C3", "/%C3%A9%C3", "/é%C3"),
            ("//a///b//", "/a/b/", "/a/b/"),
            ("/a/./b/.", "/a/b", "/a/b"),
            ("/a/../b", "/b", "/b"),
            ("/a/b/..", "/a", "/a"),
            ("/a/b/../", "/a/", "/a/"),
            ("/a/%2e%2E/b", "/b", "/b"),
            ("/a/.%2e", "/", "/"),
            ("/..a/.b/...", "/..a/.b/...", "/..a/.b/..."),
            ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
            (
                "/a;b=c:@!$&'()*+,",
                "/a;b=c:@!$&'()*+,",
                "/a;b=c:@!$&'()*+,",
            ),
        ] {
            let found = normalize(path).expect(path);
            assert_eq!(found, normal, "{path}");
            assert_eq!(matches!(found, Cow::Borrowed(_)), path == normal, "{path}");
            assert_eq!(routing(&found), seen, "{path}");
        }
    }

    #[test]
    fn a_path_without_a_form_is_refused() {
        for path in [
            "/%",
            "/%4",
            "/%zz",
            "/%4g",
            "/%00",
            "/a%+1",
            "/é",
            "/a b",
            "/\u{7f}",
            "/..",
            "/../a",
            "/a/../..",
            "/a/%2e%2e/../b",
            "//..",
        ] {
            assert_eq!(normalize(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_as_it_is(path in "/([a/.~é ]|%2[eEfF0]|%4[1a]|%[cC]3|%[0-9a-g]{0,2}){0,12}") {
            if let Some(normal) = normalize(&path) {
                let again = normalize(&normal);
                prop_assert!(matches!(again, Some(Cow::Borrowed(_))), "{path} {normal}");
                prop_assert!(normal.starts_with('/') && !normal.contains("//"));
                prop_assert_eq!(normal.ends_with('/'), path.ends_with('/') || normal == "/");
            }
            routing(&path);
        }
    }
}
