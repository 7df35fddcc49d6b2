//! `type = "retry"`.

use super::Made;
use crate::config::{RetryConfig, RetryOn as On};
use crate::stack::erase;
use a3s_layers::retry::{RetryLayer, RetryOn};
use http::StatusCode;
use std::time::Duration;
use tower::BoxError;

pub(super) fn layer(config: &RetryConfig) -> Result<Made, BoxError> {
    let on: Result<Vec<_>, BoxError> = config.on.iter().map(|on| retry_on(*on)).collect();
    let layer = RetryLayer::new()
        .max_retries(config.max_retries)
        .backoff(Duration::from_millis(config.retry_interval_ms))
        .on(on?)
        .max_replay_bytes(config.max_replay_bytes)
        .budget(config.budget_percent, config.budget_min_per_second)
        .non_idempotent(config.non_idempotent);
    let layer = match config.per_try_timeout {
        Some(timeout) => layer.per_try_timeout(timeout),
        None => layer,
    };
    Ok(erase(layer).into())
}

fn retry_on(on: On) -> Result<RetryOn, BoxError> {
    Ok(match on {
        On::Connect => RetryOn::Connect,
        On::Reset => RetryOn::Reset,
        On::Timeout => RetryOn::Timeout,
        On::Status(status) => RetryOn::Status(StatusCode::from_u16(status)?),
    })
}
