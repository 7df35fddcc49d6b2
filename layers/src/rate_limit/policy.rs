//! What a rate limit tells and does, wherever it counts.

use super::limit::{Limit, seconds};
use crate::reject::{Shape, reject};
use axum::body::Body;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A [`Limit`], what clients are told of it, and whether it is enforced.
///
/// Clients are told by the fields `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11,
/// on answers that passed and on refusals: `RateLimit-Policy: "default";q=100;w=1` is a hundred requests in
/// one second, `RateLimit: "default";r=50;t=1` that 50 of them are left for the next second. They stand
/// beside those that a server below has sent.
#[derive(Debug, Clone)]
pub struct Policy {
    limit: Limit,
    /// As a String of RFC 9651, with its quotes.
    name: Box<str>,
    field: HeaderValue,
    has_headers: bool,
    is_shadow: bool,
    counts: RateLimitCounts,
}

/// What a rate limit made of requests. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct RateLimitCounts(Arc<[AtomicU64; 4]>);

/// What a rate limit makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// It is within the limit.
    Allowed,
    /// It is refused.
    Refused,
    /// It would be, were the limit enforced.
    Shadow,
    /// It could not be counted.
    Uncounted,
}

impl Limited {
    /// Each of them, in their order.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Refused, Self::Shadow, Self::Uncounted];

    /// One word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "limited",
            Self::Shadow => "shadow",
            Self::Uncounted => "uncounted",
        }
    }
}

impl RateLimitCounts {
    /// How many requests there were of each kind.
    pub fn told(&self) -> [(Limited, u64); 4] {
        Limited::ALL.map(|limited| (limited, self.0[limited as usize].load(Ordering::Relaxed)))
    }

    pub(super) fn count(&self, limited: Limited) {
        self.0[limited as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A name with other characters than visible ASCII and spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a policy is ASCII without control characters")]
pub struct InvalidName;

/// A request was over its limit: an extension of the refusal, and of the answer that came all the same where
/// the policy is a [`shadow`](Policy::shadow).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded;

impl Policy {
    /// Enforces `limit` and tells of it under the name `default`.
    pub fn new(limit: Limit) -> Self {
        let name = "\"default\"";
        Self {
            limit,
            name: name.into(),
            field: policy_field(name, limit),
            has_headers: true,
            is_shadow: false,
            counts: RateLimitCounts::default(),
        }
    }

    /// Gives it a name, so that a client can tell it from others on its way.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn named(self, name: &str) -> Result<Self, InvalidName> {
        if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(InvalidName);
        }
        let name = format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        Ok(Self {
            field: policy_field(&name, self.limit),
            name: name.into(),
            ..self
        })
    }

    /// Whether clients are told (by default they are). A refusal has `Retry-After` in any case.
    pub fn headers(self, has_headers: bool) -> Self {
        Self {
            has_headers,
            ..self
        }
    }

    /// Counts, tells and marks with [`Exceeded`], and refuses nobody: to see what a limit would do.
    pub fn shadow(self, is_shadow: bool) -> Self {
        Self { is_shadow, ..self }
    }

    /// The limit.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// What it has made of requests so far, wherever it is enforced.
    pub fn counts(&self) -> &RateLimitCounts {
        &self.counts
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.is_shadow
    }

    /// Counts what becomes of a request: it has some left, or has to wait.
    pub(super) fn count(&self, counted: &Result<u32, Duration>) {
        self.counts.count(match counted {
            Ok(_) => Limited::Allowed,
            Err(_) if self.is_shadow => Limited::Shadow,
            Err(_) => Limited::Refused,
        });
    }

    /// What an answer that passed says.
    pub(super) fn passed(&self, remaining: u32) -> Stamp {
        // A client that spreads what is left over that time never meets the limit.
        let window = self.limit.time_for(remaining.max(1));
        self.stamp(remaining, window, false)
    }

    /// What an answer says that should not have been given for `wait`.
    pub(super) fn exceeded(&self, wait: Duration) -> Stamp {
        self.stamp(0, wait, true)
    }

    /// 429 for a request that may come again after `wait`.
    pub(super) fn refuse(&self, wait: Duration, shape: Shape) -> Response<Body> {
        let mut response = reject(StatusCode::TOO_MANY_REQUESTS, "too many requests", shape);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, seconds(wait).into());
        self.exceeded(wait).put(&mut response);
        response
    }

    fn stamp(&self, remaining: u32, window: Duration, is_exceeded: bool) -> Stamp {
        let fields = self.has_headers.then(|| {
            let text = format!("{};r={remaining};t={}", self.name, seconds(window));
            (self.field.clone(), header_value(text))
        });
        Stamp {
            fields,
            is_exceeded,
        }
    }
}

fn policy_field(name: &str, limit: Limit) -> HeaderValue {
    let (quota, window) = limit.in_seconds();
    header_value(format!("{name};q={quota};w={window}"))
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("visible ASCII and spaces are valid in a header")
}

/// What is written on an answer.
#[derive(Debug)]
pub(super) struct Stamp {
    fields: Option<(HeaderValue, HeaderValue)>,
    is_exceeded: bool,
}

impl Stamp {
    pub(super) fn put<B>(self, response: &mut Response<B>) {
        if let Some((policy, limit)) = self.fields {
            let headers = response.headers_mut();
            headers.append(RATE_LIMIT_POLICY, policy);
            headers.append(RATE_LIMIT, limit);
        }
        if self.is_exceeded {
            response.extensions_mut().insert(Exceeded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted() {
        let limit = Limit::new(5.0, Duration::from_secs(1)).expect("a limit");
        let field = |name| Policy::new(limit).named(name).map(|policy| policy.field);
        let expected = HeaderValue::from_static("\"a \\\"b\\\" \\\\\";q=5;w=1");
        assert_eq!(field("a \"b\" \\"), Ok(expected));
        assert_eq!(field("a\nb"), Err(InvalidName));
        assert_eq!(field("é"), Err(InvalidName));
    }
}
