//! `type = "add-prefix"` and `type = "replace-path"`.

use super::Made;
use crate::config::{AddPrefixConfig, ReplacePathConfig};
use crate::stack::erase;
use a3s_layers::rewrite::{AddPrefixLayer, ReplacePathLayer};
use tower::BoxError;

pub(super) fn prefix(config: &AddPrefixConfig) -> Result<Made, BoxError> {
    Ok(erase(AddPrefixLayer::new(&config.prefix)?).into())
}

pub(super) fn path(config: &ReplacePathConfig) -> Result<Made, BoxError> {
    let layer = match (&config.path, &config.regex, &config.replacement) {
        (Some(path), None, None) => ReplacePathLayer::new(path)?,
        (None, Some(pattern), Some(replacement)) => {
            ReplacePathLayer::regex(pattern.regex().clone(), replacement)?
        }
        _ => return Err("needs `path`, or `regex` and `replacement`".into()),
    };
    Ok(erase(layer).into())
}
