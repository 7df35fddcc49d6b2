//! Parses HCL, finds more than one error of syntax in a file, and says of each what was probably meant.

mod open;
mod slip;
mod spot;

use super::code::Code;
use super::diagnostic::Problem;
use super::source::{At, Files};
use hcl_edit::parser::{self, Error};
use hcl_edit::structure::Body;
use slip::Slip;
use spot::Spot;

/// Past this many errors of syntax the rest of a file is not looked at.
const MAX_ERRORS: usize = 10;

/// The body of a file, or its errors of syntax.
pub(super) fn parse(files: &Files, file: u32) -> Result<Body, Vec<Problem>> {
    let text = files.get(file).text.as_str();
    let first = match parser::parse_body(text) {
        Ok(body) => return Ok(body),
        Err(error) => error,
    };
    let mut problems = vec![problem(files, file, 0, &first)];
    let mut from = next_block(text, first.location().offset());
    while let Some(start) = from.filter(|_| problems.len() < MAX_ERRORS) {
        let Err(error) = parser::parse_body(&text[start..]) else {
            break;
        };
        problems.push(problem(files, file, start, &error));
        from = next_block(text, start + error.location().offset());
    }
    Err(problems)
}

/// Where the next block begins after an error: at the next line that starts with a letter.
fn next_block(text: &str, after: usize) -> Option<usize> {
    let mut at = after;
    loop {
        at += text.get(at..)?.find('\n')? + 1;
        // Not within a heredoc or a half-open block, as far as a line can tell: the head of a block ends with `{`.
        let line = text[at..].lines().next().unwrap_or_default();
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) && line.contains('{') {
            return Some(at);
        }
    }
}

/// `start` is where the parser began.
fn problem(files: &Files, file: u32, start: usize, error: &Error) -> Problem {
    let text = &files.get(file).text[start..];
    let mut offset = error.location().offset().min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let line = |at: usize| files.get(file).position(start + at).0;
    let slip = slip::find(&Spot::new(text, offset), &line).unwrap_or_else(|| {
        let end = text[offset..].chars().next().map_or(0, char::len_utf8);
        let message = error.message().replace('\n', " ");
        Slip::new(offset..offset + end, message)
    });
    let at = |span: std::ops::Range<usize>| At::new(file, start + span.start..start + span.end);
    let problem = Problem::new(Code::Syntax, slip.message).at(at(slip.span));
    match slip.also {
        Some((span, label)) => problem.also(Some(at(span)), label),
        None => problem,
    }
    .help(slip.help)
}
