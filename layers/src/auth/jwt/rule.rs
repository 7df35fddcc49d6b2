//! What a token must say of its bearer.

use crate::claims::{Claims, scalar};
use serde_json::Value;

/// A claim that a token must have, with one of some values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRule {
    path: Box<str>,
    accepted: Box<[Box<str>]>,
}

impl ClaimRule {
    /// The claim at `path` ([`Claims::get`]) must be one of the `accepted`, or a list that has one of them. Numbers
    /// and truth values are compared by how they are written: `3`, `true`.
    ///
    /// A claim called `scope` or `scp` is words with spaces between, or a list of words (RFC 8693, 4.2); an accepted
    /// value of several words asks for all of them.
    pub fn new<T: Into<String>>(path: &str, accepted: impl IntoIterator<Item = T>) -> Self {
        let accepted = accepted.into_iter();
        Self {
            path: path.into(),
            accepted: accepted
                .map(|value| value.into().into_boxed_str())
                .collect(),
        }
    }

    pub(super) fn holds(&self, claims: &Claims) -> bool {
        let Some(claim) = claims.get(&self.path) else {
            return false;
        };
        let mut accepted = self.accepted.iter();
        accepted.any(|value| match self.is_scope() {
            true => {
                let mut words = value.split_ascii_whitespace().peekable();
                words.peek().is_some() && words.all(|word| has_word(claim, word))
            }
            false => has(claim, value),
        })
    }

    /// The scope to ask for (RFC 6750, 3), where there is no choice.
    pub(super) fn scope(&self) -> Option<&str> {
        match &*self.accepted {
            [scope] if self.is_scope() && scope.bytes().all(is_scope_byte) => Some(scope),
            _ => None,
        }
    }

    fn is_scope(&self) -> bool {
        let name = self.path.rsplit('.').next().unwrap_or_default();
        matches!(name, "scope" | "scp")
    }
}

/// RFC 6749, 3.3, and the space between.
fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

fn has(claim: &Value, value: &str) -> bool {
    match claim {
        Value::Array(list) => list
            .iter()
            .any(|each| scalar(each).as_deref() == Some(value)),
        claim => scalar(claim).as_deref() == Some(value),
    }
}

fn has_word(claim: &Value, word: &str) -> bool {
    match claim {
        Value::String(words) => words.split(' ').any(|each| each == word),
        claim => has(claim, word),
    }
}
