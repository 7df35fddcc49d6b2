//! What it costs to read a rule, to match one, to find a route among many, and to bring a request into its
//! form before.

use a3s_gateway::dispatch::request::{normalize, with_facts};
use a3s_gateway::dispatch::table::{Route, Table};
use a3s_gateway::rule::{Facts, Protocol, Rule};
use a3s_gateway::stack::Request;
use axum::body::Body;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use std::hint::black_box;
use std::net::IpAddr;

const RULES: [(&str, &str); 4] = [
    ("host", "Host(`api.example.com`)"),
    (
        "host_and_path",
        "Host(`api.example.com`) && PathPrefix(`/v1/users`)",
    ),
    (
        "regexps",
        "HostRegexp(`^[a-z]+\\.example\\.com$`) && PathRegexp(`^/v[0-9]+/users/`)",
    ),
    (
        "many_parts",
        "(Host(`a.com`) || Host(`*.example.com`)) && !Method(`POST`, `PUT`) \
         && Header(`X-Tenant`, `blue`) && Query(`q`, `a b`) && ClientIP(`10.0.0.0/8`)",
    ),
];

fn parse(rule: &str) -> Rule {
    Rule::parse(rule, Protocol::Http).expect("a rule")
}

fn facts<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> Facts<'a> {
    Facts {
        host,
        path,
        query: "p=1&q=a%20b",
        method: "GET",
        headers,
        client_ip: IpAddr::from([10, 1, 2, 3]),
        sni: None,
        alpn: &[],
    }
}

fn rules(c: &mut Criterion) {
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("blue"));
    let facts = facts("api.example.com", "/v1/users/42", &headers);
    for (name, text) in RULES {
        c.bench_function(&format!("parse/{name}"), |b| {
            b.iter(|| parse(black_box(text)))
        });
        let rule = parse(text);
        assert!(rule.matches(&facts), "{text}");
        c.bench_function(&format!("match/{name}"), |b| {
            b.iter(|| rule.matches(black_box(&facts)))
        });
    }
}

fn routes(count: usize, rule: impl Fn(usize) -> String) -> Vec<Route<()>> {
    let route = |i: usize| Route {
        name: i.to_string().into(),
        priority: 0,
        rule: parse(&rule(i)),
        service: (),
    };
    (0..count).map(route).collect()
}

fn dispatch(c: &mut Criterion) {
    let headers = HeaderMap::new();
    for count in [1, 1_000, 10_000] {
        let last = count - 1;
        let hosts = Table::new(routes(count, |i| format!("Host(`h{i}.example.com`)")));
        let prefixes = Table::new(routes(count, |i| {
            format!("Host(`example.com`) && PathPrefix(`/team/{i}/`)")
        }));
        let (host, path) = (format!("h{last}.example.com"), format!("/team/{last}/x"));
        for (name, table, facts) in [
            ("hosts", &hosts, facts(&host, "/", &headers)),
            ("prefixes", &prefixes, facts("example.com", &path, &headers)),
            (
                "no_match",
                &prefixes,
                facts("example.com", "/zoo", &headers),
            ),
        ] {
            c.bench_function(&format!("find/{name}/{count}"), |b| {
                b.iter(|| table.find(black_box(&facts)).is_some())
            });
        }
    }
    for (name, rule) in [
        ("hosts", "Host(`h{}.example.com`)"),
        ("prefixes", "Host(`example.com`) && PathPrefix(`/team/{}/`)"),
    ] {
        let routes = routes(10_000, |i| rule.replace("{}", &i.to_string()));
        c.bench_function(&format!("build/{name}/10000"), |b| {
            b.iter_with_large_drop(|| Table::new(routes.clone()))
        });
    }
}

fn whole(c: &mut Criterion) {
    let table = Table::new(routes(10_000, |i| format!("Host(`h{i}.example.com`)")));
    for (name, host, target) in [
        ("ordinary", "h42.example.com", "/v1/users/42?verbose=true"),
        (
            "upper_case_and_port",
            "H42.Example.COM:8080",
            "/v1/users/42?verbose=true",
        ),
        (
            "escapes",
            "h42.example.com",
            "/v1/users/J%C3%BCrgen%20M?verbose=true",
        ),
    ] {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = target.parse().expect("a URI");
        let headers = request.headers_mut();
        headers.insert("host", HeaderValue::from_static(host));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        let client = IpAddr::from([10, 1, 2, 3]);
        c.bench_function(&format!("request/{name}"), |b| {
            b.iter(|| {
                normalize(black_box(&mut request)).expect("a request");
                with_facts(&request, client, |facts| table.find(facts).is_some())
            })
        });
    }
}

criterion_group!(benches, rules, dispatch, whole);
criterion_main!(benches);
