//! `type = "redirect"`.

use super::Made;
use crate::config::{RedirectConfig, RedirectScheme, SlashConfig};
use crate::stack::erase;
use a3s_layers::redirect::{RedirectLayer, Scheme, TrailingSlash};
use tower::BoxError;

pub(super) fn layer(config: &RedirectConfig) -> Result<Made, BoxError> {
    let layer = match (config.scheme, &config.regex, config.trailing_slash) {
        (Some(scheme), None, None) => {
            let scheme = match scheme {
                RedirectScheme::Http => Scheme::Http,
                RedirectScheme::Https => Scheme::Https,
            };
            RedirectLayer::scheme(scheme, config.port)
        }
        (None, Some(pattern), None) => {
            let replacement = config.replacement.as_deref().unwrap_or_default();
            RedirectLayer::regex(pattern.regex().clone(), replacement)?
        }
        (None, None, Some(slash)) => RedirectLayer::trailing_slash(match slash {
            SlashConfig::Add => TrailingSlash::Add,
            SlashConfig::Remove => TrailingSlash::Remove,
        }),
        _ => return Err("needs one of `scheme`, `regex` and `trailing_slash`".into()),
    };
    let layer = match config.permanent {
        true => layer.permanent(),
        false => layer,
    };
    Ok(erase(layer).into())
}
