//! `type = "headers"`.

use super::Made;
use crate::config::HeadersConfig;
use crate::stack::erase;
use a3s_layers::headers::HeadersLayer;
use tower::BoxError;

pub(super) fn layer(config: &HeadersConfig) -> Result<Made, BoxError> {
    let layer = HeadersLayer::new()
        .request(config.request_edits()?)
        .response(config.response_edits()?);
    let layer = match config.security {
        true => layer.security(),
        false => layer,
    };
    Ok(erase(layer).into())
}
