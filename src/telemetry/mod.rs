//! What the operator sees of requests: each exchange is observed once, at its entrypoint, and told to all who count it.

mod exchange;
pub mod metrics;
mod route;
pub mod traces;

pub use exchange::{EntrypointSignals, Signalled, SignalsLayer};
pub use route::{MiddlewareSignals, RouteLayer, RouteSignals, Routed};

use arc_swap::ArcSwap;
use std::sync::Arc;

/// What is told of exchanges beside the metrics, as the running configuration wants it.
#[derive(Debug, Default)]
pub struct Signals {
    /// Makes spans of requests, where traces are wanted.
    pub tracer: Option<Arc<traces::Tracer>>,
}

/// The [`Signals`] of the running configuration; those who tell look into it at each exchange.
pub type RunningSignals = Arc<ArcSwap<Signals>>;
