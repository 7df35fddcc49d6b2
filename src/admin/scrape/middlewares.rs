//! What middlewares tell of their own state.

use super::super::live::Snapshot;
use crate::telemetry::MiddlewareState;
use crate::telemetry::metrics::text::{Exposition, Type};
use a3s_layers::circuit_breaker::CircuitState;

pub(super) fn write(snapshot: &Snapshot, out: &mut Exposition) {
    let all = || {
        let all = snapshot.middlewares.iter();
        all.filter_map(|each| Some((&*each.signals.name, each.state.as_ref()?)))
    };
    let breakers = || {
        all().filter_map(|(name, state)| match state {
            MiddlewareState::CircuitBreaker(breaker) => Some((name, breaker)),
            _ => None,
        })
    };
    let mut family = out.family(
        "gateway_circuit_breaker_state",
        "1 for the state that a circuit breaker is in, and 0 for the others",
        Type::Gauge,
    );
    for (name, breaker) in breakers() {
        let now = breaker.state();
        for state in CircuitState::ALL {
            let labels = [("middleware", name), ("state", state.as_str())];
            family.sample(&labels, u8::from(state == now));
        }
    }
    let mut family = out.family(
        "gateway_circuit_breaker_transitions",
        "How often a circuit breaker came into a state",
        Type::Counter,
    );
    for (name, breaker) in breakers() {
        for (state, times) in breaker.transitions() {
            family.sample(&[("middleware", name), ("state", state.as_str())], times);
        }
    }
    let mut family = out.family(
        "gateway_rate_limit_requests",
        "Requests that a rate limit has judged, by what it made of them",
        Type::Counter,
    );
    for (name, state) in all() {
        if let MiddlewareState::RateLimit(counts) = state {
            for (limited, count) in counts.told() {
                family.sample(&[("middleware", name), ("result", limited.as_str())], count);
            }
        }
    }
    let mut family = out.family(
        "gateway_middleware_in_flight",
        "Requests under way by the count of an `in-flight` middleware",
        Type::Gauge,
    );
    for (name, state) in all() {
        if let MiddlewareState::InFlight(handle) = state {
            family.sample(&[("middleware", name)], handle.in_flight());
        }
    }
}
