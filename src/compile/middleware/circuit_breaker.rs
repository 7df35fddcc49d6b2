//! `type = "circuit-breaker"`.

use super::Made;
use crate::config::CircuitBreakerConfig;
use crate::stack::erase;
use crate::telemetry::MiddlewareState;
use a3s_layers::circuit_breaker::CircuitBreakerLayer;
use http::{HeaderValue, StatusCode};
use std::time::Duration;
use tower::BoxError;

pub(super) fn layer(name: &str, config: &CircuitBreakerConfig) -> Result<Made, BoxError> {
    let mut layer = CircuitBreakerLayer::new()
        .name(name)
        .failure_threshold(config.failure_threshold)
        .cooldown(Duration::from_secs(config.cooldown_secs))
        .success_threshold(config.success_threshold)
        .window(config.window)
        .min_requests(config.min_requests);
    if let Some(ratio) = config.error_ratio {
        layer = layer.error_ratio(ratio);
    }
    if let Some(latency) = config.latency_ms {
        layer = layer.latency(Duration::from_millis(latency));
    }
    if let Some(fallback) = &config.fallback {
        layer = layer.fallback(
            StatusCode::from_u16(fallback.status)?,
            HeaderValue::from_str(&fallback.content_type)?,
            fallback.body.clone(),
        );
    }
    let state = MiddlewareState::CircuitBreaker(layer.handle());
    Ok(Made::from(erase(layer)).showing(state))
}
