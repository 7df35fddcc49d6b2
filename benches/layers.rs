//! What each middleware costs a request that it lets pass, as HCL makes it: one route with the middleware on it,
//! beside the same route without (`none`).
//!
//! Criterion takes the time. What is allocated is counted once for each and printed before: it does not vary.

use a3s_gateway::compile::{Kept, Middlewares, Services, compile};
use a3s_gateway::config::GatewayConfig;
use a3s_gateway::stack::{HttpService, Request};
use a3s_gateway::telemetry::metrics::Metrics;
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use axum::body::Body;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tower::ServiceExt;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

/// A middleware, and what a request needs to pass it.
struct Case {
    name: &'static str,
    hcl: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

const fn case(
    name: &'static str,
    hcl: &'static str,
    headers: &'static [(&'static str, &'static str)],
) -> Case {
    Case { name, hcl, headers }
}

const CASES: &[Case] = &[
    case("none", "", &[]),
    case(
        "api-key",
        "hashed_keys = [\"6eb03028c73217455098a6f43da3a551b0099331897faf82eea75c39f9d3e07c\"]",
        &[("x-api-key", "5e0c-a1f7")],
    ),
    // Remembered: the hash itself is a matter of its parameters.
    case(
        "basic-auth",
        "username = \"ann\"\npassword = \"secret\"",
        &[("authorization", "Basic YW5uOnNlY3JldA==")],
    ),
    case(
        "ip-allow",
        "allowed_ips = [\"10.0.0.0/8\", \"192.0.2.0/24\"]",
        &[],
    ),
    case("rate-limit", "rate = 1000000\nburst = 1000000000", &[]),
    case("in-flight", "max = 1000", &[]),
    case(
        "cors",
        "allowed_origins = [\"https://app.test\"]",
        &[("origin", "https://app.test")],
    ),
    case("headers", "security = true", &[]),
    case("compress", "min_size = 1", &[("accept-encoding", "gzip")]),
    case("strip-prefix", "prefixes = [\"/api\"]", &[]),
    case("add-prefix", "prefix = \"/v1\"", &[]),
    case("replace-path", "path = \"/v1\"", &[]),
    case(
        "redirect",
        "regex = \"^https://old\"\nreplacement = \"https://new\"",
        &[],
    ),
    case("request-id", "", &[]),
    case("body-limit", "max_body_bytes = \"1MiB\"", &[]),
    case("buffering", "", &[]),
    case("timeout", "duration = \"10s\"", &[]),
    case("retry", "", &[]),
    case("circuit-breaker", "", &[]),
    case(
        "jwt",
        "value = \"a secret of thirty-two bytes, or more\"",
        &[("authorization", TOKEN)],
    ),
];

/// HS256, good until 2100: made for this bench with the secret above.
const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.YzS92kd0poUiVrUOoCXVdM-5qrr20m-sXRVCR8PtDLI";

const CONFIG: &str = r#"
entrypoints "web" {
  address = "127.0.0.1:0"
}
routers "r" {
  rule        = "PathPrefix(`/`)"
  service     = "s"
  middlewares = [@USES@]
}
services "s" {
  respond {
    body    = "@BODY@"
    headers = { "content-type" = "text/plain" }
  }
}
"#;

fn service(case: &Case) -> HttpService {
    let body = "a kibibyte, or nearly. ".repeat(43);
    let uses = if case.name == "none" { "" } else { "\"x\"" };
    let mut text = CONFIG.replace("@BODY@", &body).replace("@USES@", uses);
    if case.name != "none" {
        text += &format!(
            "middlewares \"x\" {{\n  type = \"{}\"\n{}\n}}\n",
            case.name, case.hcl
        );
    }
    let config = GatewayConfig::from_hcl(&text).unwrap_or_else(|error| panic!("{error}"));
    let admin = service_fn(|_: Request| std::future::pending());
    let kept = Kept {
        metrics: Arc::new(Metrics::new(1)),
        signals: Default::default(),
        admin: BoxCloneSyncService::new(admin),
        admin_listener: BoxCloneSyncService::new(admin),
        services: Services::new(),
        addresses: Default::default(),
        middlewares: Middlewares::new(),
        tls: Default::default(),
        tracing: Default::default(),
        types: Arc::default(),
    };
    let compiled = compile(&config, &kept).expect("it names no files");
    let table = compiled.entrypoints[0].serves.http();
    let table = table.expect("an entrypoint of HTTP");
    table.routes()[0].service.clone()
}

/// Makes requests as a server hands them on.
struct Requests {
    headers: HeaderMap,
    peer: Arc<Peer>,
}

impl Requests {
    fn new(case: &Case) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("bench.test"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        for (name, value) in case.headers {
            let name = HeaderName::from_static(name);
            headers.insert(name, HeaderValue::from_static(value));
        }
        let address = "192.0.2.7:4711".parse().expect("an address");
        Self {
            headers,
            peer: Arc::new(Peer::new(address, 80, false, &TrustedProxies::default())),
        }
    }

    fn next(&self) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static("/api/users?page=2");
        request.headers_mut().clone_from(&self.headers);
        let client = Client::of(Arc::clone(&self.peer), &self.headers);
        request.extensions_mut().insert(client);
        request
    }
}

/// One request to a clone of `service`, as the dispatcher does it, and its answer to the end. Nothing here waits.
fn exchange(service: &HttpService, request: Request) -> u16 {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(mut response)) = pin!(service.clone().oneshot(request)).poll(&mut cx) else {
        unreachable!("every service here answers at once");
    };
    while let Poll::Ready(Some(frame)) = Pin::new(response.body_mut()).poll_frame(&mut cx) {
        drop(black_box(frame));
    }
    response.status().as_u16()
}

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    for case in CASES {
        let (service, requests) = (service(case), Requests::new(case));
        for _ in 0..3 {
            assert_eq!(exchange(&service, requests.next()), 200, "{}", case.name);
        }
        let request = requests.next();
        let allocated = allocation_counter::measure(|| {
            exchange(&service, request);
        });
        println!(
            "{:<16} {:>3} allocations, {} bytes",
            case.name, allocated.count_total, allocated.bytes_total
        );
        criterion.bench_function(&format!("layers/{}", case.name), |bencher| {
            bencher.iter_batched(
                || requests.next(),
                |request| exchange(&service, request),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
