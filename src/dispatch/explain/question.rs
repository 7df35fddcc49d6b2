//! What is asked: a request, or a connection, as a client would send it.

use super::redact::shown;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Uri};
use std::net::{IpAddr, Ipv4Addr};

/// The longest URL, in bytes: what the HTTP library takes.
pub const MAX_URL: usize = 65_534;

/// The most fields that may be given.
pub const MAX_FIELDS: usize = 100;

/// The most bytes that fields may have, all together.
pub const MAX_FIELD_BYTES: usize = 64 * 1024;

/// A request that nobody sends.
#[derive(Debug, Clone)]
pub struct Question {
    pub(super) method: Method,
    pub(super) scheme: Option<String>,
    pub(super) authority: Option<Authority>,
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) client_ip: IpAddr,
    pub(super) server_name: Option<String>,
    pub(super) alpn: Vec<String>,
    pub(super) entrypoint: Option<String>,
}

/// Why there is nothing to be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unaskable {
    /// No method of HTTP.
    #[error("`{0}` is not a method: that comes first, and then the URL")]
    Method(String),
    /// No URL, or too long a one.
    #[error("not a URL: {0}")]
    Url(&'static str),
    /// No field.
    #[error("not a header: {0}")]
    Header(&'static str),
    /// No address.
    #[error("`{0}` is not an IP address")]
    ClientIp(String),
    /// No such entrypoint.
    #[error("unknown entrypoint `{name}`, there are: {known}")]
    UnknownEntrypoint {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Nobody listens for the URL.
    #[error(
        "no entrypoint listens for {asked}; write the port of one, or name it (`entrypoint`): {known}"
    )]
    NoEntrypoint {
        /// What the URL asks for: its scheme, and its port.
        asked: String,
        /// The entrypoints that there are.
        known: String,
    },
    /// Several entrypoints could be meant.
    #[error(
        "a path alone does not say which entrypoint it comes to; write a whole URL, or name one (`entrypoint`): {known}"
    )]
    WhichEntrypoint {
        /// The entrypoints that there are, each with a URL.
        known: String,
    },
}

impl Question {
    /// A request with this method for a URL: `https://example.com/path`; `example.com/path`, which is taken as `http`
    /// where an entrypoint speaks that, and else as `https`; or `/path`, which has no host, and finds an entrypoint
    /// where there is one only, or it is [named](Self::entrypoint). `tcp://host:5432`, `tls://...` and `udp://...` are
    /// connections; their method means nothing. It comes from 127.0.0.1.
    ///
    /// # Errors
    /// It is no method, or no URL.
    pub fn new(method: &str, url: &str) -> Result<Self, Unaskable> {
        let uri = uri(url)?;
        let written = method;
        let method = Method::from_bytes(written.as_bytes())
            .map_err(|_| Unaskable::Method(shown(&written.chars().take(40).collect::<String>())))?;
        let target = uri.path_and_query().cloned();
        let scheme = uri.scheme_str().filter(|_| url.contains("://"));
        Ok(Self {
            method,
            scheme: scheme.map(str::to_ascii_lowercase),
            authority: uri.authority().cloned(),
            target: target.unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers: HeaderMap::new(),
            client_ip: Ipv4Addr::LOCALHOST.into(),
            server_name: None,
            alpn: Vec::new(),
            entrypoint: None,
        })
    }

    /// Adds a field, as it would be written: `Name: value`. A `Host` stands in place of the URL's.
    ///
    /// # Errors
    /// It is no field, or one too many.
    pub fn header(mut self, line: &str) -> Result<Self, Unaskable> {
        let (name, value) =
            (line.split_once(':')).ok_or(Unaskable::Header("write it as `Name: value`"))?;
        let name: HeaderName =
            (name.parse()).map_err(|_| Unaskable::Header("the name is not one of HTTP"))?;
        let value: HeaderValue = (value.trim().parse())
            .map_err(|_| Unaskable::Header("the value has characters that no header can carry"))?;
        if [TRANSFER_ENCODING, CONTENT_LENGTH].contains(&name) {
            // What they say of a body decides how its connection is read, before anything here.
            return Err(Unaskable::Header("a request that nobody sends has no body"));
        }
        let fields = self.headers.iter();
        let bytes = fields.map(|(name, value)| name.as_str().len() + value.len());
        if self.headers.len() >= MAX_FIELDS
            || bytes.sum::<usize>() + name.as_str().len() + value.len() > MAX_FIELD_BYTES
        {
            return Err(Unaskable::Header("there are too many, or too long ones"));
        }
        self.headers.append(name, value);
        Ok(self)
    }

    /// The address that it comes from. Forwarded headers are believed where the entrypoint trusts it.
    #[must_use]
    pub fn client_ip(mut self, ip: IpAddr) -> Self {
        self.client_ip = ip;
        self
    }

    /// As [`Question::client_ip`], of a text.
    ///
    /// # Errors
    /// It is no address.
    pub fn client_ip_text(self, text: &str) -> Result<Self, Unaskable> {
        let cut = || text.chars().take(40).collect();
        let ip = text.parse().map_err(|_| Unaskable::ClientIp(cut()))?;
        Ok(self.client_ip(ip))
    }

    /// The name that the client asks for in the TLS handshake; that of the URL where it is not said.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// A protocol that the client offers in the TLS handshake; may be called more than once.
    #[must_use]
    pub fn alpn(mut self, protocol: impl Into<String>) -> Self {
        self.alpn.push(protocol.into());
        self
    }

    /// The entrypoint that it comes to, in place of the one that the URL's scheme and port find.
    #[must_use]
    pub fn entrypoint(mut self, name: impl Into<String>) -> Self {
        self.entrypoint = Some(name.into());
        self
    }

    /// The host of the URL, without its port.
    pub(super) fn host(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::host)
    }

    /// The port of the URL, or the one that its scheme stands for.
    pub(super) fn port(&self) -> Option<u16> {
        self.port_for(self.scheme.as_deref()?)
    }

    /// The port of the URL, or the one that this scheme stands for.
    pub(super) fn port_for(&self, scheme: &str) -> Option<u16> {
        let written = self.authority.as_ref().and_then(Authority::port_u16);
        written.or(match scheme {
            "http" | "ws" => Some(80),
            "https" | "wss" | "tls" => Some(443),
            _ => None,
        })
    }

    /// Whether it says what host it is for.
    pub(super) fn has_host(&self) -> bool {
        self.authority.is_some() || self.headers.contains_key(HOST)
    }

    /// The fields of the request, `Host` first.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(authority) = &self.authority
            && !self.headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(HOST, host);
        }
        headers.extend(self.headers.clone());
        headers
    }
}

/// A URL with its scheme or without it, or a path.
fn uri(url: &str) -> Result<Uri, Unaskable> {
    let wrong = |why| Err(Unaskable::Url(why));
    if url.is_empty() {
        return wrong("it is empty; write it as https://example.com/path");
    }
    if url.len() > MAX_URL {
        return wrong("it is longer than 65534 bytes");
    }
    if url.contains(char::is_whitespace) {
        return wrong("it has a space in it, which is written %20");
    }
    let has_scheme = url.contains("://");
    let is = |scheme: &str| {
        let start = url.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    match url {
        _ if url.starts_with(':') => {
            return wrong("it has no host; write it as http://localhost:8080/path");
        }
        _ if !has_scheme && (is("http:") || is("https:")) => {
            return wrong("two slashes stand behind its scheme, as in https://example.com/path");
        }
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => {
            return wrong(
                "it is a method; write the URL behind it, as in GET https://example.com/path",
            );
        }
        _ => {}
    }
    let parsed: Result<Uri, _> = match has_scheme || url.starts_with('/') {
        true => url.parse(),
        false => format!("http://{url}").parse(),
    };
    match parsed {
        Ok(uri) => Ok(uri),
        Err(_) => wrong("write it as https://example.com/path"),
    }
}
