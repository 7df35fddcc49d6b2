//! `type = "request-id"`.

use super::Made;
use crate::config::{KeepConfig, RequestIdConfig};
use crate::stack::erase;
use a3s_layers::request_id::{Keep, RequestIdLayer};

pub(super) fn layer(config: &RequestIdConfig) -> Made {
    let keep = match config.keep {
        KeepConfig::Trusted => Keep::Trusted,
        KeepConfig::Always => Keep::Always,
        KeepConfig::Never => Keep::Never,
    };
    let layer = RequestIdLayer::new()
        .header(config.header.clone())
        .keep(keep);
    erase(layer).into()
}
