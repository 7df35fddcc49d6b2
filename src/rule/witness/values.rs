//! The values of a header, or of a key of the query: none, one or more.

use super::{Found, Repeats, regexp};
use crate::rule::pattern::Pattern;
use std::borrow::Cow;

/// What is asked of some value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'r> {
    Is(&'r str),
    Like(&'r Pattern),
}

impl Ask<'_> {
    fn holds(self, value: &[u8]) -> bool {
        match self {
            Self::Is(own) => own.as_bytes() == value,
            Self::Like(pattern) => pattern.is_match(value),
        }
    }
}

/// Values of which each of `wanted` has one that it holds of, and none of `others` any.
pub(super) fn search(
    wanted: &[Ask<'_>],
    others: &[Ask<'_>],
    repeats: Repeats,
    is_real: impl Fn(&[u8]) -> bool,
) -> Found<Vec<Vec<u8>>> {
    let is_good = |value: &[u8]| is_real(value) && !others.iter().any(|ask| ask.holds(value));
    let mut values: Vec<Vec<u8>> = Vec::new();
    let exact = wanted.iter().filter_map(|ask| match ask {
        Ask::Is(value) => Some(value.as_bytes()),
        Ask::Like(_) => None,
    });
    for value in exact {
        if !is_good(value) {
            return Found::Never;
        }
        if !values.iter().any(|known| known == value) {
            values.push(value.to_vec());
        }
    }
    if repeats == Repeats::Unusual && values.len() > 1 {
        return Found::Never;
    }
    for ask in wanted {
        let Ask::Like(pattern) = ask else { continue };
        if values.iter().any(|value| ask.holds(value)) {
            continue;
        }
        if repeats == Repeats::Unusual && !values.is_empty() {
            return Found::Unknown;
        }
        let samples = regexp::samples(pattern).into_iter();
        // An unanchored expression is content with any text around what it matches.
        let candidates = samples.flat_map(|sample| {
            let around = [b"x".as_slice(), &sample, b"x"].concat();
            [Cow::Owned(sample), Cow::Owned::<[u8]>(around)]
        });
        let all_hold = |value: &[u8]| match repeats {
            Repeats::Allowed => ask.holds(value),
            Repeats::Unusual => wanted.iter().all(|ask| ask.holds(value)),
        };
        let mut candidates = candidates.filter(|value| all_hold(value) && is_good(value));
        match candidates.next() {
            Some(value) => values.push(value.into_owned()),
            None => return Found::Unknown,
        }
    }
    Found::One(values)
}
