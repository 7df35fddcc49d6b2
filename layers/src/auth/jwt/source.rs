//! Where in a request the token is.

use super::refusal::Refusal;
use crate::auth::query;
use crate::own_header;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

/// A header, and a cookie and a parameter of the query where they are named.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) header: HeaderName,
    pub(super) cookie: Option<Box<str>>,
    pub(super) query: Option<Box<str>>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            header: AUTHORIZATION,
            cookie: None,
            query: None,
        }
    }
}

impl Source {
    /// The token: of the header, or where that has none of the cookie, or of the query. A place that has two is
    /// refused, for who knows which of them somebody behind us takes.
    pub(super) fn find<'r, B>(&self, request: &'r Request<B>) -> Result<Option<&'r str>, Refusal> {
        let in_header = only(request.headers().get_all(&self.header).iter())?;
        if let Some(value) = in_header {
            let value = value.to_str().map_err(|_| Refusal::MALFORMED)?;
            if let Some(token) = self.behind_scheme(value) {
                return Ok(Some(token));
            }
        }
        if let Some(name) = &self.cookie
            && let Some(value) = only(cookies(request.headers(), name.as_bytes()))?
        {
            let token = std::str::from_utf8(value).map_err(|_| Refusal::MALFORMED)?;
            return Ok(Some(token));
        }
        match &self.query {
            Some(name) => only(query::raw_values(request.uri(), name)),
            None => Ok(None),
        }
    }

    /// What stands behind `Bearer`. In a header of another name than `Authorization` that word may be missing.
    fn behind_scheme<'v>(&self, value: &'v str) -> Option<&'v str> {
        let value = value.trim();
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        let token = match scheme.eq_ignore_ascii_case("bearer") {
            true => token.trim_start(),
            false if self.header == AUTHORIZATION => return None,
            false => value,
        };
        (!token.is_empty()).then_some(token)
    }

    /// Takes the token out of the request, wherever it may be.
    pub(super) fn hide<B>(&self, request: &mut Request<B>) {
        own_header::clear(request, &self.header);
        if let Some(name) = &self.cookie {
            remove_cookie(request.headers_mut(), name.as_bytes());
            own_header::forbid_in_trailers(request, &COOKIE);
        }
        if let Some(name) = &self.query {
            query::remove(request.uri_mut(), name);
        }
    }
}

fn only<T>(mut values: impl Iterator<Item = T>) -> Result<Option<T>, Refusal> {
    let first = values.next();
    match values.next() {
        Some(_) => Err(Refusal::SEVERAL),
        None => Ok(first),
    }
}

/// The pairs of a `Cookie` header, which HTTP/2 may bring in several lines (RFC 9113, 8.2.3).
fn pairs(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let pairs = line.as_bytes().split(|byte| *byte == b';');
    pairs
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// What a pair says, if its name is `name`.
fn value<'p>(pair: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let is_it = pair[..equals].trim_ascii_end() == name;
    let value = pair[equals + 1..].trim_ascii_start();
    let bare = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    is_it.then_some(bare.unwrap_or(value))
}

fn cookies<'h>(headers: &'h HeaderMap, name: &[u8]) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .flat_map(pairs)
        .filter_map(move |pair| value(pair, name))
}

fn remove_cookie(headers: &mut HeaderMap, name: &[u8]) {
    if cookies(headers, name).next().is_none() {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let others: Vec<&[u8]> = pairs(&line)
            .filter(|pair| value(pair, name).is_none())
            .collect();
        if let (false, Ok(line)) = (
            others.is_empty(),
            HeaderValue::from_bytes(&others.join(&b"; "[..])),
        ) {
            headers.append(COOKIE, line);
        }
    }
}
