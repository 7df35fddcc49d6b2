//! The rule language: which requests, or connections, a router takes.
//!
//! A rule is parsed once, with exact positions for whoever reports an error, and matched many times without
//! allocating (what the regex engine keeps between two searches aside).
//!
//! ```
//! use a3s_gateway::rule::{Protocol, Rule};
//!
//! let rule = Rule::parse("Host(`a.com`) && PathPrefix(`/api`)", Protocol::Http).unwrap();
//! assert_eq!(rule.default_priority(), 35);
//!
//! let error = Rule::parse("Host(`a.com`) && PathPrefx(`/`)", Protocol::Http).unwrap_err();
//! assert_eq!(error.span, 17..26);
//! assert_eq!(error.help.as_deref(), Some("did you mean `PathPrefix`?"));
//! ```

mod decide;
mod expr;
mod facts;
mod matcher;
mod parse;
mod pattern;
mod query;
mod signature;
mod string;
mod survey;
mod table;
mod warn;
mod witness;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use decide::{Asks, Decider, Verdict};
pub use facts::Facts;
pub use matcher::HostPattern;
pub(crate) use pattern::regex;
pub use query::value as query_value;
pub use survey::{Finding, survey};
pub use table::{Route, Table};
pub use witness::{Budget, Example, Sees};

use expr::Expr;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What a router takes, which decides on the matchers its rule may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Requests.
    Http,
    /// Connections.
    Tcp,
    /// Datagrams, by the session that they belong to.
    Udp,
}

/// A parsed rule. Two rules are equal when they mean the same by their structure, however they were written.
#[derive(Debug, Clone)]
pub struct Rule {
    text: Arc<str>,
    expr: Arc<Expr>,
    warnings: Arc<[RuleWarning]>,
    matchers: Arc<[Range<usize>]>,
    client_hello: Option<Range<usize>>,
}

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes of the rule's text.
    pub span: Range<usize>,
    /// What would be right.
    pub help: Option<String>,
}

/// Something in a valid rule that cannot be what its author meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleWarning {
    /// What is suspicious.
    pub message: String,
    /// Where, in bytes of the rule's text.
    pub span: Range<usize>,
    /// What to write instead.
    pub help: Option<String>,
}

/// The hosts (or server names) of which whatever matches a rule must have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostSet {
    /// The rule does not ask for particular hosts.
    Any,
    /// One of these; an empty list is a rule that never matches.
    OneOf(Vec<HostPattern>),
}

/// The paths of which whatever matches a rule must have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSet {
    /// The rule does not ask for particular paths.
    Any,
    /// One of these; an empty list is a rule that never matches.
    OneOf(Vec<PathPattern>),
}

/// A path, or the beginning of paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(Box<str>),
    /// Every path that begins with this.
    Prefix(Box<str>),
}

impl Rule {
    /// Parses the rule of a router for `protocol`.
    pub fn parse(text: &str, protocol: Protocol) -> Result<Self, RuleError> {
        let parsed = parse::parse(text, protocol)?;
        Ok(Self {
            text: text.into(),
            expr: Arc::new(parsed.expr),
            warnings: parsed.warnings.into(),
            matchers: parsed.matchers.into(),
            client_hello: parsed.client_hello,
        })
    }

    /// The rule as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The priority of a router that names none: the rule's length in bytes, so that the more particular
    /// rule usually goes first; the TCP catch-all comes after everything.
    pub fn default_priority(&self) -> i64 {
        if self.expr.is_catch_all() {
            -1
        } else {
            i64::try_from(self.text.len()).unwrap_or(i64::MAX)
        }
    }

    /// Whether the rule asks for a server name, which only a router that terminates or passes TLS can see.
    pub fn needs_tls(&self) -> bool {
        self.expr.needs_tls(false)
    }

    /// Where the rule first asks for what a TLS client says of itself before anything is encrypted: the server name,
    /// or the protocols that it offers.
    pub fn client_hello(&self) -> Option<Range<usize>> {
        self.client_hello.clone()
    }

    /// Whether a request, or a connection, with these facts is one that the rule takes.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.expr.matches(facts)
    }

    /// As [`Rule::matches`], with the matchers that decided it: for who asks why.
    pub fn verdict(&self, facts: &Facts<'_>) -> Verdict<'_> {
        decide::verdict(self, facts)
    }

    /// A necessary condition on the host, or the server name; the table's index is made of it.
    pub fn hosts(&self) -> HostSet {
        self.expr
            .hosts(false)
            .map_or(HostSet::Any, |hosts| HostSet::OneOf(deduplicated(hosts)))
    }

    /// A necessary condition on the path; the table's index is made of it.
    pub fn paths(&self) -> PathSet {
        self.expr
            .paths(false)
            .map_or(PathSet::Any, |paths| PathSet::OneOf(deduplicated(paths)))
    }

    /// Parts of the rule that can never match, or that mean something else than they seem to.
    pub fn warnings(&self) -> Vec<RuleWarning> {
        self.warnings.to_vec()
    }
}

fn deduplicated<T: Eq + std::hash::Hash + Clone>(mut list: Vec<T>) -> Vec<T> {
    // The usual rule has one.
    if list.len() < 2 {
        return list;
    }
    let mut seen = std::collections::HashSet::with_capacity(list.len());
    list.retain(|entry| seen.insert(entry.clone()));
    list
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr
    }
}

/// The canonical form, which parses back to an equal rule.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}
