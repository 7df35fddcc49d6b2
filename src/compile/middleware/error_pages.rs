//! `type = "error-pages"`.

use super::{Made, Services};
use crate::config::ErrorPagesConfig;
use crate::stack::erase;
use a3s_layers::error_pages::ErrorPagesLayer;
use tower::BoxError;

pub(super) fn layer(config: &ErrorPagesConfig, services: &Services) -> Result<Made, BoxError> {
    let Some(service) = services.get(&*config.service) else {
        return Err(format!("unknown service `{}`", config.service).into());
    };
    let statuses = config.status.iter().map(|statuses| statuses.range());
    let layer = ErrorPagesLayer::new(statuses, service.stack.clone())
        .query(config.query.clone())
        .timeout(config.timeout);
    Ok(erase(layer).into())
}
