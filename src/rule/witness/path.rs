//! Paths.

use super::example::{encode, is_path};
use super::{Budget, Found, first};
use crate::rule::pattern::Pattern;
use a3s_layers::path::{normalize, routing};

/// What may follow a prefix. They begin in different ways, so that what other rules name is one way at most.
const REST: [&str; 12] = [
    "", "x", "example", "1", "-", "2Fx", "z", "q", "~", "_", "K", "!",
];

/// More prefixes are not looked at.
const MAX_PREFIXES: usize = 128;

/// What is asked of a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'r> {
    Is(&'r str),
    Begins(&'r str),
    Like(&'r Pattern),
}

impl<'r> Ask<'r> {
    pub(super) fn holds(self, path: &str) -> bool {
        match self {
            Self::Is(own) => own == path,
            Self::Begins(prefix) => path.starts_with(prefix),
            Self::Like(pattern) => pattern.is_match(path.as_bytes()),
        }
    }

    fn text(self) -> Option<&'r str> {
        match self {
            Self::Is(text) | Self::Begins(text) => Some(text),
            Self::Like(_) => None,
        }
    }
}

/// A path of which all of `wanted` holds, and none of `others`. The `*` of `OPTIONS *` is not among them.
///
/// Of a path that is not named itself, rules see no more than the longest named text that it begins with. So it is
/// enough to try each of those, alone and with something behind it that leads to no other.
pub(super) fn search(wanted: &[Ask<'_>], others: &[Ask<'_>], budget: &Budget) -> Found<String> {
    if wanted.is_empty() && others.is_empty() {
        return Found::One("/".to_owned());
    }
    let asks = || wanted.iter().chain(others);
    let fits = |path: &String| {
        is_real(path)
            && wanted.iter().all(|ask| ask.holds(path))
            && !others.iter().any(|ask| ask.holds(path))
    };
    // What is written is read byte by byte, too.
    let length = asks().filter_map(|ask| ask.text()).map(str::len).max();
    let cost = 8 + length.unwrap_or_default() / 8 + 2 * (wanted.len() + others.len());
    let exact = wanted.iter().find_map(|ask| match ask {
        Ask::Is(path) => Some((*path).to_owned()),
        Ask::Begins(_) | Ask::Like(_) => None,
    });
    if let Some(exact) = exact {
        return first([exact], true, (budget, cost), fits);
    }
    let prefixes = wanted.iter().filter_map(|ask| ask.text());
    let base = prefixes.max_by_key(|prefix| prefix.len()).unwrap_or("/");
    let mut named: Vec<&str> = asks().filter_map(|ask| ask.text()).collect();
    named.push(base);
    named.retain(|text| text.starts_with(base));
    named.sort_unstable();
    named.dedup();
    let mut is_all = named.len() <= MAX_PREFIXES;
    named.truncate(MAX_PREFIXES);
    let patterns = asks().filter(|ask| matches!(ask, Ask::Like(_)));
    is_all &= patterns.count() == 0;
    for text in &named {
        // The longer ones that it may lead to.
        let longer: Vec<&str> = (named.iter().copied())
            .filter(|other| other.len() > text.len() && other.starts_with(*text))
            .collect();
        let mut has_more = false;
        for rest in REST {
            if !budget.spend(cost + longer.len()) {
                return Found::Unknown;
            }
            let path = format!("{text}{rest}");
            if !is_real(&path) || longer.iter().any(|other| path.starts_with(other)) {
                continue;
            }
            if fits(&path) {
                return Found::One(path);
            }
            has_more |= !rest.is_empty();
        }
        is_all &= has_more || is_hopeless(text);
    }
    let samples = wanted.iter().filter_map(like).flat_map(Pattern::samples);
    let samples = samples.filter_map(|sample| std::str::from_utf8(sample).ok());
    let paths = samples.flat_map(|sample| {
        let before = named.iter().copied().chain([""]);
        let glued = before.flat_map(move |before| {
            ["", "/", "x", "x/"].map(|glue| format!("{before}{glue}{sample}"))
        });
        // A prefix may be a part of what the expression says.
        let overlap = (1..base.len())
            .rev()
            .filter(|at| base.is_char_boundary(*at));
        let overlap = overlap.filter_map(move |at| {
            let end = &base[at..];
            sample.strip_prefix(end).map(|rest| format!("{base}{rest}"))
        });
        glued.chain(overlap.take(4))
    });
    first(paths, is_all, (budget, cost), fits)
}

fn like<'r>(ask: &Ask<'r>) -> Option<&'r Pattern> {
    match ask {
        Ask::Like(pattern) => Some(pattern),
        Ask::Is(_) | Ask::Begins(_) => None,
    }
}

/// Whether some request has this path in the form that rules see.
fn is_real(path: &str) -> bool {
    let written = encode(path.as_bytes(), is_path);
    path.starts_with('/')
        && path.len() < 8192
        && normalize(&written).is_some_and(|normal| routing(&normal) == path)
}

/// Whether no request has a path that begins so, whatever follows.
fn is_hopeless(prefix: &str) -> bool {
    ["//", "/./", "/../", "?", "#"]
        .iter()
        .any(|part| prefix.contains(part))
        || prefix.contains(char::is_control)
}
