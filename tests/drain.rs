//! Draining a server by hand, through the admin API.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use support::body::feed;
use support::operator::{TOKEN, get, json_of, page, put};
use support::server::Recorded;
use support::{
    Client, Operator, Process, Server, Setup, TestGateway, eventually, request, watched,
};

/// A server that answers with its name.
async fn named(name: &'static str) -> Server {
    let answer = move |_: Request<Recorded>| std::future::ready(Response::new(Body::from(name)));
    Server::http(answer).await
}

async fn answers(client: &mut Client, count: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..count {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200);
        answers.push(reply.text());
    }
    answers
}

#[tokio::test]
async fn a_drained_server_ends_what_it_has_and_takes_nothing_new_until_it_is_up() {
    let (parts, mut feeds) = tokio::sync::mpsc::unbounded_channel();
    let a = Server::http(move |_: Request<Recorded>| {
        let (feed, body) = feed();
        parts.send(feed).unwrap();
        std::future::ready(Response::new(body))
    })
    .await;
    let b = named("b").await;
    let gateway = watched(Setup::to_each([&a, &b])).start().await;
    let mut operator = Operator::of(&gateway).await;
    let mut under_way = gateway.h1().await;
    let response = under_way.send(request("GET", "/")).await;
    let feed = feeds.recv().await.unwrap();

    let drained = operator
        .steer("backend", &a.address().to_string(), "drain")
        .await;
    assert_eq!(drained["state"], "drained");
    assert_eq!(
        drained["why"],
        json!({ "drained": "by hand, from 127.0.0.1" })
    );
    assert_eq!(
        (&drained["url"], &drained["in_flight"]),
        (&json!(a.to_string()), &json!(1))
    );
    let mut client = gateway.h1().await;
    assert_eq!(answers(&mut client, 4).await, ["b"; 4]);
    assert!(feed.data("to the end").await);
    drop(feed);
    let reply = support::client::read(response).await.unwrap();
    assert_eq!(reply.text(), "to the end");
    assert_eq!(a.requests(), 1);

    let up = operator
        .steer("backend", &a.address().to_string(), "up")
        .await;
    assert_eq!((&up["state"], &up["why"]), (&json!("healthy"), &json!({})));
    let response = client.send(request("GET", "/")).await;
    drop(feeds.recv().await.unwrap());
    assert!(
        support::client::read(response)
            .await
            .unwrap()
            .body
            .is_empty()
    );
    assert_eq!(a.requests(), 2);
}

#[tokio::test]
async fn a_drain_outlives_every_reload_that_keeps_the_server() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let setup = watched(Setup::to_each([&a, &b]));
    let gateway = setup.start().await;
    let mut operator = Operator::of(&gateway).await;
    let id = a.address().to_string();
    let drained = operator.steer("backend", &id, "drain").await;
    let mut client = gateway.h1().await;
    let with = |servers: Value| setup.clone().balancer("servers", servers);
    let kept = [
        setup.clone().route("more", "Path(`/more`)", "backend"),
        setup.clone().balancer("strategy", "least-connections"),
        with(json!([{ "url": a.to_string(), "weight": 7 }, { "url": b.to_string() }])),
        with(json!([{ "url": b.to_string() }, { "url": c.to_string() }, { "url": a.to_string() }])),
        setup.clone(),
    ];
    for setup in &kept {
        gateway.become_(setup).await;
        let seen = answers(&mut client, 6).await;
        assert!(!seen.contains(&"a".to_owned()), "{seen:?}");
        let reply = operator.ask(get(&page("backend", &id))).await;
        let shown = &json_of(&reply)[0];
        for key in ["state", "why", "since"] {
            assert_eq!(shown[key], drained[key], "{key}");
        }
    }
    // A server that goes and comes back is a new one.
    gateway
        .become_(&with(json!([{ "url": b.to_string() }])))
        .await;
    gateway.become_(&setup).await;
    let reply = operator.ask(get(&page("backend", &id))).await;
    assert_eq!(json_of(&reply)[0]["state"], "healthy");
    assert!(answers(&mut client, 2).await.contains(&"a".to_owned()));
}

#[tokio::test]
async fn where_every_server_is_drained_the_answer_is_503_and_the_gateway_degraded() {
    let (a, b) = (named("a").await, named("b").await);
    let gateway = watched(Setup::to_each([&a, &b])).start().await;
    let mut operator = Operator::of(&gateway).await;
    let mut client = gateway.h1().await;
    let up = |gateway: &TestGateway, server: &Server| {
        let series = "gateway_service_server_up";
        gateway.metric(&format!(
            "{series}{{service=\"backend\",server=\"{server}\"}}"
        ))
    };
    let service = |gateway: &TestGateway| {
        let health = gateway.health();
        let service = health.services["backend"];
        (health.status, service.servers, service.available)
    };
    assert_eq!(service(&gateway), ("healthy", 2, 2));
    assert_eq!((up(&gateway, &a), up(&gateway, &b)), (Some(1.0), Some(1.0)));
    operator
        .steer("backend", &a.address().to_string(), "drain")
        .await;
    assert_eq!(service(&gateway), ("healthy", 2, 1));
    assert_eq!((up(&gateway, &a), up(&gateway, &b)), (Some(0.0), Some(1.0)));
    operator
        .steer("backend", &b.address().to_string(), "drain")
        .await;
    assert_eq!(service(&gateway), ("degraded", 2, 0));
    let health = operator.ask(get("/api/gateway/health")).await;
    let services = &json_of(&health)["services"];
    assert_eq!(services["backend"], json!({ "servers": 2, "available": 0 }));
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(operator.ask(get("/ready")).await.status, 200);
    operator
        .steer("backend", &a.address().to_string(), "up")
        .await;
    assert_eq!(service(&gateway), ("healthy", 2, 1));
    assert_eq!(answers(&mut client, 2).await, ["a", "a"]);
}

#[tokio::test]
async fn a_server_of_several_revisions_is_drained_in_all_of_them() {
    let (a, b) = (named("a").await, named("b").await);
    let (a_url, b_url) = (a.to_string(), b.to_string());
    let revisions = json!([
        { "name": "v1", "traffic_percent": 100, "servers": [{ "url": a_url }] },
        { "name": "v2", "traffic_percent": 0, "servers": [{ "url": a_url }, { "url": b_url }] },
    ]);
    let setup = Setup::new()
        .route("all", "PathPrefix(`/`)", "backend")
        .set("services/backend/revisions", revisions);
    let gateway = watched(setup).start().await;
    let mut operator = Operator::of(&gateway).await;
    let health = |gateway: &TestGateway| {
        let health = gateway.health();
        (health.status, health.services["backend"].available)
    };
    assert_eq!(health(&gateway), ("healthy", 1));
    let here = page("backend", &a.address().to_string());
    let reply = operator.ask(put(&here, r#"{"state": "drain"}"#)).await;
    let drained: Vec<_> = (json_of(&reply).as_array().unwrap().iter())
        .map(|server| [&server["url"], &server["revision"], &server["state"]].map(Value::clone))
        .collect();
    let expected = ["v1", "v2"].map(|revision| [json!(a_url), json!(revision), json!("drained")]);
    assert_eq!(drained, expected);
    // A revision without a share is no stand-in.
    assert_eq!(health(&gateway), ("degraded", 0));
    assert_eq!(gateway.h1().await.get("/").await.status, 503);
    let up = "gateway_service_server_up{service=\"backend\"";
    let series = |revision: &str, url: &str| {
        gateway.metric(&format!("{up},server=\"{url}\",revision=\"{revision}\"}}"))
    };
    let all = [("v1", &a_url), ("v2", &a_url), ("v2", &b_url)].map(|(r, url)| series(r, url));
    assert_eq!(all, [Some(0.0), Some(0.0), Some(1.0)]);
}

#[tokio::test]
async fn a_server_is_named_by_its_place_or_by_its_url() {
    let (a, v6, socket) = (named("a").await, "http://[::1]:8001", "unix:/run/app.sock");
    let urls = [a.to_string(), v6.to_owned(), socket.to_owned()];
    let gateway = watched(Setup::to_each(&urls)).start().await;
    let mut operator = Operator::of(&gateway).await;
    let address = a.address();
    for (name, url) in [
        (format!("{address}"), &urls[0]),
        (format!("127.0.0.1%3A{}", address.port()), &urls[0]),
        (format!("http%3A%2F%2F{address}"), &urls[0]),
        (format!("http:%2f%2f{address}"), &urls[0]),
        ("[::1]:8001".to_owned(), &urls[1]),
        ("%5B::1%5D:8001".to_owned(), &urls[1]),
        ("%2Frun%2Fapp.sock".to_owned(), &urls[2]),
        ("unix:%2Frun%2Fapp.sock".to_owned(), &urls[2]),
    ] {
        for (wish, state) in [("drain", "drained"), ("up", "healthy")] {
            let shown = operator.steer("backend", &name, wish).await;
            let seen = (&shown["url"], &shown["state"]);
            assert_eq!(seen, (&json!(url), &json!(state)), "{name}");
        }
    }
}

#[tokio::test]
async fn only_who_may_drains_and_only_what_there_is() {
    let a = named("a").await;
    let setup = watched(Setup::to(&a)).route("admin", "PathPrefix(`/api`)", "admin@internal");
    let gateway = setup.start().await;
    let mut operator = Operator::of(&gateway).await;
    let here = page("backend", &a.address().to_string());
    let drain = r#"{"state": "drain"}"#;
    let long = format!("{drain}{}", " ".repeat(1024));
    let set = |mut put: Request<Body>, name: &'static str, value: &str| {
        put.headers_mut().insert(name, value.parse().unwrap());
        put
    };
    let without = |mut put: Request<Body>, name: &str| {
        put.headers_mut().remove(name);
        put
    };
    for (what, put, status) in [
        ("no token", without(put(&here, drain), "authorization"), 401),
        (
            "a wrong token",
            set(put(&here, drain), "authorization", "Bearer x"),
            401,
        ),
        ("no type", without(put(&here, drain), "content-type"), 415),
        (
            "a form",
            set(put(&here, drain), "content-type", "text/plain"),
            415,
        ),
        ("no body", put(&here, ""), 400),
        ("no JSON", put(&here, "drain"), 400),
        ("another state", put(&here, r#"{"state": "down"}"#), 400),
        ("no state", put(&here, "{}"), 400),
        (
            "more than a state",
            put(&here, r#"{"state": "drain", "for": 5}"#),
            400,
        ),
        ("too long a body", put(&here, &long), 413),
        (
            "another service",
            put(&page("x", "127.0.0.1:1"), drain),
            404,
        ),
        (
            "another server",
            put(&page("backend", "127.0.0.1:1"), drain),
            404,
        ),
        ("no name", put(&page("backend", "%FF"), drain), 400),
        (
            "a whole service",
            put("/api/gateway/services/backend", drain),
            405,
        ),
        ("all services", put("/api/gateway/services", drain), 405),
    ] {
        let reply = operator.ask(put).await;
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        assert_eq!(json_of(&reply)["status"], status, "{what}");
        assert!(json_of(&reply)["error"].is_string(), "{what}");
    }
    // Through a router, with the token and all, it is only shown.
    let mut web = gateway.h1().await;
    assert_eq!(web.ask(put(&here, drain)).await.status, 403);
    assert_eq!(json_of(&web.ask(get(&here)).await)[0]["state"], "healthy");
    let typed = set(
        put(&here, drain),
        "content-type",
        "Application/JSON; charset=utf-8",
    );
    assert_eq!(operator.ask(typed).await.status, 200);
    assert_eq!(json_of(&web.ask(get(&here)).await)[0]["state"], "drained");
}

#[tokio::test]
async fn without_a_token_nobody_drains() {
    let a = named("a").await;
    let gateway = Setup::to(&a).admin().start().await;
    let mut operator = Operator::of(&gateway).await;
    let here = page("backend", &a.address().to_string());
    let reply = operator.ask(put(&here, r#"{"state": "drain"}"#)).await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("set `admin.token`"), "{reply:?}");
    assert_eq!(
        json_of(&operator.ask(get(&here)).await)[0]["state"],
        "healthy"
    );
}

#[tokio::test]
async fn without_a_token_a_loopback_listener_goes_by_no_name_that_a_web_page_may_have() {
    let a = named("a").await;
    let setup = Setup::to(&a);
    for (setup, status) in [(setup.clone().admin(), 403), (watched(setup), 200)] {
        let gateway = setup.start().await;
        let mut client = Operator::of(&gateway).await;
        for page in ["/api/gateway/config", "/api/gateway/services", "/live"] {
            let mut rebound = get(page);
            let host = "evil.example:9090".parse().unwrap();
            rebound.headers_mut().insert("host", host);
            assert_eq!(client.ask(rebound).await.status, status, "{page}");
            assert_eq!(client.ask(get(page)).await.status, 200, "{page}");
        }
    }
}

#[tokio::test]
async fn who_drains_is_logged_once() {
    let a = named("a").await;
    let text = watched(Setup::to(&a)).text();
    let gateway = Process::start(&text, &["admin@internal"]).await;
    let address = gateway.address("admin@internal");
    let mut operator = Operator::at(address).await;
    for wish in ["drain", "drain", "up", "up"] {
        operator
            .steer("backend", &a.address().to_string(), wish)
            .await;
    }
    let up = format!("a server is no longer drained server=\"{a}\" client=\"127.0.0.1\"");
    gateway.logs(&up).await;
    let log = gateway.log();
    let drained = format!("a server is drained by hand server=\"{a}\" client=\"127.0.0.1\"");
    assert_eq!(log.matches(&drained).count(), 1, "{log}");
    assert_eq!(log.matches(&up).count(), 1, "{log}");
    assert!(!log.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn a_drained_server_of_tcp_keeps_its_connections() {
    let server =
        || Server::raw(|mut wire, _| async move { while wire.try_byte().await.is_some() {} });
    let (a, b) = (server().await, server().await);
    let setup = Setup::new()
        .set("entrypoints/web/protocol", "tcp")
        .route("all", "HostSNI(`*`)", "backend")
        .set("routers/all/entrypoints", json!(["web"]))
        .balancer(
            "servers",
            json!([{ "url": a.url("tcp") }, { "url": b.url("tcp") }]),
        );
    let gateway = watched(setup).start().await;
    let mut operator = Operator::of(&gateway).await;
    let mut before = gateway.wire().await;
    before.send("x").await;
    eventually("it is dialled", || a.open() + b.open() == 1).await;
    let (old, new) = if a.open() == 1 { (&a, &b) } else { (&b, &a) };
    let drained = operator
        .steer("backend", &old.address().to_string(), "drain")
        .await;
    assert_eq!(drained["in_flight"], 1);
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut wire = gateway.wire().await;
        wire.send("x").await;
        others.push(wire);
    }
    eventually("the others are dialled", || new.open() == 3).await;
    assert_eq!((old.open(), old.accepted()), (1, 1));
    before.send("x").await;
}
