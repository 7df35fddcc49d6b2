//! Who may ask.

use super::Live;
use crate::config::AdminConfig;
use crate::stack::{Request, Response};
use a3s_layers::peer::Client;
use a3s_layers::reject::{Shape, reject};
use axum::extract::State;
use axum::middleware::Next;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;

/// Only from the configured addresses, if any are.
pub(super) async fn require_address(
    State(live): State<Arc<Live>>,
    request: Request,
    next: Next,
) -> Response {
    let snapshot = live.snapshot();
    let is_allowed = snapshot.config.admin.as_ref().is_none_or(|admin| {
        let client = request.extensions().get::<Client>();
        admin.allowed_ips.is_empty()
            || client.is_some_and(|client| {
                let allowed = &mut admin.allowed_ips.iter();
                allowed.any(|network| network.contains(&client.ip()))
            })
    });
    if !is_allowed {
        let shape = Shape::of(request.headers());
        return reject(StatusCode::FORBIDDEN, "this address may not ask", shape);
    }
    next.run(request).await
}

/// Only with the configured token, if there is one.
pub(super) async fn require_token(
    State(live): State<Arc<Live>>,
    request: Request,
    next: Next,
) -> Response {
    let snapshot = live.snapshot();
    if !has_token(snapshot.config.admin.as_ref(), &request) {
        let shape = Shape::of(request.headers());
        let mut response = reject(StatusCode::UNAUTHORIZED, "a token is needed", shape);
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return response;
    }
    next.run(request).await
}

fn has_token(admin: Option<&AdminConfig>, request: &Request) -> bool {
    let Some(token) = admin.and_then(|admin| admin.token.as_ref()) else {
        return true;
    };
    let Some(value) = request.headers().get(AUTHORIZATION) else {
        return false;
    };
    match value.as_bytes().split_at_checked(7) {
        Some((scheme, given)) => scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(given),
        None => false,
    }
}
