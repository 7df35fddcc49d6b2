//! What a stack costs before anything in it does work: erasing a service, erasing a layer, a whole route.
//!
//! Each figure holds the making of one request and the dropping of one answer, `bare` little else: what
//! the others cost is what they take more than `bare`.

use a3s_gateway::compile::{Kept, Middlewares, Services, compile};
use a3s_gateway::config::GatewayConfig;
use a3s_gateway::stack::{HttpService, Next, Request, Response, erase};
use a3s_gateway::telemetry::metrics::Metrics;
use axum::body::{Body, Bytes};
use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tower::layer::layer_fn;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};

const CONFIG: &str = r#"
entrypoints "web" {
  address = "127.0.0.1:0"
}
routers "r" {
  rule    = "PathPrefix(`/`)"
  service = "s"
}
services "s" {
  respond {
    body = "hello"
  }
}
"#;

/// Answers at once. It has a size, as every service of a gateway: a clone of none is free when boxed.
fn bare() -> impl Service<
    Request,
    Response = Response,
    Error = Infallible,
    Future = Ready<Result<Response, Infallible>>,
> + Clone
+ Send
+ Sync
+ 'static {
    let body = Bytes::from_static(b"hello");
    service_fn(move |_: Request| ready(Ok(Response::new(Body::from(body.clone())))))
}

/// The service of the one router of [`CONFIG`].
fn route() -> HttpService {
    let config = GatewayConfig::from_hcl(CONFIG).expect("the configuration is right");
    let kept = Kept {
        metrics: Arc::new(Metrics::new(1)),
        signals: Default::default(),
        tracing: Default::default(),
        admin: BoxCloneSyncService::new(bare()),
        admin_listener: BoxCloneSyncService::new(bare()),
        services: Services::new(),
        addresses: Default::default(),
        middlewares: Middlewares::new(),
        tls: Default::default(),
        types: Arc::default(),
    };
    let compiled = compile(&config, &kept).expect("it names no files");
    let table = compiled.entrypoints[0].serves.http();
    let table = table.expect("an entrypoint of HTTP");
    table.routes()[0].service.clone()
}

/// One request to a clone of `service`, as the dispatcher does it. No runtime: nothing here waits.
fn request<S>(bencher: &mut Bencher<'_>, service: &S)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    let mut cx = Context::from_waker(Waker::noop());
    bencher.iter(|| {
        let request = Request::new(Body::empty());
        match pin!(black_box(service).clone().oneshot(request)).poll(&mut cx) {
            Poll::Ready(answer) => answer,
            Poll::Pending => unreachable!("every service here answers at once"),
        }
    });
}

fn bench(criterion: &mut Criterion) {
    let bare = bare();
    let erased: HttpService = BoxCloneSyncService::new(bare.clone());
    let layered = erase(layer_fn(|inner: Next| inner)).layer(Next::new(erased.clone(), 1));
    let route = route();
    criterion.bench_function("stack/bare", |b| request(b, &bare));
    criterion.bench_function("stack/erased", |b| request(b, &erased));
    criterion.bench_function("stack/erased_layer", |b| request(b, &layered));
    criterion.bench_function("stack/route", |b| request(b, &route));
}

criterion_group!(benches, bench);
criterion_main!(benches);
