//! An exchange that is over, as every signal tells it.

use super::RouteSignals;
use super::metrics::CLIENT_GONE;
use crate::stack::reason;
use a3s_layers::error::Failure;
use a3s_layers::journal::Journal;
use a3s_layers::observe::{End, Outcome};
use a3s_layers::reject::{Reason, Refused};
use http::{Method, Response, StatusCode};
use std::time::Duration;

/// What the heads of an exchange say of its end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// Whether the answer is a refusal.
    pub(super) is_refused: bool,
    /// What failed, where there was no answer of a server.
    pub(super) failure: Option<Failure>,
    reason: Option<&'static str>,
    /// Whether nobody reads a body: it is no sign of haste if it is not read.
    is_bodiless: bool,
}

impl Marks {
    pub(super) fn of_request(method: &Method) -> Self {
        Self {
            is_bodiless: method == Method::HEAD,
            ..Self::default()
        }
    }

    pub(super) fn see<B>(&mut self, response: &Response<B>) {
        let extensions = response.extensions();
        self.is_refused = extensions.get::<Refused>().is_some();
        self.failure = extensions.get().copied();
        self.reason = extensions.get().map(|Reason(reason)| *reason);
        self.is_bodiless |= matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    }

    /// What failed, if anything has.
    pub(super) fn failed(&self, outcome: &Outcome) -> Option<Failed> {
        match (self.failure, outcome.status, outcome.failure) {
            (None, Some(_), Some(Failure::Reset)) => Some(Failed::Cut),
            (Some(failure), _, _) | (None, _, Some(failure)) => Some(Failed::Of(failure)),
            (None, Some(_), None) if outcome.end == End::Failed => Some(Failed::Cut),
            (None, _, None) => None,
        }
    }

    /// Why the exchange ended as it did, in one word; none for an ordinary answer.
    pub(super) fn reason<'a>(
        &self,
        outcome: &Outcome,
        route: Option<&'a RouteSignals>,
        position: u32,
    ) -> Option<&'a str> {
        if outcome.status.is_none() {
            return Some(match outcome.failure {
                Some(failure) => failure.reason(),
                None => reason::CLIENT_CLOSED,
            });
        }
        if let Some(reason) = self.reason.or(self.failure.map(Failure::reason)) {
            return Some(reason);
        }
        if let Some(middleware) = route.and_then(|route| route.stopped_at(position)) {
            return Some(&middleware.reason);
        }
        match outcome.end {
            End::Failed => self.failed(outcome).map(Failed::reason),
            End::Dropped if !self.is_bodiless => Some(reason::CLIENT_CLOSED),
            _ => self.is_refused.then_some(reason::REFUSED),
        }
    }
}

/// What became of an exchange that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// There was no answer of a server, or the gateway has ended it.
    Of(Failure),
    /// The answer broke off after its head.
    Cut,
}

impl Failed {
    fn reason(self) -> &'static str {
        match self {
            Self::Of(failure) => failure.reason(),
            Self::Cut => reason::RESPONSE_CUT,
        }
    }
}

/// An exchange that is over.
#[derive(Debug)]
pub struct Ended<'a> {
    /// What was noted of it on its way; none where it never began.
    pub journal: Option<&'a Journal>,
    /// The entrypoint's name.
    pub entrypoint: &'a str,
    /// The route that served it.
    pub route: Option<&'a RouteSignals>,
    /// The status, if there was an answer.
    pub status: Option<StatusCode>,
    /// Why it ended as it did, in one word; none for an ordinary answer.
    pub reason: Option<&'a str>,
    /// From the request to the end of its answer.
    pub took: Duration,
    /// Bytes that came from the client, after the head.
    pub request_bytes: u64,
    /// Bytes that went to the client, after the head.
    pub response_bytes: u64,
}

impl Ended<'_> {
    /// The status, and 499 where there was none.
    pub fn code(&self) -> u16 {
        self.status.map_or(CLIENT_GONE, |status| status.as_u16())
    }
}
