//! Texts: quotes, templates, and what word processors make of them.

use super::bracket::{not_closed, unclosed};
use super::{Slip, of};
use crate::config::syntax::spot::Spot;
use crate::config::token::{Kind, Token, Within, heredoc_word, quoted};

const LITERAL: &str = "write `$${` for a `${` that is to stay";

/// Quotes within a template, written as if they were within the text around it.
pub(super) fn escaped(spot: &Spot<'_>) -> Option<Slip> {
    let is_escape = spot.text[spot.at..].starts_with('\\');
    spot.within_template().filter(|_| is_escape)?;
    let slip = Slip::new(
        spot.at..spot.at + 1,
        "within `${ }` a quote has no backslash before it",
    );
    Some(slip.help("write it as in \"${env(\"NAME\")}\""))
}

/// A directive that is none.
pub(super) fn directive(spot: &Spot<'_>) -> Option<Slip> {
    // The parser goes back to the start of what has a directive that it cannot read.
    let is_directive = |token: &&Token<'_>| {
        token.text.starts_with('"') && token.text.replace("%%{", "").contains("%{")
    };
    let mut ahead = spot.rest_of_line().iter().filter(|_| spot.line.is_empty());
    let token = ahead.find(is_directive)?;
    let at = token.start + token.text.find("%{")?;
    let message = "`%{` begins a directive, as `%{ if ... }`, and this is none";
    let slip = Slip::new(at..at + 2, message);
    Some(slip.help("write `%%{` for a `%{` that is to stay"))
}

/// What word processors and web pages make of quotes, spaces and line ends.
pub(super) fn character(spot: &Spot<'_>) -> Option<Slip> {
    if spot.inside().is_some() {
        return None;
    }
    let rest = &spot.text[spot.at..];
    let first = rest.chars().next()?;
    let span = spot.at..spot.at + first.len_utf8();
    let code = u32::from(first);
    if first == '\r' && !rest.starts_with("\r\n") {
        let slip = Slip::new(span, "the line ends with a carriage return alone");
        return Some(slip.help("save the file with line ends of Unix (LF) or Windows (CRLF)"));
    }
    if "“”„‟«»‹›‘’‚".contains(first) {
        let slip = Slip::new(span, format!("`{first}` (U+{code:04X}) is no quote of HCL"));
        let inner = &rest[first.len_utf8()..];
        let inner = inner.lines().next().unwrap_or_default();
        let inner = inner
            .find(|c| "“”„‟«»‹›‘’‚\"".contains(c))
            .map(|end| &inner[..end]);
        return Some(slip.help(match inner {
            Some(inner) if !inner.is_empty() => format!("write \"{}\"", spot.show(inner)),
            _ => "write `\"`".to_owned(),
        }));
    }
    let is_unseen = "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}".contains(first);
    if is_unseen || !first.is_ascii() && first.is_whitespace() {
        let message = format!("a character that cannot be seen (U+{code:04X})");
        return Some(Slip::new(span, message).help("take it out, or write a space"));
    }
    if first == '\''
        || first == '`' && !spot.opened.innermost().is_some_and(|it| it.bracket.is("("))
    {
        let inner = rest[1..].lines().next().unwrap_or_default();
        let inner = inner.find(first).map(|end| &inner[..end]);
        let end = inner.map_or(1, |inner| inner.len() + 2);
        let slip = Slip::new(spot.at..spot.at + end, "a text stands in double quotes");
        return Some(match inner {
            Some(inner) if !inner.contains(['"', '\\']) => {
                slip.help(format!("write \"{}\"", spot.show(inner)))
            }
            _ => slip,
        });
    }
    None
}

/// Quotes that are missing.
pub(super) fn text(spot: &Spot<'_>) -> Option<Slip> {
    let next = spot.next();
    let is_tall = |token: &&Token<'_>| token.text.starts_with('"') && token.text.contains('\n');
    if let (Some(next), Some(before)) = (next, spot.before)
        && next.text.starts_with('"')
        && next.start == spot.at
        && before.end() == next.start
        && before.kind != Kind::Open
        && spot.key().is_some()
    {
        let start = spot.value()?.start;
        let text = spot.text.get(start..next.start)?;
        let slip = Slip::new(
            start..next.start + 1,
            "the text ends with a quote, and begins without one",
        );
        return Some(slip.help(format!("write \"{}\"", spot.show(text))));
    }
    // Where a quote is missing, all that follows is turned inside out: texts are outside, and what is between them inside.
    let turned = spot.before.as_ref().filter(is_tall).filter(|before| {
        let last = before.text.rfind('\n').unwrap_or_default();
        spot.is_same_line(before.start + last + 1, spot.at)
    });
    // Of an attribute whose text does not end the parser is back at the start.
    let is_text = |token: &&Token<'_>| token.kind == Kind::Text;
    let open = match spot.line.is_empty() {
        true => spot.rest_of_line().iter().find(is_text),
        false => next.filter(|next| next.start <= spot.at).filter(is_text),
    };
    if let Some(open) = turned
        .or(open.filter(is_tall))
        .or(open.filter(|it| is_open(it.text)))
    {
        if open.text.starts_with('"') {
            let first = open.text.lines().next().unwrap_or_default();
            let span = open.start..open.start + first.len();
            let (_, within) = quoted(open.text, first.len());
            if let Some(Within::Template(start, _)) = within.get(1) {
                return Some(endless_template(open.start + start));
            }
            let slip = Slip::new(span, "the text that begins here has no quote at its end");
            let first = first.trim_end();
            return Some(match first.contains(['{', '(', '[', '`']) {
                true => slip.help("write a `\"` where it ends, in the same line"),
                false => slip.help(format!("write \"{}\"", spot.show(&first[1..]))),
            });
        }
        let word = heredoc_word(open.text);
        let first = open.text.lines().next().unwrap_or_default();
        let span = open.start..open.start + first.len();
        let slip = Slip::new(
            span,
            format!(
                "the text that begins here with `{}` does not end",
                first.trim_end()
            ),
        );
        return Some(slip.help(format!("write `{word}` in a line of its own where it ends")));
    }
    if let (Some(next), Some(before)) = (next, spot.before)
        && before.text.starts_with('"')
        && before.end() == spot.at
        && next.kind == Kind::Word
        && next.start == spot.at
    {
        let message = format!(
            "the text {} ends right before `{}`: a quote is missing, or one too many",
            spot.show(before.text),
            spot.show(next.text)
        );
        return Some(
            Slip::new(of(&before), message)
                .help("each text begins and ends with a quote; `\\\"` is one within it"),
        );
    }
    let comment = next.filter(|next| next.kind == Kind::BlockComment && !next.text.ends_with("*/"));
    comment.map(|comment| {
        Slip::new(
            comment.start..comment.start + 2,
            "the comment that begins here does not end",
        )
        .help("write `*/` where it ends, or `#` at the start of each line")
    })
}

fn endless_template(start: usize) -> Slip {
    let message = "the template that begins here with `${` does not end";
    let help = format!("write `}}` where it ends; {LITERAL}");
    Slip::new(start..start + 2, message).help(help)
}

fn is_open(text: &str) -> bool {
    match text.starts_with('"') {
        true => !quoted(text, text.len()).1.is_empty(),
        false => !text.trim_end().ends_with(heredoc_word(text)) || !text.contains('\n'),
    }
}

/// What is wrong within a string: escapes and templates.
pub(super) fn template(spot: &Spot<'_>, line: &dyn Fn(usize) -> usize) -> Option<Slip> {
    let (inner, begins) = match spot.within_template() {
        Some(inner) => inner,
        None => {
            let text = spot.inside()?;
            // The parser stops at what is escaped, or behind that.
            let before = spot.text.get(text.start..spot.at)?;
            let escape = before.rfind('\\')?;
            let at = text.start + escape;
            let char = spot.text[at + 1..].chars().next()?;
            let end = at + 1 + char.len_utf8();
            if end < spot.at {
                return None;
            }
            let slip = Slip::new(at..end, format!("`\\{char}` is no escape"));
            return Some(slip.help(format!("write `\\\\{char}`: a backslash is two in a text")));
        }
    };
    if inner.is_at_end() && inner.opened.stack.is_empty() {
        return Some(endless_template(begins));
    }
    let of_file = |at| line(at + begins + 2);
    if let Some(slip) = unclosed(&inner, &of_file) {
        return Some(slip.moved(begins + 2));
    }
    if let (Some(next), Some(innermost)) = (inner.next(), inner.opened.innermost())
        && next.is("}")
    {
        let slip = not_closed(innermost, next, &of_file);
        return Some(slip.moved(begins + 2));
    }
    let at = spot.at;
    let char = spot.text[at..].chars().next()?;
    let end = at + char.len_utf8();
    let slip = Slip::new(at..end, format!("`{char}` makes no sense within `${{ }}`"));
    Some(
        slip.help(LITERAL)
            .also(begins..begins + 2, "it begins here"),
    )
}

/// A text without quotes.
pub(super) fn bare(spot: &Spot<'_>) -> Option<Slip> {
    let is_mark = |it: &&Token<'_>| it.is("=") || it.is(":");
    let at = spot.line.iter().rposition(|it| is_mark(&it))?;
    let name = spot.line.get(at.checked_sub(1)?)?;
    let start = spot.line.get(at + 1)?.start;
    let rest = spot.text.get(start..)?;
    let end = rest
        .find([' ', '\t', '\r', '\n', ',', '}', ';', '"'])
        .unwrap_or(rest.len());
    let value = &rest[..end];
    let is_one = value.len() > spot.at.saturating_sub(start)
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-:/%@+*?".contains(&byte));
    let slip = Slip::new(start..start + end, "a text stands in quotes");
    is_one.then(|| slip.help(format!("write {} = \"{}\"", name.text, spot.show(value))))
}
