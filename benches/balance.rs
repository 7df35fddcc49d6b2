//! What it costs to pick a server, by strategy and by the number of servers, and to take and give up a place there.
//!
//! Each figure holds one request without a body to a member that answers at once, as a balance in front of a client
//! sees it: `nobody` is the same without a balance, and what the others cost is what they take more.

use a3s_layers::balance::{Balance, HashOn, Member, Strategy};
use a3s_layers::endpoint::{Endpoint, PlaceLayer, Placed};
use axum::body::Body;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tower::{Layer, Service, ServiceExt, service_fn};

type Answer = Ready<Result<Response<Body>, Infallible>>;

fn answer(_: Request<Body>) -> Answer {
    ready(Ok(Response::new(Body::empty())))
}

/// One request to a clone of `service`. No runtime: nothing here waits.
fn exchange<S: Service<Request<Body>> + Clone>(service: &S) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let request = Request::get("/items/7").body(Body::empty());
    let request = request.expect("a request");
    match pin!(black_box(service).clone().oneshot(request)).poll(&mut cx) {
        Poll::Ready(answer) => answer.is_ok(),
        Poll::Pending => unreachable!("every service here answers at once"),
    }
}

fn members(
    count: usize,
) -> Vec<Member<impl Service<Placed<Request<Body>>, Error = Infallible> + Clone>> {
    let member = |index: usize| Member {
        endpoint: Endpoint::new(format!("http://10.0.{}.{}:80", index / 256, index % 256)),
        // Every third has twice the weight.
        weight: [2, 1, 1][index % 3],
        service: PlaceLayer::new().layer(service_fn(answer)),
    };
    (0..count).map(member).collect()
}

fn bench(criterion: &mut Criterion) {
    criterion.bench_function("balance/nobody", |bencher| {
        bencher.iter(|| exchange(&service_fn(answer)));
    });
    for (name, strategy) in [
        ("round-robin", Strategy::RoundRobin),
        ("weighted", Strategy::Weighted),
        ("least-connections", Strategy::LeastConnections),
        ("random", Strategy::Random),
        ("p2c-ewma", Strategy::P2cEwma),
        ("consistent-hash", Strategy::ConsistentHash(HashOn::Path)),
    ] {
        for count in [3, 100, 1000] {
            let balance = Balance::new(strategy.clone(), members(count));
            let id = BenchmarkId::new(format!("balance/{name}"), count);
            criterion.bench_with_input(id, &balance, |bencher, balance| {
                bencher.iter(|| exchange(balance));
            });
        }
    }
    for count in [3, 100, 1000] {
        let id = BenchmarkId::new("balance/maglev table", count);
        let balance = Balance::new(Strategy::ConsistentHash(HashOn::Path), members(count));
        criterion.bench_with_input(id, &balance, |bencher, balance| {
            bencher.iter(|| balance.set_members(members(count)));
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
