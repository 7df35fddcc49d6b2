//! The media types of gRPC, which say how its messages and its status are written.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// How a client speaks gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `application/grpc`: the status is in trailers.
    Native,
    /// `application/grpc-web`: the status is at the end of the body.
    Web,
    /// `application/grpc-web-text`: the same, in base64.
    WebText,
}

impl Dialect {
    /// What `Content-Type` says.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.as_bytes();
        Self::parse(value).map(|(dialect, _)| dialect)
    }

    /// The dialect of a media type, and what comes behind the name, such as `+proto`.
    pub(crate) fn parse(value: &[u8]) -> Option<(Self, &[u8])> {
        // Longer names first: each is the beginning of the one before.
        const NAMES: [(&[u8], Dialect); 4] = [
            (b"application/grpc-web-text-base64", Dialect::WebText),
            (b"application/grpc-web-text", Dialect::WebText),
            (b"application/grpc-web", Dialect::Web),
            (b"application/grpc", Dialect::Native),
        ];
        NAMES.iter().find_map(|(name, dialect)| {
            let (head, rest) = value.split_at_checked(name.len())?;
            let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
            (ends && head.eq_ignore_ascii_case(name)).then_some((*dialect, rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_told_by_the_media_type() {
        for (value, dialect) in [
            ("application/grpc", Some((Dialect::Native, ""))),
            ("application/grpc+proto", Some((Dialect::Native, "+proto"))),
            ("Application/gRPC;a=b", Some((Dialect::Native, ";a=b"))),
            ("application/grpc-web", Some((Dialect::Web, ""))),
            ("application/grpc-web+json", Some((Dialect::Web, "+json"))),
            ("application/grpc-web-text", Some((Dialect::WebText, ""))),
            (
                "application/grpc-web-text+proto",
                Some((Dialect::WebText, "+proto")),
            ),
            (
                "application/grpc-web-text-base64",
                Some((Dialect::WebText, "")),
            ),
            ("application/grpcx", None),
            ("application/grpc-webx", None),
            ("application/json", None),
            ("", None),
        ] {
            let parsed = Dialect::parse(value.as_bytes());
            let expected = dialect.map(|(dialect, rest)| (dialect, rest.as_bytes()));
            assert_eq!(parsed, expected, "{value}");
        }
    }
}
