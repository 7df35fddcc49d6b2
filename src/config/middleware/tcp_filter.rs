//! `type = "tcp-filter"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::net;
use crate::rule::Protocol;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets in some connections only; the others are reset. For routers of TCP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TcpFilterConfig {
    /// The most connections at a time; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: Option<u64>,
    /// The most connections at a time from one address, or from one IPv6 network of 64 bits; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections_per_ip: Option<u64>,
    /// The addresses and networks whose connections are let in; none named is all.
    #[serde(deserialize_with = "net::list")]
    #[schemars(with = "Vec<schema::Network>")]
    pub allowed_ips: Vec<IpNet>,
    /// How many new connections an address may open in a second; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate: Option<u32>,
    /// How many at once; as many as in a second where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
}

impl Settings for TcpFilterConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let numbers = [
            ("max_connections", self.max_connections, 10_000_000),
            (
                "max_connections_per_ip",
                self.max_connections_per_ip,
                10_000_000,
            ),
            ("rate", self.rate.map(u64::from), 1_000_000),
            ("burst", self.burst.map(u64::from), 1_000_000),
        ];
        for (key, value, max) in numbers {
            if let Some(value) = value {
                place.number(key, value, 1, max);
            }
        }
        if self.burst.is_some() && self.rate.is_none() && place.is_whole() {
            place.choice("burst", "`burst` needs `rate`");
        }
        let is_empty = *self == TcpFilterConfig::default();
        if is_empty && place.is_whole() {
            let message = "without a limit and `allowed_ips` nobody would be refused";
            place.choice("type", message);
        }
    }

    fn protocol(&self) -> Protocol {
        Protocol::Tcp
    }
}
