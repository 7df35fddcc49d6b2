//! Tower layers for gateways, usable in any axum or Tower app.

pub mod peer;
