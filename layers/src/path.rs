//! Gives a request another path, or another query.

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;

/// Replaces the path of `uri` by `path`, which begins with a slash. Where the two make no URI, nothing changes.
pub(crate) fn set_path(uri: &mut Uri, path: &str) {
    let text = match uri.query() {
        Some(query) => Bytes::from([path, "?", query].concat()),
        None => Bytes::copy_from_slice(path.as_bytes()),
    };
    set_path_and_query(uri, text);
}

/// Replaces the query of `uri`, which has one or not. Where the two make no URI, nothing changes.
#[cfg(feature = "api-key")]
pub(crate) fn set_query(uri: &mut Uri, query: Option<&str>) {
    let path = uri.path();
    let text = match query {
        Some(query) => Bytes::from([path, "?", query].concat()),
        None => Bytes::copy_from_slice(path.as_bytes()),
    };
    set_path_and_query(uri, text);
}

fn set_path_and_query(uri: &mut Uri, text: Bytes) {
    let Ok(path_and_query) = PathAndQuery::from_maybe_shared(text) else {
        return;
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path_and_query);
    // A URI that had a path before has all that it needs with another one.
    *uri = Uri::from_parts(parts).unwrap_or_default();
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
        ] {
            let mut uri: Uri = uri.parse().expect("a URI");
            set_path(&mut uri, path);
            assert_eq!(uri.to_string(), expected);
        }
    }
}
