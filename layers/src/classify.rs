//! What counts as a failure of a service, for whoever keeps count: one table for all of them.
//!
//! ```
//! use a3s_layers::classify::Verdict;
//! use http::Response;
//!
//! let broken = Response::builder().status(503).body(()).unwrap();
//! assert_eq!(Verdict::of(&broken), Verdict::Failure);
//! ```

use crate::error::Failure;
use crate::reject::Refused;
use http::{HeaderMap, HeaderName, Response};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What an answer says of the service that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service answered, be it that the client was wrong.
    Success,
    /// The service failed.
    Failure,
    /// Nothing: it was not asked, or the client's own part failed.
    Neither,
}

impl Verdict {
    /// Judges by the head of an answer:
    ///
    /// - one with a [`Failure`], which the gateway made: a failure, unless it was the request that failed;
    /// - any other [refusal](crate::reject), made before the service was asked: neither;
    /// - 500 to 599, as Traefik's `ResponseCodeRatio(500, 600, 0, 600)` and Envoy's `consecutive_5xx`: a failure;
    /// - a gRPC answer that has its status in the head, and one that Envoy takes for a 5xx (`UNKNOWN`,
    ///   `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`): a failure;
    /// - everything else: a success.
    pub fn of<B>(response: &Response<B>) -> Self {
        let extensions = response.extensions();
        if !extensions.is_empty() {
            match extensions.get::<Failure>() {
                Some(failure) if failure.is_of_request() => return Self::Neither,
                Some(_) => return Self::Failure,
                None if extensions.get::<Refused>().is_some() => return Self::Neither,
                None => {}
            }
        }
        match response.status().is_server_error() || Self::is_failure_of_grpc(response.headers()) {
            true => Self::Failure,
            false => Self::Success,
        }
    }

    /// Whether the fields of a head, or of trailers, have a `grpc-status` that is a failure of the service.
    pub fn is_failure_of_grpc(fields: &HeaderMap) -> bool {
        fields.get(GRPC_STATUS).is_some_and(|status| {
            matches!(
                status.as_bytes(),
                b"2" | b"4" | b"12" | b"13" | b"14" | b"15"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::{Shape, reject};
    use crate::rescue::answer_to;
    use http::{StatusCode, Version};

    #[test]
    fn a_service_is_judged_by_its_own_answers() {
        for (status, grpc, verdict) in [
            (200, None, Verdict::Success),
            (101, None, Verdict::Success),
            (304, None, Verdict::Success),
            (400, None, Verdict::Success),
            (408, None, Verdict::Success),
            (429, None, Verdict::Success),
            (500, None, Verdict::Failure),
            (501, None, Verdict::Failure),
            (503, None, Verdict::Failure),
            (599, None, Verdict::Failure),
            (600, None, Verdict::Success),
            (200, Some("0"), Verdict::Success),
            (200, Some("5"), Verdict::Success),
            (200, Some("13"), Verdict::Failure),
            (200, Some("14"), Verdict::Failure),
        ] {
            let mut response = Response::builder().status(status);
            if let Some(grpc) = grpc {
                response = response.header("grpc-status", grpc);
            }
            let response = response.body(()).unwrap();
            assert_eq!(Verdict::of(&response), verdict, "{status} {grpc:?}");
        }
    }

    #[test]
    fn of_the_gateways_own_answers_only_failures_of_servers_count() {
        for (failure, verdict) in [
            (Failure::Connect, Verdict::Failure),
            (Failure::ResponseTimeout, Verdict::Failure),
            (Failure::Unavailable, Verdict::Failure),
            (Failure::RequestBody, Verdict::Neither),
            (Failure::RequestTimeout, Verdict::Neither),
            (Failure::BodyTooLarge, Verdict::Neither),
            (Failure::NoUpgrade, Verdict::Neither),
        ] {
            for shape in [Shape::Json, Shape::Grpc] {
                let response = answer_to(failure, shape, Version::HTTP_11);
                assert_eq!(Verdict::of(&response), verdict, "{failure:?} {shape:?}");
            }
        }
        for shape in [Shape::Json, Shape::Grpc] {
            let response = reject(StatusCode::SERVICE_UNAVAILABLE, "full", shape);
            assert_eq!(Verdict::of(&response), Verdict::Neither);
        }
    }
}
