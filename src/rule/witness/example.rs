//! A request, or a connection, that shows something.

use super::Sees;
use crate::rule::Facts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;

/// A request, or a connection, that shows something.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub(super) sees: Sees,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, Vec<u8>)>,
    pub(super) method: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) client_ip: IpAddr,
    /// Whether the rules ask for the client's address.
    pub(super) shows_client: bool,
    pub(super) alpn: Vec<Vec<u8>>,
}

impl Example {
    /// Calls `with` with what a rule sees of it.
    pub fn with_facts<T>(&self, with: impl FnOnce(&Facts<'_>) -> T) -> T {
        let alpn: Vec<&[u8]> = self.alpn.iter().map(Vec::as_slice).collect();
        if !self.sees.is_http() {
            let sni = Some(&*self.host).filter(|name| !name.is_empty());
            return with(&Facts::of_connection(self.client_ip, sni, &alpn));
        }
        let headers: HeaderMap = self.headers.iter().cloned().collect();
        with(&Facts {
            host: &self.host,
            path: &self.path,
            query: &self.encoded_query(),
            method: &self.method,
            headers: &headers,
            client_ip: self.client_ip,
            sni: None,
            alpn: &[],
        })
    }

    /// The method; none where it is no request.
    pub fn method(&self) -> Option<&str> {
        self.sees.is_http().then_some(&*self.method)
    }

    /// Where the request goes to, in HTTP without TLS.
    pub fn url(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let path = encode(self.path.as_bytes(), is_path);
        let query = self.encoded_query();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("http://{host}{path}{mark}{query}")
    }

    /// The headers that matter.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The client.
    pub fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    /// The server name that a TLS client asks for.
    pub fn server_name(&self) -> Option<&str> {
        let is_asked = self.sees == Sees::Tls && !self.host.is_empty();
        is_asked.then_some(&*self.host)
    }

    /// Whether any client can send it as it stands: what a gateway reads itself, what frames a message, and what only
    /// trusted proxies may say are not to be had at will.
    pub(in crate::rule) fn is_usual(&self) -> bool {
        const READ: [&str; 9] = [
            "connection",
            "content-length",
            "expect",
            "forwarded",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "x-real-ip",
        ];
        self.headers.iter().all(|(name, _)| {
            !READ.contains(&name.as_str()) && !name.as_str().starts_with("x-forwarded-")
        })
    }

    fn encoded_query(&self) -> String {
        let pair = |(key, value): &(String, Vec<u8>)| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let (key, value) = (encode(key.as_bytes(), is_plain), encode(value, is_plain));
            match value.is_empty() {
                true => key,
                false => format!("{key}={value}"),
            }
        };
        self.query.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

/// What may stand in a path as it is; escapes are kept.
pub(super) fn is_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/%!$&'()*+,;=:@".contains(&byte)
}

pub(super) fn encode(bytes: &[u8], is_plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match is_plain(*byte) {
            true => out.push(char::from(*byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// As the words of `explain`: `GET http://a.com/x -H 'accept: text/plain' --client-ip 192.0.2.1`.
impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sees {
            Sees::Requests | Sees::WholeServer => write!(f, "{} {}", self.method, self.url())?,
            Sees::Tls | Sees::Clients => f.write_str("a connection")?,
        }
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            write!(f, " -H '{name}: {value}'")?;
        }
        if let Some(name) = self.server_name() {
            write!(f, " --sni {name}")?;
        }
        for protocol in &self.alpn {
            write!(f, " --alpn {}", String::from_utf8_lossy(protocol))?;
        }
        if self.shows_client || self.sees == Sees::Clients {
            write!(f, " --client-ip {}", self.client_ip)?;
        }
        Ok(())
    }
}

impl Serialize for Example {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(method) = self.method() {
            map.serialize_entry("method", method)?;
            map.serialize_entry("url", &self.url())?;
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = self.headers.iter();
            let headers: Vec<_> = headers
                .map(|(name, value)| (name.as_str(), text(value)))
                .collect();
            map.serialize_entry("headers", &headers)?;
        }
        if let Some(name) = self.server_name() {
            map.serialize_entry("server_name", name)?;
        }
        if !self.alpn.is_empty() {
            let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
            map.serialize_entry("alpn", &self.alpn.iter().map(text).collect::<Vec<_>>())?;
        }
        map.serialize_entry("client_ip", &self.client_ip)?;
        map.end()
    }
}
