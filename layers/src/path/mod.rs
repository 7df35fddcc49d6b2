//! Paths: the one form in which rules see them and servers get them, and how a request gets another path or query.
//!
//! ```
//! use a3s_layers::path::normalize;
//!
//! assert_eq!(normalize("/a/%2e%2e//%62").as_deref(), Some("/b"));
//! assert_eq!(normalize("/../b"), None);
//! ```

mod normal;

pub(crate) use normal::has_parent_segment;
pub use normal::{normalize, routing};

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;

/// Replaces the path of `uri` by `path`, which begins with a slash. Where the two make no URI, as when they are longer
/// than one can be, nothing changes, and the answer is false.
#[must_use]
pub(crate) fn set_path(uri: &mut Uri, path: &str) -> bool {
    let text = match uri.query() {
        Some(query) => Bytes::from([path, "?", query].concat()),
        None => Bytes::copy_from_slice(path.as_bytes()),
    };
    // A question mark in the path would begin another query, and what follows a `#` would be lost.
    !path.contains(['?', '#']) && set_path_and_query(uri, text)
}

/// Replaces the query of `uri`, which has one or not. Where the two make no URI, nothing changes.
#[cfg(any(feature = "api-key", feature = "jwt"))]
pub(crate) fn set_query(uri: &mut Uri, query: Option<&str>) {
    let path = uri.path();
    let text = match query {
        Some(query) => Bytes::from([path, "?", query].concat()),
        None => Bytes::copy_from_slice(path.as_bytes()),
    };
    set_path_and_query(uri, text);
}

fn set_path_and_query(uri: &mut Uri, text: Bytes) -> bool {
    let Ok(path_and_query) = PathAndQuery::from_maybe_shared(text) else {
        return false;
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path_and_query);
    // A URI that had a path before has all that it needs with another one.
    *uri = Uri::from_parts(parts).unwrap_or_default();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_uri_stays() {
        for (uri, path, expected) in [
            ("/a?q=1", "/b", "/b?q=1"),
            ("/a", "/b/c", "/b/c"),
            ("http://h:1/a?", "/", "http://h:1/?"),
            ("/a?q", "/ ", "/a?q"),
            ("/a?q", "b", "/a?q"),
            ("/a?q", "/b?x", "/a?q"),
            ("/a", "/b#x", "/a"),
        ] {
            let before: Uri = uri.parse().expect("a URI");
            let mut uri = before.clone();
            let is_set = set_path(&mut uri, path);
            assert_eq!(uri.to_string(), expected);
            assert_eq!(is_set, uri != before);
        }
        let long = format!("/{}", "a".repeat(1 << 16));
        assert!(!set_path(&mut Uri::from_static("/a"), &long));
    }
}
