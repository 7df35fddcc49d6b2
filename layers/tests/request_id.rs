//! `request_id` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::peer::{Client, Peer, TrustedProxies};
use a3s_layers::request_id::{Keep, RequestId, RequestIdLayer};
use axum::body::Body;
use http::{HeaderName, Request, Response};
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use tower::{Layer, ServiceExt, service_fn};

/// Whether the peer of a request is trusted; `None` where nobody has said who it is.
type Trust = Option<bool>;

fn request(trust: Trust, given: &[&str]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    for given in given {
        let given = given.parse().unwrap();
        request.headers_mut().append("x-request-id", given);
    }
    let lookalike = "forged".parse().unwrap();
    request.headers_mut().append("x_request_id", lookalike);
    if let Some(is_trusted) = trust {
        let networks = is_trusted.then(|| "10.0.0.0/8".parse().unwrap());
        let trusted = TrustedProxies::new(networks);
        let peer = Arc::new(Peer::new(
            "10.0.0.1:1".parse().unwrap(),
            80,
            false,
            &trusted,
        ));
        let client = Client::of(peer, request.headers());
        request.extensions_mut().insert(client);
    }
    request
}

/// The ID of a request, which is the same in all the places that have it.
async fn id(layer: &RequestIdLayer, request: Request<Body>) -> String {
    let inner = service_fn(|request: Request<Body>| async move {
        let id = request.extensions().get::<RequestId>().unwrap().clone();
        let lines: Vec<_> = request.headers().get_all("x-request-id").iter().collect();
        assert_eq!(lines, [id.header()]);
        assert!(!request.headers().contains_key("x_request_id"));
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(SeenBelow(id));
        let headers = response.headers_mut();
        headers.append("x-request-id", "of-the-server".parse().unwrap());
        headers.append("x-request-id", "again".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let lines: Vec<_> = response.headers().get_all("x-request-id").iter().collect();
    let SeenBelow(below) = response.extensions().get().unwrap();
    assert_eq!(lines, [below.header()]);
    assert_eq!(response.extensions().get::<RequestId>(), Some(below));
    below.as_str().to_owned()
}

#[derive(Clone)]
struct SeenBelow(RequestId);

#[tokio::test]
async fn an_id_is_kept_from_those_who_may_give_one() {
    for (keep, trust, is_kept) in [
        (Keep::Trusted, Some(true), true),
        (Keep::Trusted, Some(false), false),
        (Keep::Trusted, None, false),
        (Keep::Always, Some(true), true),
        (Keep::Always, Some(false), true),
        (Keep::Always, None, true),
        (Keep::Never, Some(true), false),
        (Keep::Never, None, false),
    ] {
        let layer = RequestIdLayer::new().keep(keep);
        let found = id(&layer, request(trust, &["given"])).await;
        assert_eq!(found == "given", is_kept, "{keep:?} {trust:?}");
    }
}

#[tokio::test]
async fn what_is_no_id_is_replaced() {
    let layer = RequestIdLayer::new().keep(Keep::Always);
    let (longest, longer) = ("a".repeat(128), "a".repeat(129));
    for (given, is_kept) in [
        (&["Root=1-67891233-abcdef012345678912345678"][..], true),
        (&["a:b/c+d==@~_."], true),
        (&[&longest], true),
        (&[&longer], false),
        (&[""], false),
        (&["a b"], false),
        (&["a,b"], false),
        (&["<script>"], false),
        (&["a\"b"], false),
        (&["a", "b"], false),
        (&["a", "a"], false),
    ] {
        let found = id(&layer, request(None, given)).await;
        assert_eq!(found == given[0], is_kept, "{given:?}");
    }
}

#[tokio::test]
async fn ids_differ_and_are_uuids_of_version_7() {
    let layer = RequestIdLayer::new();
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        let id = id(&layer, request(None, &[])).await;
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "7");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn the_header_may_have_another_name() {
    let header = HeaderName::from_static("x-correlation-id");
    let inner = service_fn(|request: Request<Body>| async move {
        assert!(!request.headers().contains_key("x-request-id"));
        let id = request.headers()["x-correlation-id"].clone();
        Ok::<_, Infallible>(Response::new(id))
    });
    let service = RequestIdLayer::new().header(header).layer(inner);
    let response = service.oneshot(request(None, &[])).await.unwrap();
    assert_eq!(response.headers()["x-correlation-id"], response.body());
}

#[tokio::test]
async fn of_two_layers_the_outer_one_chooses() {
    let seen = |keep| {
        let inner = RequestIdLayer::new().keep(keep);
        let inner = inner.layer(service_fn(|request: Request<Body>| async move {
            let id = request.headers()["x-request-id"].clone();
            Ok::<_, Infallible>(Response::new(id))
        }));
        let service = RequestIdLayer::new().layer(inner);
        async { service.oneshot(request(None, &[])).await.unwrap() }
    };
    for keep in [Keep::Never, Keep::Trusted, Keep::Always] {
        let response = seen(keep).await;
        assert_eq!(response.headers()["x-request-id"], response.body());
    }
}
