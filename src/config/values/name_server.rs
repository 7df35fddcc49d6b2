//! The address of a DNS server.

use super::{STAND_IN, ValueError, parsed};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::{fmt, str::FromStr};

/// An IP address, and a port: 53 where none is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NameServer(SocketAddr);

/// The port of DNS (RFC 1035, 4.2).
const PORT: u16 = 53;

impl NameServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0
    }
}

impl FromStr for NameServer {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<NameServer, ValueError> {
        if text == STAND_IN {
            return Ok(NameServer((Ipv4Addr::UNSPECIFIED, PORT).into()));
        }
        let bare = text.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
        let ip = bare.unwrap_or(text).parse::<IpAddr>();
        let address = match (ip, text.parse::<SocketAddr>()) {
            (Ok(ip), _) => SocketAddr::new(ip, PORT),
            (_, Ok(address)) if address.port() != 0 => address,
            _ => {
                let message = format!("`{text}` is not the address of a DNS server");
                return Err(ValueError::new(message)
                    .help("write an IP address, with a port or without: \"127.0.0.1:8600\""));
            }
        };
        Ok(NameServer(address))
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for NameServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NameServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NameServer, D::Error> {
        parsed(
            deserializer,
            "the address of a DNS server such as \"10.0.0.2\"",
            str::parse,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_dns_need_not_be_written() {
        for (text, written) in [
            ("10.0.0.2", "10.0.0.2:53"),
            ("127.0.0.1:8600", "127.0.0.1:8600"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            let server: NameServer = text.parse().unwrap();
            assert_eq!(server.to_string(), written, "{text}");
            assert_eq!(written.parse::<NameServer>().unwrap(), server);
        }
        for text in ["", "dns.test", "10.0.0.2:0", "10.0.0.2:", "udp://10.0.0.2"] {
            assert!(text.parse::<NameServer>().is_err(), "{text}");
        }
    }
}
