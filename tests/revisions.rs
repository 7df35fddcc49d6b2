//! Revisions share the requests of a service.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::operator::{Operator, watched};
use support::server::Recorded;
use support::{Client, Reply, Server, Setup, TestGateway, eventually, request, within};
use tokio::task::JoinSet;

/// A server that answers with its name.
async fn named(name: &'static str) -> Server {
    let answer = move |_: Request<Recorded>| std::future::ready(Response::new(Body::from(name)));
    Server::http(answer).await
}

/// A revision of servers of weight 1.
fn revision(name: &str, percent: u8, servers: &[&Server]) -> Value {
    let servers = servers.iter();
    let servers: Value = servers
        .map(|server| json!({ "url": server.to_string() }))
        .collect();
    json!({ "name": name, "traffic_percent": percent, "servers": servers })
}

fn service(revisions: impl Into<Vec<Value>>) -> Setup {
    let setup = Setup::new()
        .route("all", "PathPrefix(`/`)", "backend")
        .set("services/backend/revisions", revisions.into());
    watched(setup).with_all_workers()
}

/// Who answers so many requests, in their order.
async fn answers(client: &mut Client, count: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..count {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        answers.push(reply.text());
    }
    answers
}

fn counted(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.as_str()).or_default() += 1;
    }
    counts
}

/// Asks with a cookie, if there is one. Returns the answer, and the cookie that it sets.
async fn ask(client: &mut Client, path: &str, cookie: Option<&str>) -> (Reply, Option<String>) {
    let mut request = request("GET", path);
    if let Some(cookie) = cookie {
        let cookie = cookie.parse().unwrap();
        request.headers_mut().insert(COOKIE, cookie);
    }
    let reply = client.ask(request).await;
    let set = reply.headers.get(SET_COOKIE).map(|set| {
        let pair = set.to_str().unwrap().split(';').next();
        pair.unwrap().to_owned()
    });
    (reply, set)
}

/// Who answers a client with this cookie, and the cookie that it gets.
async fn get(client: &mut Client, cookie: Option<&str>) -> (String, Option<String>) {
    let (reply, set) = ask(client, "/", cookie).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    (reply.text(), set)
}

/// Wants something of a server, as an operator does.
async fn steer(gateway: &TestGateway, server: &Server, wish: &str) {
    let mut operator = Operator::of(gateway).await;
    let server = server.address().to_string();
    operator.steer("backend", &server, wish).await;
}

async fn kill(server: Server) {
    let address = server.address();
    drop(server);
    within("it is gone", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn any_hundred_requests_are_shared_to_the_percent() {
    let (a, b, c) = (named("v1").await, named("v2").await, named("v3").await);
    for shares in [
        [90, 10, 0],
        [50, 25, 25],
        [33, 33, 34],
        [1, 0, 99],
        [0, 100, 0],
    ] {
        let gateway = service([
            revision("v1", shares[0], &[&a]),
            revision("v2", shares[1], &[&b]),
            revision("v3", shares[2], &[&c]),
        ])
        .start()
        .await;
        let (mut h1, mut h2) = (gateway.h1().await, gateway.h2().await);
        let mut seen = answers(&mut h1, 63).await;
        seen.extend(answers(&mut h2, 107).await);
        seen.extend(answers(&mut h1, 30).await);
        let names = ["v1", "v2", "v3"];
        let part = |window: &[String], name: &str| {
            let of_name = window.iter().filter(|answer| *answer == name);
            of_name.count()
        };
        for (name, share) in names.into_iter().zip(shares) {
            for window in seen.windows(100) {
                assert_eq!(part(window, name), usize::from(share), "{shares:?}");
            }
            // Not all at once, either.
            for length in [7, 20, 50] {
                for window in seen.windows(length) {
                    let due = f64::from(share) * length as f64 / 100.0;
                    let off = (part(window, name) as f64 - due).abs();
                    assert!(off < 2.0, "{shares:?} {name}: {off} in {length}");
                }
            }
        }
    }
}

#[tokio::test]
async fn many_clients_at_once_are_shared_to_the_percent() {
    let (a, b) = (named("v1").await, named("v2").await);
    let gateway = service([revision("v1", 80, &[&a]), revision("v2", 20, &[&b])])
        .start()
        .await;
    let mut clients = JoinSet::new();
    for number in 0..10 {
        let mut client = match number % 2 {
            0 => gateway.h1().await,
            _ => gateway.h2().await,
        };
        clients.spawn(async move { answers(&mut client, 50).await.len() });
    }
    within("all clients", clients.join_all()).await;
    assert_eq!((a.requests(), b.requests()), (400, 100));
}

#[tokio::test]
async fn each_revision_has_its_own_turns_and_its_own_strategy() {
    let servers = [
        named("a").await,
        named("b").await,
        named("c").await,
        named("d").await,
    ];
    let [a, b, c, d] = &servers;
    let mut weighted = revision("v2", 50, &[c, d]);
    weighted["strategy"] = "weighted".into();
    weighted["servers"][0]["weight"] = 3.into();
    let mut common = revision("v1", 50, &[a, b]);
    common["servers"][0]["weight"] = 3.into();
    // That of the load_balancer is for those who say nothing; by turn, weights do not count.
    let gateway = service([common, weighted])
        .balancer("strategy", "round-robin")
        .start()
        .await;
    let seen = answers(&mut gateway.h1().await, 16).await;
    let expected = BTreeMap::from([("a", 4), ("b", 4), ("c", 6), ("d", 2)]);
    assert_eq!(counted(&seen), expected);
}

#[tokio::test]
async fn the_share_of_a_revision_without_servers_goes_to_the_others() {
    let [a, b, c, d] = [
        named("a").await,
        named("b").await,
        named("c").await,
        named("d").await,
    ];
    let gateway = service([
        revision("v1", 50, &[&a]),
        revision("v2", 30, &[&b]),
        revision("v3", 20, &[&c]),
        revision("v4", 0, &[&d]),
    ])
    .start()
    .await;
    let mut client = gateway.h1().await;
    steer(&gateway, &a, "drain").await;
    let seen = answers(&mut client, 100).await;
    let counts = counted(&seen);
    // Three to two, give or take what a round does.
    assert!(!counts.contains_key("a") && !counts.contains_key("d"));
    assert!((59..=61).contains(&counts["b"]), "{counts:?}");
    steer(&gateway, &b, "drain").await;
    let seen = answers(&mut client, 20).await;
    assert_eq!(counted(&seen), BTreeMap::from([("c", 20)]));
    // A share of 0 is no stand-in.
    steer(&gateway, &c, "drain").await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(d.requests(), 0);
    for server in [&a, &b, &c] {
        steer(&gateway, server, "up").await;
    }
    let seen = answers(&mut client, 100).await;
    let expected = BTreeMap::from([("a", 50), ("b", 30), ("c", 20)]);
    assert_eq!(counted(&seen), expected);
}

#[tokio::test]
async fn a_revision_that_is_found_unhealthy_has_no_share_until_it_is_well() {
    let is_well = Arc::new(AtomicBool::new(true));
    let mood = Arc::clone(&is_well);
    let a = Server::http(move |_: Request<Recorded>| {
        let status = match mood.load(Ordering::SeqCst) {
            true => 200,
            false => 500,
        };
        let response = Response::builder().status(status);
        std::future::ready(response.body(Body::from("a")).unwrap())
    });
    let (a, b) = (a.await, named("b").await);
    let check = json!({
        "interval": "100ms", "unhealthy_threshold": 1, "path": "/health",
    });
    let gateway = service([revision("v1", 90, &[&a]), revision("v2", 10, &[&b])])
        .balancer("health_check", check)
        .start()
        .await;
    let up =
        format!("gateway_service_server_up{{service=\"backend\",server=\"{a}\",revision=\"v1\"}}");
    let mut client = gateway.h1().await;
    is_well.store(false, Ordering::SeqCst);
    eventually("it is unhealthy", || gateway.metric(&up) == Some(0.0)).await;
    let seen = answers(&mut client, 20).await;
    assert_eq!(counted(&seen), BTreeMap::from([("b", 20)]));
    is_well.store(true, Ordering::SeqCst);
    eventually("it is well", || gateway.metric(&up) == Some(1.0)).await;
    let seen = answers(&mut client, 20).await;
    assert_eq!(counted(&seen), BTreeMap::from([("a", 18), ("b", 2)]));
}

#[tokio::test]
async fn where_no_revision_has_anybody_a_failover_answers() {
    let [a, b, c] = [named("a").await, named("b").await, named("c").await];
    let gateway = service([revision("v1", 50, &[&a]), revision("v2", 50, &[&b])])
        .set("services/backend/failover/service", "standby")
        .service("standby", &c)
        .start()
        .await;
    let mut client = gateway.h1().await;
    steer(&gateway, &a, "drain").await;
    assert_eq!(answers(&mut client, 4).await, ["b"; 4]);
    steer(&gateway, &b, "drain").await;
    assert_eq!(answers(&mut client, 4).await, ["c"; 4]);
    steer(&gateway, &a, "up").await;
    assert_eq!(answers(&mut client, 4).await, ["a"; 4]);
    // Nobody is there, though everybody should be.
    kill(a).await;
    assert_eq!(answers(&mut client, 4).await, ["c"; 4]);
}

#[tokio::test]
async fn another_try_stays_in_the_revision_while_it_has_another_server() {
    let [a, b, c] = [named("a").await, named("b").await, named("c").await];
    let retry = json!({
        "type": "retry", "retry_interval_ms": 0, "budget_min_per_second": 1000, "max_retries": 3,
    });
    let setup = service([revision("v1", 100, &[&a, &b]), revision("v2", 0, &[&c])])
        .balancer("outlier/consecutive_errors", 0)
        .set("middlewares/again", retry)
        .set("routers/all/middlewares", json!(["again"]));
    let gateway = setup.start().await;
    kill(a).await;
    let mut client = gateway.h1().await;
    let seen = answers(&mut client, 10).await;
    assert_eq!(counted(&seen), BTreeMap::from([("b", 10)]));
    assert_eq!(c.requests(), 0);
    kill(b).await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(c.requests(), 0, "a share of 0 gets no tries either");
}

#[tokio::test]
async fn another_try_goes_to_another_revision_if_need_be() {
    let [a, b] = [named("a").await, named("b").await];
    let retry = json!({
        "type": "retry", "retry_interval_ms": 0, "budget_min_per_second": 1000, "max_retries": 1,
    });
    let setup = service([revision("v1", 50, &[&a]), revision("v2", 50, &[&b])])
        .set("middlewares/again", retry)
        .set("routers/all/middlewares", json!(["again"]));
    let gateway = setup.start().await;
    kill(a).await;
    let seen = answers(&mut gateway.h1().await, 20).await;
    assert_eq!(counted(&seen), BTreeMap::from([("b", 20)]));
}

#[tokio::test]
async fn a_reload_moves_shares_and_keeps_what_stands() {
    let [a, b, c] = [named("a").await, named("b").await, named("c").await];
    let setup = |old, new| service([revision("v1", old, &[&a, &b]), revision("v2", new, &[&c])]);
    let gateway = setup(100, 0).start().await;
    let mut client = gateway.h1().await;
    steer(&gateway, &b, "drain").await;
    answers(&mut client, 5).await;
    let requests = |server: &Server, revision: &str| {
        let series = format!(
            "gateway_service_server_requests_total{{service=\"backend\",server=\"{server}\",revision=\"{revision}\"}}"
        );
        gateway.metric(&series)
    };
    assert_eq!(requests(&a, "v1"), Some(5.0));
    assert_eq!(requests(&c, "v2"), Some(0.0));
    gateway.become_(&setup(50, 50)).await;
    let seen = answers(&mut client, 10).await;
    assert_eq!(counted(&seen), BTreeMap::from([("a", 5), ("c", 5)]));
    assert_eq!(requests(&a, "v1"), Some(10.0));
    gateway.become_(&setup(0, 100)).await;
    let seen = answers(&mut client, 10).await;
    assert_eq!(counted(&seen), BTreeMap::from([("c", 10)]));
    // Another order, another name: who is who goes by the name.
    let renamed = service([revision("v2", 50, &[&c]), revision("v3", 50, &[&a, &b])]);
    gateway.become_(&renamed).await;
    assert_eq!(requests(&c, "v2"), Some(15.0));
    assert_eq!(requests(&a, "v1"), None);
    assert_eq!(requests(&a, "v3"), Some(0.0));
}

#[tokio::test]
async fn the_admin_api_shows_the_servers_of_each_revision() {
    let [a, b] = [named("a").await, named("b").await];
    let gateway = service([revision("v1", 50, &[&a]), revision("v2", 50, &[&a, &b])])
        .start()
        .await;
    let mut operator = Operator::of(&gateway).await;
    let services = operator.look("/api/gateway/services").await;
    let revisions = services[0]["revisions"].as_array().unwrap();
    let shown = revisions.iter().map(|revision| {
        let servers = revision["servers"].as_array().unwrap().iter();
        let urls: Vec<_> = servers
            .map(|server| server["url"].as_str().unwrap())
            .collect();
        (revision["name"].as_str().unwrap(), urls)
    });
    let (a, b) = (a.to_string(), b.to_string());
    let expected = [("v1", vec![&*a]), ("v2", vec![&*a, &*b])];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_session_stays_at_its_server_whatever_the_shares() {
    let [a, b, c] = [named("a").await, named("b").await, named("c").await];
    let setup = |old, new| {
        service([revision("v1", old, &[&a, &b]), revision("v2", new, &[&c])])
            .balancer("sticky", json!({ "cookie": "sid" }))
    };
    let gateway = setup(50, 50).start().await;
    let mut client = gateway.h2().await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        let (server, cookie) = get(&mut client, None).await;
        sessions.push((server, cookie.unwrap()));
    }
    let servers: Vec<_> = sessions.iter().map(|(server, _)| server.clone()).collect();
    assert_eq!(counted(&servers).len(), 3, "{servers:?}");
    for (old, new) in [(50, 50), (0, 100), (100, 0), (1, 99)] {
        gateway.become_(&setup(old, new)).await;
        for mut client in [gateway.h1().await, gateway.h2().await] {
            for (server, cookie) in &sessions {
                let stays = (server.clone(), None);
                assert_eq!(get(&mut client, Some(cookie)).await, stays, "{old} {new}");
            }
        }
    }
    // Sessions take nobody's turns.
    gateway.become_(&setup(50, 50)).await;
    let mut others = Vec::new();
    for (_, cookie) in &sessions {
        get(&mut client, Some(cookie)).await;
        others.push(get(&mut client, None).await.0);
    }
    assert_eq!(counted(&others)["c"], 3);
    // Another gateway, another day.
    let another = setup(100, 0).start().await;
    for (server, cookie) in &sessions {
        let mut client = another.h1().await;
        assert_eq!(get(&mut client, Some(cookie)).await, (server.clone(), None));
    }
}

#[tokio::test]
async fn a_session_whose_server_goes_stays_in_the_revision_that_has_a_share() {
    let [a, b, c] = [named("a").await, named("b").await, named("c").await];
    let setup = |old, new, first: &[&Server]| {
        service([revision("v1", old, first), revision("v2", new, &[&c])])
            .balancer("sticky", json!({ "cookie": "sid" }))
    };
    let gateway = setup(50, 50, &[&a, &b]).start().await;
    let mut client = gateway.h1().await;
    let mut cookie = None;
    while cookie.is_none() {
        cookie = Some(get(&mut client, None).await)
            .filter(|(server, _)| server == "a")
            .and_then(|(_, cookie)| cookie);
    }
    // By hand: it keeps its sessions.
    steer(&gateway, &a, "drain").await;
    let stays = ("a".to_owned(), None);
    assert_eq!(get(&mut client, cookie.as_deref()).await, stays);
    // Gone: it is any server's.
    gateway.become_(&setup(50, 50, &[&b])).await;
    let (server, new) = get(&mut client, cookie.as_deref()).await;
    assert_ne!(server, "a");
    assert!(new.is_some_and(|new| Some(new) != cookie));
}

#[tokio::test]
async fn a_session_may_be_kept_at_a_revision() {
    let [a, b, c, d] = [
        named("a").await,
        named("b").await,
        named("c").await,
        named("d").await,
    ];
    let setup = |old, new| {
        service([
            revision("v1", old, &[&a, &b]),
            revision("v2", new, &[&c, &d]),
        ])
        .balancer("sticky", json!({ "cookie": "sid", "to": "revision" }))
    };
    let gateway = setup(50, 50).start().await;
    let mut client = gateway.h1().await;
    let first = get(&mut client, None).await;
    let second = get(&mut client, None).await;
    assert_eq!((&*first.0, &*second.0), ("a", "c"));
    let cookies = [first.1.unwrap(), second.1.unwrap()];
    assert_ne!(cookies[0], cookies[1]);
    for (old, new) in [(50, 50), (100, 0), (0, 100)] {
        gateway.become_(&setup(old, new)).await;
        for (cookie, servers) in cookies.iter().zip([["a", "b"], ["c", "d"]]) {
            let mut seen = Vec::new();
            for _ in 0..4 {
                let (server, set) = get(&mut client, Some(cookie)).await;
                assert_eq!(set, None);
                seen.push(server);
            }
            let both = servers.map(|server| (server, 2));
            assert_eq!(counted(&seen), BTreeMap::from(both), "{old} {new}");
        }
    }
    // A revision without servers keeps nobody, and gets nobody's cookie.
    for server in [&c, &d] {
        steer(&gateway, server, "drain").await;
    }
    gateway.become_(&setup(100, 0)).await;
    let (server, set) = get(&mut client, Some(&cookies[1])).await;
    assert!(["a", "b"].contains(&&*server));
    assert_eq!(set.as_ref(), Some(&cookies[0]));
    // Nor do words that nobody has given.
    for forged in [
        "sid=v1",
        "sid=v2",
        "sid=",
        &format!("sid={}", "0".repeat(32)),
    ] {
        let (_, set) = get(&mut client, Some(forged)).await;
        assert_eq!(set.as_ref(), Some(&cookies[0]), "{forged}");
    }
}

#[tokio::test]
async fn a_retry_that_changes_the_revision_changes_the_session() {
    let b = named("b").await;
    let retry = json!({
        "type": "retry", "retry_interval_ms": 0, "budget_min_per_second": 1000, "max_retries": 1,
    });
    for to in ["server", "revision"] {
        let a = named("a").await;
        let setup = service([revision("v1", 50, &[&a]), revision("v2", 50, &[&b])])
            .balancer("sticky", json!({ "cookie": "sid", "to": to }))
            .set("middlewares/again", retry.clone())
            .set("routers/all/middlewares", json!(["again"]));
        let gateway = setup.start().await;
        let mut client = gateway.h1().await;
        let (server, cookie) = get(&mut client, None).await;
        assert_eq!(server, "a", "{to}");
        kill(a).await;
        let (server, moved) = get(&mut client, cookie.as_deref()).await;
        assert_eq!(server, "b", "{to}");
        let moved = moved.unwrap();
        assert_ne!(Some(&moved), cookie.as_ref());
        let stays = ("b".to_owned(), None);
        assert_eq!(get(&mut client, Some(&moved)).await, stays, "{to}");
    }
}
