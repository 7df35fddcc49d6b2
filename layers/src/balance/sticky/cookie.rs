//! The cookie of a session, and how it is written.

use super::Token;
use super::affinity::Shown;
use http::HeaderValue;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A cookie and its attributes (RFC 6265bis, 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name: a token, 256 bytes at most.
    pub name: String,
    /// How long a browser keeps it, from 1 second to 400 days, rounded up to a second; until it is closed where it is
    /// absent.
    ///
    /// The time begins anew while the session is used: the cookie then says when it was given, and is given again once
    /// a tenth of the time is over. So a session may end when nothing was asked for nine tenths of it.
    pub ttl: Option<Duration>,
    /// Whether it is sent over TLS only.
    pub secure: bool,
    /// Whether it is hidden from scripts.
    pub http_only: bool,
    /// Whether it goes along where another site leads here; as the browser thinks where it is absent.
    pub same_site: Option<SameSite>,
    /// The paths that it is sent for: it begins with a slash, 1024 bytes at most.
    pub path: String,
}

/// The `SameSite` of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// Where the user follows a link.
    Lax,
    /// Always.
    None,
}

/// Why browsers would not keep a cookie as it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// The name.
    #[error("not the name of a cookie: letters, digits and !#$%&'*+-.^_`|~, 256 at most")]
    Name,
    /// The name says that it is a secure one.
    #[error("a cookie `{0}...` needs `secure`")]
    NameNeedsSecure(&'static str),
    /// The name says that it is of the whole host.
    #[error("a cookie `{0}...` needs the path `/`")]
    NameNeedsRoot(&'static str),
    /// The name says that it is hidden from scripts.
    #[error("a cookie `{0}...` needs `http_only`")]
    NameNeedsHttpOnly(&'static str),
    /// The time to live.
    #[error("not from 1s to 400 days")]
    Ttl,
    /// [`SameSite::None`] without TLS.
    #[error("a cookie that goes along everywhere needs `secure`")]
    SameSite,
    /// The path.
    #[error(
        "not the path of a cookie: it begins with a slash and has no `;`, no space and no control character"
    )]
    Path,
}

/// The longest that a browser keeps a cookie (RFC 6265bis, 5.5).
const MAX_TTL: Duration = Duration::from_secs(400 * 24 * 3_600);

/// Prefixes of names that browsers know, whatever the case (RFC 6265bis, 4.1.3): whether one needs the path `/`, and
/// whether it needs to be hidden from scripts. All need `secure`.
const PREFIXES: [(&str, bool, bool); 4] = [
    ("__Host-Http-", true, true),
    ("__Http-", false, true),
    ("__Host-", true, false),
    ("__Secure-", false, false),
];

impl Cookie {
    /// One of this name, for every path, until the browser is closed.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ttl: None,
            secure: false,
            http_only: false,
            same_site: None,
            path: "/".to_owned(),
        }
    }

    /// All that is wrong with it.
    pub fn errors(&self) -> Vec<CookieError> {
        let name = self.name.as_bytes();
        let mut errors = Vec::new();
        if !(1..=256).contains(&name.len()) || !name.iter().all(|byte| is_token(*byte)) {
            errors.push(CookieError::Name);
        }
        let begins_with = |prefix: &str| {
            let start = name.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let known = PREFIXES.iter().find(|(prefix, ..)| begins_with(prefix));
        if let Some((prefix, needs_root, needs_http_only)) = known {
            let needs = [
                (!self.secure, CookieError::NameNeedsSecure(prefix)),
                (
                    *needs_root && self.path != "/",
                    CookieError::NameNeedsRoot(prefix),
                ),
                (
                    *needs_http_only && !self.http_only,
                    CookieError::NameNeedsHttpOnly(prefix),
                ),
            ];
            errors.extend(needs.iter().filter(|(lacks, _)| *lacks).map(|(_, e)| *e));
        }
        let range = Duration::from_secs(1)..=MAX_TTL;
        if self.ttl.is_some_and(|ttl| !range.contains(&ttl)) {
            errors.push(CookieError::Ttl);
        }
        if self.same_site == Some(SameSite::None) && !self.secure {
            errors.push(CookieError::SameSite);
        }
        let is_path = |byte: u8| byte.is_ascii_graphic() && byte != b';';
        let path = self.path.as_bytes();
        if path.first() != Some(&b'/') || path.len() > 1024 || !path.iter().all(|b| is_path(*b)) {
            errors.push(CookieError::Path);
        }
        errors
    }

    fn attributes(&self) -> String {
        let mut text = format!("; Path={}", self.path);
        if let Some(ttl) = self.ttl {
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            // A `String` takes everything.
            let _ = write!(text, "; Max-Age={seconds}");
        }
        let same_site = self.same_site.map(|same_site| match same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        text += same_site.unwrap_or_default();
        if self.secure {
            text += "; Secure";
        }
        if self.http_only {
            text += "; HttpOnly";
        }
        text
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A cookie that keeps sessions. Clones share it.
#[derive(Debug, Clone)]
pub struct Sticky(Arc<Written>);

#[derive(Debug)]
struct Written {
    cookie: Cookie,
    attributes: String,
}

impl Sticky {
    /// Keeps sessions by this cookie, unless something is wrong with it.
    pub fn new(cookie: Cookie) -> Result<Self, CookieError> {
        match cookie.errors().first() {
            Some(error) => Err(*error),
            None => Ok(Self(Arc::new(Written {
                attributes: cookie.attributes(),
                cookie,
            }))),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.0.cookie.name
    }

    /// The `Set-Cookie` of a token that is to be kept as long as the browser runs; none where there is a time.
    pub(super) fn lasting(&self, token: Token) -> Option<HeaderValue> {
        match self.0.cookie.ttl {
            Some(_) => None,
            None => Some(self.written(format_args!("{token}"))),
        }
    }

    /// The `Set-Cookie` for a client that shows this of the session; none where it has what it needs.
    pub(super) fn renewed(&self, token: Token, shown: Option<Shown>) -> Option<HeaderValue> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let is_fresh = |given: u64| {
            let tenth = self.0.cookie.ttl.unwrap_or_default() / 10;
            // Clocks of several gateways may differ, and a client may lie: a time to come is no better.
            Duration::from_secs(given.abs_diff(now)) <= tenth
        };
        let given = shown.and_then(|shown| shown.given);
        match given.is_some_and(is_fresh) {
            true => None,
            false => Some(self.written(format_args!("{token}.{now}"))),
        }
    }

    fn written(&self, value: std::fmt::Arguments<'_>) -> HeaderValue {
        let Written { cookie, attributes } = &*self.0;
        let text = format!("{}={value}{attributes}", cookie.name);
        HeaderValue::try_from(text).expect("all parts of it were looked at")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_written_with_its_attributes() {
        let full = Cookie {
            ttl: Some(Duration::from_millis(59_500)),
            secure: true,
            http_only: true,
            same_site: Some(SameSite::None),
            path: "/app".to_owned(),
            ..Cookie::new("__Secure-sid")
        };
        let attributes = "; Path=/app; Max-Age=60; SameSite=None; Secure; HttpOnly";
        assert_eq!(full.attributes(), attributes);
        assert_eq!(full.errors(), []);
        assert_eq!(Cookie::new("sid").attributes(), "; Path=/");
    }

    #[test]
    fn what_browsers_would_not_keep_is_told() {
        use CookieError as E;
        let cookie = || Cookie::new("sid");
        let named = |name: &str| Cookie::new(name);
        let ttl = |ttl| Cookie {
            ttl: Some(ttl),
            ..cookie()
        };
        let path = |path: &str| Cookie {
            path: path.to_owned(),
            ..cookie()
        };
        let host = "__Host-";
        for (cookie, errors) in [
            (named("sid"), &[][..]),
            (named("!#$%&'*+-.^_`|~0Az"), &[]),
            (named(""), &[E::Name]),
            (named(&"x".repeat(257)), &[E::Name]),
            (named("a b"), &[E::Name]),
            (named("a=b"), &[E::Name]),
            (named("a;b"), &[E::Name]),
            (named("\u{e9}"), &[E::Name]),
            (named("a\nb"), &[E::Name]),
            (named("__secure-a"), &[E::NameNeedsSecure("__Secure-")]),
            (named("__HOST-a"), &[E::NameNeedsSecure(host)]),
            (
                Cookie {
                    path: "/a".to_owned(),
                    ..named("__Host-a")
                },
                &[E::NameNeedsSecure(host), E::NameNeedsRoot(host)],
            ),
            (
                Cookie {
                    secure: true,
                    ..named("__Host-a")
                },
                &[],
            ),
            (
                Cookie {
                    secure: true,
                    ..named("__Http-a")
                },
                &[E::NameNeedsHttpOnly("__Http-")],
            ),
            (
                Cookie {
                    same_site: Some(SameSite::None),
                    ..cookie()
                },
                &[E::SameSite],
            ),
            (ttl(Duration::from_millis(999)), &[E::Ttl]),
            (ttl(Duration::ZERO), &[E::Ttl]),
            (ttl(Duration::from_secs(1)), &[]),
            (ttl(MAX_TTL), &[]),
            (ttl(MAX_TTL + Duration::from_secs(1)), &[E::Ttl]),
            (path(""), &[E::Path]),
            (path("app"), &[E::Path]),
            (path("/a;b"), &[E::Path]),
            (path("/a b"), &[E::Path]),
            (path("/\u{e9}"), &[E::Path]),
            (path("/%C3%A9"), &[]),
        ] {
            assert_eq!(cookie.errors(), errors, "{cookie:?}");
            let made = Sticky::new(cookie.clone()).err();
            assert_eq!(made, errors.first().copied(), "{cookie:?}");
        }
    }

    #[test]
    fn a_cookie_with_a_time_is_renewed_when_a_tenth_of_it_is_over() {
        let sticky = Sticky::new(Cookie {
            ttl: Some(Duration::from_secs(1_000)),
            ..Cookie::new("sid")
        });
        let sticky = sticky.expect("a cookie");
        let token = Token::new(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
        let now = now.as_secs();
        for (given, is_kept) in [
            (Some(now), true),
            (Some(now - 50), true),
            (Some(now - 150), false),
            (Some(now + 50), true),
            (Some(now + 150), false),
            (Some(0), false),
            (Some(u64::MAX), false),
            (None, false),
        ] {
            let renewed = sticky.renewed(token, Some(Shown { token, given }));
            assert_eq!(renewed.is_none(), is_kept, "{given:?}");
        }
        let value = sticky.renewed(token, None).expect("a cookie");
        let text = value.to_str().expect("a text");
        let rest = text.strip_prefix("sid=00000000000000000000000000000001.");
        let (given, rest) = rest.and_then(|rest| rest.split_once(';')).expect(text);
        assert!(given.parse::<u64>().expect("seconds").abs_diff(now) <= 60);
        assert_eq!(rest, " Path=/; Max-Age=1000");
        assert_eq!(sticky.lasting(token), None);
    }
}
