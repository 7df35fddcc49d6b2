//! `type = "ip-allow"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::net;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets through the requests of some clients only; refuses with 403.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IpAllowConfig {
    /// The addresses and networks that are let through; none named is all.
    #[serde(deserialize_with = "net::list")]
    #[schemars(with = "Vec<schema::Network>")]
    pub allowed_ips: Vec<IpNet>,
    /// Those that are not, whatever `allowed_ips` says.
    #[serde(deserialize_with = "net::list")]
    #[schemars(with = "Vec<schema::Network>")]
    pub denied_ips: Vec<IpNet>,
    /// Judge by the address that is this many from the right in `X-Forwarded-For`, where a trusted proxy sent
    /// it; 0 is the client's address as everything else sees it.
    #[schemars(range(min = 0, max = 100))]
    pub depth: u32,
}

impl Settings for IpAllowConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        let is_empty = self.allowed_ips.is_empty() && self.denied_ips.is_empty();
        if is_empty && place.is_whole() {
            let message = "`allowed_ips` and `denied_ips` are both empty: nobody would be refused";
            place.choice("allowed_ips", message);
        }
        place.number("depth", self.depth.into(), 0, 100);
    }
}
