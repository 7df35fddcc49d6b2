//! `headers` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::headers::{HeaderEdits, HeaderError, HeadersLayer};
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use http::{HeaderMap, Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tower::{Layer, ServiceExt, service_fn};

type Lines = &'static [(&'static str, &'static str)];

fn map(lines: Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn edits() -> HeaderEdits {
    HeaderEdits::new()
}

/// What the service below is sent, and what comes back where it answers with `answered`.
async fn exchange(
    layer: &HeadersLayer,
    request: Request<()>,
    answered: Lines,
) -> (HeaderMap, HeaderMap) {
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        let mut response = Response::new(request.headers().clone());
        *response.headers_mut() = map(answered);
        Ok::<_, Infallible>(response)
    }));
    let (parts, seen) = service.oneshot(request).await.unwrap().into_parts();
    (seen, parts.headers)
}

fn request(lines: Lines) -> Request<()> {
    let mut request = Request::new(());
    *request.headers_mut() = map(lines);
    request
}

/// A request from a client at the other end of such a connection.
fn from(is_tls: bool, is_trusted: bool, lines: Lines) -> Request<()> {
    let trusted = is_trusted.then(|| "192.0.2.0/24".parse().unwrap());
    let trusted = TrustedProxies::new(trusted);
    let peer = Peer::new("192.0.2.1:4711".parse().unwrap(), 443, is_tls, &trusted);
    let mut request = request(lines);
    let client = Client::of(Arc::new(peer), request.headers());
    request.extensions_mut().insert(client);
    request
}

#[tokio::test]
async fn both_ways_fields_are_removed_then_set_then_added() {
    let edits = edits()
        .add("X-List", "3")
        .unwrap()
        .set("X-List", "2")
        .unwrap()
        .set("X-One", " new ")
        .unwrap()
        .set("X-Empty", "")
        .unwrap()
        .add("Via", "here")
        .unwrap()
        .remove("X-Gone")
        .unwrap()
        .set("X-Gone", "back")
        .unwrap();
    let layer = HeadersLayer::new().request(edits.clone()).response(edits);
    let given: Lines = &[
        ("x-one", "old"),
        ("x-one", "older"),
        ("x-empty", "1"),
        ("x-list", "1"),
        ("via", "there"),
        ("x-gone", "1"),
        ("x-other", "kept"),
    ];
    let expected = map(&[
        ("x-one", "new"),
        ("x-list", "2"),
        ("x-list", "3"),
        ("via", "there"),
        ("via", "here"),
        ("x-gone", "back"),
        ("x-other", "kept"),
    ]);
    let found = exchange(&layer, request(given), given).await;
    assert_eq!(found, (expected.clone(), expected));
}

#[test]
fn fields_that_frame_a_message_are_refused() {
    for name in [
        "Connection",
        "Content-Length",
        "HTTP2-Settings",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "transfer-encoding",
        "Upgrade",
    ] {
        assert_eq!(edits().set(name, "1"), Err(HeaderError::Framing), "{name}");
        assert_eq!(edits().set(name, ""), Err(HeaderError::Framing), "{name}");
        assert_eq!(edits().add(name, "1"), Err(HeaderError::Framing), "{name}");
        assert_eq!(edits().remove(name), Err(HeaderError::Framing), "{name}");
    }
}

#[test]
fn what_is_no_field_is_refused() {
    for name in ["", "a b", ":path", "a:", "a\r\nb", "é"] {
        assert_eq!(edits().set(name, "1"), Err(HeaderError::Name), "{name:?}");
        assert_eq!(edits().remove(name), Err(HeaderError::Name), "{name:?}");
    }
    for value in ["a\r\nb: c", "a\nb", "\0", "\x7f"] {
        assert_eq!(
            edits().set("a", value),
            Err(HeaderError::Value),
            "{value:?}"
        );
        assert_eq!(
            edits().add("a", value),
            Err(HeaderError::Value),
            "{value:?}"
        );
    }
    for host in ["a b", "a/b", "user@a", "a:b:c", "http://a"] {
        assert_eq!(edits().set("Host", host), Err(HeaderError::Host), "{host}");
    }
    assert_eq!(edits().add("Host", "a"), Err(HeaderError::Host));
}

#[tokio::test]
async fn a_server_that_is_told_another_host_learns_the_clients_too() {
    let set =
        |edits: HeaderEdits| HeadersLayer::new().request(edits.set("Host", "b:8080").unwrap());
    let told: Lines = &[("host", "a.com"), ("x-forwarded-host", "first.com")];
    for (layer, sent, expected) in [
        (
            set(edits()),
            &[("host", "a.com")][..],
            &[("host", "b:8080"), ("x-forwarded-host", "a.com")][..],
        ),
        (
            set(edits()),
            told,
            &[("host", "b:8080"), ("x-forwarded-host", "first.com")],
        ),
        (
            set(edits().remove("X-Forwarded-Host").unwrap()),
            told,
            &[("host", "b:8080")],
        ),
        (set(edits()), &[], &[("host", "b:8080")]),
        (
            HeadersLayer::new().request(edits().set("a", "1").unwrap()),
            &[("host", "a.com")],
            &[("host", "a.com"), ("a", "1")],
        ),
    ] {
        let (seen, _) = exchange(&layer, request(sent), &[]).await;
        assert_eq!(seen, map(expected), "{sent:?}");
    }
}

const NOSNIFF: (&str, &str) = ("x-content-type-options", "nosniff");
const FRAMES: (&str, &str) = ("x-frame-options", "DENY");
const ANCESTORS: (&str, &str) = ("content-security-policy", "frame-ancestors 'none'");
const REFERRER: (&str, &str) = ("referrer-policy", "strict-origin-when-cross-origin");
const PERMISSIONS: (&str, &str) = (
    "permissions-policy",
    "camera=(), geolocation=(), microphone=()",
);

#[tokio::test]
async fn the_security_preset_gives_what_the_app_and_the_operator_have_not_said() {
    let all: Lines = &[NOSNIFF, FRAMES, ANCESTORS, REFERRER, PERMISSIONS];
    let same_origin = ("x-frame-options", "SAMEORIGIN");
    let own_ancestors = (
        "content-security-policy",
        "default-src 'self';Frame-Ancestors 'self'",
    );
    let own_policy = (
        "content-security-policy",
        "default-src 'self'; script-src frame-ancestors.com",
    );
    for (edits, answered, expected) in [
        (edits(), vec![], all.to_vec()),
        (
            edits(),
            vec![same_origin],
            vec![same_origin, NOSNIFF, REFERRER, PERMISSIONS],
        ),
        (
            edits(),
            vec![own_ancestors],
            vec![own_ancestors, NOSNIFF, REFERRER, PERMISSIONS],
        ),
        (
            edits(),
            vec![own_policy],
            vec![own_policy, NOSNIFF, FRAMES, REFERRER, PERMISSIONS],
        ),
        (
            edits().set("X-Frame-Options", "SAMEORIGIN").unwrap(),
            vec![FRAMES],
            vec![same_origin, NOSNIFF, REFERRER, PERMISSIONS],
        ),
        (
            edits()
                .remove("X-Frame-Options")
                .unwrap()
                .set("Permissions-Policy", "")
                .unwrap(),
            vec![FRAMES],
            vec![NOSNIFF, REFERRER],
        ),
        (
            edits().set("Referrer-Policy", "no-referrer").unwrap(),
            vec![REFERRER],
            vec![
                ("referrer-policy", "no-referrer"),
                NOSNIFF,
                FRAMES,
                ANCESTORS,
                PERMISSIONS,
            ],
        ),
    ] {
        // The order in which a layer is told must not matter.
        for layer in [
            HeadersLayer::new().security().response(edits.clone()),
            HeadersLayer::new().response(edits.clone()).security(),
        ] {
            let (_, got) = exchange(&layer, request(&[]), answered.clone().leak()).await;
            assert_eq!(got, map(expected.clone().leak()), "{edits:?} {answered:?}");
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_a_field_that_is_set_or_removed_is_removed() {
    let edits = edits()
        .set("X-Secret", "ours")
        .unwrap()
        .set("X_Own", "ours")
        .unwrap()
        .set("X-Own", "ours")
        .unwrap()
        .remove("X-Gone-Too")
        .unwrap()
        .add("X-Added", "ours")
        .unwrap();
    let layer = HeadersLayer::new().request(edits.clone()).response(edits);
    let given: Lines = &[
        ("x_secret", "1"),
        ("x_own", "1"),
        ("x_gone-too", "1"),
        ("x-gone_too", "2"),
        ("x_added", "1"),
        ("x_secrets", "1"),
    ];
    let (seen, got) = exchange(&layer, request(given), given).await;
    let expected: Lines = &[
        ("x_added", "1"),
        ("x_secrets", "1"),
        ("x-secret", "ours"),
        ("x_own", "ours"),
        ("x-own", "ours"),
        ("x-added", "ours"),
    ];
    assert_eq!(seen, map(expected));
    // A server is believed.
    assert_eq!(got["x_secret"], "1");
}

#[tokio::test]
async fn strict_transport_security_is_said_over_tls_only() {
    let secure = HeadersLayer::new().security();
    let hsts = "max-age=63072000";
    let https: Lines = &[("x-forwarded-proto", "https")];
    let http: Lines = &[("x-forwarded-proto", "http")];
    for (request, expected) in [
        (from(true, false, &[]), Some(hsts)),
        (from(false, false, &[]), None),
        (from(false, false, https), None),
        (from(true, false, http), Some(hsts)),
        (from(false, true, https), Some(hsts)),
        (from(true, true, http), None),
        (from(true, true, &[]), Some(hsts)),
        (request(https), None),
    ] {
        let shown = format!("{request:?}");
        let (_, got) = exchange(&secure, request, &[]).await;
        let got = got.get("strict-transport-security");
        assert_eq!(got.map(|v| v.to_str().unwrap()), expected, "{shown}");
    }
    let own: Lines = &[("strict-transport-security", "max-age=1")];
    let (_, got) = exchange(&secure, from(true, false, &[]), own).await;
    assert_eq!(got["strict-transport-security"], "max-age=1");
    let removed = edits().remove("Strict-Transport-Security").unwrap();
    let layer = HeadersLayer::new().response(removed).security();
    let (_, got) = exchange(&layer, from(true, false, &[]), own).await;
    assert!(!got.contains_key("strict-transport-security"));
}
