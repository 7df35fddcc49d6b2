//! What middlewares tell of their own state, beside what they make of requests.

use a3s_layers::circuit_breaker::CircuitBreakerHandle;
use a3s_layers::in_flight::InFlightHandle;
use a3s_layers::rate_limit::RateLimitCounts;

/// The state of a middleware, for those that have some to show.
#[derive(Debug, Clone)]
pub enum MiddlewareState {
    /// Of a circuit breaker.
    CircuitBreaker(CircuitBreakerHandle),
    /// Of a limit of requests under way.
    InFlight(InFlightHandle),
    /// Of a rate limit.
    RateLimit(RateLimitCounts),
}
