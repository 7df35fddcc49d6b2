//! `cors` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::cors::{CorsError, CorsLayer, CorsPolicy};
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use std::convert::Infallible;
use std::time::Duration;
use tower::{Layer, ServiceExt, service_fn};

type Lines = &'static [(&'static str, &'static str)];

const GOOD: &str = "https://good.com";

fn policy() -> CorsPolicy {
    CorsPolicy::new().origin(GOOD).unwrap()
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// What a client gets where the app below answers 418 with these fields.
async fn answer(policy: CorsPolicy, method: &str, sent: Lines, answered: Lines) -> Response<Body> {
    let service =
        CorsLayer::new(policy)
            .unwrap()
            .layer(service_fn(move |_: Request<Body>| async move {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
                *response.headers_mut() = map(answered);
                Ok::<_, Infallible>(response)
            }));
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.parse().unwrap();
    *request.headers_mut() = map(sent);
    service.oneshot(request).await.unwrap()
}

const PREFLIGHT: Lines = &[
    ("origin", GOOD),
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "x-a, x-b"),
];

const PREFLIGHT_VARY: (&str, &str) = (
    "vary",
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

#[tokio::test]
async fn a_preflight_is_answered() {
    let methods = (
        "access-control-allow-methods",
        "GET, HEAD, POST, PUT, PATCH, DELETE",
    );
    let echoed = ("access-control-allow-headers", "x-a, x-b");
    let any = ("access-control-allow-origin", "*");
    let good = ("access-control-allow-origin", GOOD);
    for (policy, expected) in [
        (CorsPolicy::new(), vec![any, methods, echoed]),
        (
            CorsPolicy::new().origin("*").unwrap(),
            vec![any, methods, echoed],
        ),
        (policy(), vec![good, methods, echoed]),
        (
            policy().credentials(),
            vec![
                good,
                methods,
                echoed,
                ("access-control-allow-credentials", "true"),
            ],
        ),
        (
            policy()
                .method("get")
                .unwrap()
                .method("REPORT")
                .unwrap()
                .header("Authorization")
                .unwrap()
                .header("X-A")
                .unwrap()
                .exposed_header("X-Seen")
                .unwrap()
                .max_age(Duration::from_millis(90_500)),
            vec![
                good,
                ("access-control-allow-methods", "GET, REPORT"),
                ("access-control-allow-headers", "Authorization, X-A"),
                ("access-control-max-age", "90"),
            ],
        ),
    ] {
        let shown = format!("{policy:?}");
        let response = answer(policy, "OPTIONS", PREFLIGHT, &[]).await;
        assert_eq!(response.status(), 200);
        let expected = [expected, vec![PREFLIGHT_VARY]].concat();
        assert_eq!(response.headers(), &map(&expected), "{shown}");
    }
}

#[tokio::test]
async fn a_preflight_of_another_origin_is_given_nothing() {
    for origin in [
        "https://bad.com",
        "null",
        "https://good.com.bad.com",
        "http://good.com",
    ] {
        let sent: Vec<_> = [("origin", origin), PREFLIGHT[1], PREFLIGHT[2]].into();
        let response = answer(policy().credentials(), "OPTIONS", sent.leak(), &[]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers(), &map(&[PREFLIGHT_VARY]), "{origin}");
    }
}

#[tokio::test]
async fn what_is_no_preflight_goes_through() {
    const ASKS: (&str, &str) = ("access-control-request-method", "PUT");
    for (method, sent) in [
        ("OPTIONS", &[("origin", GOOD)][..]),
        ("OPTIONS", &[ASKS]),
        ("OPTIONS", &[]),
        ("GET", &[("origin", GOOD), ASKS]),
    ] {
        let response = answer(policy(), method, sent, &[]).await;
        assert_eq!(response.status(), 418, "{method} {sent:?}");
        assert_eq!(response.headers()["vary"], "Origin");
    }
}

#[tokio::test]
async fn an_answer_says_who_may_read_it_and_on_what_that_depends() {
    let good = ("access-control-allow-origin", GOOD);
    let any = ("access-control-allow-origin", "*");
    let vary = ("vary", "Origin");
    let own: Lines = &[
        ("access-control-allow-origin", "https://own.com"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-own"),
        ("access-control-allow-methods", "GET"),
        ("vary", "Accept"),
        ("x-other", "kept"),
    ];
    let own_left = [("vary", "Accept, Origin"), ("x-other", "kept")];
    let exposing = || {
        policy()
            .exposed_header("X-A")
            .unwrap()
            .exposed_header("x-b")
            .unwrap()
    };
    let exposed = ("access-control-expose-headers", "X-A, x-b");
    for (policy, sent, answered, expected) in [
        (policy(), &[("origin", GOOD)][..], &[][..], vec![good, vary]),
        (policy(), &[], &[], vec![vary]),
        (policy(), &[("origin", "https://bad.com")], &[], vec![vary]),
        (
            policy(),
            &[("origin", GOOD), ("origin", GOOD)],
            &[],
            vec![vary],
        ),
        (
            policy(),
            &[("origin", GOOD)],
            own,
            [&[good][..], &own_left].concat(),
        ),
        (policy(), &[], own, own_left.to_vec()),
        (
            policy().credentials(),
            &[("origin", GOOD)],
            &[("vary", "*")],
            vec![
                good,
                ("access-control-allow-credentials", "true"),
                ("vary", "*"),
            ],
        ),
        (
            policy().credentials(),
            &[("origin", "https://bad.com")],
            &[],
            vec![vary],
        ),
        (
            exposing(),
            &[("origin", GOOD)],
            &[],
            vec![good, exposed, vary],
        ),
        (exposing(), &[], &[], vec![vary]),
        (CorsPolicy::new(), &[], &[], vec![any]),
        (
            CorsPolicy::new(),
            &[("origin", "https://bad.com")],
            own,
            vec![any, ("vary", "Accept"), ("x-other", "kept")],
        ),
    ] {
        let response = answer(policy, "GET", sent, answered).await;
        assert_eq!(response.status(), 418);
        assert_eq!(response.headers(), &map(&expected), "{sent:?} {answered:?}");
    }
}

/// Whether an answer to this origin may be read by it.
async fn allows(policy: CorsPolicy, origin: &'static str) -> bool {
    let sent: Lines = vec![("origin", origin)].leak();
    let response = answer(policy, "GET", sent, &[]).await;
    match response.headers().get("access-control-allow-origin") {
        Some(allowed) => {
            assert_eq!(allowed, origin, "echoed as it came");
            true
        }
        None => false,
    }
}

#[tokio::test]
async fn origins_are_equal_if_scheme_host_and_port_are() {
    for (listed, origin, expected) in [
        (GOOD, GOOD, true),
        (GOOD, "HTTPS://Good.com", true),
        (GOOD, "https://good.com:443", true),
        ("https://GOOD.com:443", GOOD, true),
        ("http://good.com:80", "http://good.com", true),
        (GOOD, "http://good.com", false),
        (GOOD, "https://good.com:8443", false),
        (GOOD, "https://a.good.com", false),
        (GOOD, "https://good.com/", false),
        (GOOD, "https://good.com:443:443", false),
        (GOOD, "null", false),
        ("null", "null", true),
        ("null", GOOD, false),
        ("http://[::1]:8080", "http://[::1]:8080", true),
        ("capacitor://localhost", "capacitor://localhost", true),
    ] {
        let policy = CorsPolicy::new().origin(listed).unwrap();
        assert_eq!(allows(policy, origin).await, expected, "{listed} {origin}");
    }
}

#[cfg(feature = "regex")]
#[tokio::test]
async fn a_pattern_matches_whole_origins() {
    for (pattern, origin, expected) in [
        (r"https://[a-z]+\.good\.com", "https://a.good.com", true),
        (r"https://[a-z]+\.good\.com", "https://A.GOOD.com:443", true),
        (
            r"https://[a-z]+\.good\.com",
            "https://a.good.com.bad.com",
            false,
        ),
        (r"https://[a-z]+\.good\.com", "xhttps://a.good.com", false),
        (r"https://a|https://b", "https://b", true),
        (r"https://a|https://b", "https://b.com", false),
        (r"(?m)^https://a$", "https://a", true),
        (r".*", "null", true),
        (r".*", "https://a/path", false),
    ] {
        let policy = CorsPolicy::new().origin_regex(pattern).unwrap();
        assert_eq!(allows(policy, origin).await, expected, "{pattern} {origin}");
    }
    let both = CorsPolicy::new()
        .origin_regex("https://a")
        .unwrap()
        .origin(GOOD)
        .unwrap();
    assert!(allows(both.clone(), GOOD).await && allows(both, "https://a").await);
    for pattern in ["(", "a)|(b", "(?x)a #"] {
        let error = CorsPolicy::new().origin_regex(pattern).unwrap_err();
        assert_eq!(error, CorsError::Pattern, "{pattern}");
    }
}

#[test]
fn a_wildcard_and_credentials_exclude_each_other() {
    for policy in [
        CorsPolicy::new(),
        CorsPolicy::new().origin("*").unwrap(),
        policy().origin("*").unwrap(),
        policy().method("*").unwrap(),
        policy().method("GET").unwrap().method("*").unwrap(),
        policy().header("*").unwrap(),
        policy()
            .exposed_header("X-A")
            .unwrap()
            .exposed_header("*")
            .unwrap(),
    ] {
        assert!(CorsLayer::new(policy.clone()).is_ok());
        let refused = CorsLayer::new(policy.credentials()).unwrap_err();
        assert_eq!(refused, CorsError::WildcardWithCredentials);
    }
    assert!(CorsLayer::new(policy().credentials()).is_ok());
}

#[cfg(feature = "regex")]
#[test]
fn a_pattern_for_anybody_and_credentials_exclude_each_other() {
    let with = |pattern: &str| policy().origin_regex(pattern).unwrap();
    for pattern in [
        ".*",
        ".+",
        "^.*$",
        "(?s).*",
        "",
        "https?://.*",
        "https://.+",
        "http://.*",
        "https://[^/]+",
        "https://[a-z0-9.-]+",
        "https://([a-z0-9-]+\\.)+[a-z]+",
        "https://.*:8443",
        "https://a\\.com|.*",
        "[a-z]+://[^:]+(:[0-9]+)?",
    ] {
        let refused = CorsLayer::new(with(pattern).credentials()).err();
        let expected = (!pattern.is_empty()).then_some(CorsError::AnyOriginWithCredentials);
        assert_eq!(refused, expected, "{pattern}");
        assert!(CorsLayer::new(with(pattern)).is_ok());
    }
    for pattern in [
        "https://(.*\\.)?good\\.example",
        "https://[a-z0-9-]+\\.www\\.example",
        "http://localhost(:[0-9]+)?",
        "https?://.*\\.invalid",
    ] {
        assert!(
            CorsLayer::new(with(pattern).credentials()).is_ok(),
            "{pattern}"
        );
    }
}

#[test]
fn what_is_no_origin_method_or_header_is_refused() {
    for origin in [
        "",
        "good.com",
        "https://good.com/",
        "https://*.good.com",
        "https://ü.com",
    ] {
        let error = CorsPolicy::new().origin(origin).unwrap_err();
        assert_eq!(error, CorsError::Origin, "{origin}");
    }
    assert_eq!(policy().method("A B").unwrap_err(), CorsError::Method);
    assert_eq!(policy().method("").unwrap_err(), CorsError::Method);
    assert_eq!(policy().header("A B").unwrap_err(), CorsError::Header);
    assert_eq!(policy().exposed_header("").unwrap_err(), CorsError::Header);
}

#[tokio::test]
async fn many_permissions_of_the_app_are_all_replaced() {
    let own: Lines = (0..50)
        .map(|_| ("access-control-allow-origin", "*"))
        .chain([("access-control-allow-private-network", "true")])
        .collect::<Vec<_>>()
        .leak();
    let response = answer(policy(), "GET", &[], own).await;
    assert_eq!(response.headers(), &map(&[("vary", "Origin")]));
}
