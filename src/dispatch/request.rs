//! The one form that a request is routed and forwarded in.
//!
//! [`normalize`] gives a request that form, once; what a rule saw is what the upstream gets. An ordinary
//! HTTP/1.1 request has it already and passes without an allocation.

use crate::rule::Facts;
use crate::stack::Request;
use a3s_layers::path;
use http::header::{HOST, HeaderValue};
use http::uri::{Parts, PathAndQuery, Uri};
use http::{HeaderMap, Method, Version};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

/// The longest host that is not refused: no name in the DNS is longer.
const MAX_HOST: usize = 255;

/// Why a request cannot be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum Malformed {
    /// An HTTP/1.1 request without a `Host` line, or an HTTP/2 one without authority.
    MissingHost,
    /// More than one `Host` line, or one that differs from the authority of an HTTP/2 request.
    ConflictingHosts,
    /// A host that is no host.
    Host,
    /// A target that is neither a path nor a URI with one.
    Target,
    /// Broken escapes, forbidden bytes, or more `..` than segments to leave.
    Path,
    /// `CONNECT`: a gateway is no tunnel.
    Connect,
}

impl Malformed {
    /// What is wrong, for the answer.
    pub fn message(self) -> &'static str {
        match self {
            Self::MissingHost => "missing host",
            Self::ConflictingHosts => "conflicting hosts",
            Self::Host => "invalid host",
            Self::Target => "invalid request target",
            Self::Path => "invalid path",
            Self::Connect => "CONNECT is not supported",
        }
    }
}

/// Gives `request` the form in which everything after this sees it.
///
/// - `Host` is there if and only if the request has an authority, and the authority of an absolute-form
///   target or of HTTP/2 wins over it.
/// - The URI is a path and a query (or the `*` of `OPTIONS *`), the path
///   [normalised](a3s_layers::path::normalize), and `;` in the query has become `&`.
pub fn normalize(request: &mut Request) -> Result<(), Malformed> {
    if request.method() == Method::CONNECT {
        return Err(Malformed::Connect);
    }
    settle_host(request)?;
    let target = request.uri().path_and_query().ok_or(Malformed::Target)?;
    let target = match normal_target(target.as_str(), request.method())? {
        Some(changed) => Some(changed),
        // The path is fine, but an absolute form has more than a path.
        None => request.uri().authority().map(|_| match target.as_str() {
            // It reads so where it is empty, too: before a fragment.
            "/" => PathAndQuery::from_static("/"),
            _ => target.clone(),
        }),
    };
    if let Some(target) = target {
        let mut parts = Parts::default();
        parts.path_and_query = Some(target);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Malformed::Target)?;
    }
    Ok(())
}

/// Calls `with` with the facts of a [normalised](normalize) request.
///
/// They live as long as the call only, for a host that is not in lower case yet is lowered on the stack.
pub fn with_facts<T>(
    request: &Request,
    client_ip: IpAddr,
    with: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    let mut buffer = [0; MAX_HOST];
    let host = host_of(request.headers()).unwrap_or_default();
    let path = path::routing(request.uri().path());
    with(&Facts {
        host: lower(host, &mut buffer),
        path: &path,
        query: request.uri().query().unwrap_or_default(),
        method: request.method().as_str(),
        headers: request.headers(),
        client_ip,
        sni: None,
        alpn: &[],
    })
}

/// Leaves at most one `Host`: the one that counts.
fn settle_host(request: &mut Request) -> Result<(), Malformed> {
    let mut lines = request.headers().get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Malformed::ConflictingHosts);
    }
    if let Some(line) = line {
        split_host(line.as_bytes()).ok_or(Malformed::Host)?;
    }
    let Some(authority) = request.uri().authority() else {
        let is_missing = line.is_none() && request.version() > Version::HTTP_10;
        return if is_missing {
            Err(Malformed::MissingHost)
        } else {
            Ok(())
        };
    };
    let authority = authority.as_str().as_bytes();
    let is_line_equal = line.map(|line| line.as_bytes().eq_ignore_ascii_case(authority));
    match (request.version(), is_line_equal) {
        // RFC 9112 3.2: even beside an absolute form.
        (Version::HTTP_11, None) => return Err(Malformed::MissingHost),
        // RFC 9113 8.3.1. In HTTP/1 the two may differ, and the target wins (RFC 9112 3.2.2).
        (Version::HTTP_2 | Version::HTTP_3, Some(false)) => {
            return Err(Malformed::ConflictingHosts);
        }
        (_, Some(true)) => return Ok(()),
        (_, Some(false) | None) => {}
    }
    if split_host(authority).is_none_or(str::is_empty) {
        return Err(Malformed::Host);
    }
    let value = HeaderValue::from_bytes(authority).map_err(|_| Malformed::Host)?;
    request.headers_mut().insert(HOST, value);
    Ok(())
}

/// The host of a normalised request, without port and brackets.
fn host_of(headers: &HeaderMap) -> Option<&str> {
    split_host(headers.get(HOST)?.as_bytes())
}

/// Takes the port and the brackets off; `None` where it is no host.
fn split_host(value: &[u8]) -> Option<&str> {
    if value.len() > MAX_HOST {
        return None;
    }
    let value = std::str::from_utf8(value).ok()?;
    if let Some(rest) = value.strip_prefix('[') {
        let (ip, port) = rest.split_once(']')?;
        ip.parse::<Ipv6Addr>().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(ip);
    }
    match value.bytes().position(|b| !IS_NAME[usize::from(b)]) {
        None => Some(value),
        Some(end) if value.as_bytes()[end] != b':' => None,
        Some(end) if is_port(&value[end + 1..]) => (end > 0).then(|| &value[..end]),
        // An address without brackets: no RFC has it, and no harm is in it.
        Some(_) => value.parse::<Ipv6Addr>().is_ok().then_some(value),
    }
}

/// The bytes of RFC 3986's `reg-name`, which DNS names and IPv4 addresses are, but for escapes, which neither has.
static IS_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~!$&'()*+,;=";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// The empty port is the default one.
fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

fn lower<'a>(host: &'a str, buffer: &'a mut [u8; MAX_HOST]) -> &'a str {
    if !host.bytes().any(|b| b.is_ascii_uppercase()) {
        return host;
    }
    let Some(lowered) = buffer.get_mut(..host.len()) else {
        return host;
    };
    lowered.copy_from_slice(host.as_bytes());
    lowered.make_ascii_lowercase();
    std::str::from_utf8(lowered).unwrap_or(host)
}

/// The target in its normal form, if it is in another.
fn normal_target(target: &str, method: &Method) -> Result<Option<PathAndQuery>, Malformed> {
    let (path, query) = match memchr::memchr(b'?', target.as_bytes()) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    if path == "*" {
        return match (method, query) {
            (&Method::OPTIONS, None) => Ok(None),
            _ => Err(Malformed::Target),
        };
    }
    let path = match path {
        "" => Cow::Borrowed("/"),
        path if path.starts_with('/') => path::normalize(path).ok_or(Malformed::Path)?,
        _ => return Err(Malformed::Target),
    };
    let query_changes = query.is_some_and(|query| memchr::memchr(b';', query.as_bytes()).is_some());
    if let (Cow::Borrowed(path), false) = (&path, query_changes)
        && target.starts_with(path)
    {
        return Ok(None);
    }
    let mut text = path.into_owned();
    if let Some(query) = query {
        text.push('?');
        text.extend(query.chars().map(|c| if c == ';' { '&' } else { c }));
    }
    PathAndQuery::try_from(text)
        .map(Some)
        .map_err(|_| Malformed::Target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use proptest::prelude::*;

    fn request(version: Version, target: &str, hosts: &[&[u8]]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.version_mut() = version;
        *request.uri_mut() = target.parse().expect("a URI");
        for host in hosts {
            let value = HeaderValue::from_bytes(host).expect("a value");
            request.headers_mut().append(HOST, value);
        }
        request
    }

    /// The host that rules see, the `Host` line and the target, or why there are none.
    fn normal(
        version: Version,
        target: &str,
        hosts: &[&[u8]],
    ) -> Result<(String, Option<String>, String), Malformed> {
        let mut request = request(version, target, hosts);
        normalize(&mut request)?;
        let ip = IpAddr::from([127, 0, 0, 1]);
        let host = with_facts(&request, ip, |facts| facts.host.to_owned());
        let line = request.headers().get(HOST).map(|line| {
            let text = line.to_str().expect("a host is ASCII");
            text.to_owned()
        });
        Ok((host, line, request.uri().to_string()))
    }

    #[test]
    fn a_request_gets_one_host_and_an_origin_form() {
        let (h10, h11, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for (version, target, hosts, host, line, uri) in [
            (h11, "/a?b", &["a.com"][..], "a.com", Some("a.com"), "/a?b"),
            (h11, "/", &["A.Com.:80"], "a.com.", Some("A.Com.:80"), "/"),
            (h11, "/", &["a.com:"], "a.com", Some("a.com:"), "/"),
            (h11, "/", &["[::1]"], "::1", Some("[::1]"), "/"),
            (
                h11,
                "/",
                &["[2001:DB8::1]:80"],
                "2001:db8::1",
                Some("[2001:DB8::1]:80"),
                "/",
            ),
            (h11, "/", &["::1"], "::1", Some("::1"), "/"),
            (h11, "/", &[""], "", Some(""), "/"),
            (
                h11,
                "http://b.org:81/x?y",
                &["a.com"],
                "b.org",
                Some("b.org:81"),
                "/x?y",
            ),
            (
                h11,
                "http://b.org?y;z",
                &["b.org"],
                "b.org",
                Some("b.org"),
                "/?y&z",
            ),
            (h11, "http://b.org", &[""], "b.org", Some("b.org"), "/"),
            (h11, "http://b.org#x", &[""], "b.org", Some("b.org"), "/"),
            (h10, "/", &[], "", None, "/"),
            (h10, "/", &["a.com"], "a.com", Some("a.com"), "/"),
            (h10, "http://b.org/", &[], "b.org", Some("b.org"), "/"),
            (h2, "https://b.org/%7ex", &[], "b.org", Some("b.org"), "/~x"),
            (
                h2,
                "https://b.org/",
                &["B.org"],
                "b.org",
                Some("B.org"),
                "/",
            ),
            (h2, "/", &["b.org"], "b.org", Some("b.org"), "/"),
        ] {
            let hosts: Vec<_> = hosts.iter().map(|host| host.as_bytes()).collect();
            let expected = (host.to_owned(), line.map(str::to_owned), uri.to_owned());
            let found = normal(version, target, &hosts);
            assert_eq!(found, Ok(expected), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn a_request_without_one_clear_host_is_malformed() {
        let (h11, h2) = (Version::HTTP_11, Version::HTTP_2);
        let long = format!("{}.com", "a".repeat(252));
        for (version, target, hosts, expected) in [
            (h11, "/", &[][..], Malformed::MissingHost),
            (h11, "http://a.com/", &[], Malformed::MissingHost),
            (h2, "/", &[], Malformed::MissingHost),
            (h11, "/", &["a.com", "a.com"], Malformed::ConflictingHosts),
            (
                h11,
                "http://a.com/",
                &["a", "b"],
                Malformed::ConflictingHosts,
            ),
            (
                h2,
                "https://a.com/",
                &["b.com"],
                Malformed::ConflictingHosts,
            ),
            (h2, "https://u@a.com/", &[], Malformed::Host),
            (h11, "http://u@a.com/", &["a.com"], Malformed::Host),
            (h11, "/", &["münchen.de"], Malformed::Host),
            (h11, "/", &["a b"], Malformed::Host),
            (h11, "/", &["u@a.com"], Malformed::Host),
            (h11, "/", &["a.com/x"], Malformed::Host),
            (h11, "/", &["a.com:x"], Malformed::Host),
            (h11, "/", &["a.com:65536"], Malformed::Host),
            (h11, "/", &["a.com:+80"], Malformed::Host),
            (h11, "/", &[":80"], Malformed::Host),
            (h11, "/", &["a:80:80"], Malformed::Host),
            (h11, "/", &["[::1"], Malformed::Host),
            (h11, "/", &["::1]"], Malformed::Host),
            (h11, "/", &["[::1]80"], Malformed::Host),
            (h11, "/", &["[::1]:x"], Malformed::Host),
            (h11, "/", &["[a]"], Malformed::Host),
            (h11, "/", &["a%41.com"], Malformed::Host),
            (h11, "/", &[&long], Malformed::Host),
        ] {
            let hosts: Vec<_> = hosts.iter().map(|host| host.as_bytes()).collect();
            let found = normal(version, target, &hosts);
            assert_eq!(found, Err(expected), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn a_target_that_is_no_path_is_malformed() {
        let normal = |method: Method, target: &str| {
            let mut request = request(Version::HTTP_11, target, &[b"a"]);
            *request.method_mut() = method;
            normalize(&mut request).map(|()| request.uri().to_string())
        };
        assert_eq!(normal(Method::OPTIONS, "*"), Ok("*".to_owned()));
        assert_eq!(normal(Method::GET, "*"), Err(Malformed::Target));
        assert_eq!(normal(Method::GET, "a.com:80"), Err(Malformed::Target));
        assert_eq!(normal(Method::CONNECT, "a.com:80"), Err(Malformed::Connect));
        assert_eq!(normal(Method::GET, "/%zz"), Err(Malformed::Path));
        assert_eq!(normal(Method::GET, "/a;b?c;d"), Ok("/a;b?c&d".to_owned()));
    }

    #[test]
    fn an_asterisk_of_http2_loses_its_authority() {
        let mut request = request(Version::HTTP_2, "/", &[]);
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = Uri::builder()
            .scheme("https")
            .authority("a.com")
            .path_and_query("*")
            .build()
            .expect("a URI");
        assert_eq!(normalize(&mut request), Ok(()));
        assert_eq!(request.uri().to_string(), "*");
        assert_eq!(request.headers()[HOST], "a.com");
    }

    proptest! {
        #[test]
        fn a_normal_request_stays_as_it_is(
            host in prop::option::of("[a-zA-Z0-9.:\\[\\]@é]{0,12}|[Aa](\\.b)?\\.?(:[0-9]{0,5})?"),
            target in "(http://[aB.:@0-9]{1,6})?(/[a/.%é*4-]{0,8})?(\\?[a;%&=]{0,4})?|\\*",
            is_h2: bool,
        ) {
            let mut request = Request::new(Body::empty());
            if is_h2 {
                *request.version_mut() = Version::HTTP_2;
            }
            if let Some(host) = host {
                let value = HeaderValue::from_bytes(host.as_bytes()).expect("a value");
                request.headers_mut().insert(HOST, value);
            }
            if let Ok(uri) = target.parse() {
                *request.uri_mut() = uri;
            }
            if normalize(&mut request).is_ok() {
                let (uri, headers) = (request.uri().clone(), request.headers().clone());
                prop_assert!(uri.authority().is_none() && uri.path().starts_with('/'));
                prop_assert_eq!(normalize(&mut request), Ok(()));
                prop_assert_eq!((request.uri(), request.headers()), (&uri, &headers));
                let ip = IpAddr::from([127, 0, 0, 1]);
                let is_lower = |facts: &Facts<'_>| facts.host == facts.host.to_ascii_lowercase();
                prop_assert!(with_facts(&request, ip, is_lower));
            }
        }
    }
}
