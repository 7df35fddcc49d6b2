//! Lines of pieces, and what stands in one column from line to line.

use crate::config::token::{Kind, Token};
use std::ops::Range;

/// A line: its pieces, each with the spaces before it.
#[derive(Debug, Default)]
pub(super) struct Line<'t> {
    pub(super) pieces: Vec<(usize, Token<'t>)>,
    pub(super) indent: usize,
    /// The brackets that are open where it begins.
    pub(super) depth: usize,
}

impl<'t> Line<'t> {
    pub(super) fn is_blank(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn tokens(&self) -> impl DoubleEndedIterator<Item = &Token<'t>> {
        self.pieces.iter().map(|(_, token)| token)
    }

    /// How many brackets it leaves open.
    pub(super) fn net(&self) -> isize {
        self.tokens().map(Token::depth).sum()
    }

    pub(super) fn opens_more(&self) -> bool {
        self.net() > 0
    }

    /// Whether what it opens begins in the next line.
    pub(super) fn opens(&self) -> bool {
        let last = self.tokens().rev().find(|token| !token.is_comment());
        last.is_some_and(|token| token.kind == Kind::Open)
    }

    /// Whether it is the head of a block, and no attribute.
    pub(super) fn is_head(&self) -> bool {
        let mut tokens = self.tokens();
        let is_name = tokens.next().is_some_and(|token| token.kind == Kind::Word);
        is_name && !tokens.next().is_some_and(|token| token.is("="))
    }

    /// Where its `=` is, if it is an attribute whose value does not go on in the next line.
    fn assignment(&self) -> Option<usize> {
        let mut depth = 0;
        let at = self.tokens().position(|token| {
            depth += token.depth();
            depth == 0 && token.is("=")
        })?;
        let rest: isize = self.pieces[at..]
            .iter()
            .map(|(_, token)| token.depth())
            .sum();
        (at > 0 && rest == 0).then_some(at)
    }

    /// Where the comment at its end is, if something stands before it.
    fn trailing_comment(&self) -> Option<usize> {
        let last = self.pieces.len().checked_sub(1).filter(|last| *last > 0)?;
        self.pieces[last].1.is_comment().then_some(last)
    }

    /// Whether a piece of it has lines of its own: a heredoc, say.
    fn is_tall(&self) -> bool {
        self.tokens().any(|token| token.text.contains('\n'))
    }

    /// The columns that its first pieces take.
    fn width(&self, pieces: Range<usize>) -> usize {
        let widths = self.pieces[pieces].iter();
        widths
            .map(|(spaces, token)| spaces + token.text.chars().count())
            .sum()
    }
}

/// Writes the lines, with what belongs together in one column.
pub(super) fn write(mut lines: Vec<Line<'_>>) -> String {
    in_columns(&mut lines, Line::assignment);
    in_columns(&mut lines, Line::trailing_comment);
    let mut text = String::new();
    for line in &lines {
        if !line.is_blank() {
            text.extend(std::iter::repeat_n(' ', line.indent));
        }
        for (spaces, token) in &line.pieces {
            text.extend(std::iter::repeat_n(' ', *spaces));
            text.push_str(token.text);
        }
        text.push('\n');
    }
    text
}

/// Puts a piece of neighbouring lines of one level into one column.
fn in_columns<'t>(lines: &mut [Line<'t>], piece: fn(&Line<'t>) -> Option<usize>) {
    let mut start = 0;
    while start < lines.len() {
        let Some(_) = piece(&lines[start]) else {
            start += 1;
            continue;
        };
        let (indent, mut end) = (lines[start].indent, start);
        while end < lines.len() && lines[end].indent == indent && piece(&lines[end]).is_some() {
            end += 1;
            // Behind a heredoc the next line is no neighbour.
            if lines[end - 1].is_tall() {
                break;
            }
        }
        let run = &mut lines[start..end];
        let widths = run
            .iter()
            .filter_map(|line| Some(line.width(0..piece(line)?)));
        let column = widths.max().unwrap_or_default() + 1;
        for line in run {
            if let Some(at) = piece(line) {
                line.pieces[at].0 = column - line.width(0..at);
            }
        }
        start = end;
    }
}
