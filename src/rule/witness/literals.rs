//! What one branch of the search needs: matchers that hold, and matchers that do not.

use super::{Budget, Example, Found, Repeats, Sees, address, first, host, path, values};
use crate::rule::matcher::Matcher;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeSet;

/// Matchers, and whether each is to hold.
pub(super) type Literals<'r> = Vec<(&'r Matcher, bool)>;

/// Something that is like what the literals say.
pub(super) fn realize(
    literals: &[(&Matcher, bool)],
    sees: Sees,
    repeats: Repeats,
    budget: &Budget,
) -> Found<Example> {
    // Each is compared with each.
    if !budget.spend(1 + literals.len() * literals.len() / 8) {
        return Found::Unknown;
    }
    let contradicts = |(at, (matcher, holds)): (usize, &(&Matcher, bool))| {
        let before = &literals[..at];
        before
            .iter()
            .any(|(other, other_holds)| other_holds != holds && other == matcher)
    };
    if literals.iter().enumerate().any(contradicts) {
        return Found::Never;
    }
    let about = About {
        literals,
        sees,
        repeats,
        budget,
    };
    let mut is_known = true;
    macro_rules! part {
        ($found:expr, $else:expr) => {
            match $found {
                Found::One(part) => part,
                // One part that can never be is enough.
                Found::Never => return Found::Never,
                Found::Unknown => {
                    is_known = false;
                    $else
                }
            }
        };
    }
    // What costs the least comes first.
    let alpn = part!(about.alpn(), Vec::new());
    let headers = part!(about.headers(), Vec::new());
    let query = part!(about.query(), Vec::new());
    let client_ip = part!(about.client(), std::net::IpAddr::from([0; 4]));
    let (path, method) = part!(about.path_and_method(), Default::default());
    let host = part!(about.host(), String::new());
    if !is_known {
        return Found::Unknown;
    }
    Found::One(Example {
        sees,
        host,
        path,
        query,
        method,
        headers,
        client_ip,
        shows_client: literals
            .iter()
            .any(|(each, _)| matches!(each, Matcher::ClientIp(_))),
        alpn,
    })
}

struct About<'l, 'r> {
    literals: &'l [(&'r Matcher, bool)],
    sees: Sees,
    repeats: Repeats,
    budget: &'l Budget,
}

impl<'r> About<'_, 'r> {
    /// What is asked of one thing: what is to hold, and what is not.
    fn asks<T>(&self, of: impl Fn(&'r Matcher) -> Option<T>) -> (Vec<T>, Vec<T>) {
        let (mut wanted, mut others) = (Vec::new(), Vec::new());
        for (matcher, holds) in self.literals {
            if let Some(ask) = of(matcher) {
                match holds {
                    true => wanted.push(ask),
                    false => others.push(ask),
                }
            }
        }
        (wanted, others)
    }

    fn host(&self) -> Found<String> {
        let (wanted, others) = self.asks(|matcher| match matcher {
            Matcher::Host(hosts) => Some(host::Ask::OneOf(hosts)),
            Matcher::HostSni(host) => Some(host::Ask::OneOf(std::slice::from_ref(host))),
            Matcher::HostRegexp(pattern) | Matcher::HostSniRegexp(pattern) => {
                Some(host::Ask::Like(pattern))
            }
            _ => None,
        });
        host::search(self.sees, &wanted, &others, self.budget)
    }

    fn path_and_method(&self) -> Found<(String, String)> {
        let (wanted, others) = self.asks(|matcher| match matcher {
            Matcher::Path(path) => Some(path::Ask::Is(path)),
            Matcher::PathPrefix(prefix) => Some(path::Ask::Begins(prefix)),
            Matcher::PathRegexp(pattern) => Some(path::Ask::Like(pattern)),
            _ => None,
        });
        if self.sees == Sees::WholeServer {
            let is_path =
                wanted.iter().all(|ask| ask.holds("*")) && !others.iter().any(|ask| ask.holds("*"));
            return match is_path && self.is_method("OPTIONS") {
                true => Found::One(("*".to_owned(), "OPTIONS".to_owned())),
                false => Found::Never,
            };
        }
        match self.method() {
            Found::One(method) => {
                path::search(&wanted, &others, self.budget).map(|path| (path, method))
            }
            found => found.map(|method| (String::new(), method)),
        }
    }

    fn is_method(&self, method: &str) -> bool {
        self.literals.iter().all(|(matcher, holds)| match matcher {
            Matcher::Method(methods) => methods.iter().any(|each| each == method) == *holds,
            _ => true,
        })
    }

    fn method(&self) -> Found<String> {
        let liked = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
        let (wanted, others) = self.asks(|matcher| match matcher {
            Matcher::Method(methods) => Some(methods),
            _ => None,
        });
        let named = wanted
            .into_iter()
            .chain(others)
            .flat_map(|methods| methods.iter());
        let named: Vec<&str> = named.map(http::Method::as_str).collect();
        let named_count = named.len();
        let strange = (0..=named_count).map(|number| format!("EXAMPLE{number}"));
        let candidates = liked.into_iter().chain(named).map(str::to_owned);
        // A gateway is no tunnel.
        let fits = |method: &String| method != "CONNECT" && self.is_method(method);
        let cost = 1 + named_count;
        first(candidates.chain(strange), true, (self.budget, cost), fits)
    }

    fn headers(&self) -> Found<Vec<(HeaderName, HeaderValue)>> {
        let names: BTreeSet<&str> = (self.literals.iter())
            .filter_map(|(matcher, _)| match matcher {
                Matcher::Header(name, _) | Matcher::HeaderRegexp(name, _) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let (mut headers, mut is_known) = (Vec::new(), true);
        for name in names {
            let (wanted, others) = self.asks(|matcher| match matcher {
                Matcher::Header(own, value) if own == name => Some(values::Ask::Is(value)),
                Matcher::HeaderRegexp(own, pattern) if own == name => {
                    Some(values::Ask::Like(pattern))
                }
                _ => None,
            });
            // No rule sees the host among the headers.
            if name == http::header::HOST.as_str() && !wanted.is_empty() {
                return Found::Never;
            }
            match values::search(&wanted, &others, (self.repeats, self.budget), is_header) {
                Found::One(values) => headers.extend(values.into_iter().filter_map(|value| {
                    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                    Some((name, HeaderValue::from_bytes(&value).ok()?))
                })),
                Found::Never => return Found::Never,
                Found::Unknown => is_known = false,
            }
        }
        match is_known {
            true => Found::One(headers),
            false => Found::Unknown,
        }
    }

    fn query(&self) -> Found<Vec<(String, Vec<u8>)>> {
        let keys: BTreeSet<&str> = (self.literals.iter())
            .filter_map(|(matcher, _)| match matcher {
                Matcher::Query(key, _) | Matcher::QueryRegexp(key, _) => Some(&**key),
                _ => None,
            })
            .collect();
        let (mut pairs, mut is_known) = (Vec::new(), true);
        for key in keys {
            let (wanted, others) = self.asks(|matcher| match matcher {
                Matcher::Query(own, value) if **own == *key => Some(values::Ask::Is(value)),
                Matcher::QueryRegexp(own, pattern) if **own == *key => {
                    Some(values::Ask::Like(pattern))
                }
                _ => None,
            });
            match values::search(&wanted, &others, (self.repeats, self.budget), |_| true) {
                Found::One(values) => {
                    pairs.extend(values.into_iter().map(|value| (key.to_owned(), value)));
                }
                Found::Never => return Found::Never,
                Found::Unknown => is_known = false,
            }
        }
        match is_known {
            true => Found::One(pairs),
            false => Found::Unknown,
        }
    }

    fn client(&self) -> Found<std::net::IpAddr> {
        let (wanted, others) = self.asks(|matcher| match matcher {
            Matcher::ClientIp(networks) => Some(&**networks),
            _ => None,
        });
        address::search(&wanted, &others, self.budget)
    }

    fn alpn(&self) -> Found<Vec<Vec<u8>>> {
        let (wanted, _) = self.asks(|matcher| match matcher {
            Matcher::Alpn(protocol) => Some(protocol.as_bytes().to_vec()),
            _ => None,
        });
        // A name has a length of one byte.
        let is_real = |name: &Vec<u8>| self.sees == Sees::Tls && name.len() < 256;
        match wanted.iter().all(is_real) {
            true => Found::One(wanted),
            false => Found::Never,
        }
    }
}

/// Whether a line of a header can hold it: no control characters, no white space around it.
fn is_header(value: &[u8]) -> bool {
    HeaderValue::from_bytes(value).is_ok() && value.trim_ascii().len() == value.len()
}
