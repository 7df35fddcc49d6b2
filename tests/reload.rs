//! What a reload keeps, and what it changes: over the sockets of clients that stay.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::body::{Feed, feed};
use support::gateway::{Port, connect};
use support::server::Recorded;
use support::{Client, Frames, Outcome, Server, Setup, TestGateway, Wire, eventually, request};
use tokio::net::{TcpStream, UnixStream};

/// A server that answers with its name.
async fn named(name: &'static str) -> Server {
    Server::http(move |_: Request<Recorded>| std::future::ready(Response::new(Body::from(name))))
        .await
}

fn servers<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Value {
    let servers = servers.into_iter();
    servers
        .map(|server| json!({ "url": server.to_string() }))
        .collect()
}

async fn answers(client: &mut Client, count: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(client.get("/").await.text());
    }
    answers
}

/// The servers of a service as the admin API shows them.
async fn shown(gateway: &TestGateway, service: &str) -> Vec<Value> {
    let services = gateway.admin("/api/gateway/services").await;
    let mut services = services.as_array().unwrap().iter();
    let found = services.find(|found| found["name"] == service).unwrap();
    found["servers"].as_array().unwrap().clone()
}

fn requests(servers: &[Value]) -> Vec<u64> {
    let requests = servers.iter().map(|server| &server["requests"]);
    requests.map(|count| count.as_u64().unwrap()).collect()
}

// What stays.

#[tokio::test]
async fn an_unchanged_service_keeps_connections_counts_and_its_turn() {
    let (a, b, other) = (named("a").await, named("b").await, named("other").await);
    let setup = Setup::to_each([&a, &b]).admin();
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    assert_eq!(answers(&mut client, 3).await, ["a", "b", "a"]);

    let more =
        setup
            .clone()
            .service("other", &other)
            .route("other", "PathPrefix(`/other`)", "other");
    for (next, expected) in [
        (&more, ["b", "a"]),
        (&setup, ["b", "a"]),
        (&more, ["b", "a"]),
    ] {
        gateway.become_(next).await;
        // In the middle of the round.
        assert_eq!(answers(&mut client, 2).await, expected);
    }
    assert_eq!(client.get("/other").await.text(), "other");
    assert_eq!(
        (a.accepted(), b.accepted()),
        (1, 1),
        "connections to servers"
    );
    assert_eq!(requests(&shown(&gateway, "backend").await), [5, 4]);
    let routers = gateway.admin("/api/gateway/routers").await;
    assert_eq!(routers[0]["requests"]["2xx"], 9);
    let series = r#"gateway_router_requests_total{router="all",code="200"}"#;
    assert_eq!(gateway.metric(series), Some(9.0));
    // It is one client's connection, all the time.
    let entrypoints = gateway.admin("/api/gateway/entrypoints").await;
    assert_eq!(entrypoints[0]["open_connections"], 1);
}

#[tokio::test]
async fn a_server_that_stays_in_a_changed_list_keeps_its_connections_and_counts() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let setup = Setup::to_each([&a, &b]).admin();
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    answers(&mut client, 4).await;

    // Another list, another strategy, another rule: they are still the same servers.
    let changed = setup
        .clone()
        .balancer("servers", servers([&c, &b]))
        .balancer("strategy", "weighted")
        .route("all", "PathPrefix(`/`) && !Path(`/none`)", "backend");
    gateway.become_(&changed).await;
    let mut seen = answers(&mut client, 4).await;
    seen.sort();
    assert_eq!(seen, ["b", "b", "c", "c"]);
    assert_eq!(b.accepted(), 1);
    assert_eq!(requests(&shown(&gateway, "backend").await), [2, 4]);
    // Who left takes idle connections along.
    eventually("connections to a are closed", || a.open() == 0).await;
    assert_eq!((b.open(), c.open()), (1, 1));
}

#[tokio::test]
async fn other_timeouts_to_a_server_keep_its_counts() {
    let a = named("a").await;
    let setup = Setup::to(&a).admin();
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    answers(&mut client, 2).await;
    gateway
        .become_(&setup.balancer("timeouts/connect", "1s"))
        .await;
    answers(&mut client, 2).await;
    assert_eq!(requests(&shown(&gateway, "backend").await), [4]);
}

#[tokio::test]
async fn a_service_may_move_to_another_router() {
    let a = named("a").await;
    let setup = Setup::to(&a);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    answers(&mut client, 2).await;
    let moved = setup
        .without("routers/all")
        .route("another", "Path(`/`)", "backend");
    gateway.become_(&moved).await;
    answers(&mut client, 2).await;
    assert_eq!(a.accepted(), 1);
    let text = gateway.metrics();
    assert!(text.contains(r#"router="another""#) && !text.contains(r#"router="all""#));
}

/// Answers that a test feeds, one for each request.
async fn fed() -> (Server, Arc<Mutex<Vec<Feed>>>) {
    let feeds = Arc::new(Mutex::new(Vec::new()));
    let server = {
        let feeds = Arc::clone(&feeds);
        Server::http(move |_: Request<Recorded>| {
            let (feed, body) = feed();
            feeds.lock().unwrap().push(feed);
            std::future::ready(Response::new(body))
        })
        .await
    };
    (server, feeds)
}

#[tokio::test]
async fn requests_under_way_finish_on_what_they_began_with() {
    let (slow, feeds) = fed().await;
    let setup = Setup::to(&slow).admin();
    let gateway = setup.start().await;
    let mut clients = [gateway.h1().await, gateway.h2().await];
    let mut under_way = Vec::new();
    for client in &mut clients {
        under_way.push(client.send(request("GET", "/")).await);
    }
    assert_eq!(shown(&gateway, "backend").await[0]["in_flight"], 2);

    // First something else changes, then the server goes, then its router.
    let other = named("other").await;
    let setup = setup.service("other", &other);
    gateway.become_(&setup).await;
    assert_eq!(shown(&gateway, "backend").await[0]["in_flight"], 2);
    let setup = setup.balancer("servers", servers([&other, &slow]));
    gateway.become_(&setup).await;
    assert_eq!(shown(&gateway, "backend").await[1]["in_flight"], 2);
    gateway
        .become_(&setup.clone().balancer("servers", servers([&other])))
        .await;
    let setup = setup
        .without("routers/all")
        .without("services/backend")
        .route("new", "Path(`/new`)", "other");
    gateway.become_(&setup).await;

    let feeds = std::mem::take(&mut *feeds.lock().unwrap());
    for feed in feeds {
        assert!(feed.data("first ").await && feed.data("last").await);
    }
    for response in under_way {
        let reply = support::client::read(response).await.expect("a whole body");
        assert_eq!(reply.text(), "first last");
    }
    // And the next on the same connections meets the new table.
    for mut client in clients {
        assert_eq!(client.get("/").await.status, 404);
        assert_eq!(client.get("/new").await.text(), "other");
    }
    assert_eq!(slow.accepted(), 2);
}

#[tokio::test]
async fn an_upload_under_way_goes_on_to_the_server_that_it_began_with() {
    let server = Server::start().await;
    let setup = Setup::to(&server);
    let gateway = setup.start().await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let (feed, body) = feed();
        let mut upload = request("POST", "/upload");
        *upload.body_mut() = body;
        let count = server.requests();
        let answer = tokio::spawn(async move { client.ask(upload).await });
        assert!(feed.data("before ").await);
        server.has_seen(count + 1).await;
        let gone = setup.clone().without("routers/all");
        gateway.become_(&gone).await;
        assert!(feed.data("after").await);
        drop(feed);
        assert_eq!(answer.await.unwrap().text(), "/upload");
        assert_eq!(server.last().body, b"before after");
        gateway.become_(&setup).await;
    }
}

// What changes.

#[tokio::test]
async fn routes_come_change_and_go_on_open_connections() {
    let (a, b) = (named("a").await, named("b").await);
    let setup = Setup::new().service("a", &a).service("b", &b);
    let steps = [
        // (the routers, and what a request for / and one for /x get)
        (vec![], "404", "404"),
        (vec![("all", "PathPrefix(`/`)", "a")], "a", "a"),
        (
            vec![
                ("all", "PathPrefix(`/`)", "a"),
                ("x", "PathPrefix(`/x`)", "b"),
            ],
            "a",
            "b",
        ),
        (
            vec![
                ("all", "PathPrefix(`/`)", "b"),
                ("x", "PathPrefix(`/x`)", "a"),
            ],
            "b",
            "a",
        ),
        (vec![("x", "Path(`/`)", "a")], "a", "404"),
        (vec![("x", "Host(`elsewhere.example`)", "a")], "404", "404"),
        (vec![("x", "Host(`test.example`)", "b")], "b", "b"),
    ];
    let gateway = setup.start().await;
    let mut clients = [gateway.h1().await, gateway.h2().await];
    for (routers, root, x) in steps {
        let mut next = setup.clone();
        for (name, rule, service) in &routers {
            next = next.route(name, rule, service);
        }
        gateway.become_(&next).await;
        for client in &mut clients {
            for (path, expected) in [("/", root), ("/x", x)] {
                let reply = client.get(path).await;
                let found = match reply.status.as_u16() {
                    200 => reply.text(),
                    status => status.to_string(),
                };
                assert_eq!(found, expected, "{path} of {routers:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_order_and_the_priority_of_routers_can_be_changed_alone() {
    let (a, b) = (named("a").await, named("b").await);
    let plain = Setup::new().service("a", &a).service("b", &b);
    let a_first =
        plain
            .clone()
            .route("a", "PathPrefix(`/`)", "a")
            .route("b", "PathPrefix(`/`)", "b");
    let b_first = plain
        .route("b", "PathPrefix(`/`)", "b")
        .route("a", "PathPrefix(`/`)", "a");
    let gateway = a_first.start().await;
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/").await.text(), "a");
    gateway.become_(&b_first).await;
    assert_eq!(client.get("/").await.text(), "b");
    gateway
        .become_(&b_first.set("routers/a/priority", 100))
        .await;
    assert_eq!(client.get("/").await.text(), "a");
}

#[tokio::test]
async fn server_lists_change_on_open_connections() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let setup = Setup::to(&a);
    let gateway = setup.start().await;
    let mut clients = [gateway.h1().await, gateway.h2().await];
    for (list, expected) in [
        (servers([&a, &b]), "ab"),
        (servers([&a, &b, &c]), "abc"),
        (servers([&c]), "c"),
        (
            json!([{ "url": c.to_string(), "weight": 0 }, { "url": a.to_string() }]),
            "a",
        ),
        (servers([&b, &c]), "bc"),
    ] {
        gateway
            .become_(&setup.clone().balancer("servers", list))
            .await;
        for client in &mut clients {
            let mut seen = answers(client, expected.len()).await;
            seen.sort();
            assert_eq!(seen.concat(), expected);
        }
    }
}

#[tokio::test]
async fn a_service_becomes_a_fixed_answer_and_servers_again() {
    let a = named("a").await;
    let setup = Setup::to(&a);
    let fixed = setup
        .clone()
        .without("services/backend/load_balancer")
        .set("services/backend/respond/body", "fixed");
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    for (next, expected) in [(&fixed, "fixed"), (&setup, "a"), (&fixed, "fixed")] {
        gateway.become_(next).await;
        assert_eq!(client.get("/").await.text(), expected);
    }
}

#[tokio::test]
async fn reloads_at_the_same_time_come_one_after_the_other() {
    let server = named("a").await;
    let gateway = Arc::new(Setup::to(&server).start().await);
    let mut reloads = tokio::task::JoinSet::new();
    for number in 0..20 {
        let gateway = Arc::clone(&gateway);
        let next =
            Setup::to(&server).route("numbered", &format!("PathPrefix(`/{number}`)"), "backend");
        reloads.spawn(async move { gateway.become_(&next).await });
    }
    support::within("all reloads", reloads.join_all()).await;
    // Whichever was the last: what is shown is what runs.
    let mut client = gateway.h1().await;
    let rule = gateway.config().routers["numbered"].rule.to_string();
    let path = rule.split('`').nth(1).unwrap();
    client.get(path).await;
    let series = r#"gateway_router_requests_total{router="numbered",code="200"}"#;
    assert_eq!(gateway.metric(series), Some(1.0), "{path}");
    assert!(gateway.health().last_reload.unwrap().success);
}

// Entrypoints.

fn address(port: &Port) -> String {
    port.address().to_string()
}

async fn is_refused(port: &Port) -> bool {
    let refused = TcpStream::connect(port.address()).await;
    refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn entrypoints_come_move_and_go() {
    let (a, b) = (named("a").await, named("b").await);
    let (first, second) = (Port::reserve(), Port::reserve());
    let setup = Setup::new()
        .admin()
        .set("entrypoints/web/address", address(&first))
        .service("a", &a)
        .service("b", &b)
        .route("a", "PathPrefix(`/`)", "a")
        .set("routers/a/entrypoints", json!(["web"]));
    let gateway = setup.start().await;
    let mut old = gateway.h1().await;
    assert_eq!(old.get("/").await.text(), "a");
    assert!(is_refused(&second).await);

    // `web` moves to the second port, and another takes the first, in one reload.
    let moved = setup
        .clone()
        .set("entrypoints/web/address", address(&second))
        .set("entrypoints/other/address", address(&first))
        .route("b", "PathPrefix(`/`)", "b")
        .set("routers/b/entrypoints", json!(["other"]));
    gateway.become_(&moved).await;
    let mut at_second = Client::h1(connect(second.address()).await).await;
    assert_eq!(at_second.get("/").await.text(), "a");
    // The socket of the first is still the same: its connections are the other's now.
    assert_eq!(old.get("/").await.text(), "b");
    let mut at_first = Client::h2(connect(first.address()).await).await;
    assert_eq!(at_first.get("/").await.text(), "b");
    let shown = gateway.admin("/api/gateway/entrypoints").await;
    let shown: Vec<_> = shown.as_array().unwrap()[..2]
        .iter()
        .map(|e| (&e["name"], &e["address"], &e["open_connections"]))
        .map(|(name, address, open)| json!([name, address, open]))
        .collect();
    let expected = [
        json!(["web", address(&second), 1]),
        json!(["other", address(&first), 2]),
    ];
    assert_eq!(shown, expected);

    // The first goes.
    gateway
        .become_(&moved.without("entrypoints/other").without("routers/b"))
        .await;
    // Whoever goes on asking is answered, and told as soon as the socket is closed.
    support::within("the client is told", async {
        loop {
            let reply = old.get("/").await;
            assert_eq!(reply.text(), "b");
            if reply.headers.contains_key("connection") {
                assert_eq!(reply.headers["connection"], "close");
                break;
            }
        }
    })
    .await;
    old.closed().await;
    at_first.closed().await;
    eventually_refused(&first).await;
    assert_eq!(at_second.get("/").await.text(), "a");
    assert_eq!(
        gateway
            .admin("/api/gateway/entrypoints")
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // And comes back.
    gateway.become_(&setup).await;
    let mut back = Client::h1(connect(first.address()).await).await;
    assert_eq!(back.get("/").await.text(), "a");
}

async fn eventually_refused(port: &Port) {
    support::within("the port is closed", async {
        while !is_refused(port).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_removed_entrypoint_finishes_what_is_under_way_and_lets_idle_clients_go() {
    let (slow, feeds) = fed().await;
    let (stays, goes) = (Port::reserve(), Port::reserve());
    let setup = Setup::to(&slow).set("entrypoints/web/address", address(&stays));
    let both = setup
        .clone()
        .set("entrypoints/goes/address", address(&goes));
    let gateway = both.start().await;
    let mut h1 = Client::h1(connect(goes.address()).await).await;
    let mut h2 = Client::h2(connect(goes.address()).await).await;
    let idle_h1 = Wire::new(connect(goes.address()).await);
    let idle_h2 = Client::h2(connect(goes.address()).await).await;
    let under_way = [
        h1.send(request("GET", "/")).await,
        h2.send(request("GET", "/")).await,
    ];
    gateway.become_(&setup).await;
    eventually_refused(&goes).await;
    idle_h2.closed().await;
    let (said, end) = { idle_h1 }.rest().await;
    assert_eq!((said, end), (Vec::new(), support::End::Closed));
    let feeds = std::mem::take(&mut *feeds.lock().unwrap());
    for feed in feeds {
        assert!(feed.data("whole").await);
    }
    for response in under_way {
        let reply = support::client::read(response).await.expect("a whole body");
        assert_eq!(reply.text(), "whole");
    }
    h1.closed().await;
    h2.closed().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_entrypoints_that_a_reload_has_removed() {
    let (slow, feeds) = fed().await;
    let goes = Port::reserve();
    let setup = Setup::to(&slow);
    let both = setup
        .clone()
        .set("entrypoints/goes/address", address(&goes));
    let gateway = both.start().await;
    let mut client = Client::h1(connect(goes.address()).await).await;
    let under_way = client.send(request("GET", "/")).await;
    gateway.become_(&setup).await;
    let shutdown = gateway.shutdown();
    let finish = async {
        eventually_refused(&goes).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let feed = feeds.lock().unwrap().pop().unwrap();
        assert!(feed.data("whole").await);
        drop(feed);
        support::client::read(under_way)
            .await
            .map(|reply| reply.text())
    };
    let ((), reply) = support::within("the end", async { tokio::join!(shutdown, finish) }).await;
    assert_eq!(reply.expect("a whole body"), "whole");
}

#[tokio::test]
async fn an_entrypoint_is_renamed_without_a_socket_noticing() {
    let a = named("a").await;
    let port = Port::reserve();
    let setup = Setup::to(&a)
        .admin()
        .set("entrypoints/web/address", address(&port));
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    client.get("/").await;
    let renamed = setup
        .without("entrypoints/web")
        .set("entrypoints/front/address", address(&port))
        .set("routers/all/entrypoints", json!(["front"]));
    gateway.become_(&renamed).await;
    let reply = client.get("/").await;
    assert_eq!(reply.text(), "a");
    assert!(!reply.headers.contains_key("connection"));
    let shown = gateway.admin("/api/gateway/entrypoints").await;
    let front = shown
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == "front");
    assert_eq!(front.unwrap()["open_connections"], 1);
    assert_eq!(gateway.local_address("web").await, None);
    let text = gateway.metrics();
    assert!(
        text.contains(r#"gateway_open_connections{entrypoint="front",protocol="http"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn changed_limits_hold_for_new_connections_and_close_none() {
    let a = named("a").await;
    let setup = Setup::to(&a);
    let gateway = setup.start().await;
    let mut old = gateway.wire().await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "x".repeat(10_000)
    );
    old.send(&long).await;
    assert_eq!(old.answer().await.status(), 200);
    gateway
        .become_(&setup.clone().http("max_header_bytes", "8KiB"))
        .await;
    assert_eq!(gateway.ask(&long).await.status(), 431);
    old.send(&long).await;
    assert_eq!(old.answer().await.status(), 200, "as it began");
    gateway.become_(&setup.clone().http("h2c", false)).await;
    assert_eq!(gateway.ask(&long).await.status(), 200);
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(gateway.ask(preface).await.status(), 400);
    gateway.become_(&setup).await;
    assert_eq!(gateway.h2().await.get("/").await.text(), "a");
    old.send(&long).await;
    assert_eq!(old.answer().await.status(), 200);
}

#[tokio::test]
async fn a_higher_limit_of_connections_lets_those_in_who_wait() {
    let a = named("a").await;
    let setup = Setup::to(&a).set("entrypoints/web/max_connections", 1);
    let gateway = setup.start().await;
    let mut first = gateway.h1().await;
    first.get("/").await;
    for higher in [json!(2), json!(3), Value::Null] {
        let mut next = gateway.wire().await;
        next.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (said, _) = next.listen(Duration::from_millis(50)).await;
        assert!(said.is_empty(), "let in past the limit");
        let setup = match &higher {
            Value::Null => setup.clone().without("entrypoints/web/max_connections"),
            limit => setup
                .clone()
                .set("entrypoints/web/max_connections", limit.clone()),
        };
        gateway.become_(&setup).await;
        assert_eq!(next.answer().await.status(), 200, "{higher}");
        tokio::spawn(next.hang());
    }
    assert_eq!(first.get("/").await.text(), "a");
}

#[tokio::test]
async fn trusted_proxies_and_the_slash_rule_can_be_changed() {
    let server = Server::start().await;
    let setup = Setup::to(&server);
    let gateway = setup.start().await;
    let ask = || gateway.ask("GET /a%2Fb HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.2.3.4\r\n\r\n");
    ask().await;
    assert_eq!(
        server.last().header("x-forwarded-for").unwrap(),
        "127.0.0.1"
    );
    let trusting = setup
        .clone()
        .set("entrypoints/web/trusted_proxies", json!(["127.0.0.0/8"]));
    gateway.become_(&trusting).await;
    ask().await;
    assert_eq!(
        server.last().header("x-forwarded-for").unwrap(),
        "1.2.3.4, 127.0.0.1"
    );
    gateway
        .become_(&setup.http("encoded_slash", "reject"))
        .await;
    assert_eq!(ask().await.status(), 400);
}

#[tokio::test]
async fn a_wider_address_takes_over_from_a_narrower_one() {
    let a = named("a").await;
    let port = Port::reserve();
    let narrow = Setup::to(&a).set("entrypoints/web/address", address(&port));
    let wide = narrow.clone().set(
        "entrypoints/web/address",
        format!("0.0.0.0:{}", port.number),
    );
    let gateway = narrow.start().await;
    for next in [&wide, &narrow, &wide] {
        let mut old = Client::h1(connect(port.address()).await).await;
        assert_eq!(old.get("/").await.text(), "a");
        gateway.become_(next).await;
        let mut new = Client::h1(connect(port.address()).await).await;
        assert_eq!(new.get("/").await.text(), "a");
        assert_eq!(old.get("/").await.text(), "a", "answered once more");
        old.closed().await;
    }
}

#[tokio::test]
async fn unix_sockets_come_move_and_leave_no_file_behind() {
    let a = named("a").await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let setup = Setup::to(&a);
    let at = |name: &str| {
        let address = format!("unix:{}", path(name).display());
        setup.clone().set("entrypoints/local/address", address)
    };
    let gateway = at("first").start().await;
    for (before, next) in [
        ("first", "second"),
        ("second", "first"),
        ("first", "second"),
    ] {
        let mut old = Client::h1(UnixStream::connect(path(before)).await.unwrap()).await;
        assert_eq!(old.get("/").await.text(), "a");
        gateway.become_(&at(next)).await;
        let mut new = Client::h1(UnixStream::connect(path(next)).await.unwrap()).await;
        assert_eq!(new.get("/").await.text(), "a");
        assert_eq!(old.get("/").await.text(), "a");
        eventually("the old file is gone", || !path(before).exists()).await;
    }
    // Gone and back before the old one has quite gone.
    for _ in 0..20 {
        gateway.become_(&setup).await;
        eventually("the file is gone", || !path("second").exists()).await;
        gateway.become_(&at("second")).await;
        let mut new = Client::h1(UnixStream::connect(path("second")).await.unwrap()).await;
        assert_eq!(new.get("/").await.text(), "a");
    }
}

#[tokio::test]
async fn the_admin_api_comes_and_goes_and_changes_its_token() {
    let a = named("a").await;
    let port = Port::reserve();
    let setup = Setup::to(&a);
    let admin = setup.clone().set("admin/address", address(&port));
    let gateway = setup.start().await;
    assert!(is_refused(&port).await);
    gateway.become_(&admin).await;
    let mut client = Client::admin(connect(port.address()).await).await;
    assert_eq!(client.get("/api/gateway/health").await.status, 200);
    gateway
        .become_(&admin.clone().set("admin/token", "a-long-enough-token"))
        .await;
    assert_eq!(client.get("/api/gateway/health").await.status, 401);
    gateway.become_(&setup).await;
    client.get("/ready").await;
    client.closed().await;
    eventually_refused(&port).await;
}

#[tokio::test]
async fn http2_clients_of_a_removed_entrypoint_are_told() {
    let a = named("a").await;
    let goes = Port::reserve();
    let setup = Setup::to(&a);
    let gateway = setup
        .clone()
        .set("entrypoints/goes/address", address(&goes))
        .start()
        .await;
    let mut frames = Frames::new(connect(goes.address()).await).await;
    let get = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    frames.headers(1, &get, true).await;
    assert_eq!(frames.outcome(1).await, Outcome::Status(200));
    gateway.become_(&setup).await;
    // A stream that was opened before the client could know is served, or refused, but never lost.
    frames.headers(3, &get, true).await;
    assert_eq!(frames.outcome(3).await, Outcome::Status(200));
}
