//! The URL of a server.

use super::address::{is_host_name, socket_path};
use super::{STAND_IN, ValueError, parsed};
use crate::rule::Protocol;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::{fmt, str::FromStr};

/// How to speak to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 (`http`, `ws`).
    Http,
    /// TLS, with HTTP/2 where the server has it (`https`, `wss`).
    Https,
    /// HTTP/2 without TLS (`h2c`).
    H2c,
    /// A connection without HTTP (`tcp`).
    Tcp,
    /// Datagrams (`udp`).
    Udp,
    /// HTTP/1.1 over a Unix socket (`unix`).
    Unix,
}

impl Scheme {
    /// As it is written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::H2c => "h2c",
            Scheme::Tcp => "tcp",
            Scheme::Udp => "udp",
            Scheme::Unix => "unix",
        }
    }

    /// What such a server takes.
    pub fn protocol(self) -> Protocol {
        match self {
            Scheme::Tcp => Protocol::Tcp,
            Scheme::Udp => Protocol::Udp,
            Scheme::Http | Scheme::Https | Scheme::H2c | Scheme::Unix => Protocol::Http,
        }
    }

    /// The port of a URL that names none; what is not HTTP has no usual one, and a Unix socket none at all.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Https => Some(443),
            Scheme::Http | Scheme::H2c => Some(80),
            Scheme::Tcp | Scheme::Udp | Scheme::Unix => None,
        }
    }
}

/// The URL of a server: scheme, host and port, nothing else; or `unix:` and a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    socket: Option<PathBuf>,
}

impl ServerUrl {
    /// How to speak to it.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// An IP address or a lower-case name; IPv6 without brackets. `localhost` for a Unix socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none is written; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of a Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The name that has to be looked up to reach it, if it is called by one. `localhost`, and what ends in it, has
    /// not (RFC 6761, 6.3).
    pub fn name(&self) -> Option<&str> {
        let has_address = self.socket.is_some() || !self.addresses().is_empty();
        (!has_address).then_some(&self.host)
    }

    /// The addresses that are known without looking: the one that is written, and those of `localhost`.
    pub fn addresses(&self) -> Vec<IpAddr> {
        if let Ok(address) = self.host.parse() {
            return vec![address];
        }
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        match host == "localhost" || host.ends_with(".localhost") {
            true => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
            false => Vec::new(),
        }
    }

    /// The same with an address in place of its host.
    pub fn at(&self, address: IpAddr) -> ServerUrl {
        ServerUrl {
            host: address.to_string(),
            ..self.clone()
        }
    }

    /// The `host:port` of a `Host` header; IPv6 in brackets, the scheme's own port left out. `localhost` for a Unix
    /// socket.
    pub fn authority(&self) -> String {
        let host = &self.host;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        if self.socket.is_some() || Some(self.port) == self.scheme.default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

const SCHEMES: [(&str, Scheme); 7] = [
    ("http", Scheme::Http),
    ("https", Scheme::Https),
    ("h2c", Scheme::H2c),
    ("ws", Scheme::Http),
    ("wss", Scheme::Https),
    ("tcp", Scheme::Tcp),
    ("udp", Scheme::Udp),
];

impl FromStr for ServerUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<ServerUrl, ValueError> {
        if text == STAND_IN {
            return Ok(ServerUrl {
                scheme: Scheme::Http,
                host: String::new(),
                port: 0,
                socket: None,
            });
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let Some(colon) = text.find("://") else {
            return Err(ValueError::new("the scheme is missing")
                .help("write it like \"http://127.0.0.1:8001\""));
        };
        let written = &text[..colon];
        let Some((_, scheme)) = SCHEMES
            .iter()
            .find(|(name, _)| written.eq_ignore_ascii_case(name))
        else {
            return Err(ValueError::new(format!("unknown scheme `{written}`"))
                .at(0..colon)
                .help(
                    "the schemes are `http`, `https`, `h2c`, `ws`, `wss`, `tcp`, `udp` and `unix`",
                ));
        };
        let start = colon + 3;
        let end = text[start..]
            .find(['/', '?', '#'])
            .map_or(text.len(), |at| start + at);
        if !matches!(&text[end..], "" | "/") {
            let what = if text[end..].starts_with('/') {
                "path"
            } else {
                "query"
            };
            return Err(
                ValueError::new(format!("the URL of a server has no {what}")).at(end..text.len()),
            );
        }
        if let Some(at) = text[start..end].rfind('@') {
            return Err(
                ValueError::new("the URL of a server has no user and password")
                    .at(start..start + at + 1),
            );
        }
        let (host, port) = authority(text, start, end)?;
        let port = port.or(scheme.default_port()).ok_or_else(|| {
            ValueError::new("the port is missing")
                .at(start..end)
                .help("what is not HTTP has no usual port")
        })?;
        Ok(ServerUrl {
            scheme: *scheme,
            host,
            port,
            socket: None,
        })
    }
}

/// `unix:///path` is the same as `unix:/path`, and in `unix://path` that would be a host.
fn unix(path: &str) -> Result<ServerUrl, ValueError> {
    let path = match path.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => {
            return Err(ValueError::new("a Unix socket has no host")
                .at(5..7 + path.len())
                .help("write it like \"unix:/run/a.sock\""));
        }
        Some(path) => path,
        None => path,
    };
    Ok(ServerUrl {
        scheme: Scheme::Unix,
        host: "localhost".to_owned(),
        port: 0,
        socket: Some(socket_path(path)?),
    })
}

fn authority(text: &str, start: usize, end: usize) -> Result<(String, Option<u16>), ValueError> {
    let authority = &text[start..end];
    let host_len = match authority.find(']') {
        Some(bracket) if authority.starts_with('[') => bracket + 1,
        _ => authority.rfind(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_len);
    let port = match rest.strip_prefix(':') {
        Some(digits) => Some(
            (digits.parse::<u16>().ok())
                .filter(|port| *port > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| {
                    ValueError::new("a port is a number from 1 to 65535")
                        .at(start + host_len + 1..end)
                })?,
        ),
        None if rest.is_empty() => None,
        None => return Err(ValueError::new("expected `:` and a port").at(start + host_len..end)),
    };
    let fault = || match host {
        "" => ValueError::new("the host is missing").at(start..end),
        _ if host.contains(':') && !host.starts_with('[') => {
            ValueError::new("an IPv6 address needs brackets").at(start..end)
        }
        _ if !host.is_ascii() => ValueError::new("the host is not ASCII")
            .at(start..start + host_len)
            .help("write the name in punycode (`xn--...`)"),
        _ => ValueError::new(format!("`{host}` is not a host")).at(start..start + host_len),
    };
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        let ip: Ipv6Addr = inner.parse().map_err(|_| fault())?;
        return Ok((ip.to_string(), port));
    }
    if host.parse::<Ipv4Addr>().is_err() && !is_host_name(host) {
        return Err(fault());
    }
    Ok((host.to_ascii_lowercase(), port))
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => write!(f, "{}://{}", self.scheme.as_str(), self.authority()),
        }
    }
}

impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ServerUrl, D::Error> {
        parsed(
            deserializer,
            "a URL such as \"http://127.0.0.1:8001\"",
            str::parse,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_alike() {
        for (text, written) in [
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("https://Example.com", "https://example.com"),
            ("ws://a:80/", "http://a"),
            ("wss://a:444", "https://a:444"),
            ("h2c://[::1]:50051", "h2c://[::1]:50051"),
            ("tcp://db.local:80", "tcp://db.local:80"),
            ("HTTP://my_service.local.", "http://my_service.local."),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse::<ServerUrl>().unwrap(), url);
        }
    }

    #[test]
    fn a_name_is_told_from_an_address_and_gives_way_to_one() {
        for (text, name, at) in [
            ("http://a.test", Some("a.test"), "http://10.0.0.1"),
            ("https://a.test:444", Some("a.test"), "https://10.0.0.1:444"),
            ("h2c://127.0.0.1", None, "h2c://10.0.0.1"),
            ("http://[::1]:80", None, "http://10.0.0.1"),
            ("http://localhost.:80", None, "http://10.0.0.1"),
            ("http://a.localhost", None, "http://10.0.0.1"),
            (
                "http://notlocalhost",
                Some("notlocalhost"),
                "http://10.0.0.1",
            ),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(url.name(), name, "{text}");
            let address = [10, 0, 0, 1].into();
            assert_eq!(url.at(address).to_string(), at);
        }
        let url: ServerUrl = "tcp://a:1".parse().unwrap();
        let address = Ipv6Addr::LOCALHOST.into();
        assert_eq!(url.at(address).to_string(), "tcp://[::1]:1");
    }

    #[test]
    fn a_unix_socket_has_a_path_of_a_length_that_the_kernel_takes() {
        let longest = format!("unix:/{}", "a".repeat(106));
        let url: ServerUrl = longest.parse().unwrap();
        assert_eq!(url.socket().unwrap().as_os_str().len(), 107);
        assert_eq!((url.name(), &*url.authority()), (None, "localhost"));
        let error = format!("{longest}a").parse::<ServerUrl>().unwrap_err();
        assert_eq!(error.message, "the path of a socket has at most 107 bytes");
        assert_eq!(error.span, Some(5..113));
    }

    #[test]
    fn what_is_not_a_server_url_is_refused_where_it_goes_wrong() {
        for (text, message, span) in [
            ("127.0.0.1:80", "the scheme is missing", None),
            ("ftp://a", "unknown scheme `ftp`", Some(0..3)),
            ("quic://a:53", "unknown scheme `quic`", Some(0..4)),
            (
                "unix:run/app.sock",
                "the path of a socket must be absolute",
                Some(5..17),
            ),
            ("unix:", "the path of a socket must be absolute", Some(5..5)),
            (
                "unix://run/app.sock",
                "a Unix socket has no host",
                Some(5..19),
            ),
            ("http://a/b", "the URL of a server has no path", Some(8..10)),
            (
                "http://a?x",
                "the URL of a server has no query",
                Some(8..10),
            ),
            (
                "http://u:p@a",
                "the URL of a server has no user and password",
                Some(7..11),
            ),
            ("http://", "the host is missing", Some(7..7)),
            (
                "http://a:0",
                "a port is a number from 1 to 65535",
                Some(9..10),
            ),
            (
                "http://a:99999",
                "a port is a number from 1 to 65535",
                Some(9..14),
            ),
            (
                "http://::1:80",
                "an IPv6 address needs brackets",
                Some(7..13),
            ),
            ("tcp://a", "the port is missing", Some(6..7)),
            ("http://[::1]80", "expected `:` and a port", Some(12..14)),
            ("http://a b", "`a b` is not a host", Some(7..10)),
            ("http://1.2.3.400", "`1.2.3.400` is not a host", Some(7..16)),
            ("http://é", "the host is not ASCII", Some(7..9)),
        ] {
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.span),
                (message, span),
                "{text}"
            );
        }
    }
}
