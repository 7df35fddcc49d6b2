//! Which fields go on to the next connection.

use a3s_layers::hop_by_hop::{disarm, strip_request, strip_response};
use http::{HeaderMap, HeaderValue};

type Lines = &'static [(&'static str, &'static str)];

fn map(lines: Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn check(run: fn(&mut HeaderMap), table: &[(Lines, Lines)]) {
    for (given, left) in table {
        let mut headers = map(given);
        run(&mut headers);
        assert_eq!(headers, map(left), "{given:?}");
    }
}

#[test]
fn a_connection_field_takes_nothing_that_is_set_after_it_was_disarmed() {
    for lines in [
        &["x-user"][..],
        &["close, x-user"],
        &["keep-alive,X-User"],
        &["close", "x-user"],
        &["keep-alive", "x-user"],
        &["x-user", "close"],
        &["close", "keep-alive", ",x-user,"],
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("connection", HeaderValue::from_static(line));
        }
        headers.insert("x-user", HeaderValue::from_static("forged"));
        disarm(&mut headers);
        assert!(!headers.contains_key("x-user"), "{lines:?}");
        headers.insert("x-user", HeaderValue::from_static("alice"));
        strip_request(&mut headers);
        assert_eq!(headers["x-user"], "alice", "{lines:?}");
        assert_eq!(headers.len(), 1, "{lines:?}");
    }
}

#[test]
fn what_a_connection_field_says_of_the_connection_stays() {
    check(
        disarm,
        &[
            (&[], &[]),
            (&[("a", "1")], &[("a", "1")]),
            (&[("connection", "close")], &[("connection", "close")]),
            (
                &[("connection", "Keep-Alive")],
                &[("connection", "Keep-Alive")],
            ),
            (
                &[("connection", "TE, Upgrade"), ("te", "trailers")],
                &[("connection", "te, upgrade"), ("te", "trailers")],
            ),
            (
                &[("connection", "HTTP2-Settings, upgrade")],
                &[("connection", "http2-settings, upgrade")],
            ),
            (&[("connection", "")], &[]),
            (&[("connection", "a b, \"")], &[]),
        ],
    );
}

#[test]
fn a_field_that_makes_the_message_what_it_is_cannot_be_named_away() {
    const HOST: Lines = &[("host", "a"), ("content-length", "3")];
    const NAMED: Lines = &[
        ("connection", "host, content-length, connection"),
        ("host", "a"),
        ("content-length", "3"),
    ];
    for run in [disarm, strip_request, strip_response] {
        check(run, &[(NAMED, HOST)]);
    }
}

#[test]
fn a_request_goes_on_without_the_fields_of_its_connection() {
    check(
        strip_request,
        &[
            (&[("a", "1")], &[("a", "1")]),
            (
                &[
                    ("proxy-authorization", "Basic eA=="),
                    ("authorization", "b"),
                ],
                &[("authorization", "b")],
            ),
            (
                &[("keep-alive", "timeout=5"), ("proxy-connection", "close")],
                &[],
            ),
            (
                &[("transfer-encoding", "chunked"), ("trailer", "x")],
                &[("trailer", "x")],
            ),
            (
                &[
                    ("connection", "upgrade, http2-settings"),
                    ("upgrade", "h2c"),
                    ("http2-settings", "AAM"),
                ],
                &[],
            ),
        ],
    );
}

#[test]
fn of_te_only_trailers_goes_on() {
    check(
        strip_request,
        &[
            (&[("te", "trailers")], &[("te", "trailers")]),
            (&[("te", "deflate;q=0.5 , TRAILERS")], &[("te", "trailers")]),
            (&[("te", "gzip"), ("te", "trailers")], &[("te", "trailers")]),
            (
                &[("te", "trailers"), ("connection", "te")],
                &[("te", "trailers")],
            ),
            (&[("te", "gzip")], &[]),
            (&[("te", "")], &[]),
        ],
    );
}

#[test]
fn a_response_goes_on_with_one_framing() {
    check(
        strip_response,
        &[
            (&[("content-length", "3")], &[("content-length", "3")]),
            (&[("content-length", "3 , 3")], &[("content-length", "3")]),
            (
                &[("content-length", "3"), ("content-length", "3")],
                &[("content-length", "3")],
            ),
            (
                &[("content-length", "3"), ("transfer-encoding", "chunked")],
                &[],
            ),
            (
                &[("connection", "close, x"), ("x", "1"), ("y", "2")],
                &[("y", "2")],
            ),
            (
                &[
                    ("proxy-authenticate", "Basic"),
                    ("www-authenticate", "Basic"),
                ],
                &[("www-authenticate", "Basic")],
            ),
        ],
    );
}
