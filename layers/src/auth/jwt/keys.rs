//! Where keys come from.

use super::algorithm::{Algorithm, Algorithms};
use super::judge::{Patience, Stop};
use super::jwks::Jwks;
use super::key::KeySet;
use super::refusal::Refusal;
use arc_swap::{ArcSwapOption, Guard};
use std::sync::Arc;

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum Keys {
    /// They are given.
    Fixed(FixedKeys),
    /// They are fetched.
    Remote(Jwks),
}

/// Keys that are given, and may be given anew while they are in use. Clones share them. By default there are none yet,
/// and requests are answered 503.
#[derive(Debug, Clone, Default)]
pub struct FixedKeys(Arc<ArcSwapOption<KeySet>>);

impl FixedKeys {
    /// These keys, for now.
    pub fn new(keys: KeySet) -> Self {
        Self(Arc::new(ArcSwapOption::from_pointee(keys)))
    }

    /// Only these keys, from now on: what others have signed is refused at once.
    pub fn replace(&self, keys: KeySet) {
        self.0.store(Some(Arc::new(keys)));
    }
}

impl From<KeySet> for Keys {
    fn from(keys: KeySet) -> Self {
        Self::Fixed(FixedKeys::new(keys))
    }
}

impl From<FixedKeys> for Keys {
    fn from(keys: FixedKeys) -> Self {
        Self::Fixed(keys)
    }
}

impl From<Jwks> for Keys {
    fn from(keys: Jwks) -> Self {
        Self::Remote(keys)
    }
}

impl Keys {
    pub(super) fn load(&self, patience: Patience) -> Guard<Option<Arc<KeySet>>> {
        match self {
            Self::Fixed(keys) => keys.0.load(),
            Self::Remote(jwks) => jwks.keys(patience),
        }
    }

    /// The algorithms that a token may be signed with, of those that are `configured`.
    pub(super) fn accepted(
        &self,
        configured: Option<Algorithms>,
        keys: Option<&KeySet>,
    ) -> Algorithms {
        match (self, keys) {
            (Self::Fixed(_), Some(keys)) => keys.algorithms(configured),
            _ => PUBLIC.and(configured.unwrap_or(PUBLIC)),
        }
    }

    /// What to do while there are no keys.
    pub(super) fn first(&self, patience: Patience) -> Stop {
        match (self, patience) {
            (Self::Remote(jwks), Patience::Some) => jwks
                .first()
                .map_or(Stop::Refuse(Refusal::Unavailable), Stop::Wait),
            _ => Stop::Refuse(Refusal::Unavailable),
        }
    }

    /// What to do with a token that none of the keys has signed, where it names none of them.
    pub(super) fn unknown(&self, key_id: Option<&str>, patience: Patience) -> Stop {
        match (self, patience) {
            (Self::Fixed(_), _) => Stop::Refuse(Refusal::SIGNATURE),
            (Self::Remote(jwks), Patience::Some) => match jwks.refetch(key_id) {
                Ok(landing) => Stop::Wait(landing),
                Err(refusal) => Stop::Refuse(refusal),
            },
            (Self::Remote(jwks), Patience::None) => Stop::Refuse(jwks.missing(key_id)),
            (Self::Remote(_), Patience::Looks) => Stop::Refuse(Refusal::Unavailable),
        }
    }
}

/// Those whose keys anybody may know.
const PUBLIC: Algorithms = Algorithms::of(&[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
]);
