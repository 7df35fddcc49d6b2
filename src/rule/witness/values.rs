//! The values of a header, or of a key of the query: none, one or more.

use super::{Budget, Found, Repeats, first};
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
    (repeats, budget): (Repeats, &Budget),
    is_real: impl Fn(&[u8]) -> bool,
) -> Found<Vec<Vec<u8>>> {
    let cost = 4 * (1 + wanted.len() + others.len());
    let is_good = |value: &[u8]| is_real(value) && !others.iter().any(|ask| ask.holds(value));
    let mut values: Vec<Vec<u8>> = Vec::new();
    let exact = wanted.iter().filter_map(|ask| match ask {
        Ask::Is(value) => Some(value.as_bytes()),
        Ask::Like(_) => None,
    });
    for value in exact {
        if !budget.spend(cost) {
            return Found::Unknown;
        }
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
        let samples = pattern.samples().iter();
        // An unanchored expression is content with any text around what it matches.
        let candidates = samples.flat_map(|sample| {
            let around = [b"x".as_slice(), sample, b"x"].concat();
            [Cow::Borrowed(&**sample), Cow::Owned::<[u8]>(around)]
        });
        let all_hold = |value: &[u8]| match repeats {
            Repeats::Allowed => ask.holds(value),
            Repeats::Unusual => wanted.iter().all(|ask| ask.holds(value)),
        };
        let fits = |value: &Cow<'_, [u8]>| all_hold(value) && is_good(value);
        match first(candidates, false, (budget, cost), fits) {
            Found::One(value) => values.push(value.into_owned()),
            _ => return Found::Unknown,
        }
    }
    Found::One(values)
}
