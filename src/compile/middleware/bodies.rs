//! `type = "body-limit"` and `type = "buffering"`.

use super::Made;
use crate::config::{BodyLimitConfig, BufferingConfig};
use crate::stack::erase;
use a3s_layers::body_limit::BodyLimitLayer;
use a3s_layers::buffering::BufferingLayer;

pub(super) fn limit(config: &BodyLimitConfig) -> Made {
    erase(BodyLimitLayer::new(config.max_body_bytes as u64)).into()
}

pub(super) fn buffering(config: &BufferingConfig) -> Made {
    let layer = BufferingLayer::new()
        .max_request_body(config.max_request_body)
        .max_response_body(config.max_response_body)
        .max_memory(config.max_memory);
    erase(layer).into()
}
