//! Brackets that nobody has closed, and those that close nothing.

use super::{Slip, of};
use crate::config::syntax::open::{Open, closer, is_pair};
use crate::config::syntax::spot::Spot;
use crate::config::token::{Kind, Token};

/// That a bracket is not closed.
fn open(open: &Open<'_>) -> Slip {
    let message = match open.head.text == open.bracket.text {
        true => format!("this `{}` is not closed", open.bracket.text),
        false => {
            let head: Vec<_> = open.head.text.split_whitespace().collect();
            format!("`{}` is not closed", head.join(" "))
        }
    };
    Slip::new(open.span(), message)
}

/// That a bracket is not closed before something that closes another.
pub(super) fn not_closed(
    innermost: &Open<'_>,
    next: &Token<'_>,
    line: &dyn Fn(usize) -> usize,
) -> Slip {
    let closer = closer(innermost.bracket.text);
    let (other, line) = (next.text, line(next.start));
    let help = format!("write `{closer}` before the `{other}` in line {line}");
    open(innermost)
        .help(help)
        .also(of(next), "it is still open here")
}

/// Brackets that nobody has closed.
pub(super) fn unclosed(spot: &Spot<'_>, line: &dyn Fn(usize) -> usize) -> Option<Slip> {
    let opened = &spot.opened;
    let innermost = opened.innermost()?;
    if spot.is_at_end() {
        let Some(late) = &opened.late else {
            let closer = closer(innermost.bracket.text);
            return Some(open(innermost).help(format!("write `{closer}` where it ends")));
        };
        let label = match late.seen.kind {
            Kind::Close => "this one closes it, and stands further out",
            _ => "this still stands within it",
        };
        let closer = closer(late.open.bracket.text);
        let line = line(late.seen.start);
        let slip = open(&late.open).help(format!(
            "write `{closer}` where it ends, before line {line}"
        ));
        return Some(slip.also(of(&late.seen), label));
    }
    let next = spot.next_written()?;
    if next.kind == Kind::Close && !is_pair(&innermost.bracket, next) {
        let mut others = opened.stack.iter();
        let is_some = others.any(|open| is_pair(&open.bracket, next));
        return is_some.then(|| not_closed(innermost, next, line));
    }
    // A name with its `=` in a line of its own is within a block.
    let first = spot.ahead.first();
    let is_new_line =
        first.is_some_and(|first| first.kind == Kind::Newline) || spot.line.is_empty();
    let mut ahead = spot
        .ahead
        .iter()
        .skip_while(|token| token.start <= next.start);
    let is_attribute = next.kind == Kind::Word && ahead.next().is_some_and(|it| it.is("="));
    if !innermost.is_block && !innermost.bracket.is("{") && is_new_line && is_attribute {
        let closer = closer(innermost.bracket.text);
        let help = format!("write `{closer}` before line {}", line(next.start));
        return Some(
            open(innermost)
                .help(help)
                .also(of(next), "it is still open here"),
        );
    }
    None
}

/// A bracket that closes nothing.
pub(super) fn stray(spot: &Spot<'_>) -> Option<Slip> {
    let next = spot.next().filter(|next| next.kind == Kind::Close)?;
    let opened = &spot.opened;
    if opened.stack.iter().any(|open| is_pair(&open.bracket, next)) {
        return None;
    }
    let slip = Slip::new(of(next), format!("this `{}` closes nothing", next.text));
    Some(
        match opened
            .early
            .as_ref()
            .filter(|it| is_pair(&it.open.bracket, next))
        {
            Some(early) => {
                let help = "take one of the two out";
                slip.help(help).also(
                    of(&early.seen),
                    "this one closes it already, and stands further in",
                )
            }
            None => slip.help("take it out"),
        },
    )
}
