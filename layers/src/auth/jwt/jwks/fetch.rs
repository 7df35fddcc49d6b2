//! One fetch.

use super::Client;
use crate::auth::jwt::jwk;
use crate::auth::jwt::key::KeySet;
use crate::error::BoxError;
use axum::body::Body;
use http::header::{ACCEPT, AGE, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use std::time::Duration;
use tower::ServiceExt;

/// The largest set of keys that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;

/// A set of keys, and how long it may be kept, where the server says so.
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    pub(super) max_age: Option<Duration>,
}

/// Why there are no keys: for logs, and nobody else.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer")]
    Request(#[source] BoxError),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer broke off, or has more than {MAX_JWKS_BYTES} bytes")]
    Body(#[source] BoxError),
    #[error("the answer is no JWK set with a key that verifies tokens")]
    NoKeys,
    #[error("no answer in time")]
    Timeout,
    #[error("the fetch was given up")]
    Aborted,
}

pub(super) async fn fetch(client: Client, url: Uri) -> Result<Fetched, FetchError> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = url;
    let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
    request.headers_mut().insert(ACCEPT, accepted);
    let response = client.oneshot(request).await.map_err(FetchError::Request)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let max_age = max_age(response.headers());
    let body = Limited::new(response.into_body(), MAX_JWKS_BYTES).collect();
    let body = body.await.map_err(FetchError::Body)?.to_bytes();
    let keys = jwk::read(&body).ok_or(FetchError::NoKeys)?;
    Ok(Fetched { keys, max_age })
}

/// How long an answer stays fresh (RFC 9111, 5.2.2.1), less the time that it has been on its way (5.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let seconds: u64 = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("max-age");
        is_it
            .then(|| value.trim().trim_matches('"').parse().ok())
            .flatten()
    })?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Some(Duration::from_secs(seconds.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_an_answer_is_taken_off() {
        for (control, age, expected) in [
            (&["public, max-age=300"][..], None, Some(300)),
            (
                &["public", "Max-Age=\"60\", must-revalidate"],
                Some("20"),
                Some(40),
            ),
            (&["max-age=60"], Some("90"), Some(0)),
            (&["max-age=60"], Some("soon"), Some(60)),
            (&["max-age=99999999999999999999"], None, None),
            (&["no-cache"], None, None),
            (&["s-maxage=60"], None, None),
            (&[], Some("5"), None),
        ] {
            let mut headers = HeaderMap::new();
            for line in control {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_static(age));
            }
            let expected = expected.map(Duration::from_secs);
            assert_eq!(max_age(&headers), expected, "{control:?} {age:?}");
        }
    }
}
