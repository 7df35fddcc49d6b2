//! `type = "compress"`.

use super::Made;
use crate::config::CompressConfig;
use crate::stack::erase;
use a3s_layers::compress::{Coding, CompressLayer, ContentTypes};
use tower::BoxError;

pub(super) fn layer(config: &CompressConfig) -> Result<Made, BoxError> {
    let mut layer = CompressLayer::new()
        .codings(config.encodings.iter().copied().map(Coding::from))
        .min_size(config.min_size as u64)
        .max_concurrent(config.max_concurrent);
    if !config.content_types.is_empty() {
        layer = layer.content_types(ContentTypes::parse(&config.content_types)?);
    }
    if let Some(level) = config.level {
        layer = layer.level(level)?;
    }
    Ok(erase(layer).into())
}
