//! What the gateway says of itself.

pub mod metrics;
