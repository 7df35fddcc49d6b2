//! Strategies that look at the servers, or at the request; slow starts and limits: over sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::body::feed;
use support::server::Recorded;
use support::{
    Client, End, Port, Server, Setup, TestGateway, Wire, connect_from, eventually, request, within,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// A server that answers with a number, after this time.
async fn numbered(number: usize, after: Duration) -> Server {
    Server::http(move |_: Request<Recorded>| async move {
        sleep(after).await;
        Response::new(Body::from(number.to_string()))
    })
    .await
}

async fn fast(count: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for number in 0..count {
        servers.push(numbered(number, Duration::ZERO).await);
    }
    servers
}

/// How many requests each server has seen of so many that clients send, each one at a time; those without a 200.
async fn load(gateway: &TestGateway, clients: usize, each: usize) -> usize {
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let mut client = gateway.h1().await;
        tasks.spawn(async move {
            let mut failed = 0;
            for _ in 0..each {
                failed += usize::from(client.get("/").await.status != 200);
            }
            failed
        });
    }
    let failed = tokio::time::timeout(Duration::from_secs(60), tasks.join_all()).await;
    failed.unwrap().into_iter().sum()
}

/// The servers of the service `backend` as the admin API shows them.
async fn shown(gateway: &TestGateway) -> Vec<Value> {
    let services = gateway.admin("/api/gateway/services").await;
    services[0]["servers"].as_array().unwrap().clone()
}

// p2c-ewma

#[tokio::test]
async fn a_slow_server_gets_little_by_latency_and_a_third_in_turn() {
    const CLIENTS: usize = 6;
    const EACH: usize = 50;
    for (strategy, least, most) in [("round-robin", 100, 100), ("p2c-ewma", 1, 30)] {
        let slow = numbered(0, Duration::from_millis(100)).await;
        let servers = fast(2).await;
        let gateway = Setup::to_each([&slow, &servers[0], &servers[1]])
            .balancer("strategy", strategy)
            .with_all_workers()
            .start()
            .await;
        assert_eq!(load(&gateway, CLIENTS, EACH).await, 0);
        let count = slow.requests();
        assert!((least..=most).contains(&count), "{strategy}: {count}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_not_taken_for_a_fast_one() {
    let servers = fast(2).await;
    let gateway = Setup::to_each([
        "http://127.0.0.1:1".to_owned(),
        servers[0].to_string(),
        servers[1].to_string(),
    ])
    .balancer("strategy", "p2c-ewma")
    .start()
    .await;
    let failed = load(&gateway, 6, 50).await;
    // In turn it would be a hundred. Each client may meet it once before anybody knows.
    assert!((1..=20).contains(&failed), "{failed}");
}

#[tokio::test]
async fn the_time_of_a_clients_upload_is_not_the_servers() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .balancer("strategy", "p2c-ewma")
        .admin()
        .start()
        .await;
    assert_eq!(shown(&gateway).await[0]["ewma_ms"], Value::Null);
    let (feed, body) = feed();
    let mut post = request("POST", "/");
    *post.body_mut() = body;
    let mut client = gateway.h1().await;
    let answer = client.begin(post).await;
    assert!(feed.data("a").await);
    let task = tokio::spawn(answer);
    server.has_seen(1).await;
    eventually("the first piece is there", || server.last().body == b"a").await;
    let paused = Instant::now();
    // It is what it is: a client that takes its time.
    sleep(Duration::from_millis(700)).await;
    let paused = paused.elapsed().as_secs_f64() * 1e3;
    drop(feed);
    let answer = within("an answer", task).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let ewma = shown(&gateway).await[0]["ewma_ms"].as_f64().unwrap();
    assert!(
        ewma > 0.0 && ewma < paused,
        "{ewma} ms, {paused} of them the client's"
    );
}

#[tokio::test]
async fn what_is_known_of_servers_outlives_reloads() {
    let servers = fast(2).await;
    let setup = Setup::to_each(&servers)
        .balancer("strategy", "p2c-ewma")
        .admin();
    let gateway = setup.start().await;
    load(&gateway, 1, 10).await;
    let known = |shown: Vec<Value>| -> Vec<f64> {
        shown
            .iter()
            .map(|server| server["ewma_ms"].as_f64().unwrap())
            .collect()
    };
    let before = known(shown(&gateway).await);
    let other = setup.clone().route("more", "Path(`/more`)", "backend");
    gateway.become_(&other).await;
    assert_eq!(known(shown(&gateway).await), before, "another route");
    let same_servers = other
        .balancer("strategy", "random")
        .balancer("slow_start", "10s");
    gateway.become_(&same_servers).await;
    assert_eq!(known(shown(&gateway).await), before, "another strategy");
}

// consistent-hash

/// Who answers this request.
async fn owner(client: &mut Client, request: Request<Body>) -> usize {
    client.ask(request).await.text().parse().unwrap()
}

fn hashed(servers: &[Server], on: &str) -> Setup {
    Setup::to_each(servers)
        .balancer("strategy", "consistent-hash")
        .balancer("consistent_hash", json!({ "on": on }))
        .with_all_workers()
}

#[tokio::test]
async fn a_header_a_cookie_or_the_path_keeps_requests_at_one_server() {
    let servers = fast(3).await;
    let by_header = |key: usize| {
        let mut request = request("GET", "/");
        let value = format!("tenant-{key}").parse().unwrap();
        request.headers_mut().insert("x-tenant", value);
        request
    };
    let by_cookie = |key: usize| {
        let mut request = request("GET", "/");
        let value = format!("a=b; sid={key}").parse().unwrap();
        request.headers_mut().insert("cookie", value);
        request
    };
    let by_path = |key: usize| request("GET", &format!("/items/{key}?n={key}"));
    type Ask = fn(usize) -> Request<Body>;
    for (on, ask) in [
        ("header:X-Tenant", by_header as Ask),
        ("cookie:sid", by_cookie),
        ("path", by_path),
    ] {
        let setup = hashed(&servers, on);
        let gateway = setup.start().await;
        let (mut h1, mut h2) = (gateway.h1().await, gateway.h2().await);
        let mut owners = Vec::new();
        for key in 0..60 {
            owners.push(owner(&mut h1, ask(key)).await);
            assert_eq!(owner(&mut h2, ask(key)).await, owners[key], "{on}");
        }
        // With the hash that there is, each has some. (By chance one would have none in one of 10^10 cases.)
        assert!(
            (0..3).all(|server| owners.contains(&server)),
            "{on}: {owners:?}"
        );
        // Another gateway, or this one after a restart, has the same.
        let other = setup.start().await;
        let mut client = other.h1().await;
        for (key, before) in owners.iter().enumerate().take(20) {
            assert_eq!(owner(&mut client, ask(key)).await, *before, "{on}");
        }
        // A server goes, and comes back.
        let fewer = hashed(&servers[..2], on);
        gateway.become_(&fewer).await;
        let mut moved = 0;
        for (key, before) in owners.iter().enumerate() {
            let now = owner(&mut h1, ask(key)).await;
            moved += usize::from(*before != 2 && now != *before);
        }
        // Of three, hardly any key moves but those of the one that goes: some ten places of 65,537, other ones for
        // other ports. That three of sixty keys are there is one case in ten million.
        assert!(moved < 3, "{on}: {moved}");
        gateway.become_(&setup).await;
        for (key, before) in owners.iter().enumerate() {
            assert_eq!(owner(&mut h1, ask(key)).await, *before, "{on}");
        }
    }
}

#[tokio::test]
async fn a_client_stays_at_one_server_by_its_address() {
    let servers = fast(3).await;
    // As by default, and where a request has no such header.
    for on in [None, Some("client-ip"), Some("header:X-Tenant")] {
        let mut setup = Setup::to_each(&servers)
            .balancer("strategy", "consistent-hash")
            .with_all_workers();
        if let Some(on) = on {
            setup = setup.balancer("consistent_hash", json!({ "on": on }));
        }
        let gateway = setup.start().await;
        let mut owners = [0; 3];
        for last in 1..=40 {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let stream = connect_from([127, 0, 0, last], gateway.address()).await;
                let mut client = Client::h1(stream.unwrap()).await;
                seen.push(owner(&mut client, request("GET", "/")).await);
                seen.push(owner(&mut client, request("GET", "/other")).await);
            }
            assert!(seen.iter().all(|server| *server == seen[0]), "{seen:?}");
            owners[seen[0]] += 1;
        }
        assert!(owners.iter().all(|count| *count > 0), "{owners:?}");
    }
}

// slow_start

#[tokio::test]
async fn a_server_that_joins_others_begins_with_a_part_of_its_share() {
    let servers = fast(3).await;
    let setup = |count: usize| Setup::to_each(&servers[..count]).balancer("slow_start", "1h");
    let gateway = setup(2).start().await;
    let mut client = gateway.h1().await;
    let mut counts = async |requests: usize| {
        let before: Vec<_> = servers.iter().map(Server::requests).collect();
        for _ in 0..requests {
            assert_eq!(client.get("/").await.status, 200);
        }
        let counts = servers.iter().zip(before);
        counts
            .map(|(server, before)| server.requests() - before)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(20).await, [10, 10, 0], "nobody is new at the start");
    gateway.become_(&setup(3)).await;
    // A tenth of its turns: 0.1 of 2.1, some 19 of 400, with a standard deviation of at most 4.3. In turn it is 133.
    let joined = counts(400).await[2];
    assert!((1..=19 + 6 * 5).contains(&joined), "{joined}");
    // What else changes leaves that as it is.
    let more = setup(3)
        .route("more", "Path(`/more`)", "backend")
        .balancer("max_in_flight", 9);
    gateway.become_(&more).await;
    let after = counts(400).await[2];
    assert!((1..=19 + 6 * 5).contains(&after), "{after}");
    // The others are gone: it does what is to be done.
    gateway
        .become_(&Setup::to(&servers[2]).balancer("slow_start", "1h"))
        .await;
    assert_eq!(counts(20).await, [0, 0, 20]);
}

// max_in_flight

/// A server that knows how many requests it had at a time, at the most.
async fn counting(most: Arc<AtomicUsize>) -> Server {
    let now = Arc::new(AtomicUsize::new(0));
    Server::http(move |_: Request<Recorded>| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            let count = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(count, Ordering::SeqCst);
            sleep(Duration::from_millis(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Response::new(Body::from("done"))
        }
    })
    .await
}

#[tokio::test]
async fn a_server_never_has_more_than_its_limit_at_a_time() {
    for strategy in [
        "round-robin",
        "weighted",
        "least-connections",
        "random",
        "p2c-ewma",
        "consistent-hash",
    ] {
        let most: [Arc<AtomicUsize>; 2] = Default::default();
        let servers = [
            counting(Arc::clone(&most[0])).await,
            counting(Arc::clone(&most[1])).await,
        ];
        let gateway = Setup::to_each(&servers)
            .balancer("strategy", strategy)
            .balancer("max_in_flight", 2)
            .with_all_workers()
            .start()
            .await;
        let mut tasks = JoinSet::new();
        for _ in 0..12 {
            let mut client = gateway.h1().await;
            tasks.spawn(async move {
                let mut refused = 0;
                for _ in 0..25 {
                    let reply = client.get("/").await;
                    if reply.status == 503 {
                        assert!(reply.headers.contains_key("retry-after"));
                        assert!(reply.text().contains("busy"), "{reply:?}");
                        refused += 1;
                    } else {
                        assert_eq!(reply.status, 200);
                    }
                }
                refused
            });
        }
        let refused: usize = within("all clients", tasks.join_all()).await.iter().sum();
        for most in &most {
            assert!(most.load(Ordering::SeqCst) <= 2, "{strategy}");
        }
        assert!(refused > 0, "{strategy}: twelve clients find four places");
        let served = servers.iter().map(Server::requests).sum::<usize>();
        assert_eq!(served + refused, 12 * 25, "{strategy}");
    }
}

#[tokio::test]
async fn a_limit_may_change_and_a_configuration_that_is_refused_changes_none() {
    let server = Server::http(|_: Request<Recorded>| {
        let (feed, body) = feed();
        // It never ends.
        std::mem::forget(feed);
        std::future::ready(Response::new(body))
    })
    .await;
    let setup = Setup::to(&server).balancer("max_in_flight", 1);
    let gateway = setup.start().await;
    let mut first = gateway.h1().await;
    let held = first.send(request("GET", "/")).await;
    assert_eq!(held.status(), 200);
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/").await.status, 503);
    // Somebody else has that address.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = setup.clone().balancer("max_in_flight", 100).set(
        "entrypoints/more/address",
        taken.local_addr().unwrap().to_string(),
    );
    assert!(gateway.reload(refused.config()).await.is_err());
    assert_eq!(client.get("/").await.status, 503);
    gateway.become_(&setup.balancer("max_in_flight", 2)).await;
    let more = client.send(request("GET", "/")).await;
    assert_eq!(more.status(), 200);
    assert_eq!(gateway.h1().await.get("/").await.status, 503);
}

// panic_threshold_percent

#[tokio::test]
async fn where_most_servers_are_lost_requests_go_to_all_of_them_if_that_is_wanted() {
    let good = numbered(2, Duration::ZERO).await;
    for (threshold, expected) in [(0, 0), (33, 0), (34, 20), (100, 20)] {
        let dead = [Port::reserve(), Port::reserve()];
        let gateway = Setup::to_each([
            format!("http://{}", dead[0].address()),
            format!("http://{}", dead[1].address()),
            good.to_string(),
        ])
        .balancer(
            "outlier",
            json!({ "consecutive_errors": 1, "max_ejected_percent": 100 }),
        )
        .balancer("panic_threshold_percent", threshold)
        .admin()
        .start()
        .await;
        let mut client = gateway.h1().await;
        let mut failures = async |requests: usize| {
            let mut failures = 0;
            for _ in 0..requests {
                let status = client.get("/").await.status;
                assert!(status == 200 || status == 502, "{status}");
                failures += usize::from(status == 502);
            }
            failures
        };
        // Each of the two is met once, and then known.
        assert!(failures(6).await >= 2, "{threshold}");
        let states = shown(&gateway).await;
        let ejected = states.iter().filter(|server| server["state"] == "ejected");
        assert_eq!(ejected.count(), 2, "{states:?}");
        // Two of three, or none.
        assert_eq!(failures(30).await, expected, "{threshold}");
    }
}

// TCP

/// A server of connections that says its number and waits.
async fn tcp(number: usize) -> Server {
    Server::raw(move |mut wire, _| async move {
        let _ = wire.try_send(number.to_string()).await;
        let _ = wire.rest().await;
    })
    .await
}

fn to_tcp(urls: &[String]) -> Setup {
    Setup::to_each(urls)
        .set("entrypoints/web/protocol", "tcp")
        .set("routers/all/rule", "HostSNI(`*`)")
        .set("routers/all/entrypoints", json!(["web"]))
}

#[tokio::test]
async fn connections_go_by_the_clients_address_too() {
    let servers = [tcp(0).await, tcp(1).await, tcp(2).await];
    let urls: Vec<_> = servers.iter().map(|server| server.url("tcp")).collect();
    let gateway = to_tcp(&urls)
        .balancer("strategy", "consistent-hash")
        .with_all_workers()
        .start()
        .await;
    let mut owners = [0; 3];
    for last in 1..=40 {
        let mut seen = Vec::new();
        for _ in 0..3 {
            let stream = connect_from([127, 0, 0, last], gateway.address()).await;
            seen.push(Wire::new(stream.unwrap()).exactly(1).await[0] - b'0');
        }
        assert!(seen.iter().all(|server| *server == seen[0]), "{seen:?}");
        owners[usize::from(seen[0])] += 1;
    }
    assert!(owners.iter().all(|count| *count > 0), "{owners:?}");
}

#[tokio::test]
async fn each_strategy_dials_and_keeps_to_limits() {
    for strategy in [
        "round-robin",
        "weighted",
        "least-connections",
        "random",
        "p2c-ewma",
        "consistent-hash",
    ] {
        let servers = [tcp(0).await, tcp(1).await];
        let mut urls: Vec<_> = servers.iter().map(|server| server.url("tcp")).collect();
        urls.push("tcp://127.0.0.1:1".to_owned());
        let gateway = to_tcp(&urls)
            .balancer("strategy", strategy)
            .balancer("max_in_flight", 2)
            .start()
            .await;
        let mut held = Vec::new();
        let mut counts = [0; 2];
        for _ in 0..4 {
            let mut wire = gateway.wire().await;
            counts[usize::from(wire.exactly(1).await[0] - b'0')] += 1;
            held.push(wire);
        }
        assert_eq!(counts, [2, 2], "{strategy}");
        // One more is reset, perhaps before the client knows that it is connected.
        if let Ok(stream) = connect_from([127, 0, 0, 1], gateway.address()).await {
            let (bytes, end) = Wire::new(stream).rest().await;
            assert_eq!((&*bytes, end), (&b""[..], End::Reset), "{strategy}");
        }
        // Who leaves makes room.
        held.pop().unwrap().end().await;
        let free = async || match connect_from([127, 0, 0, 1], gateway.address()).await {
            Ok(stream) => Wire::new(stream).try_byte().await.is_some(),
            Err(_) => false,
        };
        within("a place", async { while !free().await {} }).await;
    }
}
