//! `admin { }`: the admin API.

use super::values::{Address, Secret, net};
use crate::config::schema;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// The admin API; without the block, it has no listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where to listen.
    pub address: Address,
    /// The bearer token that a client must send; none is no check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The peers that may ask; empty is all of them.
    #[serde(deserialize_with = "net::list", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Network>")]
    pub allowed_ips: Vec<IpNet>,
    /// Whether there is a page for people at `/dashboard/`.
    pub dashboard: bool,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)).into(),
            token: None,
            allowed_ips: Vec::new(),
            dashboard: false,
        }
    }
}
