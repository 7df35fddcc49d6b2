//! The URL that a client has asked for, and the one that it is sent to.

use super::Unfit;
use crate::peer::is_https;
use http::Request;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Uri};
use std::fmt::Write;

/// What is spoken to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        match is_https(request) {
            true => Self::Https,
            false => Self::Http,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port of a request.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Unfit> {
        let scheme = Scheme::of(request);
        let header = request.headers().get(HOST).map(HeaderValue::as_bytes);
        let given = header.map(|host| Authority::try_from(host).map_err(|_| Unfit));
        let authority = match given.transpose()? {
            Some(authority) => authority,
            None => request.uri().authority().cloned().ok_or(Unfit)?,
        };
        let text = authority.as_str();
        let host = authority.host();
        let port = match text.strip_prefix(host) {
            Some("" | ":") => scheme.port(),
            // With a user in it, the text does not begin with the host.
            Some(port) => port[1..].parse().map_err(|_| Unfit)?,
            None => return Err(Unfit),
        };
        if host.is_empty() {
            return Err(Unfit);
        }
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// The URL with another scheme or port, where that makes a difference.
    pub(super) fn moved(mut self, scheme: Scheme, port: Option<u16>, uri: &Uri) -> Option<String> {
        let is_right = self.scheme == scheme && port.is_none_or(|port| port == self.port);
        if is_right {
            return None;
        }
        self.scheme = scheme;
        self.port = port.unwrap_or(scheme.port());
        Some(self.with_path(uri))
    }

    /// The whole URL.
    pub(super) fn with_path(&self, uri: &Uri) -> String {
        let mut url = self.text();
        // That of `OPTIONS *` is none.
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        url.push_str(if path == "*" { "/" } else { path });
        url
    }

    /// Scheme, host and port as they stand before a path.
    pub(super) fn text(&self) -> String {
        let Self { scheme, host, port } = self;
        let mut url = [scheme.as_str(), "://", host].concat();
        if *port != scheme.port() {
            let _ = write!(url, ":{port}");
        }
        url
    }
}

/// A URL as `Location` has it: what cannot stand in one is percent-encoded. `http::Uri` is more lenient, and lets
/// through the backslash, for one, which browsers take for a slash.
pub(super) fn header(url: &str) -> Result<HeaderValue, Unfit> {
    let mut text = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                let _ = write!(text, "%{byte:02X}");
            }
            byte if byte.is_ascii_graphic() => text.push(char::from(byte)),
            byte => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    HeaderValue::try_from(text).map_err(|_| Unfit)
}
