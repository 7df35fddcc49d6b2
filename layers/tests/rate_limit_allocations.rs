//! What counting a client costs on the heap: nothing, where clients are not told.

#![cfg(feature = "rate-limit")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::in_flight::InFlightLayer;
use a3s_layers::key::KeySource;
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use a3s_layers::rate_limit::{Limit, Policy, local::RateLimitLayer};
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tower::{Layer, Service, service_fn};

/// Allocations of the second request of a client.
fn allocations<S>(mut service: S) -> u64
where
    S: Service<Request<()>, Response = Response<Body>, Error = Infallible>,
{
    let peer = Peer::new(
        "192.0.2.1:1".parse().unwrap(),
        80,
        false,
        &TrustedProxies::default(),
    );
    let client = Client::of(Arc::new(peer), &HeaderMap::new());
    let mut send = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(client.clone());
        let call = allocation_counter::measure(|| {
            let response = tokio_test::block_on(service.call(request)).unwrap();
            assert_eq!(response.status(), 200);
        });
        call.count_total
    };
    send();
    send()
}

#[test]
fn a_request_costs_no_allocation() {
    let inner = || service_fn(|_: Request<()>| async { Ok(Response::new(Body::empty())) });
    let limit = Limit::new(100.0, Duration::from_secs(1)).unwrap();
    let silent = RateLimitLayer::new(Policy::new(limit).headers(false), KeySource::ClientIp);
    let without = allocations(inner());
    assert_eq!(allocations(silent.layer(inner())), without);
    let in_flight = InFlightLayer::new(10).key(KeySource::ClientIp);
    // The body that counts is a body of its own.
    assert_eq!(allocations(in_flight.layer(inner())), without + 1);
}
