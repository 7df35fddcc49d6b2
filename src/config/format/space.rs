//! Where a space stands between two pieces of a line.

use crate::config::token::{Kind, Token};

/// What is known of the brackets around a piece.
#[derive(Default)]
struct Bracket {
    /// `[for ...]`, `{for ...}`.
    is_loop: bool,
    /// The `?` that wait for their `:`.
    questions: usize,
}

/// Goes through the pieces of a file in order, and says of each whether a space goes before it.
pub(super) struct Spacing<'t> {
    brackets: Vec<Bracket>,
    /// The last piece that is no comment, of this line or one before.
    last: Option<Token<'t>>,
    /// Whether the last piece is a sign, which stands at its operand.
    is_sign: bool,
}

impl<'t> Spacing<'t> {
    pub(super) fn new() -> Spacing<'t> {
        Spacing {
            brackets: vec![Bracket::default()],
            last: None,
            is_sign: false,
        }
    }

    /// Whether a space goes before `next`, behind `before` in the same line.
    pub(super) fn step(&mut self, before: Option<Token<'t>>, next: Token<'t>) -> bool {
        let is_conditional = self.note(next);
        let space = before.is_some_and(|before| self.between(before, next, is_conditional));
        self.is_sign =
            matches!(next.text, "-" | "!") && next.kind == Kind::Mark && !self.ends_operand();
        if !next.is_comment() {
            self.last = Some(next);
        }
        space
    }

    /// Keeps count of brackets and of `?`; whether `next` is the `:` of a condition or of a loop.
    fn note(&mut self, next: Token<'_>) -> bool {
        let opened = self.last.is_some_and(|last| last.kind == Kind::Open);
        match next.kind {
            Kind::Open => self.brackets.push(Bracket::default()),
            // The outermost is the file.
            Kind::Close if self.brackets.len() > 1 => {
                self.brackets.pop();
            }
            _ => {}
        }
        let Some(bracket) = self.brackets.last_mut() else {
            return false;
        };
        match next.text {
            "for" if opened => bracket.is_loop = true,
            "?" => bracket.questions += 1,
            ":" if bracket.questions > 0 => {
                bracket.questions -= 1;
                return true;
            }
            _ => {}
        }
        bracket.is_loop
    }

    fn is_keyword(&self, token: Token<'_>) -> bool {
        let is_loop = self.brackets.iter().any(|bracket| bracket.is_loop);
        is_loop && token.kind == Kind::Word && matches!(token.text, "in" | "if")
    }

    /// Whether what came last is the end of a value: what follows is then an operator, and no sign.
    fn ends_operand(&self) -> bool {
        self.last.is_some_and(|last| match last.kind {
            Kind::Word => !self.is_keyword(last),
            Kind::Text | Kind::Number | Kind::Close => true,
            _ => false,
        })
    }

    fn between(&self, before: Token<'_>, next: Token<'_>, is_conditional: bool) -> bool {
        if self.is_sign {
            return false;
        }
        match (before.text, next.text) {
            (_, "," | "..." | ".") | (".", _) | ("::", _) | (_, "::") => false,
            ("{", "}") => false,
            ("{", _) | (_, "}") => true,
            ("(" | "[", _) | (_, ")" | "]") => false,
            (_, "(") => before.kind != Kind::Word || self.is_keyword(before),
            // Behind a value it is an index.
            (_, "[") => before.is_comment() || !self.ends_operand(),
            (_, ":") => is_conditional,
            _ => true,
        }
    }
}
