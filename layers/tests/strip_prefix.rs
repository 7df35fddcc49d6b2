//! `strip_prefix` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::strip_prefix::StripPrefixLayer;
use http::Request;
use std::convert::Infallible;
use tower::{Layer, ServiceExt, service_fn};

/// What the service below sees of a target: the target, and the prefix that it is told of.
async fn seen(prefixes: &[&str], target: &str) -> (String, Option<String>) {
    let inner = service_fn(|request: Request<()>| async move {
        let prefix = request.headers().get("x-forwarded-prefix");
        let prefix = prefix.map(|value| value.to_str().unwrap().to_owned());
        Ok::<_, Infallible>((request.uri().to_string(), prefix))
    });
    let service = StripPrefixLayer::new(prefixes).layer(inner);
    let request = Request::get(target).body(()).unwrap();
    service.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_prefix_is_taken_off_where_a_segment_ends() {
    for (prefixes, target, expected, prefix) in [
        (&["/api"][..], "/api/users", "/users", Some("/api")),
        (&["/api"], "/api", "/", Some("/api")),
        (&["/api"], "/api/", "/", Some("/api")),
        (&["/api"], "/api?q=/api", "/?q=/api", Some("/api")),
        (&["/api/"], "/api/users", "/users", Some("/api")),
        (&["/a", "/a/b"], "/a/b/c", "/b/c", Some("/a")),
        (&["/a/b", "/a"], "/a/b/c", "/c", Some("/a/b")),
        (&["/a%2Fb"], "/a%2Fb/c", "/c", Some("/a%2Fb")),
        (
            &["/api"],
            "http://host/api/users",
            "http://host/users",
            Some("/api"),
        ),
        (&["/api"], "/apis", "/apis", None),
        (&["/api"], "/v1/api", "/v1/api", None),
        (&["/api"], "/API/users", "/API/users", None),
        (&[], "/api", "/api", None),
    ] {
        let found = seen(prefixes, target).await;
        assert_eq!(
            found,
            (expected.to_owned(), prefix.map(str::to_owned)),
            "{target}"
        );
    }
}
