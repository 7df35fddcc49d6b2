//! `type = "tcp-filter"`.

use super::Made;
use crate::config::TcpFilterConfig;
use crate::stack::ConnectionLayer;
use a3s_layers::connection::{AllowLayer, ConnectionLimits, ConnectionRate, LimitLayer};
use std::num::NonZeroU32;
use tower::ServiceBuilder;

pub(super) fn layer(config: &TcpFilterConfig) -> Made {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let per_second = config.rate.and_then(NonZeroU32::new);
    let limit = LimitLayer::new(ConnectionLimits {
        max: config.max_connections.map(number),
        max_per_ip: config.max_connections_per_ip.map(number),
        rate: per_second.map(|per_second| ConnectionRate {
            per_second,
            burst: config.burst.and_then(NonZeroU32::new).unwrap_or(per_second),
        }),
    });
    let allowed = &config.allowed_ips;
    let allow = (!allowed.is_empty()).then(|| AllowLayer::new(allowed.iter().copied()));
    // Who is not allowed at all takes nobody's place.
    let layer = ServiceBuilder::new().option_layer(allow).layer(limit);
    ConnectionLayer::new(layer).into()
}
