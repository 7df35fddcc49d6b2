//! What usually lies behind an error of syntax.

mod bracket;
mod item;
mod line;
mod text;

use super::spot::Spot;
use crate::config::token::Token;
use std::ops::Range;

/// What somebody has written by mistake. Places are bytes of the text.
pub(super) struct Slip {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    /// What would be right.
    pub(super) help: Option<String>,
    /// Another place that has to do with it.
    pub(super) also: Option<(Range<usize>, &'static str)>,
}

impl Slip {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Slip {
        Slip {
            span,
            message: message.into(),
            help: None,
            also: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Slip {
        self.help = Some(help.into());
        self
    }

    fn also(mut self, span: Range<usize>, label: &'static str) -> Slip {
        self.also = Some((span, label));
        self
    }

    fn moved(mut self, by: usize) -> Slip {
        let moved = |span: Range<usize>| span.start + by..span.end + by;
        self.span = moved(self.span);
        self.also = self.also.map(|(span, label)| (moved(span), label));
        self
    }
}

/// What was probably meant where the parser stopped; `line` tells the number of a byte's line. The first that fits is
/// it: what is surest comes first.
pub(super) fn find(spot: &Spot<'_>, line: &dyn Fn(usize) -> usize) -> Option<Slip> {
    (text::escaped(spot).or_else(|| text::character(spot)))
        .or_else(|| text::directive(spot))
        .or_else(|| text::text(spot))
        .or_else(|| text::template(spot, line))
        .or_else(|| bracket::unclosed(spot, line))
        .or_else(|| bracket::stray(spot))
        .or_else(|| line::name(spot))
        .or_else(|| line::head(spot))
        .or_else(|| line::value(spot))
        .or_else(|| line::one_line(spot))
        .or_else(|| item::item(spot))
        .or_else(|| line::behind(spot))
}

fn of(token: &Token<'_>) -> Range<usize> {
    token.start..token.end()
}
