//! `Vary`: which request fields an answer depends on (RFC 9110, 12.5.5).

use http::HeaderMap;
use http::header::{HeaderValue, VARY};

/// Adds the names in `fields`, which are separated by a comma and a space, to `Vary` on one line, but for those that
/// are there. One that says `*` says everything.
pub(crate) fn add_vary(headers: &mut HeaderMap, fields: &'static str) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, HeaderValue::from_static(fields));
        return;
    }
    let known = |field: &str| {
        let mut names = headers
            .get_all(VARY)
            .iter()
            .flat_map(|line| line.as_bytes().split(|b| *b == b','))
            .map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(field.as_bytes()))
    };
    if fields.split(", ").all(known) {
        return;
    }
    let mut list = Vec::new();
    for line in headers.get_all(VARY) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    for field in fields.split(", ").filter(|field| !known(field)) {
        list.extend_from_slice(field.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.truncate(list.len() - 2);
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(VARY, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_merged_into_one_line() {
        for (lines, fields, expected) in [
            (&[][..], "Origin", &["Origin"][..]),
            (&["Accept"], "Origin", &["Accept, Origin"]),
            (&["Accept", "Cookie"], "Origin", &["Accept, Cookie, Origin"]),
            (&["Accept, origin"], "Origin", &["Accept, origin"]),
            (&["*"], "Origin", &["*"]),
            (
                &["Accept", "b ,ORIGIN"],
                "Origin, A",
                &["Accept, b ,ORIGIN, A"],
            ),
            (&["Accept", "Origin"], "Origin", &["Accept", "Origin"]),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(VARY, HeaderValue::from_static(line));
            }
            add_vary(&mut headers, fields);
            let found: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(found, expected, "{lines:?} + {fields}");
        }
    }
}
