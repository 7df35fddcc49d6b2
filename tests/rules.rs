//! A router takes the requests that its rule describes, and its server gets the path that the rule saw.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde::Deserialize;
use serde_json::json;
use support::{Server, Setup};

/// What Traefik did with a request, as it was observed.
#[derive(Debug, Deserialize)]
struct Case {
    rule: String,
    method: String,
    target: String,
    host: String,
    headers: String,
    status: String,
    upstream_path: Option<String>,
}

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

fn cases() -> Vec<Case> {
    let text = include_str!("data/rule_match.json");
    let Cases { cases } = serde_json::from_str(text).unwrap();
    assert!(cases.len() > 90);
    cases
}

#[tokio::test]
async fn every_observed_case_is_answered_as_it_was_observed() {
    let server = Server::start().await;
    let cases = cases();
    let mut wrong = Vec::new();
    for same_rule in cases.chunk_by(|one, next| one.rule == next.rule) {
        let gateway = Setup::to(&server)
            .route("all", &same_rule[0].rule, "backend")
            .start()
            .await;
        for case in same_rule {
            let Case {
                method,
                target,
                host,
                headers,
                ..
            } = case;
            let fields = match headers.as_str() {
                "" => String::new(),
                lines => format!("{lines}\r\n"),
            };
            let before = server.requests();
            let answer = gateway
                .ask(format!(
                    "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n"
                ))
                .await;
            let seen = server.seen()[before..]
                .first()
                .map(|seen| seen.target.clone());
            if (answer.status().to_string(), &seen) != (case.status.clone(), &case.upstream_path) {
                wrong.push(format!("{case:?}: {} {seen:?}", answer.status()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn every_observed_case_is_the_same_over_http_2() {
    let server = Server::start().await;
    let mut wrong = Vec::new();
    for same_rule in cases().chunk_by(|one, next| one.rule == next.rule) {
        let gateway = Setup::to(&server)
            .route("all", &same_rule[0].rule, "backend")
            .start()
            .await;
        for case in same_rule {
            // An absolute form there is none, and a host there must be, its address in brackets.
            if case.host.is_empty() || case.host == "::1" || !case.target.starts_with('/') {
                continue;
            }
            let mut frames = gateway.frames().await;
            let names: Vec<_> = case
                .headers
                .split("\r\n")
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
                .collect();
            let mut fields = vec![
                (":method", case.method.as_str()),
                (":scheme", "http"),
                (":authority", case.host.as_str()),
                (":path", case.target.as_str()),
            ];
            fields.extend(names.iter().map(|(name, value)| (name.as_str(), *value)));
            let before = server.requests();
            frames.headers(1, &fields, true).await;
            let outcome = frames.outcome(1).await;
            let seen = server.seen()[before..]
                .first()
                .map(|seen| seen.target.clone());
            let status = match outcome {
                support::Outcome::Status(status) => status.to_string(),
                // What is malformed resets its stream.
                support::Outcome::Reset(_) | support::Outcome::GoAway(_) => "400".to_owned(),
                support::Outcome::Ended(_) => "no answer".to_owned(),
            };
            if (&status, &seen) != (&case.status, &case.upstream_path) {
                wrong.push(format!("{case:?}: {outcome:?} {seen:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A gateway whose routers answer with a status of their own.
fn routers(routers: &[(&str, &str, Option<i64>)]) -> Setup {
    let mut setup = Setup::new();
    for (index, (name, rule, priority)) in routers.iter().enumerate() {
        setup = setup
            .route(name, rule, name)
            .set(&format!("services/{name}/respond/status"), 201 + index);
        if let Some(priority) = priority {
            setup = setup.set(&format!("routers/{name}/priority"), *priority);
        }
    }
    setup
}

#[tokio::test]
async fn of_two_routers_the_higher_priority_answers() {
    for (what, config, status) in [
        (
            "the longer rule",
            [
                ("a", "PathPrefix(`/`)", None),
                ("b", "PathPrefix(`/api`)", None),
            ],
            202,
        ),
        (
            "the priority that was written",
            [
                ("a", "PathPrefix(`/`)", Some(1000)),
                ("b", "PathPrefix(`/api`)", None),
            ],
            201,
        ),
        (
            "a negative priority comes last",
            [
                ("a", "PathPrefix(`/`)", None),
                ("b", "PathPrefix(`/api`)", Some(-1)),
            ],
            201,
        ),
        (
            "the first of equals",
            [
                ("a", "PathPrefix(`/a`)", None),
                ("b", "Path(`/api/x`)", Some(16)),
            ],
            201,
        ),
        (
            "the first of equals, whatever its name",
            [
                ("z", "PathPrefix(`/a`)", None),
                ("b", "Path(`/api/x`)", Some(16)),
            ],
            201,
        ),
        (
            "a host is no better than its length",
            [("a", "Host(`h`)", None), ("b", "PathPrefix(`/api`)", None)],
            202,
        ),
    ] {
        let gateway = routers(&config).start().await;
        let answer = gateway.ask("GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(answer.status(), status, "{what}");
    }
}

#[tokio::test]
async fn a_router_is_heard_on_its_own_entrypoints_only() {
    let setup = routers(&[
        ("everywhere", "Path(`/e`)", None),
        ("inside", "Path(`/i`)", None),
    ])
    .set("entrypoints/private/address", "127.0.0.1:0")
    .set("routers/inside/entrypoints", json!(["private"]));
    let gateway = setup.start().await;
    let private = gateway.local_address("private").await.unwrap().to_string();
    for (address, path, status) in [
        (gateway.address().to_string(), "/e", 201),
        (gateway.address().to_string(), "/i", 404),
        (private.clone(), "/e", 201),
        (private, "/i", 202),
    ] {
        let io = tokio::net::TcpStream::connect(&address).await.unwrap();
        let mut wire = support::Wire::new(io);
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await;
        assert_eq!(wire.answer().await.status(), status, "{address} {path}");
    }
}

#[tokio::test]
async fn what_no_router_takes_gets_404_and_the_connection_stays() {
    let gateway = routers(&[("a", "Path(`/a`)", None)]).start().await;
    let mut client = gateway.h1().await;
    for _ in 0..2 {
        assert_eq!(client.get("/b").await.status, 404);
        assert_eq!(client.get("/a").await.status, 201);
    }
    let mut client = gateway.h2().await;
    for method in ["GET", "HEAD"] {
        let reply = client.ask(support::request(method, "/b")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.is_empty()),
            (404, method == "HEAD")
        );
    }
}

#[tokio::test]
async fn an_encoded_slash_is_refused_where_told() {
    for (mode, status) in [("keep", 201), ("reject", 400)] {
        let gateway = routers(&[("a", "PathPrefix(`/`)", None)])
            .http("encoded_slash", mode)
            .start()
            .await;
        for target in ["/a%2Fb", "/a%2fb"] {
            let answer = gateway
                .ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"))
                .await;
            assert_eq!(answer.status(), status, "{mode} {target}");
        }
        let query = gateway.ask("GET /?a%2Fb HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(query.status(), 201, "{mode}");
    }
}
