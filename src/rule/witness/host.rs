//! Hosts, and server names.

use super::{Budget, Found, Sees, first};
use crate::rule::HostPattern;
use crate::rule::pattern::Pattern;
use std::net::Ipv6Addr;

/// More are not tried.
const MAX_CANDIDATES: usize = 512;

/// The longest that is not refused.
const MAX_LENGTH: usize = 255;

/// What is asked of a host.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'r> {
    OneOf(&'r [HostPattern]),
    Like(&'r Pattern),
}

impl Ask<'_> {
    /// How much it costs to ask.
    fn weight(&self) -> usize {
        match self {
            Self::OneOf(patterns) => patterns.len(),
            Self::Like(_) => 4,
        }
    }

    fn holds(self, host: &str) -> bool {
        match self {
            Self::OneOf(patterns) => patterns.iter().any(|pattern| pattern.matches(host)),
            Self::Like(pattern) => pattern.is_match(host.as_bytes()),
        }
    }
}

/// A host of which all of `wanted` holds, and none of `others`.
pub(super) fn search(
    sees: Sees,
    wanted: &[Ask<'_>],
    others: &[Ask<'_>],
    budget: &Budget,
) -> Found<String> {
    if wanted.is_empty() && others.is_empty() && sees != Sees::Clients {
        return Found::One("example.com".to_owned());
    }
    let fits = |host: &String| {
        is_real(sees, host)
            && wanted.iter().all(|ask| ask.holds(host))
            && !others.iter().any(|ask| ask.holds(host))
    };
    let weights = wanted.iter().chain(others).map(|ask| ask.weight());
    let cost = (budget, 4 + weights.sum::<usize>());
    if sees == Sees::Clients {
        return first([String::new()], true, cost, fits);
    }
    let patterns: Vec<&Pattern> = wanted.iter().filter_map(like).collect();
    let has_patterns = !patterns.is_empty() || others.iter().any(|ask| like(ask).is_some());
    let samples: Vec<String> = patterns
        .iter()
        .flat_map(|pattern| pattern.samples())
        .filter_map(|sample| std::str::from_utf8(sample).ok())
        .map(|sample| sample.to_ascii_lowercase())
        .collect();
    // The list that leaves the fewest.
    let lists = wanted.iter().filter_map(list);
    let narrow = lists.filter(|list| !list.contains(&HostPattern::All));
    let Some(narrow) = narrow.min_by_key(|list| list.len()) else {
        let hosts = samples.into_iter().chain(strangers(others));
        let nobody = (sees == Sees::Tls).then(String::new);
        return first(hosts.chain(nobody), !has_patterns, cost, fits);
    };
    let named: Vec<&str> = exact(wanted).collect();
    let (mut hosts, mut is_all) = (Vec::new(), true);
    for pattern in narrow {
        if hosts.len() > MAX_CANDIDATES {
            is_all = false;
            break;
        }
        match pattern {
            HostPattern::All => {}
            HostPattern::Exact(name) => {
                hosts.push(name.to_string());
                if has_patterns {
                    // Only they see the dot.
                    hosts.push(format!("{name}."));
                }
            }
            HostPattern::Suffix(suffix) => {
                is_all &= !has_patterns;
                let begin = hosts.len();
                let labels = samples.iter().map(String::as_str);
                let labels = labels.chain(["www", "example", "a", ""]);
                hosts.extend(labels.map(|label| format!("{label}.{suffix}")));
                let taken = exact(others).take(MAX_CANDIDATES).count();
                hosts.extend((0..=taken).map(|number| format!("host{number}.{suffix}")));
                let is_of = |name: &&str| pattern.matches(name);
                hosts.extend(
                    named
                        .iter()
                        .filter(|name| is_of(name))
                        .map(|name| (*name).to_owned()),
                );
                is_all &= hosts.len() - begin <= MAX_CANDIDATES;
                hosts.truncate(begin + MAX_CANDIDATES);
            }
        }
    }
    hosts.extend(samples);
    first(hosts, is_all, cost, fits)
}

fn like<'r>(ask: &Ask<'r>) -> Option<&'r Pattern> {
    match ask {
        Ask::Like(pattern) => Some(pattern),
        Ask::OneOf(_) => None,
    }
}

fn list<'r>(ask: &Ask<'r>) -> Option<&'r [HostPattern]> {
    match ask {
        Ask::OneOf(patterns) => Some(patterns),
        Ask::Like(_) => None,
    }
}

fn exact<'r>(asks: &[Ask<'r>]) -> impl Iterator<Item = &'r str> {
    let patterns = asks.iter().filter_map(list).flatten();
    patterns.filter_map(|pattern| match pattern {
        HostPattern::Exact(name) => Some(&**name),
        HostPattern::All | HostPattern::Suffix(_) => None,
    })
}

/// Hosts of so many names and domains that not all of them can be among these.
fn strangers(others: &[Ask<'_>]) -> impl Iterator<Item = String> {
    let count = others
        .iter()
        .filter_map(list)
        .map(<[_]>::len)
        .sum::<usize>();
    let liked = ["example.com", "example.org", "example.net"].map(str::to_owned);
    liked
        .into_iter()
        .chain((0..=count).map(|number| format!("www.example{number}.test")))
}

/// Whether a client can name it.
fn is_real(sees: Sees, host: &str) -> bool {
    let is_name = |byte: u8| {
        let is_plain = byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let marks: &[u8] = match sees {
            Sees::Requests | Sees::WholeServer => b"-._~!$&'()*+,;=",
            Sees::Tls | Sees::Clients => b"-._",
        };
        is_plain || marks.contains(&byte)
    };
    let is_address = || sees.is_http() && host.parse::<Ipv6Addr>().is_ok();
    host.len() <= MAX_LENGTH && (host.bytes().all(is_name) || is_address())
}
