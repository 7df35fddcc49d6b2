//! What stands open: brackets, and which of them somebody forgot to close.

use crate::config::token::{Kind, Token};
use std::ops::Range;

/// A bracket that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open<'t> {
    /// `{`, `[` or `(`.
    pub(super) bracket: Token<'t>,
    /// What stands before it in its line, with it.
    pub(super) head: Token<'t>,
    /// Whether it is that of a block.
    pub(super) is_block: bool,
    /// How far in its line stands.
    indent: usize,
}

/// Where the indentation tells another tale than the brackets do.
#[derive(Debug, Clone)]
pub(super) struct Crooked<'t> {
    /// The bracket that is closed too late, or too early.
    pub(super) open: Open<'t>,
    /// Where that is seen.
    pub(super) seen: Token<'t>,
}

/// The brackets that are open at a place, the innermost last.
pub(super) struct Opened<'t> {
    text: &'t str,
    pub(super) stack: Vec<Open<'t>>,
    /// The first one that something further out stands in, or closes.
    pub(super) late: Option<Crooked<'t>>,
    /// The last one that something further in closes.
    pub(super) early: Option<Crooked<'t>>,
    /// Where the line begins, its first piece, and how many there were.
    line: usize,
    first: Option<Token<'t>>,
    count: usize,
    has_equals: bool,
    previous: Option<Token<'t>>,
}

impl<'t> Opened<'t> {
    pub(super) fn new(text: &'t str) -> Opened<'t> {
        Opened {
            text,
            stack: Vec::new(),
            late: None,
            early: None,
            line: 0,
            first: None,
            count: 0,
            has_equals: false,
            previous: None,
        }
    }

    pub(super) fn innermost(&self) -> Option<&Open<'t>> {
        self.stack.last()
    }

    /// Whether names stand here, and not values: within a block, or within nothing.
    pub(super) fn is_in_body(&self) -> bool {
        self.innermost().is_none_or(|open| open.is_block)
    }

    /// Goes over a piece.
    pub(super) fn step(&mut self, token: Token<'t>, next: Option<&Token<'t>>) {
        if token.kind == Kind::Newline {
            (self.first, self.count, self.has_equals) = (None, 0, false);
            self.line = token.end();
            return;
        }
        if token.is_comment() {
            return;
        }
        let first = *self.first.get_or_insert(token);
        match token.kind {
            Kind::Open => self.open(token, first),
            Kind::Close => self.close(token),
            // Only the blocks at the top have a label.
            Kind::Text if self.count == 1 && first.kind == Kind::Word => {
                let is_head = next.is_some_and(|next| next.is("{"));
                if let Some(open) = self.stack.last().filter(|_| is_head && self.late.is_none()) {
                    let (open, seen) = (*open, first);
                    self.late = Some(Crooked { open, seen });
                }
            }
            _ => {}
        }
        self.count += 1;
        self.has_equals |= token.is("=") || token.is(":");
        self.previous = Some(token);
    }

    fn open(&mut self, bracket: Token<'t>, first: Token<'t>) {
        let is_block = bracket.is("{")
            && self.is_in_body()
            && !self.has_equals
            && self.count > 0
            && first.kind == Kind::Word;
        let is_named = self.is_in_body() && first.kind == Kind::Word;
        let head = match self.previous {
            // The name of a function belongs to its bracket.
            Some(name) if bracket.is("(") && name.kind == Kind::Word => name,
            _ if is_named => first,
            _ => bracket,
        };
        let head = Token {
            text: &self.text[head.start..bracket.end()],
            ..head
        };
        self.stack.push(Open {
            bracket,
            head,
            is_block,
            indent: first.start - self.line,
        });
    }

    fn close(&mut self, token: Token<'t>) {
        let Some(open) = self.stack.last().copied() else {
            return;
        };
        if !is_pair(&open.bracket, &token) {
            return;
        }
        self.stack.pop();
        if self.count > 0 {
            return;
        }
        let crooked = || Some(Crooked { open, seen: token });
        let indent = token.start - self.line;
        if indent < open.indent && self.late.is_none() {
            self.late = crooked();
        } else if indent > open.indent {
            self.early = crooked();
        }
    }
}

pub(super) fn is_pair(open: &Token<'_>, close: &Token<'_>) -> bool {
    close.is(closer(open.text))
}

/// What closes a bracket.
pub(super) fn closer(open: &str) -> &'static str {
    match open {
        "{" => "}",
        "[" => "]",
        _ => ")",
    }
}

impl Open<'_> {
    /// Its place: with what stands before it in its line.
    pub(super) fn span(&self) -> Range<usize> {
        self.head.start..self.bracket.end()
    }
}
