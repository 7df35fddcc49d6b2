//! Requests that are refused before a stack sees them, and who hears of that.

use super::Request;
use a3s_layers::peer::Peer;
use http::StatusCode;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A request that the server has refused: no stack has seen it.
#[derive(Debug)]
pub struct TurnedAway<'a> {
    /// Who sent it.
    pub peer: &'a Arc<Peer>,
    /// The request, where it was one that could be read.
    pub request: Option<&'a Request>,
    /// What it was answered.
    pub status: StatusCode,
    /// One of [`reason`](super::reason).
    pub reason: &'static str,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// How long its head had been under way.
    pub took: Duration,
}

/// Hears of requests that were refused before there was an exchange to be observed.
pub trait Doorkeeper: fmt::Debug + Send + Sync {
    /// One more.
    fn turned_away(&self, away: &TurnedAway<'_>);
}
