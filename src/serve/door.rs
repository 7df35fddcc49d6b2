//! Where a connection's server tells of requests that it refuses itself.

use crate::stack::{Doorkeeper, Request, Response, TurnedAway, reason};
use a3s_layers::peer::Peer;
use http::StatusCode;
use http_body::Body as _;
use std::sync::Arc;
use std::time::Duration;

/// The door of one connection. Nobody need stand there.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) peer: Arc<Peer>,
    pub(super) keeper: Option<Arc<dyn Doorkeeper>>,
}

impl Door {
    /// A head that never became a request.
    pub(super) fn turned_away(
        &self,
        status: StatusCode,
        reason: &'static str,
        response_bytes: u64,
        took: Duration,
    ) {
        if let Some(keeper) = &self.keeper {
            keeper.turned_away(&TurnedAway {
                peer: &self.peer,
                request: None,
                status,
                reason,
                response_bytes,
                took,
            });
        }
    }

    /// A request that is answered so.
    pub(super) fn answered(&self, request: &Request, answer: &Response, reason: &'static str) {
        if let Some(keeper) = &self.keeper {
            keeper.turned_away(&TurnedAway {
                peer: &self.peer,
                request: Some(request),
                status: answer.status(),
                reason,
                response_bytes: answer.body().size_hint().lower(),
                took: Duration::ZERO,
            });
        }
    }

    /// What the parser of HTTP/1 answers itself, where it fails with this.
    pub(super) fn parser_failed(&self, error: &hyper::Error, took: Duration) {
        let (status, reason) = match error {
            error if error.is_parse_too_large() => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                reason::HEAD_TOO_LARGE,
            ),
            error if error.is_parse() => (StatusCode::BAD_REQUEST, reason::MALFORMED),
            _ => return,
        };
        self.turned_away(status, reason, 0, took);
    }
}
