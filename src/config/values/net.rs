//! Networks: an address, or a CIDR.

use super::{STAND_IN, ValueError, parsed};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use std::net::IpAddr;

struct Net(IpNet);

pub(crate) fn parse(text: &str) -> Result<IpNet, ValueError> {
    if text == STAND_IN {
        return Ok(IpNet::from(IpAddr::from([0, 0, 0, 0])));
    }
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(net);
    }
    text.parse::<IpAddr>().map(IpNet::from).map_err(|_| {
        ValueError::new(format!("`{text}` is neither an IP address nor a network"))
            .help("write it like \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"")
    })
}

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Net, D::Error> {
        parsed(deserializer, "an IP address or a network", parse).map(Net)
    }
}

/// A list of them.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let nets = Vec::<Net>::deserialize(deserializer)?;
    Ok(nets.into_iter().map(|Net(net)| net).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_network_of_one() {
        assert_eq!(parse("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(parse("::1").unwrap().to_string(), "::1/128");
        assert_eq!(parse("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        for text in ["", "10.0.0.0/33", "10.0.0", "localhost", "[::1]"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
