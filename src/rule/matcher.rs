//! The matchers: what each asks of a request.

use super::pattern::Pattern;
use super::{Facts, PathPattern, query};
use http::{HeaderName, Method};
use ipnet::IpNet;
use std::fmt;

/// A host as `Host` and `HostSNI` take it, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: every host, the empty one too.
    All,
    /// Exactly this host; its trailing dot is gone.
    Exact(Box<str>),
    /// `*.example.com`: one label, which may be empty, before this suffix.
    Suffix(Box<str>),
}

#[derive(Debug, PartialEq)]
pub(super) enum Matcher {
    Host(Box<[HostPattern]>),
    HostRegexp(Pattern),
    Path(Box<str>),
    PathPrefix(Box<str>),
    PathRegexp(Pattern),
    Method(Box<[Method]>),
    Header(HeaderName, Box<str>),
    HeaderRegexp(HeaderName, Pattern),
    Query(Box<str>, Box<str>),
    QueryRegexp(Box<str>, Pattern),
    ClientIp(Box<[IpNet]>),
    HostSni(HostPattern),
    HostSniRegexp(Pattern),
    Alpn(Box<str>),
}

impl Matcher {
    /// How much it costs to ask it, in comparisons.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Host(hosts) => hosts.len(),
            Self::Method(methods) => methods.len(),
            Self::ClientIp(networks) => networks.len(),
            _ => 2,
        }
    }

    pub(super) fn matches(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Host(hosts) => hosts.iter().any(|host| host.matches(facts.host)),
            Self::HostRegexp(pattern) => pattern.is_match(facts.host.as_bytes()),
            Self::Path(path) => **path == *facts.path,
            Self::PathPrefix(prefix) => facts.path.starts_with(&**prefix),
            Self::PathRegexp(pattern) => pattern.is_match(facts.path.as_bytes()),
            Self::Method(methods) => methods.iter().any(|m| m.as_str() == facts.method),
            Self::Header(name, value) => lines(facts, name).any(|line| line == value.as_bytes()),
            Self::HeaderRegexp(name, pattern) => {
                lines(facts, name).any(|line| pattern.is_match(line))
            }
            Self::Query(key, value) => {
                query::some(facts.query, key, |raw| query::equal(raw, value))
            }
            Self::QueryRegexp(key, pattern) => query::some(facts.query, key, |raw| {
                query::decoded(raw, |value| pattern.is_match(value))
            }),
            Self::ClientIp(networks) => {
                let ip = facts.client_ip.to_canonical();
                networks.iter().any(|network| network.contains(&ip))
            }
            Self::HostSni(host) => host.matches(facts.sni.unwrap_or_default()),
            Self::HostSniRegexp(pattern) => {
                pattern.is_match(facts.sni.unwrap_or_default().as_bytes())
            }
            Self::Alpn(protocol) => facts.alpn.contains(&protocol.as_bytes()),
        }
    }

    /// Whether it asks for what a TLS client says of itself.
    pub(super) fn asks_client_hello(&self) -> bool {
        match self {
            Self::HostSni(host) => *host != HostPattern::All,
            Self::HostSniRegexp(_) | Self::Alpn(_) => true,
            _ => false,
        }
    }

    /// The hosts of which one is needed.
    pub(super) fn hosts(&self) -> Option<Vec<HostPattern>> {
        let hosts = match self {
            Self::Host(hosts) => hosts.to_vec(),
            Self::HostSni(host) => vec![host.clone()],
            _ => return None,
        };
        (!hosts.contains(&HostPattern::All)).then_some(hosts)
    }

    /// The path that is needed.
    pub(super) fn path(&self) -> Option<PathPattern> {
        match self {
            Self::Path(path) => Some(PathPattern::Exact(path.clone())),
            // Every path begins with it, but for `*`, and that is not worth an index.
            Self::PathPrefix(prefix) if **prefix == *"/" => None,
            Self::PathPrefix(prefix) => Some(PathPattern::Prefix(prefix.clone())),
            _ => None,
        }
    }
}

impl HostPattern {
    pub(super) fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let text = text.strip_suffix('.').unwrap_or(&text);
        match text.strip_prefix("*.") {
            _ if text == "*" => Self::All,
            Some(suffix) => Self::Suffix(suffix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Whether a host in lower case, with or without a trailing dot, is one of these.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::All => true,
            Self::Exact(own) => !host.is_empty() && **own == *host,
            Self::Suffix(own) => host
                .split_once('.')
                .is_some_and(|(_, suffix)| **own == *suffix),
        }
    }
}

/// The lines of a field. The host is no field, for rules, wherever it came in: `Host` is the matcher for it.
fn lines<'a>(facts: &Facts<'a>, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let headers = (*name != http::header::HOST).then_some(facts.headers);
    headers
        .into_iter()
        .flat_map(move |headers| headers.get_all(name))
        .map(|value| value.as_bytes())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            // One trailing dot means nothing, so a name that has one needs another.
            Self::Exact(name) if name.ends_with('.') => write!(f, "{name}."),
            Self::Suffix(name) if name.ends_with('.') => write!(f, "*.{name}."),
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*.{name}"),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(hosts) => write_list(f, "Host", hosts),
            Self::HostRegexp(re) => write_call(f, "HostRegexp", &[re.as_str()]),
            Self::Path(path) => write_call(f, "Path", &[path]),
            Self::PathPrefix(prefix) => write_call(f, "PathPrefix", &[prefix]),
            Self::PathRegexp(re) => write_call(f, "PathRegexp", &[re.as_str()]),
            Self::Method(methods) => write_list(f, "Method", methods),
            Self::Header(name, value) => write_call(f, "Header", &[name.as_str(), value]),
            Self::HeaderRegexp(name, re) => {
                write_call(f, "HeaderRegexp", &[name.as_str(), re.as_str()])
            }
            Self::Query(key, value) if value.is_empty() => write_call(f, "Query", &[key]),
            Self::Query(key, value) => write_call(f, "Query", &[key, value]),
            Self::QueryRegexp(key, re) => write_call(f, "QueryRegexp", &[key, re.as_str()]),
            Self::ClientIp(networks) => write_list(f, "ClientIP", networks),
            Self::HostSni(host) => write_call(f, "HostSNI", &[&host.to_string()]),
            Self::HostSniRegexp(re) => write_call(f, "HostSNIRegexp", &[re.as_str()]),
            Self::Alpn(protocol) => write_call(f, "ALPN", &[protocol]),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, name: &str, arguments: &[impl ToString]) -> fmt::Result {
    let texts: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    write_call(f, name, &texts)
}

fn write_call(f: &mut fmt::Formatter<'_>, name: &str, arguments: &[&str]) -> fmt::Result {
    write!(f, "{name}(")?;
    for (i, argument) in arguments.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write_string(f, argument)?;
    }
    f.write_str(")")
}

/// Between backticks where they can hold it, else between quotes, escaped.
fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    if !text.contains(['`', '\r']) {
        return write!(f, "`{text}`");
    }
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}
