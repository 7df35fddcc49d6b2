//! Why a rule takes a request, or does not.

use super::expr::Expr;
use super::matcher::Matcher;
use super::{Facts, Rule};
use http::HeaderName;
use std::ops::Range;

/// The most matchers that are named as those that decided.
const MAX_DECIDERS: usize = 8;

/// Whether a rule takes what has some facts, and which matchers decided that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// As [`Rule::matches`] says.
    pub matches: bool,
    /// Those that decided it, in the order of the rule: where it does not match, the first that keeps it from that, and
    /// the others that would have been as good as that. Eight at most.
    pub deciders: Vec<Decider<'r>>,
}

/// A matcher that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decider<'r> {
    /// Where it stands, in bytes of the rule's text.
    pub span: Range<usize>,
    /// What it looks at.
    pub asks: Asks<'r>,
    /// Whether it matches by itself; behind a `!` that is what keeps the rule from it.
    pub matches: bool,
}

/// What a matcher looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks<'r> {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The method.
    Method,
    /// The lines of a field.
    Header(&'r HeaderName),
    /// The values of a parameter of the query.
    Query(&'r str),
    /// The client's address.
    ClientIp,
    /// The server name that a client of TLS asks for.
    ServerName,
    /// The protocols that a client of TLS offers.
    Protocols,
}

pub(super) fn verdict<'r>(rule: &'r Rule, facts: &Facts<'_>) -> Verdict<'r> {
    let mut deciders = Vec::new();
    let matches = decide(&rule.expr, facts, 0, &mut deciders);
    let decider = |(index, matcher, matches): Found<'r>| Decider {
        // The parser notes a place for each.
        span: rule.matchers.get(index).cloned().unwrap_or_default(),
        asks: matcher.asks(),
        matches,
    };
    deciders.truncate(MAX_DECIDERS);
    Verdict {
        matches,
        deciders: deciders.into_iter().map(decider).collect(),
    }
}

/// A matcher by its number among those of the rule, and whether it matches.
type Found<'r> = (usize, &'r Matcher, bool);

/// Whether `expr` matches, whose first matcher has the number `first`. Adds those that decided.
fn decide<'r>(
    expr: &'r Expr,
    facts: &Facts<'_>,
    first: usize,
    deciders: &mut Vec<Found<'r>>,
) -> bool {
    let (parts, stops_at) = match expr {
        Expr::Matcher(matcher) => {
            let matches = matcher.matches(facts);
            deciders.push((first, matcher, matches));
            return matches;
        }
        Expr::Not(inner) => return !decide(inner, facts, first, deciders),
        Expr::All(parts) => (parts, false),
        Expr::Any(parts) => (parts, true),
    };
    let (before, mut first) = (deciders.len(), first);
    for part in parts {
        let begun = deciders.len();
        if decide(part, facts, first, deciders) == stops_at {
            // It alone: those before it did not matter.
            deciders.drain(before..begun);
            return stops_at;
        }
        first += count(part);
    }
    !stops_at
}

fn count(expr: &Expr) -> usize {
    match expr {
        Expr::Matcher(_) => 1,
        Expr::Not(inner) => count(inner),
        Expr::All(parts) | Expr::Any(parts) => parts.iter().map(count).sum(),
    }
}

impl Matcher {
    fn asks(&self) -> Asks<'_> {
        match self {
            Self::Host(_) | Self::HostRegexp(_) => Asks::Host,
            Self::Path(_) | Self::PathPrefix(_) | Self::PathRegexp(_) => Asks::Path,
            Self::Method(_) => Asks::Method,
            Self::Header(name, _) | Self::HeaderRegexp(name, _) => Asks::Header(name),
            Self::Query(key, _) | Self::QueryRegexp(key, _) => Asks::Query(key),
            Self::ClientIp(_) => Asks::ClientIp,
            Self::HostSni(_) | Self::HostSniRegexp(_) => Asks::ServerName,
            Self::Alpn(_) => Asks::Protocols,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Protocol;
    use http::HeaderMap;

    fn told(rule: &str) -> (bool, Vec<(String, bool)>) {
        let parsed = Rule::parse(rule, Protocol::Http).expect(rule);
        let headers = HeaderMap::new();
        let facts = Facts {
            host: "a.com",
            path: "/x",
            query: "",
            method: "GET",
            headers: &headers,
            client_ip: [127, 0, 0, 1].into(),
            sni: None,
            alpn: &[],
        };
        let verdict = parsed.verdict(&facts);
        assert_eq!(verdict.matches, parsed.matches(&facts), "{rule}");
        let deciders = verdict.deciders.into_iter();
        let told = deciders.map(|each| (rule[each.span].to_owned(), each.matches));
        (verdict.matches, told.collect())
    }

    #[test]
    fn the_matcher_that_decides_is_named() {
        for (rule, matches, deciders) in [
            ("Host(`a.com`)", true, &[("Host(`a.com`)", true)][..]),
            (
                "Host(`a.com`) && Path(`/y`) && Path(`/z`)",
                false,
                &[("Path(`/y`)", false)],
            ),
            (
                "Host(`a.com`) && (Path(`/y`) || Path(`/z`))",
                false,
                &[("Path(`/y`)", false), ("Path(`/z`)", false)],
            ),
            (
                "Path(`/y`) || !Method(`GET`) || Path(`/x`)",
                true,
                &[("Path(`/x`)", true)],
            ),
            (
                "Host(`a.com`) && !Method(`GET`)",
                false,
                &[("Method(`GET`)", true)],
            ),
            (
                "!(Host(`a.com`) && Path(`/x`))",
                false,
                &[("Host(`a.com`)", true), ("Path(`/x`)", true)],
            ),
            (
                "/* Host(`b`) */ !!( Path( `/y` ) )",
                false,
                &[("Path( `/y` )", false)],
            ),
        ] {
            let deciders = deciders.iter().map(|(text, is)| ((*text).to_owned(), *is));
            assert_eq!(told(rule), (matches, deciders.collect()), "{rule}");
        }
    }
}
