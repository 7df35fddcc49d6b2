//! `type = "ip-allow"`.

use super::Made;
use crate::config::IpAllowConfig;
use crate::stack::erase;
use a3s_layers::ip_allow::IpAllowLayer;

pub(super) fn layer(config: &IpAllowConfig) -> Made {
    let layer = match config.allowed_ips.is_empty() {
        true => IpAllowLayer::everybody(),
        false => IpAllowLayer::new(config.allowed_ips.iter().copied()),
    };
    let layer = layer
        .deny(config.denied_ips.iter().copied())
        .depth(usize::try_from(config.depth).unwrap_or(usize::MAX));
    erase(layer).into()
}
