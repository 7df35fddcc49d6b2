//! `type = "error-pages"`.

use super::{Made, Services};
use crate::compile::upstream::Stack;
use crate::config::ErrorPagesConfig;
use crate::stack::erase;
use a3s_layers::error_pages::ErrorPagesLayer;
use tower::BoxError;

pub(super) fn layer(config: &ErrorPagesConfig, services: &Services) -> Result<Made, BoxError> {
    let service = services.get(&*config.service);
    let Some(Stack::Http(pages)) = service.map(|service| &service.stack) else {
        return Err(format!("no service `{}` of HTTP", config.service).into());
    };
    let statuses = config.status.iter().map(|statuses| statuses.range());
    let layer = ErrorPagesLayer::new(statuses, pages.clone())
        .query(config.query.clone())
        .timeout(config.timeout);
    Ok(erase(layer).into())
}
