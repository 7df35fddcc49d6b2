//! The refusal of a request without credentials, or with wrong ones.

use crate::reject::{Shape, reject};
use axum::body::Body;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, StatusCode};

/// 401 with the challenge that it has to carry (RFC 9110, 15.5.2).
pub(super) fn unauthorized(
    message: &'static str,
    challenge: &HeaderValue,
    shape: Shape,
) -> Response<Body> {
    let mut response = reject(StatusCode::UNAUTHORIZED, message, shape);
    // For gRPC the status is 200, and no challenge belongs there.
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, challenge.clone());
    }
    response
}
