//! The answer to a request that may not pass (RFC 6750, 3).

use crate::reject::{Shape, reject};
use axum::body::Body;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// Why a request may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has no token.
    Missing,
    /// It is no request that could be judged.
    Request(&'static str),
    /// Its token is not good, for a reason that its sender may know.
    Token(&'static str),
    /// Its token is good, and does not say what is required by the rule of this number.
    Claims(usize),
    /// There are no keys to judge by.
    Unavailable,
}

impl Refusal {
    pub(super) const SEVERAL: Self = Self::Request("more than one token was sent");
    pub(super) const MALFORMED: Self = Self::Token("the token is malformed");
    pub(super) const ALGORITHM: Self =
        Self::Token("the token is signed with an algorithm that is not accepted");
    pub(super) const SIGNATURE: Self = Self::Token("the token's signature is not valid");
    pub(super) const KEY: Self = Self::Token("the token is signed with an unknown key");
    pub(super) const EXPIRED: Self = Self::Token("the token has expired");
    pub(super) const NO_EXPIRY: Self = Self::Token("the token does not say when it expires");
    pub(super) const EARLY: Self = Self::Token("the token is not valid yet");
    pub(super) const ISSUER: Self = Self::Token("the token is of an issuer that is not accepted");
    pub(super) const AUDIENCE: Self = Self::Token("the token is not for this audience");

    /// The answer. `realm` and `scope` have no quotes and no backslashes.
    pub(super) fn answer(
        self,
        headers: &HeaderMap,
        realm: &str,
        scope: Option<&str>,
    ) -> Response<Body> {
        let (status, code, message) = match self {
            Self::Missing => (StatusCode::UNAUTHORIZED, None, "a bearer token is required"),
            Self::Request(why) => (StatusCode::BAD_REQUEST, Some("invalid_request"), why),
            Self::Token(why) => (StatusCode::UNAUTHORIZED, Some("invalid_token"), why),
            Self::Claims(_) => (
                StatusCode::FORBIDDEN,
                Some("insufficient_scope"),
                "the token does not have the claims that this needs",
            ),
            Self::Unavailable => {
                return unavailable(headers);
            }
        };
        let mut response = reject(status, message, Shape::of(headers));
        // For gRPC the status is 200, and no challenge belongs there.
        if response.status() == status {
            let mut challenge = format!("Bearer realm=\"{realm}\"");
            if let Some(code) = code {
                challenge += &format!(", error=\"{code}\", error_description=\"{message}\"");
            }
            if let Some(scope) = scope {
                challenge += &format!(", scope=\"{scope}\"");
            }
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }
}

fn unavailable(headers: &HeaderMap) -> Response<Body> {
    let message = "tokens cannot be verified at the moment";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = reject(status, message, Shape::of(headers));
    if response.status() == status {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(RETRY_AFTER, soon);
    }
    response
}
