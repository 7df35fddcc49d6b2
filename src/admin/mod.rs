//! The admin API: what runs, as JSON, on a listener of its own or behind a router (`admin@internal`).
//!
//! It reads handles and changes nothing.

mod access;
mod live;
mod views;

pub use live::{EntrypointHandle, Live, PoolHandle, Reload, ServiceHandle, Snapshot, State};
pub use views::Health;

use crate::stack::HttpService;
use a3s_layers::reject::{Shape, reject};
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;

/// The admin API over `live`.
pub fn service(live: Arc<Live>) -> HttpService {
    let api = Router::new()
        .route("/api/gateway/health", get(views::health))
        .route("/api/gateway/metrics", get(views::metrics))
        .route("/api/gateway/config", get(views::config))
        .route("/api/gateway/entrypoints", get(views::entrypoints))
        .route("/api/gateway/routers", get(views::routers))
        .route("/api/gateway/services", get(views::services))
        .route("/api/gateway/middlewares", get(views::middlewares))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&live),
            access::require_token,
        ))
        .route("/ready", get(views::ready))
        .route("/live", get(views::live))
        .fallback(|| async { reject(StatusCode::NOT_FOUND, "no such page", Shape::Json) })
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&live),
            access::require_address,
        ))
        .with_state(live);
    BoxCloneSyncService::new(api)
}
