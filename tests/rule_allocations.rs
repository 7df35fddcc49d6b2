//! Bringing an ordinary request into its form, finding its route and matching a rule never allocate.

use a3s_gateway::dispatch::request::{normalize, with_facts};
use a3s_gateway::dispatch::table::{Route, Table};
use a3s_gateway::rule::{Protocol, Rule};
use a3s_gateway::stack::Request;
use axum::body::Body;
use http::HeaderValue;
use std::net::IpAddr;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

fn request(host: &'static str, target: &'static str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = target.parse().expect("a URI");
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static(host));
    headers.append("x-a", HeaderValue::from_static("0"));
    headers.append("x-a", HeaderValue::from_static("1"));
    request
}

fn rule(text: &str) -> Rule {
    Rule::parse(text, Protocol::Http).expect(text)
}

/// How many allocations `run` makes once the engines and buffers of this thread are warm.
fn allocations(mut run: impl FnMut()) -> u64 {
    run();
    allocation_counter::measure(run).count_total
}

#[test]
fn a_matcher_never_allocates() {
    let request = request("WWW.a.com:80", "/v1/users/42?x=%zz&q=a%20b+c&e");
    for text in [
        "Host(`b.com`, `*.a.com`, `www.a.com.`)",
        "HostRegexp(`^[a-z]+\\.a\\.com$`)",
        "Path(`/v1/users/42`)",
        "PathPrefix(`/v1`)",
        "PathRegexp(`^/v[0-9]+/users/[^/]+$`)",
        "Method(`post`, `get`)",
        "Header(`x-a`, `1`)",
        "HeaderRegexp(`X-A`, `^[1-9]$`)",
        "Query(`q`, `a b c`)",
        "Query(`e`)",
        "QueryRegexp(`q`, `^a b .$`)",
        "ClientIP(`192.0.2.1`, `10.0.0.0/8`)",
        "!(Host(`a`) || !Path(`/v1/users/42`)) && (Method(`PUT`) || Method(`GET`))",
    ] {
        let rule = rule(text);
        with_facts(&request, CLIENT, |facts| {
            assert!(rule.matches(facts), "{text}");
            let count = allocations(|| assert!(rule.matches(facts)));
            assert_eq!(count, 0, "{text}");
        });
    }
}

#[test]
fn finding_the_route_of_an_ordinary_request_does_not_allocate() {
    let route = |text: &str| Route {
        name: "r".into(),
        priority: 0,
        rule: rule(text),
        service: (),
    };
    let table = Table::new(vec![
        route("Host(`*.a.com`) && PathPrefix(`/v2`)"),
        route("Host(`www.a.com`) && (Path(`/v1`) || PathPrefix(`/v1/`))"),
        route("PathPrefix(`/`)"),
    ]);
    for (host, target) in [
        ("www.a.com", "/v1/users?q=1"),
        ("WWW.A.COM:8080", "/.well-known/x"),
        ("[2001:DB8::1]:80", "/a"),
    ] {
        let mut request = request(host, target);
        let count = allocations(|| {
            normalize(&mut request).expect("an ordinary request");
            let found = with_facts(&request, CLIENT, |facts| table.find(facts).is_some());
            assert!(found, "{host} {target}");
        });
        assert_eq!(count, 0, "{host} {target}");
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}
