//! `type = "cors"`.

use super::Made;
use crate::config::CorsConfig;
use crate::stack::erase;
use a3s_layers::cors::CorsLayer;
use tower::BoxError;

pub(super) fn layer(config: &CorsConfig) -> Result<Made, BoxError> {
    Ok(erase(CorsLayer::new(config.policy()?)?).into())
}
