//! Lines: names, heads of blocks, attributes.

use super::text::bare;
use super::{Slip, of};
use crate::config::syntax::spot::Spot;
use crate::config::token::{Kind, Token};
use std::ops::Range;

/// What stands where a name is expected.
pub(super) fn name(spot: &Spot<'_>) -> Option<Slip> {
    let next = spot.next()?;
    if !spot.opened.is_in_body() || !spot.line.is_empty() {
        return None;
    }
    let rest = spot.rest_of_line();
    let is_top = spot.opened.stack.is_empty();
    match (next.kind, next.text) {
        (Kind::Text, text) => {
            let slip = Slip::new(of(next), "a name stands without quotes here");
            let name = text.trim_matches('"');
            let value = rest
                .get(2)
                .filter(|_| rest.get(1).is_some_and(|it| it.is(":") || it.is("=")));
            Some(match value {
                Some(value) if !value.is_newline_or_open() => {
                    let value = value.text;
                    slip.help(format!("write {name} = {}", spot.show(value)))
                }
                _ if is_top => slip.help(format!("write a block: `{name} \"name\" {{`")),
                _ => slip.help(format!(
                    "write a block, `{name} {{`, or an attribute, `{name} = `"
                )),
            })
        }
        (Kind::Open, "{") if is_top => {
            let slip = Slip::new(of(next), "a block has a name before its `{`");
            Some(slip.help("this is HCL, not JSON: write `routers \"api\" {` and the like"))
        }
        (Kind::Open, "[") if is_top => {
            let slip = Slip::new(of(next), "a block has a name and a `{`");
            let name = rest.get(1).map_or("routers", |it| it.text);
            let label = rest
                .get(3)
                .filter(|it| it.kind == Kind::Word)
                .map_or("name", |it| it.text);
            Some(slip.help(format!(
                "this is HCL, not TOML: write `{name} \"{label}\" {{`"
            )))
        }
        (Kind::Number, _) => {
            let slip = Slip::new(of(next), "a name begins with a letter");
            Some(slip.help("write it with a letter, or `_`, before the digit"))
        }
        (Kind::Mark, "-") => {
            let slip = Slip::new(of(next), "a name is expected here");
            Some(slip.help("a list is written `[\"a\", \"b\"]`"))
        }
        _ => None,
    }
}

/// What stands behind a name, or behind the head of a block.
pub(super) fn head(spot: &Spot<'_>) -> Option<Slip> {
    let [first, labels @ ..] = &*spot.line else {
        return None;
    };
    let is_head = first.kind == Kind::Word
        && labels
            .iter()
            .all(|it| matches!(it.kind, Kind::Word | Kind::Text));
    if !is_head || !spot.opened.is_in_body() {
        return None;
    }
    let name = first.text;
    let written = match labels {
        [] => name,
        _ => spot.show(&spot.text[first.start..spot.line.last()?.end()]),
    };
    let rest = spot.rest_of_line();
    let value = |from: usize| {
        let from = rest.get(from).map(|it| it.start);
        let value = from.and_then(|from| spot.words_from(from));
        value.map(|value| &spot.text[value])
    };
    let is_top = spot.opened.stack.is_empty();
    match rest {
        [mark, more @ ..] if labels.is_empty() && matches!(mark.text, ":" | "==" | "=>") => {
            let is_two = mark.is(":")
                && more
                    .first()
                    .is_some_and(|it| it.is("=") && it.start == mark.end());
            let end = if is_two { mark.end() + 1 } else { mark.end() };
            let written = &spot.text[mark.start..end];
            let slip = Slip::new(mark.start..end, format!("`{written}` in place of `=`"));
            Some(match value(1 + usize::from(is_two)) {
                Some(value) => slip.help(format!("write {name} = {}", spot.show(value))),
                None if is_top => {
                    let help = format!(
                        "this is HCL, not YAML: write `{name} \"name\" {{`, and `}}` where it ends"
                    );
                    Slip::new(of(mark), "a block begins with `{`").help(help)
                }
                None => slip.help(format!(
                    "write `{name} = ` and the value, or the block `{name} {{`"
                )),
            })
        }
        [equals, ..] if equals.is("=") => {
            let slip = Slip::new(of(equals), "a block has no `=` before its `{`");
            Some(slip.help(format!("write `{written} {{`")))
        }
        [dot, ..] if dot.is(".") => {
            let slip = Slip::new(first.start..dot.end(), "a name has no `.`");
            Some(slip.help(format!("write a block: `{name} {{ ... }}`")))
        }
        [open, ..] if open.is("(") || open.is("[") && !labels.is_empty() => {
            let slip = Slip::new(
                of(open),
                format!("a block begins with `{{`, not with `{}`", open.text),
            );
            Some(slip.help(format!("write `{written} {{`")))
        }
        [] => {
            let next = spot.next_written();
            let is_own_line = next.is_some_and(|next| next.is("{"));
            if is_own_line {
                let slip = Slip::new(
                    of(next?),
                    "the `{` of a block stands in the line of its head",
                );
                return Some(slip.help(format!("write `{written} {{`")));
            }
            let slip = Slip::new(
                first.start..spot.line.last()?.end(),
                match is_top {
                    true => format!("the block `{written}` has no `{{`"),
                    false => format!("`{name}` has neither `=` nor `{{`"),
                },
            );
            Some(match (labels, is_top) {
                (_, true) => slip.help(format!("write `{written} {{`, and `}}` where it ends")),
                ([], false) => slip.help(format!(
                    "write `{name} = ` and the value, or the block `{name} {{`"
                )),
                ([label, ..], false) => {
                    let label = match label.kind {
                        Kind::Text => label.text.to_owned(),
                        _ => format!("\"{}\"", label.text),
                    };
                    slip.help(format!("write {name} = {}", spot.show(&label)))
                }
            })
        }
        [next, brace, ..] if next.kind == Kind::Number && brace.is("{") => {
            let slip = Slip::new(
                of(next),
                "a label that begins with a digit stands in quotes",
            );
            Some(slip.help(format!("write `{written} \"{}\" {{`", next.text)))
        }
        [next, ..] if labels.is_empty() && matches!(next.kind, Kind::Number | Kind::Open) => {
            let slip = Slip::new(of(first), format!("`{name}` has no `=`"));
            let value = value(0)?;
            Some(slip.help(format!("write {name} = {}", spot.show(value))))
        }
        [next, ..] if !next.is("{") => {
            let slip = Slip::new(
                of(next),
                format!("`{}` makes no sense behind `{name}`", spot.show(next.text)),
            );
            Some(slip.help(format!(
                "an attribute is written `{name} = `, a block `{name} {{`"
            )))
        }
        _ => None,
    }
}

/// What stands in place of a value.
pub(super) fn value(spot: &Spot<'_>) -> Option<Slip> {
    let before = spot.before?;
    let next = spot.next();
    if let (Some(next), [name]) = (next, &*spot.line)
        && matches!(next.text, "==" | "=>")
        && name.kind == Kind::Word
    {
        let slip = Slip::new(of(next), format!("`{}` in place of `=`", next.text));
        let value = spot
            .rest_of_line()
            .get(1)
            .and_then(|it| spot.words_from(it.start));
        return Some(match value {
            Some(value) => slip.help(format!(
                "write {} = {}",
                name.text,
                spot.show(&spot.text[value])
            )),
            None => slip,
        });
    }
    let is_rule = next.is_some_and(|next| next.is("`"))
        && spot
            .opened
            .innermost()
            .is_some_and(|open| open.bracket.is("("));
    if is_rule {
        let (name, value) = attribute(spot)?;
        let text = &spot.text[value.clone()];
        let slip = Slip::new(value, "a rule stands in quotes");
        return Some(slip.help(format!("write {name} = \"{}\"", spot.show(text))));
    }
    if !before.is("=")
        || next.is_some_and(|it| it.kind != Kind::Newline && !it.is_comment() && !it.is("{"))
    {
        return None;
    }
    let name = spot.key()?;
    let slip = Slip::new(
        of(spot.line.first()?),
        format!("`{name}` has no value in its line"),
    );
    let written = spot.next_written();
    Some(match written.map(|it| it.text) {
        Some("-") => slip.help(format!("a list is written `{name} = [\"a\", \"b\"]`")),
        Some("[" | "{") => slip.help(format!("write `{name} = {}` in one line", written?.text)),
        _ => slip.help(format!("write it behind the `=`: `{name} = ...`")),
    })
}

/// The attribute that the line is of, whatever is open in its value.
fn attribute<'t>(spot: &Spot<'t>) -> Option<(&'t str, Range<usize>)> {
    Some((spot.key()?, spot.value()?))
}

/// A block in one line has one attribute at most, and no block.
pub(super) fn one_line(spot: &Spot<'_>) -> Option<Slip> {
    let open = spot.opened.innermost().filter(|open| open.is_block)?;
    let is_here = spot.line.iter().any(|it| it.start == open.bracket.start);
    let inner: Vec<_> = spot
        .line
        .iter()
        .skip_while(|it| it.start <= open.bracket.start)
        .collect();
    let next = spot.next().filter(|_| is_here)?;
    let has_value = inner.len() > 2 && inner[1].is("=");
    if has_value && !next.is("}") {
        let slip = Slip::new(of(next), "a block in one line has one attribute");
        return Some(slip.help("give each attribute a line of its own"));
    }
    let is_block = |it: &Token<'_>| it.is("{") || it.kind == Kind::Text;
    if is_block(next) && inner.first().is_none_or(|it| it.kind == Kind::Word) && !has_value {
        let slip = Slip::new(
            of(next),
            "a block within a block begins in a line of its own",
        );
        return Some(slip.help("or write an object: `name = { ... }`"));
    }
    None
}

/// What stands behind the value of an attribute, or behind a block.
pub(super) fn behind(spot: &Spot<'_>) -> Option<Slip> {
    let next = spot.next()?;
    let is_block = matches!(&*spot.line, [end] if end.is("}")) && spot.opened.is_in_body();
    if is_block && matches!(next.text, "," | ";") {
        let slip = Slip::new(
            of(next),
            format!("no `{}` stands behind a block", next.text),
        );
        return Some(slip.help("take it out"));
    }
    let (name, value) = attribute(spot)?;
    if let Some(slip) = bare(spot) {
        return Some(slip);
    }
    let written = spot.text.get(value.start..spot.before?.end())?;
    let rest = spot.rest_of_line();
    match (next.kind, next.text) {
        (_, "{") => {
            let slip = Slip::new(of(spot.line.get(1)?), "a block has no `=`");
            Some(slip.help(format!("write `{name} {} {{`", spot.show(written))))
        }
        (_, ",") if rest.len() > 1 => {
            let items = spot
                .text
                .get(value.start..value.end)?
                .trim_end_matches([']', ',']);
            let slip = Slip::new(value.clone(), "several values are a list, in brackets");
            Some(slip.help(format!("write {name} = [{}]", spot.show(items))))
        }
        (_, "," | ";") => {
            let slip = Slip::new(
                of(next),
                format!("no `{}` stands behind an attribute", next.text),
            );
            Some(slip.help("take it out: an attribute ends with its line"))
        }
        (Kind::Word, other) if rest.get(1).is_some_and(|it| it.is("=") || it.is("{")) => {
            let slip = Slip::new(
                of(next),
                format!("`{other}` begins in the line of `{name}`"),
            );
            Some(slip.help("give each a line of its own"))
        }
        _ => {
            let slip = Slip::new(
                of(next),
                format!(
                    "`{}` stands behind the value of `{name}`",
                    spot.show(next.text)
                ),
            );
            Some(slip.help("an attribute ends with its line; a text stands in quotes, a comment begins with `#`"))
        }
    }
}

impl Token<'_> {
    fn is_newline_or_open(&self) -> bool {
        matches!(self.kind, Kind::Newline | Kind::Open)
    }
}
