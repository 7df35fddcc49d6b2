//! Fields that belong to one connection and must not go on to the next (RFC 9110, 7.6.1).
//!
//! A server calls [`disarm`] on what it receives, so that `Connection: x-user` cannot make a proxy drop a
//! field that a middleware sets later; a proxy calls [`strip_request`] and [`strip_response`] on what it sends.
//!
//! ```
//! use a3s_layers::hop_by_hop::strip_request;
//! let mut headers = http::HeaderMap::new();
//! headers.insert("connection", "close, x-debug".parse().unwrap());
//! headers.insert("x-debug", "1".parse().unwrap());
//! strip_request(&mut headers);
//! assert!(headers.is_empty());
//! ```

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Removes the fields that `Connection` names, but for those of the protocol itself, and the names with them.
pub fn disarm(headers: &mut HeaderMap) {
    if !names_fields(headers) {
        return;
    }
    let mut kept = Vec::new();
    for option in options(headers) {
        if is_protocol(&option) {
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(option.as_str().as_bytes());
        } else {
            headers.remove(option);
        }
    }
    match HeaderValue::from_bytes(&kept) {
        Ok(value) if !value.is_empty() => headers.insert(CONNECTION, value),
        _ => headers.remove(CONNECTION),
    };
}

/// Leaves of a request's fields those that are for its server.
pub fn strip_request(headers: &mut HeaderMap) {
    settle_length(headers);
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    // `TE: trailers` is the one that goes on: gRPC needs it, and trailers are passed on, so it is true.
    let trailers = headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    strip(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(HTTP2_SETTINGS);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(TE);
    }
}

/// Leaves of a response's fields those that are for its client, with framing that is not ambiguous.
pub fn strip_response(headers: &mut HeaderMap) {
    settle_length(headers);
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    // RFC 9112, 6.3: Transfer-Encoding overrides Content-Length, which must not go on.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip(headers);
    headers.remove(PROXY_AUTHENTICATE);
}

/// Most messages have none of these: one look at each name is cheaper than a search for each of these.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// One length, in its shortest form: the same one twice, on two lines or in a list, is one, and `03` is 3. Two
/// lengths are refused by the parser.
fn settle_length(headers: &mut HeaderMap) {
    if let Entry::Occupied(mut lengths) = headers.entry(CONTENT_LENGTH) {
        let value = lengths.get().as_bytes();
        let end = value.iter().position(|b| *b == b',');
        let first = value[..end.unwrap_or(value.len())].trim_ascii();
        let zeros = first.iter().take_while(|b| **b == b'0').count();
        let shortest = &first[zeros.min(first.len().saturating_sub(1))..];
        let is_settled = shortest.len() == value.len() && lengths.iter().nth(1).is_none();
        if !is_settled && let Ok(shortest) = HeaderValue::from_bytes(shortest) {
            lengths.insert(shortest);
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    if names_fields(headers) {
        for option in options(headers) {
            headers.remove(option);
        }
    }
    headers.remove(CONNECTION);
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
}

/// Whether `Connection` may name a field: nearly always it says `close` or `keep-alive`, which name none.
fn names_fields(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        let value = value.as_bytes();
        !value.eq_ignore_ascii_case(b"keep-alive") && !value.eq_ignore_ascii_case(b"close")
    })
}

/// The fields that `Connection` names. Those without which a message would be another are not among them.
fn options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| ![CONTENT_LENGTH, HOST, CONNECTION].contains(name))
        .collect()
}

/// Whether an option of `Connection` speaks of the connection rather than of a field to be dropped.
fn is_protocol(option: &HeaderName) -> bool {
    [KEEP_ALIVE, UPGRADE, TE, HTTP2_SETTINGS].contains(option) || option == "close"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_what_is_for_the_server_goes_on() {
        for (given, left) in [
            (
                &[("connection", "close"), ("a", "1")][..],
                &[("a", "1")][..],
            ),
            (
                &[
                    ("connection", "a"),
                    ("connection", "B , close"),
                    ("a", "1"),
                    ("b", "2"),
                ],
                &[],
            ),
            (
                &[("connection", "content-length"), ("content-length", "3")],
                &[("content-length", "3")],
            ),
            (&[("te", "gzip, trailers")], &[("te", "trailers")]),
            (
                &[
                    ("te", "gzip"),
                    ("keep-alive", "1"),
                    ("proxy-connection", "x"),
                ],
                &[],
            ),
            (
                &[
                    ("transfer-encoding", "chunked"),
                    ("upgrade", "h2c"),
                    ("http2-settings", ""),
                ],
                &[],
            ),
            (&[("proxy-authorization", "x"), ("connection", "\"")], &[]),
        ] {
            let mut headers = map(given);
            strip_request(&mut headers);
            assert_eq!(headers, map(left), "{given:?}");
        }
    }

    #[test]
    fn a_disarmed_connection_field_names_no_field_of_others() {
        let mut headers = map(&[
            ("connection", "upgrade, x-user, close"),
            ("x-user", "forged"),
        ]);
        disarm(&mut headers);
        assert_eq!(headers, map(&[("connection", "upgrade, close")]));
        let mut headers = map(&[
            ("connection", "close"),
            ("connection", "x-user"),
            ("x-user", "1"),
        ]);
        disarm(&mut headers);
        assert_eq!(headers, map(&[("connection", "close")]));
    }

    #[test]
    fn a_length_has_one_form() {
        for (given, left) in [
            ("03", "3"),
            ("0", "0"),
            ("000", "0"),
            ("10", "10"),
            ("3, 3", "3"),
        ] {
            let mut headers = map(&[("content-length", given)]);
            strip_request(&mut headers);
            assert_eq!(headers, map(&[("content-length", left)]), "{given}");
        }
    }

    #[test]
    fn a_response_has_one_framing() {
        let mut headers = map(&[("content-length", "3"), ("content-length", "3")]);
        strip_response(&mut headers);
        assert_eq!(headers, map(&[("content-length", "3")]));
        let mut headers = map(&[("content-length", "3, 3")]);
        strip_response(&mut headers);
        assert_eq!(headers, map(&[("content-length", "3")]));
        let mut headers = map(&[("content-length", "3"), ("transfer-encoding", "chunked")]);
        strip_response(&mut headers);
        assert!(headers.is_empty());
    }
}
