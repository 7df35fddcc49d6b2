//! Where the page of a status is.

use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use std::fmt;
use std::str::FromStr;

/// The most of a request's path and query that is told to whoever makes the page; the rest is cut off.
const MAX_URL: usize = 2048;

/// Why a text does not say where pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageQueryError {
    /// It does not begin with a slash, or makes no path and query.
    #[error("not a path that begins with `/`, and perhaps a query")]
    Path,
    /// Braces with something else than these two between them.
    #[error("what can stand in braces is `{{status}}` and `{{url}}`")]
    Placeholder,
}

/// A path and query with `{status}` and `{url}` in it.
///
/// `{status}` is the status of the answer, and `{url}` the path and query of the request, percent-encoded, so that it
/// is one segment of a path or one value of a query; 2 KiB of it at most.
///
/// ```
/// use a3s_layers::error_pages::PageQuery;
///
/// assert!("/errors/{status}.html?from={url}".parse::<PageQuery>().is_ok());
/// assert!("/{code}".parse::<PageQuery>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Status,
    Url,
}

impl Default for PageQuery {
    /// `/{status}.html`.
    fn default() -> Self {
        let text = |text: &str| Piece::Text(text.to_owned());
        Self(vec![text("/"), Piece::Status, text(".html")])
    }
}

impl fmt::Display for PageQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| {
            f.write_str(match piece {
                Piece::Text(text) => text,
                Piece::Status => "{status}",
                Piece::Url => "{url}",
            })
        })
    }
}

impl FromStr for PageQuery {
    type Err = PageQueryError;

    fn from_str(text: &str) -> Result<Self, PageQueryError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, braces) = rest.split_at(at);
            pieces.push(Piece::Text(before.to_owned()));
            let (piece, behind) = match (
                braces.strip_prefix("{status}"),
                braces.strip_prefix("{url}"),
            ) {
                (Some(behind), _) => (Piece::Status, behind),
                (_, Some(behind)) => (Piece::Url, behind),
                _ => return Err(PageQueryError::Placeholder),
            };
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let query = Self(pieces);
        let sample = query.uri(StatusCode::NOT_FOUND, &Uri::from_static("/"));
        let is_whole = sample.is_some() && text.starts_with('/') && !text.contains('#');
        is_whole.then_some(query).ok_or(PageQueryError::Path)
    }
}

impl PageQuery {
    /// Where the page is; none where the two make no URI.
    pub(super) fn uri(&self, status: StatusCode, url: &Uri) -> Option<Uri> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(own) => text.push_str(own),
                Piece::Status => text.push_str(status.as_str()),
                Piece::Url => escape(url, &mut text),
            }
        }
        let query = PathAndQuery::from_maybe_shared(bytes::Bytes::from(text)).ok()?;
        Some(Uri::from(query))
    }
}

/// Percent-encodes everything but what RFC 3986, 2.3 calls unreserved.
fn escape(url: &Uri, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let url = url.path_and_query().map_or("/", PathAndQuery::as_str);
    for byte in url.bytes().take(MAX_URL) {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_where_its_query_says() {
        for (query, url, expected) in [
            ("/{status}.html", "/a", "/503.html"),
            ("/", "/a", "/"),
            ("/{status}/{status}?s={status}", "/a", "/503/503?s=503"),
            (
                "/e?from={url}",
                "/a/b?c=d&e=%2F",
                "/e?from=%2Fa%2Fb%3Fc%3Dd%26e%3D%252F",
            ),
            ("/{url}", "http://host/a?b", "/%2Fa%3Fb"),
            ("/{url}", "*", "/%2A"),
        ] {
            let text = query;
            let query: PageQuery = text.parse().expect("a query");
            assert_eq!(query.to_string(), text);
            let url = url.parse().expect("a URI");
            let uri = query.uri(StatusCode::SERVICE_UNAVAILABLE, &url);
            assert_eq!(uri.expect("a URI").to_string(), expected);
        }
        let default = PageQuery::default();
        let uri = default.uri(StatusCode::NOT_FOUND, &Uri::from_static("/a"));
        assert_eq!(uri.expect("a URI"), "/404.html");
        let long: Uri = format!("/{}", "/".repeat(60_000)).parse().expect("a URI");
        let query: PageQuery = "/{url}{url}".parse().expect("a query");
        let uri = query.uri(StatusCode::NOT_FOUND, &long).expect("a URI");
        assert_eq!(uri.path().len(), 1 + 2 * 3 * MAX_URL);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for (text, expected) in [
            ("", PageQueryError::Path),
            ("{status}.html", PageQueryError::Path),
            ("404.html", PageQueryError::Path),
            ("http://host/", PageQueryError::Path),
            ("/a b", PageQueryError::Path),
            ("/a#b", PageQueryError::Path),
            ("/{code}", PageQueryError::Placeholder),
            ("/{", PageQueryError::Placeholder),
            ("/}", PageQueryError::Placeholder),
            ("/{{status}}", PageQueryError::Placeholder),
        ] {
            assert_eq!(text.parse::<PageQuery>(), Err(expected), "{text}");
        }
    }
}
