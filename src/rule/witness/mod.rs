//! Looks for a request, or a connection, that some rules take and others do not.
//!
//! A rule sees a few things that have nothing to do with one another: the host, the path, the method, each header, each
//! key of the query, the client's address, what it offers in TLS. So the search goes through the ways in which the rules
//! can hold (a tableau: one branch for each alternative), and asks for each of those things on its own whether it can be
//! as the branch needs it. For all but regular expressions that is decided: the values that a rule can tell apart fall
//! into few classes, and one of each class is tried. Of a regular expression a few texts that it matches are tried; where
//! none fits, nothing is known.

mod address;
mod budget;
mod example;
mod host;
mod literals;
mod path;
mod regexp;
mod solve;
mod values;

pub use budget::Budget;
pub use example::Example;
pub(super) use regexp::samples;
pub(super) use solve::search;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sees {
    /// Requests of HTTP, for a path.
    Requests,
    /// `OPTIONS *`, which asks for a server as a whole.
    WholeServer,
    /// Connections that begin with TLS.
    Tls,
    /// Connections or sessions of which nothing but the client is known.
    Clients,
}

impl Sees {
    fn is_http(self) -> bool {
        matches!(self, Self::Requests | Self::WholeServer)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found<T> {
    /// This is one.
    One(T),
    /// There is none.
    Never,
    /// There may be one.
    Unknown,
}

impl<T> Found<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::One(one) => Found::One(with(one)),
            Self::Never => Found::Never,
            Self::Unknown => Found::Unknown,
        }
    }
}

/// Whether the same header, or the same key of a query, may come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// As clients can: what nobody can send then is really never sent.
    Allowed,
    /// As clients do.
    Unusual,
}

/// The first that `fits`, which costs so much; where there is none, `is_all` says whether those are all that there can
/// be.
fn first<T>(
    candidates: impl IntoIterator<Item = T>,
    is_all: bool,
    (budget, cost): (&Budget, usize),
    mut fits: impl FnMut(&T) -> bool,
) -> Found<T> {
    for candidate in candidates {
        if !budget.spend(cost) {
            return Found::Unknown;
        }
        if fits(&candidate) {
            return Found::One(candidate);
        }
    }
    match is_all {
        true => Found::Never,
        false => Found::Unknown,
    }
}

#[cfg(test)]
mod tests;
