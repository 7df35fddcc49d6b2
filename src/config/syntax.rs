//! Parses HCL, and finds more than one error of syntax in a file.

use super::code::Code;
use super::diagnostic::Problem;
use super::source::{At, Files};
use hcl_edit::parser::{self, Error};
use hcl_edit::structure::Body;

/// Past this many errors of syntax the rest of a file is not looked at.
const MAX_ERRORS: usize = 10;

/// The body of a file, or its errors of syntax.
pub(super) fn parse(files: &Files, file: u32) -> Result<Body, Vec<Problem>> {
    let text = files.get(file).text.as_str();
    let first = match parser::parse_body(text) {
        Ok(body) => return Ok(body),
        Err(error) => error,
    };
    let mut problems = vec![problem(text, file, 0, &first)];
    let mut from = next_block(text, first.location().offset());
    while let Some(start) = from.filter(|_| problems.len() < MAX_ERRORS) {
        let Err(error) = parser::parse_body(&text[start..]) else {
            break;
        };
        problems.push(problem(text, file, start, &error));
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

fn problem(text: &str, file: u32, start: usize, error: &Error) -> Problem {
    let mut offset = (start + error.location().offset()).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let end = text[offset..]
        .chars()
        .next()
        .map_or(offset, |char| offset + char.len_utf8());
    let problem = Problem::new(Code::Syntax, error.message().replace('\n', " "));
    problem
        .at(At::new(file, offset..end))
        .help(help(text, offset))
}

/// What usually lies behind an error of syntax.
fn help(text: &str, offset: usize) -> Option<String> {
    let rest = &text[offset..];
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let (key, value) = line.split_once('=').unwrap_or_default();
    let value = value.trim();
    if rest.trim().len() <= 1 && text.matches('{').count() > text.matches('}').count() {
        return Some("a `{` is not closed".to_owned());
    }
    if let Some(help) = in_one_line(line) {
        return Some(help.to_owned());
    }
    let is_text = value.parse::<f64>().is_err() && !matches!(value, "true" | "false" | "null");
    if !key.is_empty()
        && !value.is_empty()
        && is_text
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-:/".contains(&b))
    {
        return Some(format!("a text needs quotes: {} = \"{value}\"", key.trim()));
    }
    None
}

/// A block in one line has one attribute at most, and no block.
fn in_one_line(line: &str) -> Option<&'static str> {
    let (head, body) = line.split_once('{')?;
    let is_block = !head.trim().is_empty() && !head.contains(['=', '#', '(']);
    let inner = body.split_once('{').map(|(inner, _)| inner.trim());
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '"');
    match inner {
        _ if !is_block => None,
        Some(inner) if inner.ends_with(is_name) && !inner.contains('=') => Some(
            "a block within a block begins in a line of its own; or write an object: `name = { ... }`",
        ),
        _ if body.contains('}') && body.matches('=').count() > 1 => {
            Some("a block in one line has one attribute; give each a line of its own")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::loaded;

    #[test]
    fn what_does_not_fit_into_one_line_is_told() {
        let own_line = "a block within a block begins in a line of its own; or write an object: `name = { ... }`";
        let one_each = "a block in one line has one attribute; give each a line of its own";
        for (text, help) in [
            ("services \"a\" { respond { } }", Some(own_line)),
            (
                "services \"a\" { load_balancer { servers = [] } }",
                Some(own_line),
            ),
            (
                "services \"a\" {\n  sticky { tls { a = 1 } }\n}",
                Some(own_line),
            ),
            ("services { tls \"b\" { a = 1 } }", Some(own_line)),
            ("admin { token = \"x\", allowed_ips = [] }", Some(one_each)),
            ("admin { token = \"x\" allowed_ips = [] }", Some(one_each)),
            ("admin {\n  token = = { a = 1 }\n}", None),
            ("x = { a { } }", None),
        ] {
            let loaded = loaded(text);
            let first = loaded.diagnostics.iter().next().unwrap();
            let told = first.help.as_deref();
            match help {
                Some(help) => assert_eq!(told, Some(help), "{text}: {first}"),
                None => assert!(![Some(own_line), Some(one_each)].contains(&told), "{text}"),
            }
        }
    }
}
