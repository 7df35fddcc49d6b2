//! What consistent hashing goes by: the client's address, a header, a cookie, or the path.

use super::maglev::hash;
use crate::key::network;
use crate::peer::client_ip;
use http::header::COOKIE;
use http::{HeaderName, Request};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What consistent hashing goes by. A request that has no such thing, or an empty one, goes by its client's address.
///
/// ```
/// use a3s_layers::balance::HashOn;
///
/// let by_tenant: HashOn = "header:X-Tenant".parse().unwrap();
/// assert_eq!(by_tenant, HashOn::Header(http::HeaderName::from_static("x-tenant")));
/// assert!("cookie:not a name".parse::<HashOn>().is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HashOn {
    /// `client-ip`: the client's address ([`client_ip`]), an IPv6 one by its first 64 bits, which is what one
    /// subscriber has: the rest may change from day to day (RFC 8981).
    #[default]
    ClientIp,
    /// `header:X`: the first value of a header.
    Header(HeaderName),
    /// `cookie:X`: the first value of a cookie.
    Cookie(Box<str>),
    /// `path`: the path, without the query.
    Path,
}

/// A text that says nothing of what to hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `client-ip`, `header:NAME`, `cookie:NAME` or `path`")]
pub struct UnknownHashOn;

impl FromStr for HashOn {
    type Err = UnknownHashOn;

    fn from_str(text: &str) -> Result<Self, UnknownHashOn> {
        match text.split_once(':') {
            None => match text {
                "client-ip" => Ok(Self::ClientIp),
                "path" => Ok(Self::Path),
                _ => Err(UnknownHashOn),
            },
            Some(("header", name)) => name.parse().map(Self::Header).map_err(|_| UnknownHashOn),
            Some(("cookie", name)) if is_token(name) => Ok(Self::Cookie(name.into())),
            Some(_) => Err(UnknownHashOn),
        }
    }
}

impl fmt::Display for HashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client-ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Path => f.write_str("path"),
        }
    }
}

impl HashOn {
    /// The hash of a client's address: [`HashOn::ClientIp`] of whatever comes from there.
    pub fn hash_of_ip(ip: IpAddr) -> u64 {
        match network(ip) {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        }
    }

    pub(super) fn hash_of<B>(&self, request: &Request<B>) -> Option<u64> {
        let key = match self {
            Self::ClientIp => return client_ip(request).map(Self::hash_of_ip),
            Self::Header(name) => request.headers().get(name)?.as_bytes(),
            Self::Cookie(name) => {
                let lines = request.headers().get_all(COOKIE).iter();
                let mut pairs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';'));
                pairs.find_map(|pair| {
                    let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
                    value.strip_prefix(b"=")
                })?
            }
            Self::Path => request.uri().path().as_bytes(),
        };
        (!key.is_empty()).then(|| hash(key))
    }
}

/// RFC 6265, 4.1.1: the name of a cookie is a token.
fn is_token(name: &str) -> bool {
    let is_of_token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    !name.is_empty() && name.bytes().all(is_of_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get("/a?q");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn what_is_hashed_reads_as_it_is_written() {
        for text in ["client-ip", "header:x-tenant", "cookie:Sid", "path"] {
            let on: HashOn = text.parse().expect("something to hash");
            assert_eq!(on.to_string(), text);
        }
        for text in [
            "",
            "ip",
            "header",
            "header:",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "cookie:a b",
            "path:",
            "Path",
        ] {
            assert_eq!(text.parse::<HashOn>(), Err(UnknownHashOn), "{text}");
        }
    }

    #[test]
    fn the_first_value_counts_and_an_empty_one_is_none() {
        let hash_of = |on: &str, request: &Request<()>| {
            let on: HashOn = on.parse().expect("something to hash");
            on.hash_of(request)
        };
        let both = request(&[("x-tenant", "one"), ("x-tenant", "two")]);
        assert_eq!(hash_of("header:x-tenant", &both), Some(hash(b"one")));
        assert_eq!(hash_of("header:x-other", &both), None);
        assert_eq!(hash_of("path", &both), Some(hash(b"/a")));
        assert_eq!(hash_of("client-ip", &both), None);
        for (lines, value) in [
            (&["sid=1"][..], Some("1")),
            (&["a=sid=2; sid=1;sid=3", "sid=4"], Some("1")),
            (&["asid=2; sidb=3", "  sid=1  "], Some("1")),
            (&["sid=a=b"], Some("a=b")),
            (&["sid=\"1\""], Some("\"1\"")),
            (&["sid="], None),
            (&["sid", ";;=;"], None),
            (&["Sid=1"], None),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            let hashed = hash_of("cookie:sid", &request(&lines));
            assert_eq!(
                hashed,
                value.map(|value| hash(value.as_bytes())),
                "{lines:?}"
            );
        }
        assert_eq!(
            hash_of("header:x-empty", &request(&[("x-empty", "")])),
            None
        );
    }

    #[test]
    fn a_subscriber_is_one_client() {
        let hash = |ip: &str| HashOn::hash_of_ip(ip.parse().expect("an address"));
        assert_eq!(hash("2001:db8:0:1::1"), hash("2001:db8:0:1:ffff::2"));
        assert_ne!(hash("2001:db8:0:1::1"), hash("2001:db8:0:2::1"));
        assert_eq!(hash("::ffff:192.0.2.1"), hash("192.0.2.1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
    }
}
