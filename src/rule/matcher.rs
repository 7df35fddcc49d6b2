//! The matchers: what each asks of a request.

use super::parse::Argument;
use super::pattern::Pattern;
use super::{Facts, PathPattern, Protocol, RuleError, query};
use http::{HeaderName, Method};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

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

/// How a matcher is written.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// Its name in Traefik v2.
    alias: Option<&'static str>,
    /// How it looks in a message.
    pub(super) usage: &'static str,
    http: bool,
    tcp: bool,
    arguments: std::ops::RangeInclusive<usize>,
    build: fn(&[Argument]) -> Result<Matcher, RuleError>,
}

const ANY_NUMBER: usize = usize::MAX;

static SIGNATURES: [Signature; 14] = [
    Signature::http("Host", "Host(`name`[, ...])", 1..=ANY_NUMBER, |a| {
        Ok(Matcher::Host(each(a, host)?))
    }),
    Signature::http("HostRegexp", "HostRegexp(`regexp`)", 1..=1, |a| {
        Ok(Matcher::HostRegexp(ascii_pattern(&a[0])?))
    }),
    Signature::http("Path", "Path(`/path`)", 1..=1, |a| {
        Ok(Matcher::Path(path(&a[0])?))
    }),
    Signature::http("PathPrefix", "PathPrefix(`/prefix`)", 1..=1, |a| {
        Ok(Matcher::PathPrefix(path(&a[0])?))
    }),
    Signature::http("PathRegexp", "PathRegexp(`regexp`)", 1..=1, |a| {
        Ok(Matcher::PathRegexp(pattern(not_empty(&a[0])?)?))
    }),
    Signature::http("Method", "Method(`GET`[, ...])", 1..=ANY_NUMBER, |a| {
        Ok(Matcher::Method(each(a, method)?))
    }),
    Signature::http("Header", "Header(`name`, `value`)", 2..=2, |a| {
        Ok(Matcher::Header(header_name(&a[0])?, a[1].text()))
    })
    .or("Headers"),
    Signature::http(
        "HeaderRegexp",
        "HeaderRegexp(`name`, `regexp`)",
        2..=2,
        |a| Ok(Matcher::HeaderRegexp(header_name(&a[0])?, pattern(&a[1])?)),
    )
    .or("HeadersRegexp"),
    Signature::http("Query", "Query(`key`[, `value`])", 1..=2, |a| {
        let value = a.get(1).map(Argument::text).unwrap_or_default();
        Ok(Matcher::Query(not_empty(&a[0])?.text(), value))
    }),
    Signature::http(
        "QueryRegexp",
        "QueryRegexp(`key`[, `regexp`])",
        1..=2,
        |a| {
            let key = not_empty(&a[0])?.text();
            Ok(match a.get(1) {
                Some(regexp) => Matcher::QueryRegexp(key, pattern(regexp)?),
                None => Matcher::Query(key, Box::default()),
            })
        },
    ),
    Signature::http(
        "ClientIP",
        "ClientIP(`network`[, ...])",
        1..=ANY_NUMBER,
        |a| Ok(Matcher::ClientIp(each(a, network)?)),
    )
    .and_tcp(),
    Signature::tcp("HostSNI", "HostSNI(`name`)", |a| {
        Ok(Matcher::HostSni(server_name(&a[0])?))
    }),
    Signature::tcp("HostSNIRegexp", "HostSNIRegexp(`regexp`)", |a| {
        Ok(Matcher::HostSniRegexp(ascii_pattern(&a[0])?))
    }),
    Signature::tcp("ALPN", "ALPN(`protocol`)", |a| {
        Ok(Matcher::Alpn(alpn(&a[0])?))
    }),
];

impl Signature {
    const fn http(
        name: &'static str,
        usage: &'static str,
        arguments: std::ops::RangeInclusive<usize>,
        build: fn(&[Argument]) -> Result<Matcher, RuleError>,
    ) -> Self {
        Self {
            name,
            alias: None,
            usage,
            http: true,
            tcp: false,
            arguments,
            build,
        }
    }

    const fn tcp(
        name: &'static str,
        usage: &'static str,
        build: fn(&[Argument]) -> Result<Matcher, RuleError>,
    ) -> Self {
        Self {
            http: false,
            tcp: true,
            ..Self::http(name, usage, 1..=1, build)
        }
    }

    const fn and_tcp(self) -> Self {
        Self { tcp: true, ..self }
    }

    const fn or(self, alias: &'static str) -> Self {
        Self {
            alias: Some(alias),
            ..self
        }
    }

    /// The matcher of this name, in any case.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        SIGNATURES.iter().find(|signature| {
            signature.name.eq_ignore_ascii_case(name)
                || signature
                    .alias
                    .is_some_and(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// The matcher whose name is most like this one, if any is.
    pub(super) fn like(name: &str, protocol: Protocol) -> Option<&'static Self> {
        let name = name.to_ascii_lowercase();
        // v2's other name for `Host`, which no spelling leads to.
        if name == "hostheader" {
            return Self::find("Host");
        }
        SIGNATURES
            .iter()
            .filter(|signature| signature.is_for(protocol))
            .map(|signature| {
                let own = signature.name.to_ascii_lowercase();
                (strsim::damerau_levenshtein(&name, &own), signature)
            })
            .filter(|(distance, _)| *distance <= (name.len() / 3).max(1))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, signature)| signature)
    }

    pub(super) fn is_for(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Http => self.http,
            Protocol::Tcp => self.tcp,
        }
    }

    pub(super) fn takes(&self, arguments: usize) -> bool {
        self.arguments.contains(&arguments)
    }

    /// How many arguments it takes at most.
    pub(super) fn most(&self) -> usize {
        *self.arguments.end()
    }

    /// How many arguments are right, in words.
    pub(super) fn arity(&self) -> &'static str {
        match (*self.arguments.start(), *self.arguments.end()) {
            (1, 1) => "one argument",
            (2, 2) => "two arguments",
            (1, 2) => "one or two arguments",
            _ => "at least one argument",
        }
    }

    /// Makes the matcher of as many arguments as [it takes](Self::takes).
    pub(super) fn build(&self, arguments: &[Argument]) -> Result<Matcher, RuleError> {
        (self.build)(arguments)
    }
}

impl Matcher {
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
    fn new(text: &str) -> Self {
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

fn each<T>(
    arguments: &[Argument],
    one: fn(&Argument) -> Result<T, RuleError>,
) -> Result<Box<[T]>, RuleError> {
    arguments.iter().map(one).collect()
}

fn not_empty(argument: &Argument) -> Result<&Argument, RuleError> {
    if argument.value.is_empty() {
        return Err(argument.error("empty argument", None));
    }
    Ok(argument)
}

fn ascii(argument: &Argument) -> Result<&Argument, RuleError> {
    if !not_empty(argument)?.value.is_ascii() {
        return Err(argument.error(
            format!("`{}` is not ASCII", argument.value),
            Some("write international names in punycode (`xn--...`)".to_owned()),
        ));
    }
    Ok(argument)
}

fn host(argument: &Argument) -> Result<HostPattern, RuleError> {
    let text = ascii(argument)?.value.as_str();
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.bytes().all(|byte| byte == b'.') {
        return Err(argument.error(
            format!("`{text}` names no host"),
            Some("write `*` for every host".to_owned()),
        ));
    }
    Ok(HostPattern::new(text))
}

fn server_name(argument: &Argument) -> Result<HostPattern, RuleError> {
    let name = host(argument)?;
    let is_valid = match &name {
        HostPattern::All => true,
        HostPattern::Exact(name) | HostPattern::Suffix(name) => {
            let is_valid = |b: u8| b.is_ascii_alphanumeric() || b".:-_".contains(&b);
            name.bytes().all(is_valid)
        }
    };
    if !is_valid {
        return Err(argument.error(
            format!("`{}` is not a server name", argument.value),
            Some("write a host name, `*.` and a host name, or `*`".to_owned()),
        ));
    }
    Ok(name)
}

fn path(argument: &Argument) -> Result<Box<str>, RuleError> {
    if !not_empty(argument)?.value.starts_with('/') {
        return Err(argument.error(
            format!("the path `{}` does not begin with `/`", argument.value),
            Some(format!("write `/{}`", argument.value)),
        ));
    }
    Ok(argument.text())
}

fn pattern(argument: &Argument) -> Result<Pattern, RuleError> {
    Pattern::new(&argument.value).map_err(|reason| {
        argument.error(
            format!("`{}` is not a regular expression: {reason}", argument.value),
            None,
        )
    })
}

fn ascii_pattern(argument: &Argument) -> Result<Pattern, RuleError> {
    pattern(ascii(argument)?)
}

fn method(argument: &Argument) -> Result<Method, RuleError> {
    let upper = not_empty(argument)?.value.to_ascii_uppercase();
    Method::from_bytes(upper.as_bytes()).map_err(|_| {
        argument.error(
            format!("`{}` is not an HTTP method", argument.value),
            Some("give each method as an argument of its own".to_owned()),
        )
    })
}

fn header_name(argument: &Argument) -> Result<HeaderName, RuleError> {
    HeaderName::from_bytes(not_empty(argument)?.value.as_bytes()).map_err(|_| {
        argument.error(
            format!("`{}` is not the name of a header", argument.value),
            None,
        )
    })
}

fn network(argument: &Argument) -> Result<IpNet, RuleError> {
    let text = not_empty(argument)?.value.as_str();
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => Ok(IpNet::from(ip.to_canonical())),
        Err(_) => text.parse::<IpNet>(),
    };
    network.map_err(|_| {
        argument.error(
            format!("`{text}` is not an address or a network"),
            Some("write an address like `10.0.0.1` or a network like `10.0.0.0/8`".to_owned()),
        )
    })
}

fn alpn(argument: &Argument) -> Result<Box<str>, RuleError> {
    if not_empty(argument)?.value == "acme-tls/1" {
        return Err(argument.error(
            "`acme-tls/1` is kept for certificate challenges",
            Some("name another protocol".to_owned()),
        ));
    }
    Ok(argument.text())
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
