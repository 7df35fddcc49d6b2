//! A pattern and what stands in the place of its matches.

use regex::{Captures, Regex};

/// What is wrong with a replacement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplacementError {
    /// The pattern has no such group.
    #[error("the pattern has no group `{0}`")]
    UnknownGroup(String),
    /// `${` without `}`.
    #[error("`${{` is not closed")]
    Unclosed,
    /// A line break, or another control character, which no URL has.
    #[error("it has a control character in it")]
    Control,
}

/// Replaces each match of a pattern by a text with groups in it: `$1`, `${1}`, `$name`, `${name}`; `$$` is a
/// dollar. A name without braces is as long as it can be: `$1a` is the group `1a`.
#[derive(Debug)]
pub(crate) struct Replacement {
    regex: Regex,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Replacement {
    pub(crate) fn new(regex: Regex, text: &str) -> Result<Self, ReplacementError> {
        if text.contains(char::is_control) {
            return Err(ReplacementError::Control);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            push_text(&mut pieces, before);
            rest = match reference(after)? {
                Some((name, after)) => {
                    pieces.push(Piece::Group(group(&regex, name)?));
                    after
                }
                None => {
                    push_text(&mut pieces, "$");
                    after.strip_prefix('$').unwrap_or(after)
                }
            };
        }
        push_text(&mut pieces, rest);
        Ok(Self { regex, pieces })
    }

    /// The text that stands around the groups.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Group(_) => None,
        })
    }

    /// Hands the new text to `push`, piece by piece, each with its place in `subject` where it is from there.
    /// False, and nothing pushed, where nothing matches.
    pub(crate) fn apply<E>(
        &self,
        subject: &str,
        mut push: impl FnMut(&str, Option<usize>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut end = None;
        for captures in self.regex.captures_iter(subject) {
            let matched = captures.get_match();
            let from = end.unwrap_or(0);
            push(&subject[from..matched.start()], Some(from))?;
            self.expand(&captures, &mut push)?;
            end = Some(matched.end());
        }
        if let Some(from) = end {
            push(&subject[from..], Some(from))?;
        }
        Ok(end.is_some())
    }

    fn expand<E>(
        &self,
        captures: &Captures<'_>,
        push: &mut impl FnMut(&str, Option<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => push(text, None)?,
                Piece::Group(group) => {
                    if let Some(group) = captures.get(*group) {
                        push(group.as_str(), Some(group.start()))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// The name that stands behind a dollar, and what follows it.
fn reference(after: &str) -> Result<Option<(&str, &str)>, ReplacementError> {
    if let Some(inner) = after.strip_prefix('{') {
        return inner
            .split_once('}')
            .map(Some)
            .ok_or(ReplacementError::Unclosed);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = after.find(|c| !is_name(c)).unwrap_or(after.len());
    Ok((length > 0).then(|| after.split_at(length)))
}

fn group(regex: &Regex, name: &str) -> Result<usize, ReplacementError> {
    let by_number = name.parse().ok().filter(|n| *n < regex.captures_len());
    by_number
        .or_else(|| regex.capture_names().position(|group| group == Some(name)))
        .ok_or_else(|| ReplacementError::UnknownGroup(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(
        pattern: &str,
        text: &str,
        subject: &str,
    ) -> Result<Option<String>, ReplacementError> {
        let regex = Regex::new(pattern).expect("a pattern");
        let mut new = String::new();
        let matched = Replacement::new(regex, text)?.apply(subject, |piece, at| {
            assert!(at.is_none_or(|at| subject[at..].starts_with(piece)));
            new.push_str(piece);
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(matched.is_ok_and(|matched| matched).then_some(new))
    }

    #[test]
    fn it_does_what_the_crate_of_patterns_does() {
        for (pattern, text, subject) in [
            ("^/a(.*)", "/b$1", "/a/c"),
            ("^/a(.*)", "/b${1}c$$", "/a/c"),
            ("(?<x>[0-9]+)", "<$x${x}$0>", "/1/22/"),
            ("(a)|(b)", "[$1-$2]", "xabx"),
            ("x*", "-", "abxxc"),
            ("b", "", "abc"),
            ("b", "$", "abc"),
            ("b", "$-$", "abc"),
            ("b", "$$1", "abc"),
            ("é", "e", "/é/é"),
        ] {
            let regex = Regex::new(pattern).expect("a pattern");
            let expected = regex.replace_all(subject, text).into_owned();
            assert_eq!(
                replaced(pattern, text, subject),
                Ok(Some(expected)),
                "{text}"
            );
        }
        assert_eq!(replaced("x", "y", "abc"), Ok(None));
    }

    #[test]
    fn a_group_that_does_not_exist_is_an_error() {
        let unknown = |name: &str| Err(ReplacementError::UnknownGroup(name.to_owned()));
        assert_eq!(replaced("(a)", "$2", "a"), unknown("2"));
        assert_eq!(replaced("(a)", "$1a", "a"), unknown("1a"));
        assert_eq!(replaced("(a)", "${}", "a"), unknown(""));
        assert_eq!(replaced("(a)", "${b}", "a"), unknown("b"));
        assert_eq!(replaced("(a)", "${1", "a"), Err(ReplacementError::Unclosed));
        let control = Err(ReplacementError::Control);
        assert_eq!(replaced("(a)", "$1\r\nX: y", "a"), control);
    }
}
