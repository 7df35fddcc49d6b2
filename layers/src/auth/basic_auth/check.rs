//! Whether credentials are right: remembered, compared, or hashed where that keeps nobody waiting.

use super::users::User;
use http::HeaderValue;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What is found.
pub(super) enum Verdict {
    /// The credentials of this user.
    Right(HeaderValue),
    Wrong,
    Missing,
    /// There is no room to find out.
    Busy,
}

/// Credentials that were found right.
pub(super) struct Verified {
    digest: [u8; 32],
    until: Instant,
}

/// Somebody's claim to be a user.
pub(super) struct Claim {
    pub(super) user: Arc<User>,
    /// Whether it is the user that was named; otherwise it is one whose hash takes its time instead.
    pub(super) is_known: bool,
    /// A digest of the credentials.
    pub(super) digest: [u8; 32],
}

impl Claim {
    pub(super) fn right(&self) -> Verdict {
        Verdict::Right(self.user.name.clone())
    }

    pub(super) fn is_remembered(&self) -> bool {
        // The digest is of the name, too: that of somebody else is never found in its stead.
        let verified = self.user.verified.load();
        verified.as_ref().is_some_and(|verified| {
            let is_same = bool::from(verified.digest.ct_eq(&self.digest));
            is_same && self.is_known && Instant::now() < verified.until
        })
    }

    pub(super) fn compare(&self, password: &[u8]) -> Verdict {
        match self.user.hash.matches(password) {
            Ok(true) if self.is_known => self.right(),
            Ok(_) => Verdict::Wrong,
            Err(_) => Verdict::Busy,
        }
    }

    fn remember(&self, time: Duration) {
        if !time.is_zero() {
            let verified = Verified {
                digest: self.digest,
                until: Instant::now() + time,
            };
            self.user.verified.store(Some(Arc::new(verified)));
        }
    }
}

/// A claim that is to be hashed.
pub(super) struct Check {
    claim: Claim,
    password: Box<[u8]>,
    remember: Duration,
    place: Place,
}

impl Check {
    pub(super) fn new(claim: Claim, password: &[u8], remember: Duration, place: Place) -> Self {
        Self {
            claim,
            password: password.into(),
            remember,
            place,
        }
    }

    pub(super) async fn run(mut self) -> Verdict {
        if !self.place.turn().await {
            return Verdict::Busy;
        }
        // A browser opens several connections at a time: the first of them was hashed for all.
        if self.claim.is_remembered() {
            return self.claim.right();
        }
        // Once begun it goes on, even where nobody waits for it any more; its place is taken until it ends.
        let hashed = tokio::task::spawn_blocking(move || {
            let verdict = self.claim.compare(&self.password);
            if let Verdict::Right(_) = verdict {
                self.claim.remember(self.remember);
            }
            drop(self.place);
            verdict
        });
        hashed.await.unwrap_or(Verdict::Busy)
    }
}

/// How much is hashed at a time.
pub(super) struct Hashing {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// One at a time, which takes no place of anybody else.
    rehearsals: Arc<Semaphore>,
}

/// A place among those who are hashed or wait for it.
pub(super) struct Place {
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

impl Hashing {
    pub(super) fn new(at_a_time: usize, waiting: usize) -> Self {
        let limit = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            turns: limit(at_a_time),
            places: limit(at_a_time.max(1).saturating_add(waiting)),
            rehearsals: limit(1),
        }
    }

    pub(super) fn enter(&self) -> Option<Place> {
        Some(Place {
            turns: Arc::clone(&self.turns),
            turn: None,
            _place: Arc::clone(&self.places).try_acquire_owned().ok()?,
        })
    }

    /// A place for a rehearsal, if no other has one.
    pub(super) fn rehearse(&self) -> Option<Place> {
        let place = Arc::clone(&self.rehearsals).try_acquire_owned().ok()?;
        Some(Place {
            turns: Arc::new(Semaphore::new(1)),
            turn: None,
            _place: place,
        })
    }
}

impl Place {
    /// Waits until it is its turn.
    async fn turn(&mut self) -> bool {
        self.turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        self.turn.is_some()
    }
}
