//! From a text to a tree, by recursive descent.
//!
//! ```text
//! any     = all { "||" all }
//! all     = operand { "&&" operand }
//! operand = "!" operand | "(" any ")" | Name "(" [ string { "," string } [ "..." ] [ "," ] ] ")"
//! ```

use super::expr::Expr;
use super::matcher::{HostPattern, Matcher};
use super::signature::Signature;
use super::string::Argument;
use super::{Protocol, RuleError, RuleWarning, warn};
use std::ops::Range;

/// How many parentheses and negations may stand in each other.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(text: &str, protocol: Protocol) -> Result<Parsed, RuleError> {
    let mut parser = Parser {
        text,
        at: 0,
        protocol,
        operator: None,
        warnings: Vec::new(),
        matchers: Vec::new(),
        client_hello: None,
    };
    let expr = parser.any(0)?;
    parser.skip()?;
    if parser.at < text.len() {
        return Err(parser.unexpected_after_operand());
    }
    Ok(Parsed {
        expr,
        warnings: parser.warnings,
        matchers: parser.matchers,
        client_hello: parser.client_hello,
    })
}

/// What a text means.
pub(super) struct Parsed {
    pub(super) expr: Expr,
    pub(super) warnings: Vec<RuleWarning>,
    /// Where each matcher stands, in the order of the tree.
    pub(super) matchers: Vec<Range<usize>>,
    /// The first matcher that asks for what a TLS client says of itself.
    pub(super) client_hello: Option<Range<usize>>,
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    /// How far it has read, in bytes.
    pub(super) at: usize,
    protocol: Protocol,
    /// The operator that waits for its right-hand side.
    operator: Option<Range<usize>>,
    warnings: Vec<RuleWarning>,
    matchers: Vec<Range<usize>>,
    client_hello: Option<Range<usize>>,
}

impl<'a> Parser<'a> {
    fn any(&mut self, depth: usize) -> Result<Expr, RuleError> {
        let mut parts = vec![self.all(depth)?];
        while self.take_operator("||")? {
            parts.push(self.all(depth)?);
        }
        Ok(Expr::any(parts))
    }

    fn all(&mut self, depth: usize) -> Result<Expr, RuleError> {
        let mut parts = vec![self.operand(depth)?];
        while self.take_operator("&&")? {
            parts.push(self.operand(depth)?);
        }
        Ok(Expr::all(parts))
    }

    fn operand(&mut self, depth: usize) -> Result<Expr, RuleError> {
        self.skip()?;
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err(error(
                start..start + 1,
                format!("more than {MAX_DEPTH} parentheses and negations in each other"),
                None,
            ));
        }
        match self.peek() {
            Some('!') => {
                self.operator = Some(start..start + 1);
                self.at += 1;
                Ok(self.operand(depth + 1)?.not())
            }
            Some('(') => {
                self.operator = None;
                self.at += 1;
                let inner = self.any(depth + 1)?;
                self.skip()?;
                match self.peek() {
                    Some(')') => self.at += 1,
                    Some(_) => return Err(self.unexpected_after_operand()),
                    None => return Err(unclosed(start)),
                }
                Ok(inner)
            }
            Some(c) if is_name(c) && !c.is_ascii_digit() => {
                self.operator = None;
                self.matcher()
            }
            _ => Err(self.missing_operand()),
        }
    }

    fn matcher(&mut self) -> Result<Expr, RuleError> {
        let span = self.take_name();
        let name = &self.text[span.clone()];
        self.skip()?;
        let open = self.at;
        let is_call = self.take("(");
        let signature = self.signature(name, &span, is_call)?;
        if !is_call {
            return Err(error(
                span,
                format!("`{name}` has no arguments"),
                Some(format!("write {}", signature.usage)),
            ));
        }
        let arguments = self.arguments(open)?;
        if !signature.takes(arguments.len()) {
            let span = match arguments.get(signature.most()) {
                Some(surplus) => surplus.span.start..self.at - 1,
                None => span.start..self.at,
            };
            return Err(error(
                span,
                format!(
                    "`{}` takes {}, not {}",
                    signature.name,
                    signature.arity(),
                    arguments.len()
                ),
                Some(format!("write {}", signature.usage)),
            ));
        }
        let matcher = signature.build(&arguments)?;
        self.matchers.push(span.start..self.at);
        if !signature.is_for(self.protocol) {
            return self.catch_all(&matcher, span);
        }
        if self.protocol == Protocol::Udp && matcher.asks_client_hello() {
            let message = "a datagram has no server name".to_owned();
            return Err(error(span, message, Some("write HostSNI(`*`)".to_owned())));
        }
        warn::check(&matcher, &arguments, &mut self.warnings);
        if matcher.asks_client_hello() {
            self.client_hello.get_or_insert(span.start..self.at);
        }
        Ok(Expr::Matcher(matcher))
    }

    fn signature(
        &self,
        name: &str,
        span: &Range<usize>,
        is_call: bool,
    ) -> Result<&'static Signature, RuleError> {
        let Some(signature) = Signature::find(name) else {
            let help = match Signature::like(name, self.protocol) {
                Some(like) => Some(format!("did you mean `{}`?", like.name)),
                None if name.eq_ignore_ascii_case("not") => Some("write `!`".to_owned()),
                None if !is_call => Some(format!("write {}", self.example())),
                None => None,
            };
            let message = format!("unknown matcher `{name}`");
            return Err(error(span.clone(), message, help));
        };
        let is_catch_all = self.protocol != Protocol::Http && signature.name == "PathPrefix";
        if signature.is_for(self.protocol) || is_catch_all {
            return Ok(signature);
        }
        let (place, instead) = match (self.protocol, signature.name) {
            (Protocol::Http, "HostSNI") => ("HTTP", Some("Host")),
            (Protocol::Http, "HostSNIRegexp") => ("HTTP", Some("HostRegexp")),
            (Protocol::Http, _) => ("HTTP", None),
            (Protocol::Tcp, "Host") => ("TCP", Some("HostSNI")),
            (Protocol::Tcp, "HostRegexp") => ("TCP", Some("HostSNIRegexp")),
            (Protocol::Tcp, _) => ("TCP", None),
            (Protocol::Udp, _) => ("UDP", None),
        };
        Err(error(
            span.clone(),
            format!("`{}` is not for {place} routers", signature.name),
            instead.map(|instead| format!("use `{instead}`")),
        ))
    }

    /// ``PathPrefix(`/`)`` was the catch-all of stream entrypoints, too.
    fn catch_all(&mut self, matcher: &Matcher, span: Range<usize>) -> Result<Expr, RuleError> {
        let (router, each) = match self.protocol {
            Protocol::Udp => ("UDP", "datagram"),
            _ => ("TCP", "connection"),
        };
        let help = Some(format!("write HostSNI(`*`) to take every {each}"));
        if !matches!(matcher, Matcher::PathPrefix(prefix) if **prefix == *"/") {
            let message = format!("`PathPrefix` is not for {router} routers");
            return Err(error(span, message, help));
        }
        self.warnings.push(RuleWarning {
            message: format!("a {each} has no path"),
            span: span.start..self.at,
            help,
        });
        Ok(Expr::Matcher(Matcher::HostSni(HostPattern::All)))
    }

    /// The arguments after the parenthesis that opened at `open`, and the one that closes it.
    fn arguments(&mut self, open: usize) -> Result<Vec<Argument>, RuleError> {
        let mut arguments = Vec::new();
        loop {
            self.skip()?;
            if self.take(")") {
                return Ok(arguments);
            }
            if self.at == self.text.len() {
                return Err(unclosed(open));
            }
            arguments.push(self.string()?);
            self.skip()?;
            // Go's mark of a variadic call, which Traefik's parser lets through.
            let is_last = self.take("...");
            self.skip()?;
            let has_comma = self.take(",");
            self.skip()?;
            if self.take(")") {
                return Ok(arguments);
            }
            if self.at == self.text.len() {
                return Err(unclosed(open));
            }
            if is_last || !has_comma {
                let expected = if is_last { "`)`" } else { "`,` or `)`" };
                return Err(self.unexpected(&format!("expected {expected}"), None));
            }
        }
    }

    /// White space and comments.
    fn skip(&mut self) -> Result<(), RuleError> {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(error(
                        self.at..self.text.len(),
                        "the comment is never closed",
                        Some("end it with `*/`".to_owned()),
                    ));
                };
                self.at += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn take_operator(&mut self, operator: &str) -> Result<bool, RuleError> {
        self.skip()?;
        let start = self.at;
        let found = self.take(operator);
        if found {
            self.operator = Some(start..self.at);
        }
        Ok(found)
    }

    fn take_name(&mut self) -> Range<usize> {
        let start = self.at;
        let rest = &self.text[start..];
        self.at += rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        start..self.at
    }

    fn missing_operand(&self) -> RuleError {
        let help = Some(format!("write a matcher such as {}", self.example()));
        let next = self.peek();
        match (&self.operator, next) {
            (Some(operator), None | Some(')')) => {
                let text = &self.text[operator.clone()];
                error(operator.clone(), format!("nothing follows `{text}`"), help)
            }
            (_, None) => error(self.at..self.at, "expected a matcher, the rule ends", help),
            (_, Some('`' | '"' | '\'')) => {
                let end = self.text[self.at + 1..]
                    .find(['`', '"', '\''])
                    .map_or(self.text.len(), |length| self.at + length + 2);
                let message = "expected a matcher, found a string";
                error(self.at..end, message, help)
            }
            _ => self.unexpected("expected a matcher", help),
        }
    }

    /// An operator should stand here.
    fn unexpected_after_operand(&self) -> RuleError {
        let rest = &self.text[self.at..];
        let word_end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let word = &rest[..word_end];
        let instead = match rest.chars().next() {
            Some('&') => Some(("&", "&&")),
            Some('|') => Some(("|", "||")),
            _ if word.eq_ignore_ascii_case("and") => Some((word, "&&")),
            _ if word.eq_ignore_ascii_case("or") => Some((word, "||")),
            _ => None,
        };
        if let Some((found, instead)) = instead {
            return error(
                self.at..self.at + found.len(),
                format!("`{found}` is not an operator"),
                Some(format!("write `{instead}`")),
            );
        }
        match rest.chars().next() {
            Some(')') => error(
                self.at..self.at + 1,
                "`)` closes nothing",
                Some("remove it, or open it with `(`".to_owned()),
            ),
            Some(c) if is_name(c) || c == '(' || c == '!' => error(
                self.at..self.at + word.len().max(1),
                "expected `&&` or `||` between two matchers",
                None,
            ),
            _ => self.unexpected("expected `&&`, `||` or the end of the rule", None),
        }
    }

    pub(super) fn unexpected(&self, expected: &str, help: Option<String>) -> RuleError {
        match self.peek() {
            Some(c) => error(
                self.at..self.at + c.len_utf8(),
                format!("{expected}, found `{}`", c.escape_debug()),
                help,
            ),
            None => error(self.at..self.at, format!("{expected}, the rule ends"), help),
        }
    }

    fn example(&self) -> &'static str {
        match self.protocol {
            Protocol::Http => "Host(`example.com`)",
            Protocol::Tcp | Protocol::Udp => "HostSNI(`*`)",
        }
    }
}

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn unclosed(open: usize) -> RuleError {
    error(
        open..open + 1,
        "`(` is never closed",
        Some("add the missing `)`".to_owned()),
    )
}

pub(super) fn error(
    span: Range<usize>,
    message: impl Into<String>,
    help: Option<String>,
) -> RuleError {
    RuleError {
        message: message.into(),
        span,
        help,
    }
}
