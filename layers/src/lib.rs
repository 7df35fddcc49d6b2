//! Tower layers for gateways, usable in any axum or Tower app.

pub mod balance;
pub mod catch_panic;
pub mod endpoint;
pub mod error;
pub mod hop_by_hop;
pub mod observe;
pub mod peer;
pub mod reject;
pub mod rescue;
