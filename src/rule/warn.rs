//! Matchers that are valid, and surely not what was meant.

use super::RuleWarning;
use super::matcher::Matcher;
use super::string::Argument;
use std::net::{IpAddr, Ipv6Addr};

/// What is wrong with an argument, and what to write instead.
type Doubt = (String, Option<String>);

pub(super) fn check(matcher: &Matcher, arguments: &[Argument], warnings: &mut Vec<RuleWarning>) {
    let doubt: fn(&str) -> Option<Doubt> = match matcher {
        Matcher::Host(_) => host,
        Matcher::HostSni(_) => server_name,
        Matcher::HostRegexp(_) | Matcher::HostSniRegexp(_) => host_regexp,
        Matcher::Path(_) => |text| path(text, true),
        Matcher::PathPrefix(_) => |text| path(text, false),
        Matcher::PathRegexp(_) => braces,
        Matcher::Header(name, _) | Matcher::HeaderRegexp(name, _)
            if *name == http::header::HOST =>
        {
            |text| {
                let found = text.eq_ignore_ascii_case("host");
                let help = "use `Host` or `HostRegexp`".to_owned();
                found.then(|| ("the host is not among the headers".to_owned(), Some(help)))
            }
        }
        _ => return,
    };
    for argument in arguments {
        if let Some((message, help)) = doubt(&argument.value) {
            warnings.push(RuleWarning {
                message,
                span: argument.span.clone(),
                help,
            });
        }
    }
}

fn never(text: &str, because: &str, instead: Option<&str>) -> Option<Doubt> {
    Some((
        format!("`{text}` can never match: {because}"),
        instead.map(|instead| format!("write `{instead}`")),
    ))
}

fn host(text: &str) -> Option<Doubt> {
    if text == "*" {
        return None;
    }
    if let Some((_, rest)) = text.split_once("://") {
        let name = rest.split(['/', ':']).next();
        return never(text, "a host has no scheme", name);
    }
    if let Some((name, _)) = text.split_once('/') {
        return never(
            text,
            "a host has no path; `PathPrefix` is for that",
            Some(name),
        );
    }
    if let Some((name, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return never(text, "addresses stand without brackets here", Some(name));
    }
    if let Some((name, port)) = text.rsplit_once(':') {
        if text.parse::<Ipv6Addr>().is_ok() {
            return None;
        }
        let is_port = !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit());
        return if is_port {
            never(text, "a port is not part of the host", Some(name))
        } else {
            never(text, "it is neither a name nor an address", None)
        };
    }
    if text.strip_prefix("*.").unwrap_or(text).contains('*') {
        let because = "`*` stands for a whole first label only; `HostRegexp` can do more";
        return never(text, because, None);
    }
    let is_odd = |b: u8| !(b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b));
    if text.bytes().any(is_odd) {
        return never(text, "no host is written so", None);
    }
    None
}

fn server_name(text: &str) -> Option<Doubt> {
    match text.parse::<IpAddr>() {
        Ok(_) => never(text, "no client may ask for an address in TLS", None),
        Err(_) => host(text),
    }
}

fn host_regexp(text: &str) -> Option<Doubt> {
    if has_upper_case(text) {
        let help = "write it in lower case".to_owned();
        let message = format!("`{text}` asks for upper case, but hosts are matched in lower case");
        return Some((message, Some(help)));
    }
    braces(text)
}

/// Whether a letter in upper case stands for itself in a regular expression.
fn has_upper_case(text: &str) -> bool {
    let mut in_class = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                // `\pL`, `\xAB`, and both with braces: no letter of them stands for itself.
                let digits = match chars.next() {
                    Some('p' | 'P') => 1,
                    Some('x') => 2,
                    _ => 0,
                };
                if digits > 0 && chars.peek() == Some(&'{') {
                    chars.by_ref().find(|c| *c == '}');
                } else {
                    chars.by_ref().take(digits).for_each(drop);
                }
            }
            '[' => in_class = true,
            ']' => in_class = false,
            // Flags and names; the flag `i` makes any case right.
            '(' if chars.next_if_eq(&'?').is_some() => {
                let head = chars.by_ref().find(|c| ":)>i".contains(*c));
                if head == Some('i') {
                    return false;
                }
            }
            other if other.is_ascii_uppercase() && !in_class => return true,
            _ => {}
        }
    }
    false
}

/// `{name:regexp}`, as paths and hosts were written for Traefik v2.
fn braces(text: &str) -> Option<Doubt> {
    let (_, rest) = text.split_once('{')?;
    let (name, _) = rest.split_once([':', '}'])?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        // A property, as in `\p{Greek}`.
        && !text.contains("\\p{")
        && !text.contains("\\P{")
        && !text.contains("\\x{");
    let help = "use a regular expression without the braces and the name".to_owned();
    is_name.then(|| (format!("`{{{name}` is matched as it stands"), Some(help)))
}

/// `is_whole` where the last segment is known to be whole.
fn path(text: &str, is_whole: bool) -> Option<Doubt> {
    if text.contains(['?', '#']) {
        let because = "a path has no query; `Query` is for that";
        return never(text, because, text.split(['?', '#']).next());
    }
    if text.contains("//") {
        return never(
            text,
            "empty segments are removed from a request's path",
            None,
        );
    }
    let last = text.rsplit('/').next();
    let mut segments = text.split('/');
    let mut is_dot = |segment: &str| matches!(segment, "." | "..");
    if segments.any(&mut is_dot) && (is_whole || !last.is_some_and(is_dot)) {
        return never(text, "dot segments are resolved in a request's path", None);
    }
    if has_odd_escape(text) {
        let because = "in a request's path only reserved characters stay escaped, in upper case";
        return never(text, because, None);
    }
    braces(text).map(|(message, _)| (message, Some("`PathRegexp` can do that".to_owned())))
}

/// Whether an escape stands here that no routing path has.
fn has_odd_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|rest| {
        // A prefix may end within an escape.
        rest.get(..2).is_some_and(|digits| {
            !matches!(
                digits,
                "3A" | "2F"
                    | "3F"
                    | "23"
                    | "5B"
                    | "5D"
                    | "40"
                    | "21"
                    | "24"
                    | "26"
                    | "27"
                    | "28"
                    | "29"
                    | "2A"
                    | "2B"
                    | "2C"
                    | "3B"
                    | "3D"
                    | "25"
            ) && u8::from_str_radix(digits, 16).is_ok_and(|byte| byte < 0x80)
        })
    })
}
