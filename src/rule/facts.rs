//! What a rule sees of a request or a connection.

use http::HeaderMap;
use std::net::IpAddr;
use std::sync::LazyLock;

static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// What a rule sees of a request or a connection.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The host in lower case, without port and brackets. A trailing dot is kept: `HostRegexp` sees it,
    /// `Host` ignores it. For a connection, its server name, so that one table serves both.
    pub host: &'a str,
    /// The routing path: decoded, except for the reserved characters.
    pub path: &'a str,
    /// The query as it came, without the `?`, with `;` turned into `&`.
    pub query: &'a str,
    /// The method as it was sent.
    pub method: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The client behind the trusted proxies.
    pub client_ip: IpAddr,
    /// The server name of the TLS handshake, in lower case.
    pub sni: Option<&'a str>,
    /// The application protocols that the client offers in the TLS handshake.
    pub alpn: &'a [&'a [u8]],
}

impl<'a> Facts<'a> {
    /// The facts of a connection, whose rule sees no request.
    pub fn of_connection(
        client_ip: IpAddr,
        sni: Option<&'a str>,
        alpn: &'a [&'a [u8]],
    ) -> Facts<'a> {
        Facts {
            host: sni.unwrap_or_default(),
            path: "",
            query: "",
            method: "",
            headers: &NO_HEADERS,
            client_ip,
            sni,
            alpn,
        }
    }
}
