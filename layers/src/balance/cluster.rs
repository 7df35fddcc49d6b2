//! What can be asked of a balance without asking it for an answer.

use super::sticky::Affinity;
use crate::endpoint::Endpoint;
use crate::rehearsal::Candidate;
use std::sync::Arc;

/// The servers of a revision, as a [`Split`](crate::split::Split) sees them. A [`Balance`](super::Balance) is one.
pub trait Cluster: Send + Sync {
    /// Whether one that was not tried takes a request that could go elsewhere.
    fn takes(&self, tried: &[Arc<Endpoint>]) -> bool;

    /// Whether this is one of them.
    fn has(&self, endpoint: &Arc<Endpoint>) -> bool;

    /// Whether a session is at one of them.
    fn standing(&self, affinity: &Affinity, tried: &[Arc<Endpoint>]) -> Standing;

    /// Each of them, and whether it may be picked: for a [rehearsal](crate::rehearsal).
    fn candidates(&self, affinity: Option<&Affinity>) -> Vec<Candidate>;
}

/// How a session stands with the servers of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is at none of them.
    Unknown,
    /// It is at one that takes no request now, or was tried.
    Away,
    /// It is at one that takes this request.
    Here,
}
