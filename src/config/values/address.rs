//! The address of an entrypoint.

use super::{STAND_IN, ValueError, parsed};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fmt, path::PathBuf, str::FromStr};

/// Where to listen: `host:port`, `[::]:443`, `:8080`, `unix:/path`. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port. `[::]` takes IPv4 as well (dual stack), and so does `:8080`, which means `[::]:8080`.
    Socket(SocketAddr),
    /// A host name that is resolved when the entrypoint is bound, and a port.
    Host {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket at an absolute path.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Socket(socket) => socket.ip().to_canonical().is_loopback(),
            Address::Host { host, .. } => host.eq_ignore_ascii_case("localhost"),
            Address::Unix(_) => true,
        }
    }
}

const HELP: &str =
    "write it like \"0.0.0.0:8080\", \"[::]:443\", \":8080\" or \"unix:/run/gateway.sock\"";

impl FromStr for Address {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Address, ValueError> {
        if text == STAND_IN {
            // Port 0 is never in conflict with anything.
            return Ok(Address::Socket(SocketAddr::from((
                Ipv4Addr::UNSPECIFIED,
                0,
            ))));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Address::Unix);
        }
        if let Some(at) = text.find("://") {
            return Err(ValueError::new("an address has no scheme")
                .at(0..at + 3)
                .help(HELP));
        }
        let Some(colon) = text.rfind(':') else {
            return Err(ValueError::new("the port is missing").help(HELP));
        };
        let (host, port) = (&text[..colon], &text[colon + 1..]);
        if port.ends_with(']') {
            return Err(ValueError::new("the port is missing").help(HELP));
        }
        let port: u16 = (port.parse().ok())
            .filter(|_| port.bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(|| {
                ValueError::new("a port is a number from 0 to 65535").at(colon + 1..text.len())
            })?;
        if host.is_empty() {
            return Ok(Address::Socket((Ipv6Addr::UNSPECIFIED, port).into()));
        }
        if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            let ip: Ipv6Addr = inner.parse().map_err(|_| {
                ValueError::new(format!("`{inner}` is not an IPv6 address")).at(0..colon)
            })?;
            return Ok(Address::Socket((ip, port).into()));
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            if ip.is_ipv6() {
                return Err(ValueError::new("an IPv6 address needs brackets")
                    .help(format!("write \"[{ip}]:{port}\"")));
            }
            return Ok(Address::Socket((ip, port).into()));
        }
        if !is_host_name(host) {
            return Err(ValueError::new(format!("`{host}` is not a host"))
                .at(0..colon)
                .help(HELP));
        }
        Ok(Address::Host {
            host: host.to_owned(),
            port,
        })
    }
}

/// The kernel's limit on the path of a socket (`sun_path`), its closing NUL taken off.
const MAX_SOCKET_PATH: usize = 107;

/// What stands behind `unix:`; problems are told with their place in the whole.
pub(super) fn socket_path(path: &str) -> Result<PathBuf, ValueError> {
    let fault = |message: &str| ValueError::new(message).at(5..5 + path.len());
    if !path.starts_with('/') {
        return Err(fault("the path of a socket must be absolute")
            .help("write it like \"unix:/run/a.sock\""));
    }
    if path.contains('\0') {
        return Err(fault("a path has no NUL in it"));
    }
    if path.len() > MAX_SOCKET_PATH {
        return Err(fault("the path of a socket has at most 107 bytes"));
    }
    Ok(PathBuf::from(path))
}

/// A DNS name: labels of letters, digits, `-` and `_`; not all digits and dots, which would be a broken IPv4 address.
pub(super) fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253 && host.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(address) => address.fmt(f),
            Address::Host { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Socket(address)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        parsed(
            deserializer,
            "an address such as \"0.0.0.0:8080\"",
            str::parse,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for (text, written) in [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:443", "[::]:443"),
            (":8080", "[::]:8080"),
            ("localhost:0", "localhost:0"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse::<Address>().unwrap(), address);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_where_it_goes_wrong() {
        for (text, message, span) in [
            ("", "the port is missing", None),
            ("localhost", "the port is missing", None),
            ("[::1]", "the port is missing", None),
            ("0.0.0.0:", "a port is a number from 0 to 65535", Some(8..8)),
            (
                "0.0.0.0:65536",
                "a port is a number from 0 to 65535",
                Some(8..13),
            ),
            (
                "0.0.0.0:+1",
                "a port is a number from 0 to 65535",
                Some(8..10),
            ),
            ("::1:80", "an IPv6 address needs brackets", None),
            ("[::g]:80", "`::g` is not an IPv6 address", Some(0..5)),
            ("256.0.0.1:80", "`256.0.0.1` is not a host", Some(0..9)),
            ("a b:80", "`a b` is not a host", Some(0..3)),
            ("http://a:80", "an address has no scheme", Some(0..7)),
            (
                "unix:a",
                "the path of a socket must be absolute",
                Some(5..6),
            ),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.span),
                (message, span),
                "{text}"
            );
        }
    }
}
