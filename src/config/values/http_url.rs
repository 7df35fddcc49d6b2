//! The URL of a resource that the gateway asks for itself.

use super::{STAND_IN, Scheme, ServerUrl, ValueError, parsed};
use crate::rule::Protocol;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Where to ask, and for what: `https://auth.example/check?x=1`. A query may have a key in it: printed and serialized
/// it is `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    server: ServerUrl,
    path: String,
}

impl HttpUrl {
    /// Scheme, host and port.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Path and query; `/` where none is written.
    pub fn path_and_query(&self) -> &str {
        &self.path
    }

    /// Whether it is asked for over TLS.
    pub fn is_https(&self) -> bool {
        self.server.scheme() == Scheme::Https
    }
}

impl FromStr for HttpUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<HttpUrl, ValueError> {
        if text == STAND_IN {
            return Ok(HttpUrl {
                server: text.parse()?,
                path: "/".to_owned(),
            });
        }
        if text.starts_with("unix:") {
            return Err(ValueError::new("it is asked for with `http` or `https`").at(0..5));
        }
        let start = text.find("://").map_or(0, |colon| colon + 3);
        let end = text[start..]
            .find(['/', '?', '#'])
            .map_or(text.len(), |at| start + at);
        let server: ServerUrl = text[..end].parse()?;
        if server.scheme().protocol() != Protocol::Http {
            return Err(ValueError::new("it is asked for with `http` or `https`").at(0..start));
        }
        let rest = &text[end..];
        if let Some(fragment) = rest.find('#') {
            return Err(ValueError::new("a fragment (`#`) is not sent to servers")
                .at(end + fragment..text.len()));
        }
        let path = match rest.starts_with('/') {
            true => rest.to_owned(),
            false => format!("/{rest}"),
        };
        if path.parse::<http::uri::PathAndQuery>().is_err() || !path.is_ascii() {
            return Err(
                ValueError::new("the path has characters that a URL cannot have")
                    .at(end..text.len())
                    .help("percent-encode them"),
            );
        }
        Ok(HttpUrl { server, path })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.split_once('?') {
            Some((path, _)) => write!(f, "{}{path}?***", self.server),
            None => write!(f, "{}{}", self.server, self.path),
        }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for HttpUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HttpUrl, D::Error> {
        parsed(
            deserializer,
            "a URL such as \"https://auth.example/check\"",
            str::parse,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_server_and_a_path() {
        for (text, server, path) in [
            ("http://a", "http://a", "/"),
            ("http://a:81/", "http://a:81", "/"),
            ("https://a/b/c?d=e", "https://a", "/b/c?d=e"),
            ("http://[::1]:8?x", "http://[::1]:8", "/?x"),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!(url.server().to_string(), server);
            assert_eq!(url.path_and_query(), path);
            let shown = match path.split_once('?') {
                Some((path, _)) => format!("{server}{path}?***"),
                None => format!("{server}{path}"),
            };
            assert_eq!(
                (format!("{url}"), format!("{url:?}")),
                (shown.clone(), shown.clone())
            );
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
            let other: HttpUrl = format!("{text}?key=2").parse().unwrap();
            assert_ne!(url, other, "for a reload it is another");
        }
        for (text, span) in [
            ("a/b", None),
            ("ftp://a/b", Some(0..3)),
            ("tcp://a:1/b", Some(0..6)),
            ("unix:/a", Some(0..5)),
            ("http://u:p@a/b", Some(7..11)),
            ("http://a/b#c", Some(10..12)),
            ("http://a/b c", Some(8..12)),
        ] {
            assert_eq!(text.parse::<HttpUrl>().unwrap_err().span, span, "{text}");
        }
    }
}
