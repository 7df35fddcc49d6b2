//! What the operator sees of requests: each exchange is observed once, at its entrypoint, and told to all who count it.

pub mod access_log;
mod ended;
mod exchange;
pub mod metrics;
mod middleware;
mod route;
pub mod traces;

pub use ended::Ended;
pub use exchange::{EntrypointSignals, Signalled, SignalsLayer};
pub use middleware::MiddlewareState;
pub use route::{MiddlewareSignals, RouteLayer, RouteSignals, Routed};

use crate::stack::redaction::Redaction;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// What is told of exchanges beside the metrics, as the running configuration wants it.
#[derive(Debug, Default)]
pub struct Signals {
    /// Writes a line for each exchange, where that is wanted.
    pub access_log: Option<access_log::AccessLog>,
    /// Makes spans of requests, where traces are wanted.
    pub tracer: Option<Arc<traces::Tracer>>,
    /// What spans do not tell of requests.
    pub redaction: Redaction,
}

/// The [`Signals`] of the running configuration; those who tell look into it at each exchange.
pub type RunningSignals = Arc<ArcSwap<Signals>>;
