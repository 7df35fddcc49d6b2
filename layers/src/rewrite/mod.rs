//! Gives requests another path, whose form is that of every other: what a rule saw cannot be escaped from.
//!
//! A path is [normalised](crate::path::normalize) before it is rewritten, if it is not already, and again after
//! that. Where it cannot be, or where the rewrite has made a `..` of harmless parts, or a path that is too long
//! for a URI (64 KiB with the query), the answer is 400.

mod add_prefix;
mod replace_path;

pub use add_prefix::{AddPrefix, AddPrefixLayer};
pub use replace_path::{ReplacePath, ReplacePathLayer};

#[cfg(feature = "regex")]
pub use crate::replacement::ReplacementError;

use crate::path::{has_parent_segment, normalize, set_path};
use crate::reject::{Shape, reject};
#[cfg(feature = "regex")]
use crate::replacement::Replacement;
use axum::body::Body;
use http::{Request, Response, StatusCode};

/// What is wrong with the path of a rewrite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// It does not begin with a slash.
    #[error("a path begins with `/`")]
    Relative,
    /// It has broken escapes, a `..`, or characters that a path has not: a query, for one.
    #[error("not a path as it stands in a URL, or one with `..`")]
    Malformed,
    /// Its groups are not those of the pattern.
    #[cfg(feature = "regex")]
    #[error(transparent)]
    Replacement(#[from] ReplacementError),
}

/// Whether [`AddPrefixLayer::new`] and [`ReplacePathLayer::new`] take this path.
pub fn check_path(path: &str) -> Result<(), RewriteError> {
    given(path).map(drop)
}

/// Whether [`ReplacePathLayer::regex`] takes this replacement.
#[cfg(feature = "regex")]
pub fn check_replacement(pattern: &regex::Regex, replacement: &str) -> Result<(), RewriteError> {
    given_replacement(pattern.clone(), replacement).map(drop)
}

/// A request whose path cannot be rewritten.
#[derive(Debug)]
struct Unfit;

fn refusal<B>(request: &Request<B>) -> Response<Body> {
    reject(
        StatusCode::BAD_REQUEST,
        "this path cannot be served here",
        Shape::of(request.headers()),
    )
}

/// The normal form of a path that somebody has written down.
fn given(path: &str) -> Result<String, RewriteError> {
    if !path.starts_with('/') {
        return Err(RewriteError::Relative);
    }
    if !is_text_of_path(path) || has_parent_segment(path) {
        return Err(RewriteError::Malformed);
    }
    match normalize(path) {
        Some(path) => Ok(path.into_owned()),
        None => Err(RewriteError::Malformed),
    }
}

#[cfg(feature = "regex")]
fn given_replacement(pattern: regex::Regex, text: &str) -> Result<Replacement, RewriteError> {
    let replacement = Replacement::new(pattern, text)?;
    let is_path = replacement.texts().all(is_text_of_path);
    // Whatever the groups are, it would be refused each time that the pattern matches.
    match is_path && !has_parent_segment(text) {
        true => Ok(replacement),
        false => Err(RewriteError::Malformed),
    }
}

/// Whether `text` has only characters that a URI can have in a path.
fn is_text_of_path(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && !b"?#<>\"\\^`{|}".contains(&b))
}

/// Gives `request` the path that `rewrite` makes of its own, where it makes one: true. `OPTIONS *` has no path.
fn rewrite<B>(
    request: &mut Request<B>,
    rewrite: impl FnOnce(&str) -> Result<Option<String>, Unfit>,
) -> Result<bool, Unfit> {
    let path = request.uri().path();
    if !path.starts_with('/') {
        return Ok(false);
    }
    let path = normalize(path).ok_or(Unfit)?;
    let Some(new) = rewrite(&path)? else {
        return Ok(false);
    };
    // Before it is resolved: `/public/` and `..` make a path that is fine, and leads elsewhere.
    if has_parent_segment(&new) {
        return Err(Unfit);
    }
    let new = normalize(&new).ok_or(Unfit)?;
    match set_path(request.uri_mut(), &new) {
        true => Ok(true),
        false => Err(Unfit),
    }
}
