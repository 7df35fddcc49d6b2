//! Positive answers, remembered for a while.

use super::question::Facts;
use foldhash::fast::RandomState;
use http::header::{CACHE_CONTROL, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The headers that were copied from an answer.
pub(super) type Copied = Arc<[(HeaderName, HeaderValue)]>;

/// What stands for a request: a digest that nobody can make another request have.
pub(super) type Key = [u8; 32];

/// How many answers are remembered, unless told otherwise.
const MAX_ENTRIES: usize = 10_000;

/// An answer with more bytes than this to copy is not remembered, so that the number of them bounds the memory.
const MAX_COPIED: usize = 4096;

/// No answer is good for longer: a year.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Entries that are written to by different threads are rarely in one of these.
const SHARDS: usize = 16;

/// Which answers are remembered, and for how long.
///
/// Only positive answers are, with the headers that were copied from them, and only where the request has the
/// credential that they were given to. An answer with `Cache-Control: no-store` or `no-cache` is not, and one with
/// `max-age` for no longer than that. Of a credential there is nothing in memory but a SHA-256 digest.
///
/// An answer is for one credential and for requests alike in all [parts](Self::parts): by default the method, the
/// scheme and host, and the path and query. Leave one out only where the service never looks at it: without
/// [`Part::Uri`] and [`Part::Path`], whoever may see one page has seen to it that all others are open to him, too.
/// A service that looks at anything else, another header or the client's address, needs that as a part, or no cache.
///
/// Requests that come while the first question about them is open are questions of their own.
#[derive(Debug, Clone)]
pub struct Cache {
    credential: Credential,
    ttl: Duration,
    max_entries: usize,
    parts: Vec<Part>,
}

impl Cache {
    /// Remembers for `ttl`, a year at most, what was said of `credential`.
    pub fn new(credential: Credential, ttl: Duration) -> Self {
        Self {
            credential,
            ttl: ttl.min(MAX_TTL),
            max_entries: MAX_ENTRIES,
            parts: vec![Part::Method, Part::Host, Part::Uri],
        }
    }

    /// How many answers, 10,000 by default, each of at most some 4 KiB; the oldest goes first.
    #[must_use]
    pub fn max_entries(mut self, max: usize) -> Self {
        self.max_entries = max;
        self
    }

    /// In what requests must be alike to have one answer, besides the credential.
    #[must_use]
    pub fn parts(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.parts = parts.into_iter().collect();
        self
    }
}

/// What of a request says who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A header; every line of it.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

/// A credential that is written in another way than `header:Authorization` or `cookie:session`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it like `header:Authorization` or `cookie:session`")]
pub struct CredentialError;

impl FromStr for Credential {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, CredentialError> {
        match text.split_once(':') {
            Some(("header", name)) => name.parse().map(Self::Header).map_err(|_| CredentialError),
            Some(("cookie", name)) if is_cookie(name) => Ok(Self::Cookie(name.to_owned())),
            _ => Err(CredentialError),
        }
    }
}

/// RFC 6265, 4.1.1: the name of a cookie is a token.
fn is_cookie(name: &str) -> bool {
    let is_of_token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    !name.is_empty() && name.bytes().all(is_of_token)
}

/// A part of a request that an answer may depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The method.
    Method,
    /// The scheme and the host.
    Host,
    /// The path and the query.
    Uri,
    /// The path without the query.
    Path,
    /// The client's address.
    ClientIp,
    /// A header; every line of it.
    Header(HeaderName),
}

/// A part that is written in another way than `method`, `host`, `uri`, `path`, `client-ip` or `header:X-Tenant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parts are `method`, `host`, `uri`, `path`, `client-ip` and `header:NAME`")]
pub struct PartError;

impl FromStr for Part {
    type Err = PartError;

    fn from_str(text: &str) -> Result<Self, PartError> {
        Ok(match text.split_once(':') {
            None => match text {
                "method" => Self::Method,
                "host" => Self::Host,
                "uri" => Self::Uri,
                "path" => Self::Path,
                "client-ip" => Self::ClientIp,
                _ => return Err(PartError),
            },
            Some(("header", name)) => Self::Header(name.parse().map_err(|_| PartError)?),
            Some(_) => return Err(PartError),
        })
    }
}

/// Answers that are remembered.
pub(super) struct Decisions {
    cache: Cache,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry, RandomState>,
    /// What was put in, the oldest first; an entry that has been replaced is another one.
    order: VecDeque<(Key, u64)>,
    number: u64,
}

struct Entry {
    copied: Copied,
    until: Instant,
    number: u64,
}

impl Decisions {
    pub(super) fn new(cache: Cache) -> Self {
        let shards = cache.max_entries.min(SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            cache,
        }
    }

    /// What stands for a request, where it has a credential.
    pub(super) fn key<B>(&self, request: &Request<B>, facts: &Facts) -> Option<Key> {
        let mut digest = Sha256::new();
        let mut add = |tag: u8, part: &[u8]| {
            digest.update([tag]);
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        let mut is_known = false;
        match &self.cache.credential {
            Credential::Header(name) => {
                for value in request.headers().get_all(name) {
                    is_known |= !value.is_empty();
                    add(0, value.as_bytes());
                }
            }
            Credential::Cookie(name) => {
                for value in cookies(request.headers(), name) {
                    is_known |= !value.is_empty();
                    add(0, value);
                }
            }
        }
        if !is_known {
            return None;
        }
        let text = |value: &Option<HeaderValue>| {
            value
                .as_ref()
                .map_or(&b""[..], |value| value.as_bytes())
                .to_vec()
        };
        for (part, tag) in self.cache.parts.iter().zip(1..) {
            match part {
                Part::Method => add(tag, &text(&facts.method)),
                Part::Host => {
                    add(tag, facts.proto.as_bytes());
                    add(tag, &text(&facts.host));
                }
                Part::Uri => add(tag, &text(&facts.uri)),
                Part::Path => {
                    let uri = text(&facts.uri);
                    let end = uri.iter().position(|b| *b == b'?').unwrap_or(uri.len());
                    add(tag, &uri[..end]);
                }
                Part::ClientIp => match facts.client {
                    Some(ip) => add(tag, ip.to_string().as_bytes()),
                    None => return None,
                },
                Part::Header(name) => {
                    for value in request.headers().get_all(name) {
                        add(tag, value.as_bytes());
                    }
                }
            }
        }
        Some(digest.finalize().into())
    }

    /// What was copied from the answer, if it is still good.
    pub(super) fn get(&self, key: &Key) -> Option<Copied> {
        let shard = self.shard(key)?;
        let entry = shard.entries.get(key)?;
        (Instant::now() < entry.until).then(|| Arc::clone(&entry.copied))
    }

    /// Remembers a positive answer with these headers, where they let it.
    pub(super) fn remember(&self, key: Key, copied: &Copied, headers: &HeaderMap) {
        let ttl = freshness(headers).map_or(self.cache.ttl, |age| age.min(self.cache.ttl));
        let bytes: usize = copied
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if ttl.is_zero() || bytes > MAX_COPIED {
            return;
        }
        // A value is a part of the buffer that it was read into, and would keep all of that.
        let copied = copied.iter().map(|(name, value)| {
            let mut own = HeaderValue::from_bytes(value.as_bytes()).expect("the bytes of a value");
            own.set_sensitive(value.is_sensitive());
            (name.clone(), own)
        });
        let now = Instant::now();
        let entry = |number| Entry {
            copied: copied.collect(),
            until: now + ttl,
            number,
        };
        let max = self.cache.max_entries / self.shards.len().max(1);
        if let Some(mut shard) = self.shard(&key) {
            shard.put(key, entry, now, max);
        }
    }

    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, Shard>> {
        let at = usize::from(key[0]) % self.shards.len().max(1);
        let shard = self.shards.get(at)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shard {
    fn put(&mut self, key: Key, entry: impl FnOnce(u64) -> Entry, now: Instant, max: usize) {
        while let Some((oldest, number)) = self.order.front() {
            let current = self
                .entries
                .get(oldest)
                .filter(|entry| entry.number == *number);
            let is_good = current.is_some_and(|entry| now < entry.until);
            if is_good && self.order.len() < max {
                break;
            }
            if current.is_some() {
                self.entries.remove(oldest);
            }
            self.order.pop_front();
        }
        self.number += 1;
        self.order.push_back((key, self.number));
        self.entries.insert(key, entry(self.number));
    }
}

/// How long an answer says that it is good for; nothing where it does not say.
fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let directives = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    directives
        .filter_map(|directive| {
            let directive = directive.trim_ascii().to_ascii_lowercase();
            let (name, value) = match directive.iter().position(|b| *b == b'=') {
                Some(at) => (&directive[..at], &directive[at + 1..]),
                None => (&directive[..], &b""[..]),
            };
            match name {
                // Some fields of it may be kept, and we know nothing of fields.
                b"no-store" | b"no-cache" => Some(Duration::ZERO),
                b"max-age" => {
                    let value = std::str::from_utf8(value).unwrap_or_default();
                    let seconds = value.trim_matches('"').parse().unwrap_or(0);
                    Some(Duration::from_secs(seconds))
                }
                _ => None,
            }
        })
        .min()
}

/// The values of a cookie, in their order.
fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is_good_for() {
        for (line, expected) in [
            ("", None),
            ("private", None),
            ("max-age=10", Some(10)),
            ("Private, Max-Age=\"10\"", Some(10)),
            ("max-age=x", Some(0)),
            ("max-age=99999999999999999999", Some(0)),
            ("max-age=10, no-store", Some(0)),
            ("no-cache=\"a\"", Some(0)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(line));
            let found = freshness(&headers);
            assert_eq!(found, expected.map(Duration::from_secs), "{line}");
        }
        assert_eq!(freshness(&HeaderMap::new()), None);
    }

    #[test]
    fn a_credential_is_read_as_it_is_written() {
        let header = Credential::Header(http::header::AUTHORIZATION);
        assert_eq!("header:Authorization".parse(), Ok(header));
        let cookie = Credential::Cookie("session".to_owned());
        assert_eq!("cookie:session".parse(), Ok(cookie));
        for text in [
            "",
            "session",
            "header:",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "query:a",
        ] {
            assert_eq!(text.parse::<Credential>(), Err(CredentialError), "{text}");
        }
    }

    #[test]
    fn a_part_is_read_as_it_is_written() {
        let parts = [
            "method",
            "host",
            "uri",
            "path",
            "client-ip",
            "header:X-Tenant",
        ];
        assert!(parts.iter().all(|part| part.parse::<Part>().is_ok()));
        for text in ["", "query", "header", "header:", "host:a"] {
            assert_eq!(text.parse::<Part>(), Err(PartError), "{text}");
        }
    }

    #[test]
    fn a_shard_never_has_more_than_it_may() {
        let mut shard = Shard::default();
        let start = Instant::now();
        let entry = |until: Instant| {
            move |number| Entry {
                copied: Arc::new([]),
                until,
                number,
            }
        };
        let key = |n: u64| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            key
        };
        let later = start + Duration::from_secs(60);
        for n in 0..100 {
            // Now and then one that is there already.
            shard.put(key(n % 7 * n), entry(later), start, 10);
            assert!(shard.entries.len() <= 10 && shard.order.len() <= 10);
        }
        shard.put(key(99), entry(later), later, 10);
        assert_eq!((shard.entries.len(), shard.order.len()), (1, 1));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            COOKIE,
            HeaderValue::from_static("xs=0; s=1;s=2; S=3; ss=4; s"),
        );
        headers.append(COOKIE, HeaderValue::from_static("s=5=6"));
        let found: Vec<_> = cookies(&headers, "s").collect();
        assert_eq!(found, [&b"1"[..], b"2", b"5=6"]);
    }
}
