//! What requests are counted by: the client's address, a header, a claim, the path, or all together.
//!
//! ```
//! use a3s_layers::key::KeySource;
//!
//! let by_tenant: KeySource = "header:X-Tenant".parse().unwrap();
//! assert_eq!(by_tenant, KeySource::Header(http::HeaderName::from_static("x-tenant")));
//! assert!("header:not a name".parse::<KeySource>().is_err());
//! ```

use crate::peer;
use http::{HeaderName, Request};
use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::LazyLock;

/// Where a request's key is found. Requests with the same key are counted together.
///
/// A request without the header or the claim is counted with all others that lack it, under one key of their
/// own: leaving it out is no way round a limit. A header is what the client says, though: a client that may
/// send any value has as many keys as it likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `client-ip`: the client's address ([`peer::client_ip`]), an IPv6 one by its first 64 bits, which is
    /// what one subscriber has.
    ClientIp,
    /// `header:X`: the first value of a header.
    Header(HeaderName),
    /// `claim:X`: a claim of a verified token ([`Claims::text`](crate::claims::Claims::text)), where a layer
    /// above has verified one.
    #[cfg(feature = "claims")]
    Claim(Box<str>),
    /// `path`: the path, without the query. All clients share it.
    Path,
    /// `global`: every request.
    Global,
}

/// A text that says nothing of where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `client-ip`, `header:NAME`, `claim:NAME`, `path` or `global`")]
pub struct UnknownKeySource;

impl FromStr for KeySource {
    type Err = UnknownKeySource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None => match text {
                "client-ip" => Ok(Self::ClientIp),
                "path" => Ok(Self::Path),
                "global" => Ok(Self::Global),
                _ => Err(UnknownKeySource),
            },
            Some(("header", name)) => name.parse().map(Self::Header).map_err(|_| UnknownKeySource),
            #[cfg(feature = "claims")]
            Some(("claim", name)) if !name.is_empty() => Ok(Self::Claim(name.into())),
            Some(_) => Err(UnknownKeySource),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client-ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            #[cfg(feature = "claims")]
            Self::Claim(name) => write!(f, "claim:{name}"),
            Self::Path => f.write_str("path"),
            Self::Global => f.write_str("global"),
        }
    }
}

/// Nobody has said whose request it is: neither a server of ours nor a [`peer::ClientLayer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoClient;

/// A request's key, as it is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<'r> {
    /// An address: of IPv6 the network of 64 bits.
    Client(IpAddr),
    /// What the client or its token says: as long as it pleases.
    Text(Cow<'r, [u8]>),
    /// Not there.
    Absent,
    /// Every request's.
    Everyone,
}

/// A key to remember: small, and of the same size whatever a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// An address: of IPv6 the network of 64 bits.
    Client(IpAddr),
    /// A hash, secret to this process, of what the client or its token says.
    Text(u64),
    /// Of all requests that have no key.
    Absent,
    /// Of every request.
    Everyone,
}

impl KeySource {
    pub(crate) fn find<'r, B>(&self, request: &'r Request<B>) -> Result<Found<'r>, NoClient> {
        let text = match self {
            Self::ClientIp => {
                let ip = peer::client_ip(request).ok_or(NoClient)?;
                return Ok(Found::Client(network(ip)));
            }
            Self::Global => return Ok(Found::Everyone),
            Self::Header(name) => {
                let value = request.headers().get(name);
                value.map(|value| Cow::Borrowed(value.as_bytes()))
            }
            #[cfg(feature = "claims")]
            Self::Claim(name) => {
                let claims = request.extensions().get::<crate::claims::Claims>();
                let value = claims.and_then(|claims| claims.text(name));
                value.map(|value| match value {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                })
            }
            Self::Path => Some(Cow::Borrowed(request.uri().path().as_bytes())),
        };
        Ok(text.map_or(Found::Absent, Found::Text))
    }

    pub(crate) fn key<B>(&self, request: &Request<B>) -> Result<Key, NoClient> {
        /// A client cannot find texts that hash alike, as it does not know the seed.
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        self.find(request).map(|found| match found {
            Found::Client(ip) => Key::Client(ip),
            Found::Text(text) => Key::Text(SEED.hash_one(&*text)),
            Found::Absent => Key::Absent,
            Found::Everyone => Key::Everyone,
        })
    }
}

pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Client, Peer, TrustedProxies};
    use http::HeaderMap;
    use std::sync::Arc;

    fn request(ip: &str) -> Request<()> {
        let address = std::net::SocketAddr::new(ip.parse().expect("an address"), 1);
        let peer = Arc::new(Peer::new(address, 80, false, &TrustedProxies::default()));
        let mut request = Request::get("/a?q")
            .header("x-tenant", "one")
            .body(())
            .expect("a request");
        let client = Client::of(peer, &HeaderMap::new());
        request.extensions_mut().insert(client);
        request
    }

    #[test]
    fn a_source_reads_as_it_is_written() {
        for text in ["client-ip", "header:x-tenant", "path", "global"] {
            let source: KeySource = text.parse().expect("a source");
            assert_eq!(source.to_string(), text);
        }
        for text in [
            "",
            "ip",
            "header",
            "header:",
            "header:a b",
            "claim:",
            "path:",
            "Global",
            "cookie:a",
        ] {
            assert_eq!(text.parse::<KeySource>(), Err(UnknownKeySource), "{text}");
        }
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let key = |ip| KeySource::ClientIp.key(&request(ip));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn what_is_not_there_has_a_key_of_its_own() {
        let request = request("192.0.2.1");
        let found = |source: &str| {
            let source: KeySource = source.parse().expect("a source");
            source.find(&request)
        };
        assert_eq!(found("header:x-tenant"), Ok(Found::Text(b"one".into())));
        assert_eq!(found("header:x-other"), Ok(Found::Absent));
        assert_eq!(found("path"), Ok(Found::Text(b"/a".into())));
        assert_eq!(found("global"), Ok(Found::Everyone));
        assert_eq!(KeySource::ClientIp.key(&Request::new(())), Err(NoClient));
    }

    #[cfg(feature = "claims")]
    #[test]
    fn a_claim_is_that_of_a_verified_token() {
        let mut request = request("192.0.2.1");
        let source: KeySource = "claim:sub".parse().expect("a source");
        assert_eq!(source.find(&request), Ok(Found::Absent));
        let claims = [("sub".to_owned(), "ada".into()), ("n".to_owned(), 7.into())];
        let claims = crate::claims::Claims::new(claims.into_iter().collect());
        request.extensions_mut().insert(claims);
        assert_eq!(source.find(&request), Ok(Found::Text(b"ada".into())));
        let number = KeySource::Claim("n".into());
        assert_eq!(number.find(&request), Ok(Found::Text(b"7".into())));
    }
}
