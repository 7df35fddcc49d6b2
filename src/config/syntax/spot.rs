//! What stands around an error of syntax.

use super::open::Opened;
use crate::config::token::{Kind, Token, Within, quoted, tokens};
use std::ops::Range;

/// As many pieces behind an error are looked at.
const MAX_AHEAD: usize = 16;

/// What stands around an error. Its places are bytes of `text`.
pub(super) struct Spot<'t> {
    pub(super) text: &'t str,
    /// Where the parser stopped.
    pub(super) at: usize,
    /// What stands open there.
    pub(super) opened: Opened<'t>,
    /// The last piece before it, of its line or one before.
    pub(super) before: Option<Token<'t>>,
    /// The pieces of its line that end before it.
    pub(super) line: Vec<Token<'t>>,
    /// The pieces from there on.
    pub(super) ahead: Vec<Token<'t>>,
}

impl<'t> Spot<'t> {
    pub(super) fn new(text: &'t str, at: usize) -> Spot<'t> {
        let mut spot = Spot {
            text,
            at,
            opened: Opened::new(text),
            before: None,
            line: Vec::new(),
            ahead: Vec::new(),
        };
        let mut rest = tokens(text).peekable();
        while let Some(token) = rest.next_if(|token| token.end() <= at) {
            spot.opened.step(token, rest.peek());
            match token.kind {
                Kind::Newline => spot.line.clear(),
                Kind::Comment | Kind::BlockComment => {}
                _ => {
                    spot.line.push(token);
                    spot.before = Some(token);
                }
            }
        }
        spot.ahead = rest.take(MAX_AHEAD).collect();
        spot
    }

    /// Within the innermost template of a string that the error is in, as if that were a text of its own; and where it
    /// begins.
    pub(super) fn within_template(&self) -> Option<(Spot<'t>, usize)> {
        let text = self.inside()?;
        let (_, within) = quoted(text.text, self.at - text.start);
        let Some(Within::Template(start, _)) = within.last() else {
            return None;
        };
        let begins = text.start + start;
        let inner = begins + 2;
        // To where the string ends that it is in, for what is behind that has nothing to do with it.
        let until = inner.max(text.end() - usize::from(text.text.ends_with('"')));
        let inner_text = self.text.get(inner..until)?;
        let at = self.at.checked_sub(inner)?;
        Some((Spot::new(inner_text, at.min(inner_text.len())), begins))
    }

    /// The string that the error is in.
    pub(super) fn inside(&self) -> Option<&Token<'t>> {
        let text = self.ahead.first()?;
        let is_in = text.start < self.at && text.text.starts_with('"');
        is_in.then_some(text)
    }

    /// The piece that the parser did not want.
    pub(super) fn next(&self) -> Option<&Token<'t>> {
        self.ahead.first()
    }

    /// Whether nothing but space and comments is left.
    pub(super) fn is_at_end(&self) -> bool {
        let mut ahead = self.ahead.iter();
        ahead.all(|token| token.kind == Kind::Newline || token.is_comment())
            && self.ahead.len() < MAX_AHEAD
    }

    /// The first piece that is neither the end of a line nor a comment.
    pub(super) fn next_written(&self) -> Option<&Token<'t>> {
        let mut ahead = self.ahead.iter();
        ahead.find(|token| token.kind != Kind::Newline && !token.is_comment())
    }

    /// The piece at which the line ends that the error is in.
    pub(super) fn rest_of_line(&self) -> &[Token<'t>] {
        let is_end = |token: &Token<'_>| token.kind == Kind::Newline || token.is_comment();
        let end = self.ahead.iter().position(is_end);
        &self.ahead[..end.unwrap_or(self.ahead.len())]
    }

    /// What its attribute is called, where it is in one.
    pub(super) fn key(&self) -> Option<&'t str> {
        let [key, equals, ..] = &*self.line else {
            return None;
        };
        let is_key = key.kind == Kind::Word && equals.is("=");
        // Behind a bracket that was opened before, it would be an attribute of something else.
        let mut depth = 0;
        let is_whole = self.line.iter().all(|token| {
            depth += token.depth();
            depth >= 0
        });
        (is_key && is_whole).then_some(key.text)
    }

    /// What stands behind the `=` of its attribute, up to the end of the line or a comment.
    pub(super) fn value(&self) -> Option<Range<usize>> {
        self.key()?;
        let start = self.line.get(2).map_or(self.at, |first| first.start);
        self.words_from(start)
    }

    /// What a person would take for one text without quotes: from `start` to the next space, comma, or bracket.
    pub(super) fn words_from(&self, start: usize) -> Option<Range<usize>> {
        let rest = self.text.get(start..)?;
        let line = rest.lines().next().unwrap_or_default();
        let end = line.find(" #").or(line.find(" //"));
        let words = line[..end.unwrap_or(line.len())].trim_end();
        (!words.is_empty()).then(|| start..start + words.len())
    }

    /// Whether what stands here may be a secret: the text is in no form yet in which that is known for sure.
    fn is_secret(&self) -> bool {
        const SECRETS: [&str; 12] = [
            "add_request_headers",
            "hashed_keys",
            "headers",
            "keys",
            "password",
            "redis_url",
            "request_headers",
            "secret",
            "token",
            "users",
            "value",
            "variables",
        ];
        let is = |word: &str| SECRETS.contains(&word.trim_matches('"'));
        let mut here = self.line.iter().chain(self.rest_of_line());
        let mut around = self.opened.stack.iter();
        here.any(|token| is(token.text))
            || around.any(|open| open.head.text.split([' ', '=', '\t']).any(is))
    }

    /// What stands in the text, as far as it may be repeated.
    pub(super) fn show<'s>(&self, text: &'s str) -> &'s str {
        match self.is_secret() {
            true => "...",
            false => text,
        }
    }

    /// Whether nothing ends a line between two bytes.
    pub(super) fn is_same_line(&self, one: usize, other: usize) -> bool {
        let (from, to) = (one.min(other), one.max(other));
        self.text
            .get(from..to)
            .is_some_and(|between| !between.contains('\n'))
    }
}
