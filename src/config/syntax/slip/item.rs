//! Items of lists and objects, and arguments of functions.

use super::text::bare;
use super::{Slip, of};
use crate::config::syntax::spot::Spot;
use crate::config::token::Kind;

/// What is wrong between the items of a list, an object, or the arguments of a function.
pub(super) fn item(spot: &Spot<'_>) -> Option<Slip> {
    let open = spot.opened.innermost().filter(|open| !open.is_block)?;
    let (before, next) = (spot.before?, spot.next_written()?);
    let ends = matches!(
        before.kind,
        Kind::Text | Kind::Word | Kind::Number | Kind::Close
    );
    let begins =
        matches!(next.kind, Kind::Text | Kind::Word | Kind::Number) || next.is("{") || next.is("[");
    let what = match open.bracket.text {
        "[" => "items of a list",
        "(" => "arguments",
        _ => "items of an object in one line",
    };
    if ends && next.is(";") {
        return Some(Slip::new(of(next), format!("{what} are parted by `,`")).help("write `,`"));
    }
    if open.bracket.is("{")
        && next.is(":") | begins
        && let Some(slip) = bare(spot)
    {
        return Some(slip);
    }
    if ends && begins && before.end() <= next.start {
        let slip = Slip::new(
            before.start..next.end(),
            format!("a `,` is missing: {what} are parted by it"),
        );
        let parts = [before.text, next.text].map(|it| it.lines().next().unwrap_or_default());
        let is_short = parts.iter().all(|it| it.len() > 1 && it.len() < 40);
        return Some(match is_short {
            true => slip.help(format!(
                "write {}, {}",
                spot.show(parts[0]),
                spot.show(parts[1])
            )),
            false => Slip {
                span: of(&before),
                ..slip
            }
            .help(format!("write `{},`", spot.show(before.text))),
        });
    }
    None
}
