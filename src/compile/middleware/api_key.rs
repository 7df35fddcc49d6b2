//! `type = "api-key"`.

use super::Made;
use crate::compile::file::Followed;
use crate::config::ApiKeyConfig;
use crate::stack::erase;
use a3s_layers::auth::api_key::ApiKeyLayer;
use tower::BoxError;

pub(super) fn layer(name: &str, config: &ApiKeyConfig) -> Result<Made, BoxError> {
    let keys = config.key_set()?;
    let mut layer = ApiKeyLayer::new(keys.clone())
        .header(config.header.clone())
        .hide(config.hide);
    if let Some(parameter) = &config.query {
        layer = layer.query(parameter);
    }
    if let Some(header) = &config.identity_header {
        layer = layer.identity_header(header.clone());
    }
    let mut made = Made::from(erase(layer.clone()));
    if let Some(file) = &config.keys_file {
        let task = Followed::read(file)?.begin(&format!("middleware `{name}`"), move |text| {
            let mut keys = keys.clone();
            keys.add_lines(text)?;
            layer.set_keys(keys);
            Ok(())
        })?;
        made.tasks.push(task);
    }
    Ok(made)
}
