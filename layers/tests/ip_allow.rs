//! `ip_allow` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::ip_allow::IpAllowLayer;
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use ipnet::IpNet;
use std::convert::Infallible;
use std::sync::Arc;
use tower::{Layer, ServiceExt, service_fn};

fn networks(texts: &[&str]) -> Vec<IpNet> {
    let parse = |text: &&str| match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<std::net::IpAddr>().unwrap()),
    };
    texts.iter().map(parse).collect()
}

/// A request from `peer`, behind trusted proxies in 10.0.0.0/8, with these lines of `X-Forwarded-For`.
fn request_from(peer: &str, lines: &[&str]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    for line in lines {
        let line = line.parse().unwrap();
        request.headers_mut().append("x-forwarded-for", line);
    }
    let trusted = TrustedProxies::new(networks(&["10.0.0.0/8"]));
    let address = std::net::SocketAddr::new(peer.parse().unwrap(), 4711);
    let peer = Arc::new(Peer::new(address, 80, false, &trusted));
    let client = Client::of(peer, request.headers());
    request.extensions_mut().insert(client);
    request
}

async fn answer(layer: &IpAllowLayer, request: Request<Body>) -> Response<Body> {
    let inner =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    layer.layer(inner).oneshot(request).await.unwrap()
}

async fn passes(layer: &IpAllowLayer, request: Request<Body>) -> bool {
    answer(layer, request).await.status() == 200
}

#[tokio::test]
async fn the_denied_lose_even_where_they_are_allowed() {
    for (allowed, denied, peer, expected) in [
        (&["192.0.2.0/24"][..], &[][..], "192.0.2.1", true),
        (&["192.0.2.0/24"], &[], "192.0.3.1", false),
        (&["192.0.2.7"], &[], "192.0.2.7", true),
        (&["192.0.2.7"], &[], "192.0.2.8", false),
        (&["192.0.2.0/24"], &["192.0.2.7"], "192.0.2.7", false),
        (&["192.0.2.0/24"], &["192.0.2.7"], "192.0.2.8", true),
        (&["192.0.2.7"], &["192.0.2.0/24"], "192.0.2.7", false),
        (&["0.0.0.0/0"], &[], "2001:db8::1", false),
        (&["0.0.0.0/0", "::/0"], &[], "2001:db8::1", true),
        (&["2001:db8::/32"], &[], "2001:db8:1::1", true),
        (&["2001:db8::/32"], &[], "2001:db9::1", false),
        // Overlapping and out of order.
        (
            &[
                "192.0.2.0/24",
                "10.0.0.0/8",
                "192.0.2.128/25",
                "172.16.0.0/12",
            ],
            &[],
            "192.0.2.1",
            true,
        ),
        (
            &["192.0.2.0/24", "10.0.0.0/8", "192.0.2.128/25"],
            &[],
            "192.0.2.200",
            true,
        ),
        (
            &["192.0.2.0/24", "198.51.100.0/24"],
            &[],
            "195.0.0.1",
            false,
        ),
        // IPv4 in IPv6, on either side.
        (&["192.0.2.0/24"], &[], "::ffff:192.0.2.1", true),
        (&["::ffff:192.0.2.0/120"], &[], "192.0.2.1", true),
        (&["::ffff:192.0.2.1"], &[], "::ffff:192.0.2.1", true),
        (&["0.0.0.0/0"], &["::ffff:192.0.2.1"], "192.0.2.1", false),
        (&[], &[], "192.0.2.1", false),
    ] {
        let layer = IpAllowLayer::new(networks(allowed)).deny(networks(denied));
        let found = passes(&layer, request_from(peer, &[])).await;
        assert_eq!(found, expected, "{peer}: {allowed:?} but {denied:?}");
    }
}

#[tokio::test]
async fn everybody_but_the_denied_may_pass() {
    let layer = IpAllowLayer::everybody().deny(networks(&["192.0.2.0/24", "2001:db8::/32"]));
    for (peer, expected) in [
        ("192.0.2.1", false),
        ("192.0.3.1", true),
        ("2001:db8::1", false),
        ("2001:db9::1", true),
    ] {
        let found = passes(&layer, request_from(peer, &[])).await;
        assert_eq!(found, expected, "{peer}");
    }
}

#[tokio::test]
async fn the_client_behind_a_trusted_proxy_is_the_one_that_counts() {
    let layer = IpAllowLayer::new(networks(&["192.0.2.0/24"]));
    for (peer, lines, expected) in [
        ("10.0.0.1", &["192.0.2.1"][..], true),
        ("10.0.0.1", &["198.51.100.1, 192.0.2.1, 10.0.0.2"], true),
        ("10.0.0.1", &["192.0.2.1, 198.51.100.1"], false),
        ("10.0.0.1", &[], false),
        ("198.51.100.1", &["192.0.2.1"], false),
    ] {
        let found = passes(&layer, request_from(peer, lines)).await;
        assert_eq!(found, expected, "{peer} {lines:?}");
    }
}

#[tokio::test]
async fn with_a_depth_only_the_word_of_a_trusted_proxy_counts() {
    for (depth, peer, lines, expected) in [
        (1, "10.0.0.1", &["198.51.100.1, 192.0.2.1"][..], true),
        (2, "10.0.0.1", &["198.51.100.1, 192.0.2.1"], false),
        (2, "10.0.0.1", &["192.0.2.1, 198.51.100.1"], true),
        (2, "10.0.0.1", &["192.0.2.1", "198.51.100.1"], true),
        (1, "10.0.0.1", &["192.0.2.1", "198.51.100.1"], false),
        (1, "10.0.0.1", &["::ffff:192.0.2.1"], true),
        (1, "10.0.0.1", &["192.0.2.1:4711"], true),
        // Shorter than that, or no address.
        (3, "10.0.0.1", &["192.0.2.1, 192.0.2.1"], false),
        (1, "10.0.0.1", &[], false),
        (1, "10.0.0.1", &["192.0.2.1, unknown"], false),
        (2, "10.0.0.1", &["192.0.2.1, unknown"], true),
        (1, "10.0.0.1", &["192.0.2.1,"], false),
        (usize::MAX, "10.0.0.1", &["192.0.2.1"], false),
        // Nobody that we trust has said so.
        (1, "192.0.2.1", &["192.0.2.1"], false),
        (1, "192.0.2.1", &[], false),
    ] {
        let layer = IpAllowLayer::new(networks(&["192.0.2.0/24"])).depth(depth);
        let found = passes(&layer, request_from(peer, lines)).await;
        assert_eq!(found, expected, "{depth} of {lines:?} from {peer}");
    }
}

#[tokio::test]
async fn an_unknown_client_is_refused_and_told_no_more_than_that() {
    for layer in [
        IpAllowLayer::everybody(),
        IpAllowLayer::new(networks(&["0.0.0.0/0"])),
        IpAllowLayer::everybody().depth(1),
    ] {
        let response = answer(&layer, Request::new(Body::empty())).await;
        assert_eq!(response.status(), 403);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let expected = "{\"error\":\"this address is not allowed\",\"status\":403}\n";
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn a_grpc_client_is_refused_in_its_own_way() {
    let mut request = request_from("192.0.2.1", &[]);
    let headers: &mut HeaderMap = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    let response = answer(&IpAllowLayer::new([]), request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "7");
}
