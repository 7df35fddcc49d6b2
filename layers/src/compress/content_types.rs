//! Content types that are worth compressing.

use super::CompressError;
use http::header::{CONTENT_TYPE, HeaderMap};
use std::sync::Arc;

/// What is text in one way or another, or compresses like it.
const DEFAULTS: &[&str] = &[
    "text/*",
    "application/*+json",
    "application/*+xml",
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/ndjson",
    "application/sql",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/*+xml",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// Types of content: by default those of text, JSON, XML, JavaScript, WebAssembly, fonts and images that are not
/// compressed by themselves.
#[derive(Debug, Clone)]
pub struct ContentTypes(Arc<[Pattern]>);

/// A type, or with `*` for one of its two halves, or for the beginning of the second.
#[derive(Debug, Clone)]
struct Pattern {
    kind: Option<Box<str>>,
    subtype: Subtype,
}

#[derive(Debug, Clone)]
enum Subtype {
    Any,
    Is(Box<str>),
    EndsWith(Box<str>),
}

impl Default for ContentTypes {
    fn default() -> Self {
        let defaults = DEFAULTS.iter().map(|text| Pattern::parse(text));
        Self(defaults.map(|p| p.expect("each of these is one")).collect())
    }
}

impl ContentTypes {
    /// Reads types such as `text/html`. `*` stands for all of a half, or for the beginning of the second: `text/*`,
    /// `application/*+json`, `*/*`.
    pub fn parse(
        patterns: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, CompressError> {
        let patterns = patterns.into_iter();
        let patterns: Option<_> = patterns.map(|text| Pattern::parse(text.as_ref())).collect();
        patterns.map(Self).ok_or(CompressError::ContentType)
    }

    /// Whether an answer with these headers is of one of these types, and no stream of messages that are to be read
    /// one by one.
    pub(super) fn contain(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return false;
        };
        let value = value.as_bytes();
        let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        let essence = value[..end].trim_ascii();
        let Some(slash) = essence.iter().position(|b| *b == b'/') else {
            return false;
        };
        let (kind, subtype) = (&essence[..slash], &essence[slash + 1..]);
        !is_messages(essence) && self.0.iter().any(|pattern| pattern.matches(kind, subtype))
    }
}

/// Server-sent events, and gRPC, which compresses each message by itself.
fn is_messages(essence: &[u8]) -> bool {
    let begins = |with: &[u8]| {
        let start = essence.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    essence.eq_ignore_ascii_case(b"text/event-stream") || begins(b"application/grpc")
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (kind, subtype) = text.split_once('/')?;
        let subtype = match subtype.strip_prefix('*') {
            Some("") => Subtype::Any,
            Some(end) if is_token(end) => Subtype::EndsWith(end.into()),
            None if is_token(subtype) => Subtype::Is(subtype.into()),
            _ => return None,
        };
        let kind = match (kind, &subtype) {
            ("*", Subtype::Any) => None,
            (kind, _) if is_token(kind) => Some(kind.into()),
            _ => return None,
        };
        Some(Self { kind, subtype })
    }

    fn matches(&self, kind: &[u8], subtype: &[u8]) -> bool {
        let is_kind = match &self.kind {
            Some(own) => own.as_bytes().eq_ignore_ascii_case(kind),
            None => true,
        };
        is_kind
            && match &self.subtype {
                Subtype::Any => true,
                Subtype::Is(own) => own.as_bytes().eq_ignore_ascii_case(subtype),
                Subtype::EndsWith(end) => {
                    let at = subtype.len().checked_sub(end.len());
                    at.is_some_and(|at| subtype[at..].eq_ignore_ascii_case(end.as_bytes()))
                }
            }
    }
}

/// As RFC 6838, 4.2 has the halves of a type.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn contains(types: &ContentTypes, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        headers.insert(CONTENT_TYPE, value);
        types.contain(&headers)
    }

    #[test]
    fn text_is_compressed_and_what_is_compressed_is_not() {
        let types = ContentTypes::default();
        for (value, expected) in [
            ("text/html", true),
            ("TEXT/HTML;charset=utf-8", true),
            ("application/json ; charset=utf-8", true),
            ("application/problem+JSON", true),
            ("application/vnd.api+json;x=1", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("image/png", false),
            ("video/mp4", false),
            ("font/woff2", false),
            ("application/zip", false),
            ("application/octet-stream", false),
            ("application/jsonp+zip", false),
            ("text/event-stream", false),
            ("Text/Event-Stream;charset=utf-8", false),
            ("application/grpc", false),
            ("application/grpc-web+json", false),
            ("text", false),
            ("text/", true),
            ("", false),
            ("\u{fc}/\u{fc}", false),
        ] {
            assert_eq!(contains(&types, value), expected, "{value}");
        }
        assert!(!types.contain(&HeaderMap::new()));
        let all = ContentTypes::parse(["*/*"]).expect("a pattern");
        assert!(contains(&all, "image/png"));
        assert!(!contains(&all, "text/event-stream"));
        let some = ContentTypes::parse([" Text/CSV", "application/*+zip"]).expect("patterns");
        assert!(contains(&some, "text/csv") && contains(&some, "application/a+zip"));
        assert!(!contains(&some, "text/html") && !contains(&some, "application/zip"));
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "",
            "text",
            "/",
            "text/",
            "/html",
            "*",
            "*/html",
            "te*/x",
            "text/h*",
            "text/html;q=1",
            "a/b/c",
            "text/**",
            "text/ü",
        ] {
            assert!(ContentTypes::parse([text]).is_err(), "{text}");
        }
    }
}
