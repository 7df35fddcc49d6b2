//! `type = "basic-auth"`.

use super::Made;
use crate::compile::file::Followed;
use crate::config::BasicAuthConfig;
use crate::stack::erase;
use a3s_layers::auth::basic_auth::BasicAuthLayer;
use tower::BoxError;

pub(super) fn layer(name: &str, config: &BasicAuthConfig) -> Result<Made, BoxError> {
    let users = config.users()?;
    let mut layer = BasicAuthLayer::new(users.clone())
        .realm(&config.realm)
        .hide(config.hide)
        .remember(config.cache_ttl);
    if let Some(header) = &config.identity_header {
        layer = layer.identity_header(header.clone());
    }
    let mut made = Made::from(erase(layer.clone()));
    if let Some(file) = &config.users_file {
        let task = Followed::read(file)?.begin(&format!("middleware `{name}`"), move |text| {
            let mut users = users.clone();
            users.add_lines(text)?;
            layer.set_users(users);
            Ok(())
        })?;
        made.tasks.push(task);
    }
    Ok(made)
}
