use super::*;
use crate::rule::{Protocol, Rule};
use a3s_layers::peer::{Peer, TrustedProxies};
use axum::body::Body;
use http::HeaderName;
use http::header::HOST;
use serde_json::Value;
use table::Route;
use tokio_test::block_on;
use tower::service_fn;

/// Answers with its name and the target that it was given.
fn route(name: &'static str, rule: &str) -> Route {
    let echo = service_fn(move |request: Request| {
        let target = format!("{name} {}", request.uri());
        ready(Ok::<_, Infallible>(Response::new(Body::from(target))))
    });
    Route {
        name: name.into(),
        priority: 0,
        rule: Rule::parse(rule, Protocol::Http).expect(rule),
        service: HttpService::new(echo),
    }
}

fn dispatcher(routes: Vec<Route>) -> RequestDispatcher {
    RequestDispatcher::new(Arc::new(ArcSwap::from_pointee(Table::new(routes))))
}

/// A request as the server passes it on, or `None` where its parser already refuses it.
fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Option<Request> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.parse().ok()?;
    *request.uri_mut() = target.parse().ok()?;
    for (name, value) in headers {
        let name: HeaderName = name.parse().ok()?;
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        request.headers_mut().append(name, value);
    }
    let address = "127.0.0.1:4711".parse().expect("an address");
    let peer = Peer::new(address, 80, false, &TrustedProxies::default());
    let client = Client::of(Arc::new(peer), request.headers());
    request.extensions_mut().insert(client);
    Some(request)
}

fn send(dispatcher: &RequestDispatcher, request: Request) -> (Response<()>, String) {
    let response = block_on(dispatcher.clone().oneshot(request)).unwrap_or_else(|e| match e {});
    let (parts, body) = response.into_parts();
    let body = block_on(axum::body::to_bytes(body, usize::MAX)).expect("a body");
    let text = String::from_utf8(body.to_vec()).expect("a text");
    (http::Response::from_parts(parts, ()), text)
}

use http::Response as HttpResponse;
type Response<T = Body> = HttpResponse<T>;

#[test]
fn a_request_is_routed_as_it_is_on_traefik() {
    let file = include_str!("../../tests/data/rule_match.json");
    let file: Value = serde_json::from_str(file).expect("JSON");
    for case in file["cases"].as_array().expect("cases") {
        let text = |key: &str| case[key].as_str().expect(key);
        let mut headers = vec![("host", text("host"))];
        let lines = text("headers").split("\r\n");
        headers.extend(
            lines
                .filter_map(|line| line.split_once(':'))
                .map(|(n, v)| (n, v.trim())),
        );
        let request = request(text("method"), text("target"), &headers).expect("a request");
        let (response, body) = send(&dispatcher(vec![route("r", text("rule"))]), request);
        assert_eq!(response.status().as_str(), text("status"), "{case}");
        if let Some(target) = case["upstream_path"].as_str() {
            assert_eq!(body, format!("r {target}"), "{case}");
        }
    }
}

#[test]
fn what_cannot_be_routed_is_refused() {
    let dispatcher = dispatcher(vec![route("a", "Host(`a.com`)")]);
    for (method, target, host, status, closes) in [
        ("GET", "/", Some("a.com"), 200, false),
        ("OPTIONS", "*", Some("a.com"), 200, false),
        ("GET", "/", Some("b.com"), 404, false),
        ("GET", "/", None, 400, true),
        ("GET", "/%zz", Some("a.com"), 400, true),
        ("GET", "/../a", Some("a.com"), 400, true),
        ("CONNECT", "a.com:443", Some("a.com"), 405, true),
    ] {
        let headers: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
        let request = request(method, target, &headers).expect("a request");
        let (response, _) = send(&dispatcher, request);
        assert_eq!(response.status(), status, "{method} {target}");
        let has_close = response.headers().contains_key(CONNECTION);
        assert_eq!(has_close, closes, "{method} {target}");
    }
}

#[test]
fn a_request_without_a_client_is_never_judged() {
    let mut request = request("GET", "/", &[("host", "a")]).expect("a request");
    request.extensions_mut().clear();
    let (response, _) = send(
        &dispatcher(vec![route("a", "!ClientIP(`10.0.0.0/8`)")]),
        request,
    );
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_stored_table_serves_the_next_request() {
    let table = Arc::new(ArcSwap::from_pointee(Table::new(vec![route(
        "old",
        "Host(`*`)",
    )])));
    let dispatcher = RequestDispatcher::new(table.clone());
    let get = || request("GET", "/x", &[(HOST.as_str(), "a")]).expect("a request");
    assert_eq!(send(&dispatcher, get()).1, "old /x");
    table.store(Arc::new(Table::new(vec![route("new", "Host(`*`)")])));
    assert_eq!(send(&dispatcher, get()).1, "new /x");
}
