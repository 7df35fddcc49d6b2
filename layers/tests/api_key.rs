//! `auth::api_key` from outside.

#![cfg(feature = "api-key")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::auth::api_key::{ApiKeyLayer, KeyError, KeySet, MAX_KEY_BYTES};
use axum::body::Body;
use axum::{Router, routing::get};
use http::header::AUTHORIZATION;
use http::request::Builder;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::convert::Infallible;
use tower::{Layer, ServiceExt, service_fn};

const CONSUMER: HeaderName = HeaderName::from_static("x-consumer");

fn keys() -> KeySet {
    let mut keys = KeySet::new();
    keys.add(Some("build"), "s3cret").unwrap();
    keys.add(None, "nameless").unwrap();
    keys.add(Some("odd"), "a+b/c=%41ü").unwrap();
    keys
}

/// What comes back: the server's answer is its request's target, and its headers are the request's.
async fn answer(layer: &ApiKeyLayer, request: Builder) -> Response<Body> {
    let inner = service_fn(|request: Request<()>| async move {
        let mut response = Response::new(Body::from(request.uri().to_string()));
        *response.headers_mut() = request.headers().clone();
        Ok::<_, Infallible>(response)
    });
    let request = request.body(()).unwrap();
    layer.layer(inner).oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn one_known_key_in_one_place_passes() {
    let layer = ApiKeyLayer::new(keys()).query("key");
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let long_query = format!("/?key={}", "%6b".repeat(MAX_KEY_BYTES + 1));
    for (target, headers, passes) in [
        ("/", &["s3cret"][..], true),
        ("/", &["nameless"], true),
        ("/", &["a+b/c=%41ü"], true),
        ("/?key=s3cret", &[], true),
        ("/?a=1&k%65y=%73%33cret", &[], true),
        ("/?key=a%2Bb%2fc%3D%2541%C3%BC", &[], true),
        ("/", &[], false),
        ("/", &[""], false),
        ("/", &["S3cret"], false),
        ("/", &["s3cre"], false),
        ("/", &["s3cret "], false),
        ("/", &["s3cret", "s3cret"], false),
        ("/", &["", "s3cret"], false),
        ("/", &[&long], false),
        ("/?key=", &[], false),
        ("/?key", &[], false),
        ("/?KEY=s3cret", &[], false),
        ("/?keys=s3cret", &[], false),
        ("/?key=a+b%2fc%3D%2541%C3%BC", &[], false),
        ("/?key=s3cret&key=s3cret", &[], false),
        ("/?key=s3cret", &["s3cret"], false),
        ("/?key=", &["s3cret"], false),
        (&long_query, &[], false),
    ] {
        let mut request = Request::get(target);
        for value in headers {
            request = request.header("x-api-key", *value);
        }
        let status = answer(&layer, request).await.status();
        let expected = match passes {
            true => StatusCode::OK,
            false => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(status, expected, "{target:.40} {headers:?}");
    }
}

#[tokio::test]
async fn the_query_is_read_only_where_it_is_named() {
    let layer = ApiKeyLayer::new(keys());
    let response = answer(&layer, Request::get("/?key=s3cret")).await;
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn the_key_in_authorization_may_stand_behind_bearer() {
    let layer = ApiKeyLayer::new(keys()).header(AUTHORIZATION);
    for (value, status) in [
        ("Bearer s3cret", 200),
        ("bearer  s3cret", 200),
        ("s3cret", 200),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Basic s3cret", 401),
    ] {
        let request = Request::get("/").header(AUTHORIZATION, value);
        assert_eq!(answer(&layer, request).await.status(), status, "{value}");
    }
    let response = answer(&layer, Request::get("/")).await;
    assert_eq!(
        response.headers()["www-authenticate"],
        "Bearer realm=\"api\""
    );
    let layer = ApiKeyLayer::new(keys());
    let request = Request::get("/").header("x-api-key", "Bearer s3cret");
    assert_eq!(answer(&layer, request).await.status(), 401);
}

#[tokio::test]
async fn the_server_learns_the_name_of_the_key_and_nothing_that_the_client_says() {
    let layer = ApiKeyLayer::new(keys()).identity_header(CONSUMER);
    for (key, name) in [("s3cret", Some("build")), ("nameless", None)] {
        let request = Request::get("/")
            .header("x-api-key", key)
            .header("x-consumer", "root")
            .header("x_consumer", "root")
            .header("x-consumer", "admin");
        let response = answer(&layer, request).await;
        let found: Vec<_> = response.headers().get_all("x-consumer").iter().collect();
        assert_eq!(found, Vec::from_iter(name), "{key}");
        assert!(!response.headers().contains_key("x_consumer"));
    }
}

#[tokio::test]
async fn the_server_sees_no_key_that_is_hidden() {
    let visible = ApiKeyLayer::new(keys()).query("key");
    for (layer, target, header) in [
        (visible.clone(), "/a?b=%2F&key=s3cret&c", true),
        (visible.hide(true), "/a?b=%2F&c", false),
    ] {
        let request = Request::get("/a?b=%2F&key=s3cret&c");
        assert_eq!(text(answer(&layer, request).await).await, target);
        let request = Request::get("/").header("x-api-key", "s3cret");
        let response = answer(&layer, request).await;
        assert_eq!(response.headers().contains_key("x-api-key"), header);
    }
}

#[tokio::test]
async fn a_hidden_header_may_be_that_of_the_identity() {
    let header = HeaderName::from_static("x-api-key");
    let layer = ApiKeyLayer::new(keys()).hide(true).identity_header(header);
    let response = answer(&layer, Request::get("/").header("x-api-key", "s3cret")).await;
    assert_eq!(response.headers()["x-api-key"], "build");
}

#[tokio::test]
async fn a_refusal_has_the_form_that_its_reader_wants_and_a_challenge() {
    let layer = ApiKeyLayer::new(keys()).header(HeaderName::from_static("x-token"));
    let response = answer(&layer, Request::get("/")).await;
    assert_eq!(
        response.headers()["www-authenticate"],
        "ApiKey realm=\"api\", header=\"x-token\""
    );
    let body = "{\"error\":\"an API key is required\",\"status\":401}\n";
    assert_eq!(text(response).await, body);

    let request = Request::get("/")
        .header("accept", "text/plain")
        .header("x-token", "guess");
    let response = answer(&layer, request).await;
    assert_eq!(text(response).await, "the API key is not valid\n");

    let request = Request::get("/").header("content-type", "application/grpc");
    let response = answer(&layer, request).await;
    assert_eq!(
        (response.status(), &response.headers()["grpc-status"]),
        (StatusCode::OK, &"16".parse().unwrap())
    );
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = ApiKeyLayer::new(keys());
    let app: Router = Router::new()
        .route("/a", get(|| async { "a" }).layer(layer.clone()))
        .route("/b", get(|| async { "b" }).layer(layer.clone()));
    let status = async |target: &str, key: &str| {
        let request = Request::get(target).header("x-api-key", key);
        let request = request.body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(status("/a", "s3cret").await, 200);
    let mut others = KeySet::new();
    others.add(None, "new").unwrap();
    layer.set_keys(others);
    for target in ["/a", "/b"] {
        assert_eq!(status(target, "s3cret").await, 401, "{target}");
        assert_eq!(status(target, "new").await, 200, "{target}");
    }
}

#[tokio::test]
async fn no_key_means_that_nobody_passes() {
    let layer = ApiKeyLayer::new(KeySet::new());
    for key in ["", "s3cret"] {
        let request = Request::get("/").header("x-api-key", key);
        assert_eq!(answer(&layer, request).await.status(), 401);
    }
}

#[tokio::test]
async fn keys_come_from_lines_with_names_and_digests() {
    // printf %s s3cret | sha256sum
    const DIGEST: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
    for (text, name) in [
        ("s3cret".to_owned(), None),
        ("build:s3cret".to_owned(), Some("build")),
        (format!("sha256:{DIGEST}"), None),
        (
            format!("build:sha256:{}", DIGEST.to_uppercase()),
            Some("build"),
        ),
        (
            "\u{feff}# a comment\r\n\r\n  # another\r\n  s3cret  \r\n".to_owned(),
            None,
        ),
    ] {
        let mut keys = KeySet::new();
        keys.add_lines(&text).unwrap();
        assert_eq!(keys.len(), 1);
        let layer = ApiKeyLayer::new(keys).identity_header(CONSUMER);
        let response = answer(&layer, Request::get("/").header("x-api-key", "s3cret")).await;
        assert_eq!(response.status(), 200, "{text}");
        let found = response.headers().get("x-consumer");
        assert_eq!(found.map(|value| value.to_str().unwrap()), name, "{text}");
    }
}

#[test]
fn a_line_that_is_wrong_is_named_and_not_quoted() {
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let long_name = format!("{}:key", "n".repeat(257));
    for (line, error) in [
        ("build:", KeyError::Empty),
        (&*long, KeyError::TooLong),
        (":key", KeyError::Name),
        (&long_name, KeyError::Name),
        ("a\tb:key", KeyError::Name),
        ("build:a\u{7}b", KeyError::Unsendable),
        ("build: key", KeyError::Unsendable),
        ("sha256:1ec1", KeyError::NotSha256),
        ("build:sha256:xyz", KeyError::NotSha256),
        ("first", KeyError::Duplicate),
        ("other:first", KeyError::Duplicate),
    ] {
        let found = KeySet::new()
            .add_lines(&format!("first\n\n{line}\nlast"))
            .unwrap_err();
        assert_eq!((found.line, found.error), (3, error), "{line:.40}");
    }
}

#[test]
fn nothing_prints_a_key() {
    let layer = ApiKeyLayer::new(keys());
    let text = format!("{layer:?} {:?} {}", keys(), KeyError::TooLong);
    assert!(
        text.contains("3 keys") && !text.contains("s3cret"),
        "{text}"
    );
}
