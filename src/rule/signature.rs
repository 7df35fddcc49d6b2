//! How each matcher is written: its name, its arguments, and what they must be.

use super::matcher::{HostPattern, Matcher};
use super::pattern::Pattern;
use super::string::Argument;
use super::{Protocol, RuleError};
use http::{HeaderName, Method};
use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

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
    arguments: RangeInclusive<usize>,
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
        arguments: RangeInclusive<usize>,
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
            // There is no handshake to look into.
            Protocol::Udp => self.tcp && self.name != "ALPN" && self.name != "HostSNIRegexp",
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
