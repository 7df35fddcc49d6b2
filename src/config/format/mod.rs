//! The canonical form of HCL, as `fmt` writes it.
//!
//! A file is split into pieces, of which only the white space between them is new: so no comment, string or number can
//! be lost or changed, and line breaks are the author's. What it means is compared before and after all the same.

mod align;
mod space;
#[cfg(test)]
mod tests;

use super::code::Code;
use super::diagnostic::{Diagnostics, Problem};
use super::source::{At, Files};
use super::syntax;
use super::token::{Kind, tokens};
use align::Line;
use hcl_edit::expr::{Array, FuncArgs, Object};
use hcl_edit::parser::parse_body;
use hcl_edit::structure::Body;
use hcl_edit::visit_mut::{self, VisitMut};
use space::Spacing;
use std::path::Path;

/// The canonical form of a text: two spaces for each level, the `=` of neighbouring attributes in one column, at most
/// one blank line, and one around each block of more than a line at the top. Line breaks, strings and comments stay.
///
/// `path` is what the text is called in errors: those of its syntax.
pub fn format(path: &Path, text: &str) -> Result<String, Diagnostics> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut files = Files::default();
    let file = files.add(path.to_owned(), text.to_owned());
    let body =
        syntax::parse(&files, file).map_err(|problems| Diagnostics::new(problems, &files, &[]))?;
    let formatted = layout(text);
    // What was taken apart in another way than HCL does may have been put together wrongly.
    if parse_body(&formatted).is_ok_and(|after| bare(after) == bare(body)) {
        return Ok(formatted);
    }
    let message = "it cannot be laid out without a change of what it means";
    let problem = Problem::new(Code::Syntax, message).at(At::new(file, 0..0));
    Err(Diagnostics::new(vec![problem], &files, &[]))
}

/// Without white space and comments, as far as a comparison minds them: those at the end of lists.
fn bare(mut body: Body) -> Body {
    struct Bare;

    impl VisitMut for Bare {
        fn visit_array_mut(&mut self, array: &mut Array) {
            array.set_trailing("");
            visit_mut::visit_array_mut(self, array);
        }

        fn visit_object_mut(&mut self, object: &mut Object) {
            object.set_trailing("");
            visit_mut::visit_object_mut(self, object);
        }

        fn visit_func_args_mut(&mut self, args: &mut FuncArgs) {
            args.set_trailing("");
            visit_mut::visit_func_args_mut(self, args);
        }
    }

    Bare.visit_body_mut(&mut body);
    body
}

fn layout(text: &str) -> String {
    let mut lines = lines(text);
    indent(&mut lines);
    let lines = blanks(lines);
    align::write(lines)
}

/// The lines, each with its pieces and the spaces between them. One with no pieces is blank.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut spacing = Spacing::new();
    let mut lines = vec![Line::default()];
    for token in tokens(text) {
        let Some(line) = lines.last_mut() else { break };
        if token.kind == Kind::Newline {
            lines.push(Line::default());
            continue;
        }
        let before = line.pieces.last().map(|(_, token)| *token);
        let space = spacing.step(before, token);
        line.pieces.push((usize::from(space), token));
    }
    lines
}

/// A line stands two spaces further in than the one that opened what it is in, and one that closes it stands as that.
fn indent(lines: &mut [Line<'_>]) {
    let mut open: Vec<usize> = Vec::new();
    for line in lines {
        let closers = line.tokens().take_while(|token| token.kind == Kind::Close);
        let inner = open.len().saturating_sub(closers.count());
        line.indent = match (open.get(inner), open.last()) {
            (Some(outer), _) => *outer,
            (None, Some(outer)) => outer + 2,
            (None, None) => 0,
        };
        line.depth = open.len();
        for (_, token) in &line.pieces {
            match token.kind {
                Kind::Open => open.push(line.indent),
                Kind::Close => drop(open.pop()),
                _ => {}
            }
        }
    }
}

/// Takes out blank lines that say nothing, and puts one around each block of more than a line at the top.
fn blanks(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let mut kept: Vec<Line<'_>> = Vec::with_capacity(lines.len());
    // Where the comments begin that stand right above the next line.
    let mut leads = 0;
    let mut in_block = false;
    for line in lines {
        let Some(first) = line.tokens().next() else {
            if kept
                .last()
                .is_some_and(|before| !before.is_blank() && !before.opens())
            {
                kept.push(line);
            }
            leads = kept.len();
            continue;
        };
        if first.kind == Kind::Close {
            while kept.last().is_some_and(Line::is_blank) {
                kept.pop();
            }
        }
        let begins = line.depth == 0 && line.is_head() && line.opens_more();
        if begins && leads > 0 && !kept[leads - 1].is_blank() {
            kept.insert(leads, Line::default());
        }
        in_block |= begins;
        let ends = in_block && line.depth.checked_add_signed(line.net()) == Some(0);
        let is_comment = line.tokens().all(|token| token.is_comment());
        kept.push(line);
        if ends {
            in_block = false;
            kept.push(Line::default());
        }
        if !is_comment {
            leads = kept.len();
        }
    }
    while kept.last().is_some_and(Line::is_blank) {
        kept.pop();
    }
    kept
}
