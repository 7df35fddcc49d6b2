//! The tree of a rule.
//!
//! Made only through [`Expr::any`], [`Expr::all`] and [`Expr::not`], which keep it in one form: no list of
//! one, no list directly in a list of its kind, no double negation. The parser bounds its depth, so that the
//! recursive functions here, and dropping it, cannot overflow the stack.

use super::matcher::{HostPattern, Matcher};
use super::{Facts, PathPattern};
use std::fmt;

#[derive(Debug, PartialEq)]
pub(super) enum Expr {
    Matcher(Matcher),
    Not(Box<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
}

impl Expr {
    pub(super) fn any(parts: Vec<Expr>) -> Self {
        let parts = flatten(parts, |part| match part {
            Self::Any(inner) => Ok(inner),
            other => Err(other),
        });
        only(parts).unwrap_or_else(Self::Any)
    }

    pub(super) fn all(parts: Vec<Expr>) -> Self {
        let parts = flatten(parts, |part| match part {
            Self::All(inner) => Ok(inner),
            other => Err(other),
        });
        only(parts).unwrap_or_else(Self::All)
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// How much it costs to ask it, in comparisons.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Matcher(matcher) => matcher.weight(),
            Self::Not(inner) => inner.weight(),
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::weight).sum(),
        }
    }

    pub(super) fn matches(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Matcher(matcher) => matcher.matches(facts),
            Self::Not(inner) => !inner.matches(facts),
            Self::All(parts) => parts.iter().all(|part| part.matches(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(facts)),
        }
    }

    /// Whether this is ``HostSNI(`*`)`` and nothing else.
    pub(super) fn is_catch_all(&self) -> bool {
        matches!(self, Self::Matcher(Matcher::HostSni(HostPattern::All)))
    }

    pub(super) fn needs_tls(&self, negated: bool) -> bool {
        match self {
            Self::Matcher(Matcher::HostSni(host)) => !negated && *host != HostPattern::All,
            Self::Matcher(_) => false,
            Self::Not(inner) => inner.needs_tls(!negated),
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.needs_tls(negated)),
        }
    }

    /// The hosts that this (or its negation) needs, or `None` where it needs none in particular.
    pub(super) fn hosts(&self, negated: bool) -> Option<Vec<HostPattern>> {
        self.needs(negated, &|matcher| matcher.hosts())
    }

    /// The paths that this (or its negation) needs, or `None` where it needs none in particular.
    pub(super) fn paths(&self, negated: bool) -> Option<Vec<PathPattern>> {
        self.needs(negated, &|matcher| matcher.path().map(|path| vec![path]))
    }

    fn needs<T>(&self, negated: bool, of: &impl Fn(&Matcher) -> Option<Vec<T>>) -> Option<Vec<T>> {
        // De Morgan: a negated conjunction is a disjunction of negations, and the other way round.
        match (self, negated) {
            (Self::Matcher(matcher), false) => of(matcher),
            (Self::Matcher(_), true) => None,
            (Self::Not(inner), _) => inner.needs(!negated, of),
            // Each part is necessary, so the tightest will do.
            (Self::All(parts), false) | (Self::Any(parts), true) => parts
                .iter()
                .filter_map(|part| part.needs(negated, of))
                .min_by_key(Vec::len),
            // Any part may be the one, so all must be known.
            (Self::Any(parts), false) | (Self::All(parts), true) => {
                let mut union = Vec::new();
                for part in parts {
                    union.append(&mut part.needs(negated, of)?);
                }
                Some(union)
            }
        }
    }
}

fn flatten(parts: Vec<Expr>, open: impl Fn(Expr) -> Result<Vec<Expr>, Expr>) -> Vec<Expr> {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match open(part) {
            Ok(mut inner) => flat.append(&mut inner),
            Err(other) => flat.push(other),
        }
    }
    flat
}

fn only(mut parts: Vec<Expr>) -> Result<Expr, Vec<Expr>> {
    match parts.len() {
        1 => Ok(parts.remove(0)),
        _ => Err(parts),
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, operator) = match self {
            Self::Matcher(matcher) => return matcher.fmt(f),
            Self::Not(inner) if matches!(**inner, Self::Matcher(_)) => {
                return write!(f, "!{inner}");
            }
            Self::Not(inner) => return write!(f, "!({inner})"),
            Self::All(parts) => (parts, " && "),
            Self::Any(parts) => (parts, " || "),
        };
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                f.write_str(operator)?;
            }
            match part {
                // The only parts that bind less tightly than the list they stand in.
                Self::Any(_) => write!(f, "({part})")?,
                _ => part.fmt(f)?,
            }
        }
        Ok(())
    }
}
