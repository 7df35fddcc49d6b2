//! One request, and what becomes of it.

use super::MAX_TOKEN_BYTES;
use super::cache::{Cache, Known, Seen};
use super::jwks::Landing;
use super::key::Unverified;
use super::keys::Keys;
use super::policy::Policy;
use super::refusal::Refusal;
use super::source::Source;
use super::token::Token;
use axum::body::Body;
use http::{Request, Response};
use std::sync::Arc;

/// What the clones of a layer share.
pub(super) struct Shared {
    pub(super) keys: Keys,
    pub(super) settings: Settings,
    pub(super) cache: Cache,
}

/// What a layer was told.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    pub(super) source: Source,
    pub(super) hide: bool,
    pub(super) realm: Box<str>,
}

/// Why a request does not go on, or not yet.
pub(super) enum Stop {
    Refuse(Refusal),
    Wait(Landing),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// Whether a request may still wait for keys: it does so once, and a rehearsal has none of them fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Some,
    None,
    Looks,
}

impl Shared {
    /// Whether a request may pass.
    pub(super) fn judge<B>(
        &self,
        request: &Request<B>,
        patience: Patience,
    ) -> Result<Arc<Known>, Stop> {
        let policy = &self.settings.policy;
        let found = self.settings.source.find(request)?;
        let text = found.ok_or(Refusal::Missing)?;
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::MALFORMED.into());
        }
        let seen = Seen::new(text);
        let keys = self.keys.load(patience);
        if let Some(keys) = &*keys
            && let Some(known) = self.cache.get(&seen, keys.number())
        {
            known.check()?;
            return Ok(known);
        }
        let token = Token::read(text).ok_or(Refusal::MALFORMED)?;
        let accepted = self.keys.accepted(policy.algorithms, keys.as_deref());
        let algorithm = token.algorithm().filter(|each| accepted.contains(*each));
        let algorithm = algorithm.ok_or(Refusal::ALGORITHM)?;
        let signed = token.signed(algorithm).ok_or(Refusal::MALFORMED)?;
        let Some(keys) = &*keys else {
            return Err(self.keys.first(patience));
        };
        match keys.verify(&signed, policy.algorithms) {
            Ok(()) => {}
            Err(Unverified::Forged) => return Err(Refusal::SIGNATURE.into()),
            Err(Unverified::Unfit) => return Err(Refusal::ALGORITHM.into()),
            Err(Unverified::Unknown) => return Err(self.keys.unknown(token.key_id(), patience)),
        }
        let verified = policy.judge(token.claims().ok_or(Refusal::MALFORMED)?)?;
        let known = self.cache.put(&seen, keys.number(), verified);
        known.check()?;
        Ok(known)
    }

    /// Makes of a request what is to be seen of it.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, known: &Known) {
        if self.settings.hide {
            self.settings.source.hide(request);
        }
        for (told, value) in std::iter::zip(&self.settings.policy.told, &known.told) {
            told.tell(request, value.as_ref());
        }
        request.extensions_mut().insert(known.claims.clone());
    }

    /// The answer to a request that may not pass.
    pub(super) fn refuse<B>(&self, request: &Request<B>, refusal: Refusal) -> Response<Body> {
        let scope = match refusal {
            Refusal::Claims(rule) => self.settings.policy.rules[rule].scope(),
            _ => None,
        };
        refusal.answer(request.headers(), &self.settings.realm, scope)
    }
}
