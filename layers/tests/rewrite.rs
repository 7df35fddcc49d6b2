//! `rewrite` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::answer::AnswerFuture;
use a3s_layers::rewrite::{AddPrefixLayer, ReplacePathLayer, RewriteError};
use axum::body::Body;
use http::{Request, Response};
use std::convert::Infallible;
use std::future::Ready;
use tower::{Layer, Service, ServiceExt, service_fn};

/// What the service below sees of a request: its target, and the replaced paths that it is told of.
#[derive(Debug, Clone)]
struct Seen(String, Vec<String>);

type Inner = tower::util::ServiceFn<fn(Request<Body>) -> Ready<Result<Response<Body>, Infallible>>>;

fn inner() -> Inner {
    service_fn(|request: Request<Body>| {
        assert!(!request.headers().contains_key("x_replaced_path"));
        let lines = request.headers().get_all("x-replaced-path");
        let lines = lines.iter().map(|l| l.to_str().unwrap().to_owned());
        let seen = Seen(request.uri().to_string(), lines.collect());
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(seen);
        std::future::ready(Ok(response))
    })
}

/// `Err` is the status of a refusal.
async fn sent<S, F>(service: S, request: Request<Body>) -> Result<Seen, u16>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = AnswerFuture<F, Infallible>,
        >,
    AnswerFuture<F, Infallible>: Future<Output = Result<Response<Body>, Infallible>>,
{
    let response = service.oneshot(request).await.unwrap();
    let seen = response.extensions().get::<Seen>().cloned();
    seen.ok_or(response.status().as_u16())
}

fn get(target: &str) -> Request<Body> {
    Request::get(target).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_prefix_is_put_before_each_path() {
    for (prefix, target, expected) in [
        ("/api", "/", Ok("/api/")),
        ("/api", "/users?q=/x", Ok("/api/users?q=/x")),
        ("/api/", "/users/", Ok("/api/users/")),
        ("/a%20b", "/c%2Fd", Ok("/a%20b/c%2Fd")),
        ("/", "/users", Ok("/users")),
        ("/api", "http://host/users", Ok("http://host/api/users")),
        // In an app of axum's nothing has given the path its form yet.
        ("/api", "/a/../b", Ok("/api/b")),
        ("/api", "//evil", Ok("/api/evil")),
        ("/api", "/../secret", Err(400)),
        ("/api", "/a/%2e%2e/%2E./secret", Err(400)),
        ("/api", "/%zz", Err(400)),
    ] {
        let service = AddPrefixLayer::new(prefix).unwrap().layer(inner());
        let found = sent(service, get(target)).await.map(|seen| seen.0);
        assert_eq!(found, expected.map(str::to_owned), "{target}");
    }
}

#[tokio::test]
async fn a_path_that_grows_too_long_is_refused_rather_than_left_as_it_is() {
    let target = format!("/{}", "a".repeat(65_000));
    let prefix = format!("/{}", "b".repeat(1000));
    let service = AddPrefixLayer::new(&prefix).unwrap().layer(inner());
    assert_eq!(
        sent(service, get(&target)).await.map(|seen| seen.0),
        Err(400)
    );
}

#[tokio::test]
async fn what_asks_about_the_whole_server_has_no_path() {
    let request = || {
        let request = Request::options("*");
        request.body(Body::empty()).unwrap()
    };
    let service = AddPrefixLayer::new("/api").unwrap().layer(inner());
    assert_eq!(sent(service, request()).await.unwrap().0, "*");
    let service = ReplacePathLayer::new("/api").unwrap().layer(inner());
    assert_eq!(sent(service, request()).await.unwrap().0, "*");
}

#[tokio::test]
async fn every_path_becomes_the_same_and_the_query_stays() {
    for target in ["/", "/a/b", "/c?x=1", "/a%20b"] {
        let service = ReplacePathLayer::new("/app/").unwrap().layer(inner());
        let Seen(seen, told) = sent(service, get(target)).await.unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert_eq!(
            seen.trim_start_matches("/app/").trim_start_matches('?'),
            query
        );
        assert_eq!(told, [path]);
    }
}

#[tokio::test]
async fn a_client_cannot_say_what_was_replaced() {
    let forged = || {
        let mut request = get("/a");
        let value = "/forged".parse().unwrap();
        request.headers_mut().insert("x-replaced-path", value);
        let value = "/forged".parse().unwrap();
        request.headers_mut().insert("x_replaced_path", value);
        request
    };
    let replace = |path| ReplacePathLayer::new(path).unwrap();
    let service = replace("/b").layer(inner());
    assert_eq!(sent(service, forged()).await.unwrap().1, ["/a"]);
    let twice = replace("/b").layer(replace("/c").layer(inner()));
    assert_eq!(sent(twice, forged()).await.unwrap().1, ["/a", "/b"]);
}

#[test]
fn what_is_no_path_is_not_taken_for_one() {
    for (path, error) in [
        ("", RewriteError::Relative),
        ("api", RewriteError::Relative),
        ("http://host/", RewriteError::Relative),
        ("/a?b", RewriteError::Malformed),
        ("/a#b", RewriteError::Malformed),
        ("/a b", RewriteError::Malformed),
        ("/a\\b", RewriteError::Malformed),
        ("/é", RewriteError::Malformed),
        ("/%4", RewriteError::Malformed),
        ("/a/../b", RewriteError::Malformed),
    ] {
        assert_eq!(AddPrefixLayer::new(path).unwrap_err(), error, "{path}");
        assert_eq!(ReplacePathLayer::new(path).unwrap_err(), error, "{path}");
    }
}

#[cfg(feature = "regex")]
mod patterns {
    use super::*;
    use a3s_layers::rewrite::ReplacementError;
    use regex::Regex;

    fn layer(pattern: &str, replacement: &str) -> Result<ReplacePathLayer, RewriteError> {
        ReplacePathLayer::regex(Regex::new(pattern).unwrap(), replacement)
    }

    #[tokio::test]
    async fn what_matches_is_replaced() {
        for (pattern, replacement, target, expected) in [
            (
                "^/api/v1/(.*)",
                "/v1/$1",
                "/api/v1/users?q=1",
                Ok("/v1/users?q=1"),
            ),
            ("^/(\\w+)/(\\w+)$", "/${2}_${1}", "/a/b", Ok("/b_a")),
            (
                "^/(?<user>\\w+)",
                "/users/$user",
                "/ann/x",
                Ok("/users/ann/x"),
            ),
            ("^/x", "/y", "/a", Ok("/a")),
            ("/", "/_", "/a/b", Ok("/_a/_b")),
            // A slash before it, and never two.
            ("^/api/(.*)", "$1", "/api/users", Ok("/users")),
            ("^/api", "", "/api", Ok("/")),
            ("^/api(.*)", "/v1/$1", "/api/users", Ok("/v1/users")),
            ("^/go/(.*)", "$1", "/go/%2F%2Fevil", Ok("/%2F%2Fevil")),
            ("^", "//", "/evil", Ok("/evil")),
            // What comes of a rewrite leads nowhere else.
            (
                "^/files/(.)x(.)",
                "/data/$1$2",
                "/files/.x./secret",
                Err(400),
            ),
            (
                "^/files/(.*)x",
                "/data/$1",
                "/files/%2525x2e",
                Ok("/data/%25252e"),
            ),
            ("x", "", "/files/.x./secret", Err(400)),
            ("x", "", "/files/%x2e./secret", Err(400)),
            (
                "y",
                "",
                "/files/%25y2e%25y2e/secret",
                Ok("/files/%252e%252e/secret"),
            ),
            ("25", "", "/files/%252e%252e/secret", Err(400)),
            ("25", "", "/files/%2500", Err(400)),
            ("25", "", "/files/%253f", Ok("/files/%3F")),
            ("%", "", "/a%2Fb", Ok("/a2Fb")),
            ("2F", "", "/a%2Fb", Err(400)),
            ("x", "", "/a/.x/b", Ok("/a/b")),
        ] {
            let service = layer(pattern, replacement).unwrap().layer(inner());
            let found = sent(service, get(target)).await.map(|seen| seen.0);
            assert_eq!(found, expected.map(str::to_owned), "{pattern} {target}");
        }
    }

    #[tokio::test]
    async fn a_path_without_a_match_is_not_told_of() {
        let layer = layer("^/x", "/y").unwrap();
        let service = layer.layer(inner());
        let mut request = get("/a");
        let value = "/forged".parse().unwrap();
        request.headers_mut().insert("x-replaced-path", value);
        assert!(sent(service, request).await.unwrap().1.is_empty());
    }

    #[tokio::test]
    async fn little_does_not_become_much() {
        let service = layer("", &"a".repeat(1000)).unwrap().layer(inner());
        let target = format!("/{}", "b".repeat(1000));
        assert_eq!(
            sent(service, get(&target)).await.map(|seen| seen.0),
            Err(400)
        );
    }

    #[test]
    fn a_replacement_that_is_no_path_or_has_no_group_is_refused() {
        let group = |name: &str| ReplacementError::UnknownGroup(name.to_owned()).into();
        for (replacement, error) in [
            ("/a?b=$1", RewriteError::Malformed),
            ("/a b", RewriteError::Malformed),
            ("/$2", group("2")),
            ("/$1x", group("1x")),
            ("/${1", ReplacementError::Unclosed.into()),
        ] {
            let found = layer("(.*)", replacement).unwrap_err();
            assert_eq!(found, error, "{replacement}");
        }
    }
}
