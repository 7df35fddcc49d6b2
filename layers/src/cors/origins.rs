//! Origins as browsers write them, and which of them are allowed.

use super::CorsError;
use http::HeaderValue;

/// Which origins may read an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    /// Whatever the origin is, `*` is answered.
    pub(super) any: bool,
    /// In canonical form.
    listed: Vec<Box<str>>,
    #[cfg(feature = "regex")]
    pattern: Option<regex::Regex>,
}

impl Origins {
    pub(super) fn any() -> Self {
        Self {
            any: true,
            ..Self::default()
        }
    }

    pub(super) fn list(&mut self, origin: &str) -> Result<(), CorsError> {
        if origin == "*" {
            self.any = true;
            return Ok(());
        }
        let canonical = std::str::from_utf8(canonical(origin.as_bytes()).ok_or(CorsError::Origin)?);
        let canonical = canonical.map_err(|_| CorsError::Origin)?;
        self.listed.push(canonical.to_ascii_lowercase().into());
        Ok(())
    }

    #[cfg(feature = "regex")]
    pub(super) fn match_whole(&mut self, pattern: &str) -> Result<(), CorsError> {
        // Alone first: what is no pattern by itself could be one with the anchors around it, and escape them.
        regex::Regex::new(pattern).map_err(|_| CorsError::Pattern)?;
        let anchored = regex::Regex::new(&format!(r"\A(?:{pattern})\z"));
        self.pattern = Some(anchored.map_err(|_| CorsError::Pattern)?);
        Ok(())
    }

    pub(super) fn allow(&self, origin: &HeaderValue) -> bool {
        let Some(origin) = canonical(origin.as_bytes()) else {
            return false;
        };
        self.listed
            .iter()
            .any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin))
            || self.matches(origin)
    }

    #[cfg(feature = "regex")]
    fn matches(&self, origin: &[u8]) -> bool {
        let Some(pattern) = &self.pattern else {
            return false;
        };
        std::str::from_utf8(origin).is_ok_and(|origin| {
            if origin.bytes().any(|b| b.is_ascii_uppercase()) {
                pattern.is_match(&origin.to_ascii_lowercase())
            } else {
                pattern.is_match(origin)
            }
        })
    }

    /// Whether the pattern matches two origins that nobody has at once: those of two names that are kept from use (RFC
    /// 2606, 2), on one port.
    pub(super) fn match_anybody(&self) -> bool {
        ["https", "http"].iter().any(|scheme| {
            ["", ":8443"].iter().any(|port| {
                ["a3s-probe.invalid", "xn--bcher-kva.www.example"]
                    .iter()
                    .all(|host| self.matches(format!("{scheme}://{host}{port}").as_bytes()))
            })
        })
    }

    #[cfg(not(feature = "regex"))]
    #[allow(
        clippy::unused_self,
        reason = "it has something to match with the feature `regex`"
    )]
    fn matches(&self, _: &[u8]) -> bool {
        false
    }
}

/// An origin (RFC 6454, 6.2; `null`, or a scheme, a host and perhaps a port) without the port where that is its
/// scheme's own. Case is left to whoever compares.
fn canonical(origin: &[u8]) -> Option<&[u8]> {
    if origin == b"null" {
        return Some(origin);
    }
    let colon = origin.iter().position(|b| *b == b':')?;
    let (scheme, rest) = origin.split_at(colon);
    let authority = rest.strip_prefix(b"://")?;
    if !scheme.first()?.is_ascii_alphabetic() || !scheme.iter().all(|b| is_scheme(*b)) {
        return None;
    }
    let host_end = match authority.first()? {
        b'[' => authority.iter().position(|b| *b == b']')? + 1,
        _ => authority
            .iter()
            .position(|b| *b == b':')
            .unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let is_address = host.starts_with(b"[");
    if host.is_empty()
        || !host
            .iter()
            .all(|b| is_host(*b) || is_address && b"[:]".contains(b))
    {
        return None;
    }
    let default: &[u8] = if scheme.eq_ignore_ascii_case(b"https") {
        b":443"
    } else if scheme.eq_ignore_ascii_case(b"http") {
        b":80"
    } else {
        b""
    };
    if port == default {
        return Some(&origin[..origin.len() - port.len()]);
    }
    let digits = port.strip_prefix(b":").unwrap_or_default();
    let is_port = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    (port.is_empty() || is_port).then_some(origin)
}

fn is_scheme(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"+-.".contains(&b)
}

fn is_host(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
        for (origin, expected) in [
            ("null", Some("null")),
            ("https://a.com", Some("https://a.com")),
            ("https://a.com:443", Some("https://a.com")),
            ("HTTP://A.com:80", Some("HTTP://A.com")),
            ("https://a.com:80", Some("https://a.com:80")),
            ("https://[::1]:443", Some("https://[::1]")),
            ("https://[::1]", Some("https://[::1]")),
            ("moz-extension://1b-2c", Some("moz-extension://1b-2c")),
            ("", None),
            ("Null", None),
            ("*", None),
            ("a.com", None),
            ("https://", None),
            ("https://:443", None),
            ("https://a.com/", None),
            ("https://a.com?q", None),
            ("https://u@a.com", None),
            ("https://*.a.com", None),
            ("https://a.com:", None),
            ("https://a.com:1:2", None),
            ("https://a.com:123456", None),
            ("https://a.com, https://b.com", None),
            ("https://a.com https://b.com", None),
            ("https://[::1", None),
            ("https://[::1]a", None),
            ("1https://a.com", None),
            ("https:/a.com", None),
        ] {
            let found = canonical(origin.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{origin}");
        }
    }
}
