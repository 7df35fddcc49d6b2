//! Who sent a request: the peer of its connection, the proxies it may speak for, and the client behind them.
//!
//! One rule gives the client's address to everything that asks (filters, limits, logs, forwarded headers):
//! the peer itself, or, where the peer is a trusted proxy, the right-most address of `X-Forwarded-For`
//! that is not a trusted proxy.
//!
//! ```
//! use a3s_layers::peer::{Client, Peer, TrustedProxies};
//! use std::sync::Arc;
//!
//! let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
//! let peer = Arc::new(Peer::new("10.0.0.1:4711".parse().unwrap(), 443, true, &trusted));
//! let mut headers = http::HeaderMap::new();
//! headers.insert("x-forwarded-for", "192.0.2.7, 10.0.0.9".parse().unwrap());
//! let client = Client::of(peer, &headers);
//! assert_eq!(client.ip().to_string(), "192.0.2.7");
//! ```

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// `X-Forwarded-Client-Cert`: who the client is by its certificate, in Envoy's form.
pub const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// `X-Forwarded-Proto`.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The networks whose forwarded headers are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Trusts every address in `networks`; none when empty.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether `ip` belongs to a trusted network. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }
}

/// The other end of a connection, with the header values that speak of it, made once.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    ip_text: HeaderValue,
    local: SocketAddr,
    local_port_text: HeaderValue,
    is_tls: bool,
    tls: Option<TlsSession>,
    is_trusted: bool,
    trusted: TrustedProxies,
}

/// What was said and agreed on when a connection was encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSession {
    /// The name that the client asked for (RFC 6066, 3), in lower case.
    pub server_name: Option<Box<str>>,
    /// The application protocol (RFC 7301), if one was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// The version, as `TLSv1.3`.
    pub version: &'static str,
    /// What was asked of the client: 0 for nothing, and the same number for the same authorities and terms.
    pub asked: u64,
    /// What the certificate of the client says, in the form of [`X_FORWARDED_CLIENT_CERT`]; none where it has shown none.
    pub client: Option<HeaderValue>,
}

impl Peer {
    /// A peer at `address` that came to our port `local_port`, with or without TLS.
    pub fn new(
        address: SocketAddr,
        local_port: u16,
        is_tls: bool,
        trusted: &TrustedProxies,
    ) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let nowhere: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self {
            ip_text: text(address.ip().to_string()),
            local_port_text: text(local_port.to_string()),
            local: SocketAddr::new(nowhere, local_port),
            is_trusted: trusted.contains(address.ip()),
            trusted: trusted.clone(),
            address,
            is_tls,
            tls: None,
        }
    }

    /// The same peer, where it is known which address of ours it came to.
    #[must_use]
    pub fn at(mut self, local: SocketAddr) -> Self {
        if local.port() != self.local.port() {
            self.local_port_text = text(local.port().to_string());
        }
        self.local = SocketAddr::new(local.ip().to_canonical(), local.port());
        self
    }

    /// Whom this peer speaks for: a client at `source` that has connected to `destination`.
    pub fn proxied(&self, source: SocketAddr, destination: SocketAddr) -> Self {
        let client = Self::new(source, destination.port(), self.is_tls, &self.trusted);
        client.at(destination)
    }

    /// The same peer, once the connection is encrypted.
    pub fn encrypted(&self, session: TlsSession) -> Self {
        Self {
            is_tls: true,
            tls: Some(session),
            ..self.clone()
        }
    }

    /// What was agreed on when the connection was encrypted, where that was done by whoever made this.
    pub fn tls(&self) -> Option<&TlsSession> {
        self.tls.as_ref()
    }

    /// Address and port, IPv4 where the connection came as IPv4-mapped IPv6.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a header value.
    pub fn ip_text(&self) -> &HeaderValue {
        &self.ip_text
    }

    /// The address and the port that the connection came to, IPv4 as such. The address is the unspecified one where
    /// nobody has said it ([`at`](Self::at)).
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The port that the connection came to, as a header value.
    pub fn local_port_text(&self) -> &HeaderValue {
        &self.local_port_text
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether forwarded headers of this peer are believed.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }
}

fn text(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .expect("digits, letters, dots and colons are valid in a header")
}

/// The client of one request: an extension that the server puts on each request.
#[derive(Debug, Clone)]
pub struct Client {
    ip: IpAddr,
    peer: Arc<Peer>,
}

impl Client {
    /// Finds the client of a request with these headers that came from `peer`.
    pub fn of(peer: Arc<Peer>, headers: &HeaderMap) -> Self {
        let ip = if peer.is_trusted {
            forwarded_for(&peer, headers)
        } else {
            peer.address.ip()
        };
        Self { ip, peer }
    }

    /// The client's address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The client's address and port. The port is 0 where it is not the client who has connected.
    pub fn address(&self) -> SocketAddr {
        match self.ip == self.peer.address.ip() {
            true => self.peer.address,
            false => SocketAddr::new(self.ip, 0),
        }
    }

    /// The connection's other end.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

/// The address of the client that a request comes from, where somebody has said so: a server of ours, or a
/// [`ClientLayer`].
pub fn client_ip<B>(request: &http::Request<B>) -> Option<IpAddr> {
    request.extensions().get::<Client>().map(Client::ip)
}

/// Whether the client itself came over TLS, to us or to a trusted proxy that says so in `X-Forwarded-Proto`. Where
/// nobody has said who the client is, the request's URI may still tell.
pub(crate) fn is_https<B>(request: &http::Request<B>) -> bool {
    let Some(client) = request.extensions().get::<Client>() else {
        return request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
    };
    match request.headers().get(X_FORWARDED_PROTO) {
        // A proxy may speak of a WebSocket. Of several, the first is nearest to the client.
        Some(proto) if client.peer().is_trusted() => {
            let mut protos = proto.as_bytes().split(|b| *b == b',');
            let first = protos.next().unwrap_or_default().trim_ascii();
            [&b"https"[..], b"wss"]
                .iter()
                .any(|secure| first.eq_ignore_ascii_case(secure))
        }
        _ => client.peer().is_tls(),
    }
}

/// Removes the forwarded headers (`X-Forwarded-*`, `Forwarded`, `X-Real-Ip`) that a client has no say in.
///
/// A server does this to each request of a peer that is not trusted, before anything reads them. Names with
/// `_` for `-` go too: CGI and its heirs cannot tell them apart.
pub fn remove_forwarded(headers: &mut HeaderMap) {
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_forwarded(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Removes the forwarded headers whose names have `_` for `-`.
///
/// A server does this to the requests of trusted proxies too: none of them means these names, and many hand on what
/// their clients write in them, which CGI and its heirs take for the word of the proxy.
pub fn remove_misspelt_forwarded(headers: &mut HeaderMap) {
    // Nearly always empty, and then it allocates nothing.
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_') && is_forwarded(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
}

fn is_forwarded(name: &[u8]) -> bool {
    let same = |known: &[u8], name: &[u8]| {
        known.len() == name.len()
            && std::iter::zip(known, name).all(|(k, n)| k == n || (*k == b'-' && *n == b'_'))
    };
    match name.first() {
        Some(b'x') => {
            name.get(..12)
                .is_some_and(|start| same(b"x-forwarded-", start))
                || same(b"x-real-ip", name)
        }
        Some(b'f') => name == b"forwarded",
        _ => false,
    }
}

/// The right-most untrusted address of `X-Forwarded-For`; the left-most where all are trusted.
/// Whatever stands left of an entry that is no address is not believed.
fn forwarded_for(peer: &Peer, headers: &HeaderMap) -> IpAddr {
    let mut client = peer.address.ip();
    for entry in forwarded_from_right(headers) {
        let Some(ip) = entry else {
            return client;
        };
        client = ip;
        if !peer.trusted.contains(ip) {
            return client;
        }
    }
    client
}

/// The entries of `X-Forwarded-For` over all its lines, the last one first; `None` for what is no address.
pub(crate) fn forwarded_from_right(
    headers: &HeaderMap,
) -> impl Iterator<Item = Option<IpAddr>> + '_ {
    headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|b| *b == b','))
        .map(|entry| std::str::from_utf8(entry).ok().and_then(parse_address))
}

/// An address as proxies write it: bare, bracketed, or with a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let ip = match text.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => match text.parse::<SocketAddr>() {
            Ok(address) => address.ip(),
            Err(_) => text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?,
        },
    };
    Some(ip.to_canonical())
}

#[cfg(feature = "connect-info")]
pub use connect_info::{ClientLayer, ClientService};

/// The client's address in an axum app.
#[cfg(feature = "connect-info")]
mod connect_info {
    use super::{Client, Peer, TrustedProxies, remove_forwarded, remove_misspelt_forwarded};
    use axum::extract::ConnectInfo;
    use http::Request;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use tower::{Layer, Service};

    /// Says of each request who its client is, from axum's `ConnectInfo<SocketAddr>`
    /// (`into_make_service_with_connect_info`), and removes forwarded headers of those who are not trusted, and of
    /// everybody those with `_` for `-`.
    ///
    /// Layers that judge by the client's address (`ip_allow`, `rate_limit`, `in_flight`) belong below it.
    ///
    /// ```
    /// use a3s_layers::peer::{ClientLayer, TrustedProxies};
    /// use axum::{Router, routing::get};
    ///
    /// let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    /// let app: Router = Router::new()
    ///     .route("/", get(|| async { "hello" }))
    ///     .layer(ClientLayer::new(443, true, trusted));
    /// ```
    #[derive(Debug, Clone)]
    pub struct ClientLayer {
        local_port: u16,
        is_tls: bool,
        trusted: TrustedProxies,
    }

    impl ClientLayer {
        /// For an app that listens on `local_port`, with or without TLS, behind the proxies that are `trusted`.
        pub fn new(local_port: u16, is_tls: bool, trusted: TrustedProxies) -> Self {
            Self {
                local_port,
                is_tls,
                trusted,
            }
        }
    }

    impl<S> Layer<S> for ClientLayer {
        type Service = ClientService<S>;

        fn layer(&self, inner: S) -> Self::Service {
            ClientService {
                inner,
                layer: self.clone(),
            }
        }
    }

    /// The service made by [`ClientLayer`].
    #[derive(Debug, Clone)]
    pub struct ClientService<S> {
        inner: S,
        layer: ClientLayer,
    }

    impl<S: Service<Request<B>>, B> Service<Request<B>> for ClientService<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            self.inner.poll_ready(cx)
        }

        fn call(&mut self, mut request: Request<B>) -> Self::Future {
            let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
            if let Some(ConnectInfo(address)) = info.copied() {
                let ClientLayer {
                    local_port,
                    is_tls,
                    trusted,
                } = &self.layer;
                let peer = Peer::new(address, *local_port, *is_tls, trusted);
                match peer.is_trusted() {
                    true => remove_misspelt_forwarded(request.headers_mut()),
                    false => remove_forwarded(request.headers_mut()),
                }
                let client = Client::of(Arc::new(peer), request.headers());
                request.extensions_mut().insert(client);
            }
            self.inner.call(request)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, trusted: &[&str], lines: &[&str]) -> String {
        let trusted = TrustedProxies::new(trusted.iter().map(|t| t.parse().expect("a network")));
        let peer = Peer::new(peer.parse().expect("an address"), 80, false, &trusted);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().expect("a value"));
        }
        Client::of(Arc::new(peer), &headers).ip().to_string()
    }

    #[test]
    fn forwarded_headers_of_a_client_are_removed() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-forwarded-for",
            "x-forwarded-user",
            "x_forwarded_for",
            "x-real-ip",
            "forwarded",
        ] {
            headers.insert(name, HeaderValue::from_static("forged"));
        }
        for name in ["x-forward", "x-request-id", "forward"] {
            headers.insert(name, HeaderValue::from_static("kept"));
        }
        remove_forwarded(&mut headers);
        assert_eq!(headers.len(), 3);
        assert!(headers.values().all(|value| value == "kept"));
    }

    #[test]
    fn a_trusted_proxy_means_no_names_with_underscores() {
        let mut headers = HeaderMap::new();
        for name in [
            "x_forwarded_for",
            "x-forwarded_uri",
            "x-forwarded-client_cert",
            "x_real_ip",
        ] {
            headers.insert(name, HeaderValue::from_static("forged"));
        }
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "x_request_id"] {
            headers.insert(name, HeaderValue::from_static("kept"));
        }
        remove_misspelt_forwarded(&mut headers);
        assert_eq!(headers.len(), 4);
        assert!(headers.values().all(|value| value == "kept"));
    }

    #[test]
    fn a_peer_speaks_for_its_client() {
        let trusted = TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]);
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let balancer = Peer::new(at("192.0.2.1:1"), 8080, false, &trusted);
        assert_eq!(balancer.local(), at("0.0.0.0:8080"));
        let balancer = balancer.at(at("[::ffff:192.0.2.2]:8080"));
        assert_eq!(balancer.local(), at("192.0.2.2:8080"));
        let client = balancer.proxied(at("10.0.0.7:4711"), at("192.0.2.3:443"));
        assert_eq!(client.address(), at("10.0.0.7:4711"));
        assert_eq!(client.local(), at("192.0.2.3:443"));
        assert_eq!(client.local_port_text(), "443");
        assert_eq!((client.is_trusted(), balancer.is_trusted()), (true, false));
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap| Client::of(Arc::new(client.clone()), headers).address();
        assert_eq!(of(&headers), at("10.0.0.7:4711"));
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.9"));
        assert_eq!(of(&headers), at("192.0.2.9:0"));
    }

    #[test]
    fn the_client_is_the_right_most_untrusted_address() {
        let ten = &["10.0.0.0/8"][..];
        for (peer, trusted, lines, expected) in [
            ("192.0.2.1:1", &[][..], &["1.1.1.1"][..], "192.0.2.1"),
            ("192.0.2.1:1", ten, &["1.1.1.1"], "192.0.2.1"),
            ("10.0.0.1:1", ten, &[], "10.0.0.1"),
            ("10.0.0.1:1", ten, &["1.1.1.1"], "1.1.1.1"),
            (
                "10.0.0.1:1",
                ten,
                &["1.1.1.1, 2.2.2.2 ,10.9.9.9"],
                "2.2.2.2",
            ),
            (
                "10.0.0.1:1",
                ten,
                &["1.1.1.1, 2.2.2.2", "10.9.9.9"],
                "2.2.2.2",
            ),
            ("10.0.0.1:1", ten, &["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (
                "10.0.0.1:1",
                ten,
                &["1.1.1.1, unknown, 10.2.2.2"],
                "10.2.2.2",
            ),
            (
                "[::ffff:10.0.0.1]:1",
                ten,
                &["[2001:db8::1]:443"],
                "2001:db8::1",
            ),
            ("10.0.0.1:1", ten, &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1:1", ten, &[""], "10.0.0.1"),
        ] {
            assert_eq!(
                client(peer, trusted, lines),
                expected,
                "{peer} {trusted:?} {lines:?}"
            );
        }
    }
}
