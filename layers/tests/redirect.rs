//! `redirect` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::peer::{Client, Peer, TrustedProxies};
use a3s_layers::redirect::{RedirectLayer, Scheme, TrailingSlash};
use axum::body::Body;
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use tower::{Layer, ServiceExt, service_fn};

/// A request for a URL as it comes to a server: the host in its header, the scheme in the connection.
fn get(url: &str) -> Request<Body> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, target) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "*"),
    };
    let mut request = Request::get(target).body(Body::empty()).unwrap();
    if !host.is_empty() {
        let host = host.parse().unwrap();
        request.headers_mut().insert("host", host);
    }
    let address = "192.0.2.1:4711".parse().unwrap();
    let trusted = TrustedProxies::default();
    let peer = Arc::new(Peer::new(address, 80, scheme == "https", &trusted));
    let client = Client::of(peer, request.headers());
    request.extensions_mut().insert(client);
    request
}

async fn answer(layer: &RedirectLayer, request: Request<Body>) -> Response<Body> {
    let inner =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    layer.layer(inner).oneshot(request).await.unwrap()
}

/// Where a request is sent; `None` where it passes, and `Err` is the status of a refusal.
async fn sent(layer: &RedirectLayer, request: Request<Body>) -> Result<Option<String>, u16> {
    let response = answer(layer, request).await;
    match response.status().as_u16() {
        200 => Ok(None),
        302 => {
            let location = response.headers()["location"].to_str().unwrap();
            Ok(Some(location.to_owned()))
        }
        status => Err(status),
    }
}

/// `expected` is where a URL leads to: empty where it passes, `400` where it is refused.
async fn check(layer: &RedirectLayer, url: &str, expected: &str) {
    let found = match sent(layer, get(url)).await {
        Ok(found) => found.unwrap_or_default(),
        Err(status) => status.to_string(),
    };
    assert_eq!(found, expected, "{url}");
}

#[tokio::test]
async fn the_scheme_changes_and_nothing_else() {
    let plain = RedirectLayer::scheme(Scheme::Https, None);
    for (url, expected) in [
        ("http://a/", "https://a/"),
        ("http://a/b/c?d=e", "https://a/b/c?d=e"),
        ("http://a:8080/b", "https://a/b"),
        ("http://A.Example:80/b", "https://a.example/b"),
        ("http://[::1]:8080/", "https://[::1]/"),
        ("http://a//evil/b", "https://a//evil/b"),
        ("http://a/b\\c", "https://a/b%5Cc"),
        ("http://a/\"{é}", "https://a/%22%7B%C3%A9%7D"),
        ("http://a", "https://a/"),
        // Already there, on whatever port.
        ("https://a/", ""),
        ("https://a:8443/b", ""),
        // Nowhere to go to.
        ("http:///b", "400"),
        ("http://user@a/b", "400"),
        ("http://a:b/c", "400"),
        ("http://a:99999/c", "400"),
        ("http://:80/c", "400"),
        ("http://a, b/c", "400"),
    ] {
        check(&plain, url, expected).await;
    }
    let with_port = RedirectLayer::scheme(Scheme::Https, Some(8443));
    for (url, expected) in [
        ("http://a:8080/b", "https://a:8443/b"),
        ("https://a/b", "https://a:8443/b"),
        ("https://a:8443/b", ""),
    ] {
        check(&with_port, url, expected).await;
    }
    let own_port = RedirectLayer::scheme(Scheme::Https, Some(443));
    check(&own_port, "http://a:8080/b", "https://a/b").await;
    check(&own_port, "https://a:443/b", "").await;
    let back = RedirectLayer::scheme(Scheme::Http, None);
    check(&back, "https://a/b", "http://a/b").await;
}

#[tokio::test]
async fn a_trusted_proxy_says_which_scheme_it_was() {
    let layer = RedirectLayer::scheme(Scheme::Https, None);
    for (peer, proto, passes) in [
        ("10.0.0.1:1", "https", true),
        ("10.0.0.1:1", "HTTPS", true),
        ("10.0.0.1:1", "wss", true),
        ("10.0.0.1:1", "https, http", true),
        ("10.0.0.1:1", "http", false),
        ("10.0.0.1:1", "ws", false),
        ("10.0.0.1:1", "", false),
        ("192.0.2.1:1", "https", false),
    ] {
        let mut request = get("http://a/");
        let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let peer = Arc::new(Peer::new(peer.parse().unwrap(), 80, false, &trusted));
        let client = Client::of(peer, request.headers());
        request.extensions_mut().insert(client);
        let headers = request.headers_mut();
        headers.insert("x-forwarded-proto", proto.parse().unwrap());
        let found = sent(&layer, request).await;
        assert_eq!(found.unwrap().is_none(), passes, "{proto}");
    }
}

#[tokio::test]
async fn without_a_client_the_uri_tells() {
    let layer = RedirectLayer::scheme(Scheme::Https, None);
    for (target, expected) in [("http://a/b", Some("https://a/b")), ("https://a/b", None)] {
        let request = Request::get(target).body(Body::empty()).unwrap();
        let found = sent(&layer, request).await.unwrap();
        assert_eq!(found.as_deref(), expected);
    }
}

#[tokio::test]
async fn a_slash_comes_to_the_end_or_goes() {
    let add = RedirectLayer::trailing_slash(TrailingSlash::Add);
    for (url, expected) in [
        ("http://a/b", "/b/"),
        ("http://a/b/c?d=e/f", "/b/c/?d=e/f"),
        ("http://a/b/", ""),
        ("http://a/", ""),
        ("http://a", ""),
        ("http://a/style.css", ""),
        ("http://a/v1.2/users", "/v1.2/users/"),
        ("http://a/.well-known/acme-challenge/x", ""),
        ("http://a//evil", "/evil/"),
        ("http://a/\\evil", "/evil/"),
        ("http://a/\\/\\evil?\\", "/evil/?%5C"),
    ] {
        check(&add, url, expected).await;
    }
    let remove = RedirectLayer::trailing_slash(TrailingSlash::Remove);
    for (url, expected) in [
        ("http://a/b/", "/b"),
        ("http://a/b/c/?d=e/", "/b/c?d=e/"),
        ("http://a/b", ""),
        ("http://a/", ""),
        ("http://a", ""),
        ("http://a/b//", "/b"),
        ("http://a//", "/"),
        ("http://a//evil/", "/evil"),
        ("http://a/\\evil/", "/evil"),
    ] {
        check(&remove, url, expected).await;
    }
}

#[tokio::test]
async fn the_status_keeps_the_method() {
    let temporary = RedirectLayer::scheme(Scheme::Https, None);
    let permanent = temporary.clone().permanent();
    for (method, expected) in [
        ("GET", (302, 301)),
        ("HEAD", (307, 308)),
        ("POST", (307, 308)),
        ("OPTIONS", (307, 308)),
    ] {
        let request = || {
            let mut request = get("http://a/b");
            *request.method_mut() = method.parse().unwrap();
            request
        };
        let found = (
            answer(&temporary, request()).await.status().as_u16(),
            answer(&permanent, request()).await.status().as_u16(),
        );
        assert_eq!(found, expected, "{method}");
    }
}

#[cfg(feature = "regex")]
mod patterns {
    use super::*;
    use a3s_layers::redirect::ReplacementError;
    use regex::Regex;

    fn layer(pattern: &str, replacement: &str) -> RedirectLayer {
        RedirectLayer::regex(Regex::new(pattern).unwrap(), replacement).unwrap()
    }

    #[tokio::test]
    async fn the_whole_url_is_matched_and_replaced() {
        for (pattern, replacement, url, expected) in [
            (
                "^https?://old.example/(.*)",
                "https://new.example/$1",
                "http://OLD.example/a?b=c",
                "https://new.example/a?b=c",
            ),
            (
                "^https?://old.example/(.*)",
                "https://new.example/$1",
                "http://other.example/a",
                "",
            ),
            (
                "^https?://www\\.(.*)",
                "https://${1}",
                "https://www.a.example/b",
                "https://a.example/b",
            ),
            ("^http://", "https://", "http://a/b", "https://a/b"),
            (
                "^https?://[^/]+/old(.*)",
                "/new$1",
                "http://a/old?x",
                "/new?x",
            ),
            (
                "^(https?://[^/]+)/(?<user>\\w+)$",
                "$1/users/$user",
                "https://a:81/ann",
                "https://a:81/users/ann",
            ),
            (
                "/$",
                "/index.html#top",
                "http://a/",
                "http://a/index.html#top",
            ),
            ("b", " é", "http://a/b", "http://a/%20%C3%A9"),
            // The same again would go on for ever.
            ("^http://(.*)", "http://$1", "http://a/b", ""),
            ("^.*/b$", "/b", "http://a/b", ""),
            // Nowhere.
            ("^.*$", "", "http://a/b", "400"),
            ("b", "c", "http:///b", "400"),
        ] {
            check(&layer(pattern, replacement), url, expected).await;
        }
    }

    #[tokio::test]
    async fn no_path_chooses_the_host() {
        for (pattern, replacement, url, expected) in [
            (
                "^http://a/?(.*)",
                "https://b.example$1",
                "http://a/.evil",
                "400",
            ),
            (
                "^http://a/?(.*)",
                "https://b.example$1",
                "http://a/@evil",
                "400",
            ),
            (
                "^http://a/?(.*)",
                "https://b.example$1",
                "http://a/:1@evil",
                "400",
            ),
            (
                "^http://a(.*)",
                "https://b.example$1",
                "http://a/.evil",
                "https://b.example/.evil",
            ),
            (
                "^http://a/?(.*)",
                "https://b.example$1",
                "http://a/evil",
                "400",
            ),
            ("^http://a/(.*)", "https://$1", "http://a/localhost", "400"),
            (
                "^http://a/(.*?)/",
                "https://$1/",
                "http://a/localhost/b.c",
                "400",
            ),
            (
                "^http://a/go/(.*)",
                "$1",
                "http://a/go/https://evil/",
                "400",
            ),
            (
                "^http://a/go/(.*)",
                "$1",
                "http://a/go/javascript:alert(1)",
                "400",
            ),
            ("^http://a/go/(.*)", "$1", "http://a/go//evil", "/evil"),
            ("^http://a/go/(.*)", "$1", "http://a/go//\\/evil", "/evil"),
            ("^http://a/go/(.*)", "$1", "http://a/go/\\evil", "400"),
            ("^http://a/go/(.*)", "/$1", "http://a/go//evil", "/evil"),
            ("^http://a/go/(.*)", "/$1", "http://a/go/\\evil", "/evil"),
            ("^http://a/go/(.*)", "https:$1", "http://a/go//evil", "400"),
            (
                "^http://a/go/(.*)",
                "https://$1",
                "http://a/go/evil.example",
                "400",
            ),
            (
                "^http://a/go/(.*)",
                "https://$1",
                "http://a/go//evil.example",
                "400",
            ),
            ("^http://a/go(.*)", "//$1", "http://a/go/evil", "400"),
            ("^http://a/go(.*)", "//b$1", "http://a/go/evil", "//b/evil"),
            (
                "^http://a/\\?to=(.*)",
                "$1",
                "http://a/?to=https://evil",
                "400",
            ),
            (
                "^http://a",
                "https://b",
                "http://a/.evil",
                "https://b/.evil",
            ),
            ("^http://a/", "https://b", "http://a/.evil", "400"),
            // A part of the host that has no dot may well be told by a path.
            (
                "^http://a/(.*?)/(.*)",
                "https://$1.b.example/$2",
                "http://a/shop/c",
                "https://shop.b.example/c",
            ),
            (
                "^http://a/(.*?)/(.*)",
                "https://$1.b.example/$2",
                "http://a/evil.example%2F/c",
                "400",
            ),
        ] {
            check(&layer(pattern, replacement), url, expected).await;
        }
    }

    #[tokio::test]
    async fn little_does_not_become_much() {
        let long = layer("b", &"c".repeat(1000));
        check(&long, &format!("http://a/{}", "b".repeat(100)), "400").await;
    }

    #[test]
    fn a_group_that_does_not_exist_is_refused() {
        let error = RedirectLayer::regex(Regex::new("(a)").unwrap(), "$2").unwrap_err();
        assert_eq!(error, ReplacementError::UnknownGroup("2".to_owned()));
    }
}
