//! What one pick goes by, beside the members: looked up once, and only if somebody asks.

use super::{Balanced, HashOn, Rules, Strategy};
use crate::endpoint::Endpoint;
use std::cell::OnceCell;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Moment {
    /// The hash of the request's key; 0 where nobody hashes.
    pub(super) key: u64,
    slow_start: Duration,
    now: OnceCell<Instant>,
}

impl Moment {
    pub(super) fn new(rules: &Rules, request: &impl Balanced) -> Self {
        Self {
            key: match &rules.strategy {
                Strategy::ConsistentHash(on) => key(on, request),
                _ => 0,
            },
            slow_start: rules.slow_start,
            now: OnceCell::new(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        *self.now.get_or_init(Instant::now)
    }

    /// Whether a member may have less than its share.
    pub(super) fn is_of_slow_start(&self) -> bool {
        !self.slow_start.is_zero()
    }

    /// The share that a member has of its own, from a tenth to 1.
    pub(super) fn warmth(&self, endpoint: &Endpoint) -> f64 {
        match self.is_of_slow_start() {
            true => endpoint.warmth(self.slow_start, self.now()),
            false => 1.0,
        }
    }

    /// Whether this turn of a member is one of those that its share leaves it.
    pub(super) fn admits(&self, endpoint: &Endpoint) -> bool {
        let warmth = self.warmth(endpoint);
        warmth >= 1.0 || fastrand::f64() < warmth
    }
}

/// A request without the key goes by its client; where that is not known either, anywhere.
fn key(on: &HashOn, request: &impl Balanced) -> u64 {
    let key = request.hash_of(on);
    let key = key.or_else(|| request.hash_of(&HashOn::ClientIp));
    key.unwrap_or_else(|| fastrand::u64(..))
}
