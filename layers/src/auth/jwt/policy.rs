//! Which tokens are taken, beside their signature (RFC 7519, 4.1).

use super::algorithm::Algorithms;
use super::forward::Told;
use super::refusal::Refusal;
use super::rule::ClaimRule;
use crate::claims::Claims;
use http::HeaderValue;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a token has to be.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// None: what each key is for.
    pub(super) algorithms: Option<Algorithms>,
    pub(super) issuers: Box<[Box<str>]>,
    pub(super) audiences: Box<[Box<str>]>,
    pub(super) leeway: Duration,
    pub(super) require_exp: bool,
    pub(super) rules: Vec<ClaimRule>,
    pub(super) told: Vec<Told>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            algorithms: None,
            issuers: Box::default(),
            audiences: Box::default(),
            leeway: Duration::from_secs(60),
            require_exp: true,
            rules: Vec::new(),
            told: Vec::new(),
        }
    }
}

/// A token that is genuine, with everything that follows from it and does not change while it lives.
pub(super) struct Verified {
    pub(super) claims: Claims,
    /// The rule that it does not keep, if any.
    broken: Option<usize>,
    /// What to tell, in the order of the policy.
    pub(super) told: Box<[Option<HeaderValue>]>,
    /// Seconds since 1970, leeway included: from when on, and until when.
    starts: i64,
    ends: i64,
}

impl Policy {
    /// Judges what a genuine token says.
    pub(super) fn judge(&self, claims: Map<String, Value>) -> Result<Verified, Refusal> {
        let is_listed = |list: &[Box<str>], claim: &Value| {
            claim
                .as_str()
                .is_some_and(|text| list.iter().any(|each| **each == *text))
        };
        if !self.issuers.is_empty() {
            let issuer = claims.get("iss");
            if !issuer.is_some_and(|issuer| is_listed(&self.issuers, issuer)) {
                return Err(Refusal::ISSUER);
            }
        }
        if !self.audiences.is_empty() {
            let is_ours = match claims.get("aud") {
                Some(Value::Array(list)) => {
                    list.iter().any(|each| is_listed(&self.audiences, each))
                }
                Some(audience) => is_listed(&self.audiences, audience),
                None => false,
            };
            if !is_ours {
                return Err(Refusal::AUDIENCE);
            }
        }
        let leeway = i64::try_from(self.leeway.as_secs()).unwrap_or(i64::MAX);
        let ends = match date(&claims, "exp", f64::floor)? {
            Some(date) => date.saturating_add(leeway),
            None if self.require_exp => return Err(Refusal::NO_EXPIRY),
            None => i64::MAX,
        };
        let starts = date(&claims, "nbf", f64::ceil)?;
        let starts = starts.map_or(i64::MIN, |date| date.saturating_sub(leeway));
        let claims = Claims::new(claims);
        Ok(Verified {
            broken: self.rules.iter().position(|rule| !rule.holds(&claims)),
            told: self.told.iter().map(|told| told.value(&claims)).collect(),
            starts,
            ends,
            claims,
        })
    }
}

impl Verified {
    /// Whether it may pass now.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let now = now();
        if now >= self.ends {
            return Err(Refusal::EXPIRED);
        }
        if now < self.starts {
            return Err(Refusal::EARLY);
        }
        self.broken
            .map_or(Ok(()), |rule| Err(Refusal::Claims(rule)))
    }
}

/// Seconds since 1970, which may have a fraction (RFC 7519, 2). What is no number is an error, and not nothing.
fn date(
    claims: &Map<String, Value>,
    name: &str,
    round: fn(f64) -> f64,
) -> Result<Option<i64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            // A float becomes the nearest integer there is.
            (None, Some(seconds)) => Ok(Some(round(seconds) as i64)),
            (None, None) => Err(Refusal::MALFORMED),
        },
        Some(_) => Err(Refusal::MALFORMED),
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
