//! The admin API: what runs, as JSON, on a listener of its own or behind a router (`admin@internal`).
//!
//! It reads handles, and so does the page for people, through it. All that it changes is whether a server is drained,
//! and that on its own listener only, with a token.

mod access;
mod certificates;
mod dashboard;
mod explain;
mod list;
mod live;
mod middlewares;
mod reloads;
mod scrape;
mod servers;
mod turns;
mod views;

pub use live::{
    EntrypointHandle, Live, MiddlewareHandle, PoolHandle, Reload, ServiceHandle, Snapshot, State,
};
pub use reloads::{Change, InOneLine, Problem, changes};
pub use views::{Health, ServiceHealth};

use crate::stack::HttpService;
use a3s_layers::reject::{Shape, reject};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::routing::{MethodRouter, get};
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use tower::util::BoxCloneSyncService;

/// The admin API of its own listener.
pub fn listener(live: &Arc<Live>) -> HttpService {
    let steered = get(servers::server).put(servers::steer);
    let api = pages(live, steered).layer(from_fn_with_state(
        Arc::clone(live),
        access::require_local_name,
    ));
    BoxCloneSyncService::new(api)
}

/// The admin API as routers lead to it: it shows, and changes nothing.
pub fn routed(live: &Arc<Live>) -> HttpService {
    let shown = get(servers::server).put(servers::not_here);
    BoxCloneSyncService::new(pages(live, shown))
}

fn pages(live: &Arc<Live>, server: MethodRouter<Arc<Live>>) -> Router {
    let not_found = || async { reject(StatusCode::NOT_FOUND, "no such page", Shape::Json) };
    let not_allowed = || async {
        let message = "this page has no such method";
        reject(StatusCode::METHOD_NOT_ALLOWED, message, Shape::Json)
    };
    Router::new()
        .route("/api/gateway/health", get(views::health))
        .route("/api/gateway/metrics", get(views::metrics))
        .route("/api/gateway/config", get(views::config))
        .route("/api/gateway/entrypoints", get(views::entrypoints))
        .route("/api/gateway/entrypoints/{name}", get(views::entrypoint))
        .route("/api/gateway/routers", get(views::routers))
        .route("/api/gateway/routers/{name}", get(views::router))
        .route("/api/gateway/services", get(servers::services))
        .route("/api/gateway/services/{service}", get(servers::service))
        .route("/api/gateway/services/{service}/servers/{server}", server)
        .route("/api/gateway/middlewares", get(middlewares::middlewares))
        .route(
            "/api/gateway/middlewares/{name}",
            get(middlewares::middleware),
        )
        .route("/api/gateway/certificates", get(certificates::certificates))
        .route("/api/gateway/reloads", get(views::reloads))
        .route("/api/gateway/warnings", get(views::warnings))
        .route("/api/gateway/explain", get(explain::explain))
        .layer(from_fn_with_state(Arc::clone(live), access::require_token))
        .layer(map_response(of_the_moment))
        .route("/ready", get(views::ready))
        .route("/live", get(views::live))
        .route("/dashboard", get(dashboard::slash))
        .route("/dashboard/", get(dashboard::page))
        .route("/dashboard/{file}", get(dashboard::file))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn(access::refuse_foreign_pages))
        .layer(from_fn_with_state(
            Arc::clone(live),
            access::require_address,
        ))
        .with_state(Arc::clone(live))
}

/// What is told is so now, and is what it says it is.
async fn of_the_moment(mut response: axum::response::Response) -> axum::response::Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
