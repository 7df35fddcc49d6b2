//! `type = "rate-limit"` and `type = "rate-limit-redis"`.

use super::Made;
use crate::config::{RateLimitConfig, RateLimitRedisConfig};
use crate::stack::erase;
use crate::telemetry::MiddlewareState;
use a3s_layers::rate_limit::local::RateLimitLayer;
use tower::BoxError;

pub(super) fn local(config: &RateLimitConfig) -> Result<Made, BoxError> {
    let policy = config.policy()?;
    let state = MiddlewareState::RateLimit(policy.counts().clone());
    let layer = RateLimitLayer::new(policy, config.key.clone()).max_keys(config.max_keys);
    let layer = layer.key_name(&config.key.to_string());
    Ok(Made::from(erase(layer)).showing(state))
}

/// The connection is made by the first request, on the worker that has it, and closed with the layer.
#[cfg(feature = "redis")]
pub(super) fn redis(name: &str, config: &RateLimitRedisConfig) -> Result<Made, BoxError> {
    use crate::config::OnError;
    use a3s_layers::rate_limit::distributed::{self, RedisRateLimitLayer};

    let on_error = match config.on_error {
        OnError::Allow => distributed::OnError::Allow,
        OnError::Deny => distributed::OnError::Deny,
    };
    let prefix = match &config.prefix {
        Some(prefix) => prefix,
        None => &format!("a3s:rate:{name}:"),
    };
    let policy = config.policy()?;
    let state = MiddlewareState::RateLimit(policy.counts().clone());
    let layer = RedisRateLimitLayer::new(policy, config.key.clone(), server(config)?)
        .name(name)
        .prefix(prefix)
        .timeout(config.timeout)
        .on_error(on_error);
    Ok(Made::from(erase(layer)).showing(state))
}

#[cfg(feature = "redis")]
fn server(
    config: &RateLimitRedisConfig,
) -> Result<a3s_layers::rate_limit::distributed::RedisServer, BoxError> {
    use a3s_layers::rate_limit::distributed::{RedisServer, RedisTls};
    use std::path::Path;

    let url = config.redis_url.expose();
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let identity = match (&config.cert_file, &config.key_file) {
        (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
        _ => None,
    };
    let ca = config.ca_file.as_deref().map(read).transpose()?;
    Ok(match (&ca, &identity) {
        (None, None) => RedisServer::new(url)?,
        _ => RedisServer::with_tls(url, RedisTls { ca, identity })?,
    })
}

#[cfg(not(feature = "redis"))]
pub(super) fn redis(_: &str, _: &RateLimitRedisConfig) -> Result<Made, BoxError> {
    Err("this gateway was built without the feature `redis`".into())
}
