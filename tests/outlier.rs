//! Servers that fail requests are left alone, and nobody else is.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;
use support::body::feed;
use support::server::Recorded;
use support::{Client, Process, Server, Setup, TestGateway, within};
use tokio::task::JoinSet;

const CLOSING: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A server that answers with the status that it is told.
struct Moody {
    server: Server,
    status: Arc<AtomicU16>,
}

impl Moody {
    async fn new(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let now = Arc::clone(&status);
        let server = Server::http(move |_: Request<Recorded>| {
            let response = Response::builder().status(now.load(Ordering::SeqCst));
            std::future::ready(response.body(Body::from("hello")).unwrap())
        });
        Self {
            server: server.await,
            status,
        }
    }

    fn becomes(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.server.requests()
    }
}

/// Ends a server, and waits until nobody can connect to it.
async fn kill(server: Server) {
    let address = server.address();
    drop(server);
    within("it is gone", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

async fn well() -> Moody {
    Moody::new(200).await
}

fn to(servers: &[&Moody]) -> Setup {
    Setup::to_each(servers.iter().map(|moody| &moody.server)).admin()
}

/// How the admin API shows the servers of `backend`, in their order.
async fn servers(gateway: &TestGateway) -> Vec<Value> {
    let services = gateway.admin("/api/gateway/services").await;
    let services = services.as_array().unwrap();
    let backend = services.iter().find(|each| each["name"] == "backend");
    backend.unwrap()["servers"].as_array().unwrap().clone()
}

async fn states(gateway: &TestGateway) -> Vec<String> {
    let servers = servers(gateway).await;
    let state = |server: &Value| server["state"].as_str().unwrap().to_owned();
    servers.iter().map(state).collect()
}

/// Waits until so many servers stand so.
async fn until_state(gateway: &TestGateway, state: &str, count: usize) {
    within(state, async {
        while states(gateway).await.iter().filter(|s| *s == state).count() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// How many of so many requests, one after the other, each on a connection of its own, have a whole answer of 200.
async fn good(gateway: &TestGateway, count: usize) -> usize {
    let mut good = 0;
    for _ in 0..count {
        let mut wire = gateway.wire().await;
        wire.send(CLOSING).await;
        let (said, _) = wire.rest().await;
        let said = String::from_utf8_lossy(&said);
        good += usize::from(said.starts_with("HTTP/1.1 200 ") && said.ends_with("hello"));
    }
    good
}

// What is an error.

const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";

/// A server that says `words` to each request, and then resets.
async fn resets_after(words: &'static str) -> Server {
    Server::raw(move |mut wire, _| async move {
        if wire.try_head().await.is_some() {
            let _ = wire.try_send(words).await;
            wire.reset();
        }
    })
    .await
}

async fn hangs() -> Server {
    Server::raw(|wire, _| wire.hang()).await
}

/// Half of a body, and then a failure: HTTP/2 tells that by RST_STREAM.
async fn breaks_off(_: Request<Recorded>) -> Response<Body> {
    let (feed, body) = feed();
    tokio::spawn(async move {
        feed.data("half").await;
        feed.break_off().await;
    });
    Response::new(body)
}

#[tokio::test]
async fn whatever_a_server_does_wrong_it_is_left_alone_after_five_times() {
    let broken = Server::http(breaks_off).await;
    for (name, server, url, last) in [
        ("500", Moody::new(500).await.server, None, "status 500"),
        ("503", Moody::new(503).await.server, None, "status 503"),
        ("no answer", resets_after("").await, None, "reset"),
        (
            "half a head",
            resets_after("HTTP/1.1 2").await,
            None,
            "reset",
        ),
        ("half a body", resets_after(HALF).await, None, "reset"),
        (
            "a body that ends early",
            Server::says(HALF).await,
            None,
            "reset",
        ),
        ("half a body of HTTP/2", broken, Some("h2c"), "reset"),
        (
            "rubbish",
            Server::says("rubbish\r\n\r\n").await,
            None,
            "reset",
        ),
        ("silence", hangs().await, None, "response_timeout"),
    ] {
        let well = well().await;
        let url = url.map_or(server.to_string(), |scheme| server.url(scheme));
        let gateway = Setup::to_each([url, well.server.to_string()])
            .admin()
            .balancer("timeouts/response", "100ms")
            .with_all_workers()
            .start()
            .await;
        assert_eq!(good(&gateway, 10).await, 5, "{name}");
        assert_eq!(states(&gateway).await, ["ejected", "healthy"], "{name}");
        let shown = &servers(&gateway).await[0];
        let why = format!("5 errors in a row, the last: {last}");
        assert_eq!(shown["why"], json!({ "ejected": why }), "{name}");
        assert_eq!(shown["requests"], 5, "{name}");
        assert_eq!(shown["ejections"], 1, "{name}");
        assert!(shown["ejected_until"].is_u64(), "{name}");
        assert_eq!(good(&gateway, 20).await, 20, "{name}");
        let requests = |server: &Value| server["requests"].as_u64().unwrap();
        let requests: Vec<_> = servers(&gateway).await.iter().map(requests).collect();
        assert_eq!(requests, [5, 25], "{name}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_is_left_alone() {
    let (dead, well) = (well().await, well().await);
    let gateway = to(&[&dead, &well]).start().await;
    assert_eq!(good(&gateway, 10).await, 10);
    kill(dead.server).await;
    assert_eq!(good(&gateway, 30).await, 25);
    let shown = &servers(&gateway).await[0];
    let why = "5 errors in a row, the last: connect";
    assert_eq!(shown["why"], json!({ "ejected": why }));
    let series = "gateway_service_server_ejections_total{service=\"backend\"";
    let metrics = gateway.metrics();
    let ejections = metrics.lines().filter(|line| line.starts_with(series));
    let ejections: Vec<_> = ejections
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(ejections, ["1", "0"]);
}

#[tokio::test]
async fn a_client_with_a_retry_does_not_notice() {
    let (dead, well) = (well().await, well().await);
    let retry = json!({ "type": "retry", "retry_interval_ms": 0 });
    let gateway = to(&[&dead, &well])
        .set("middlewares/again", retry)
        .set("routers/all/middlewares", json!(["again"]))
        .start()
        .await;
    kill(dead.server).await;
    assert_eq!(good(&gateway, 50).await, 50);
    let shown = servers(&gateway).await;
    assert_eq!(
        (&shown[0]["requests"], &shown[1]["requests"]),
        (&json!(5), &json!(50))
    );
}

#[tokio::test]
async fn clients_that_go_away_or_break_off_count_for_nothing() {
    // It answers at once, whatever is still to come, and never ends.
    let endless = || {
        Server::http(|request: Request<Recorded>| async move {
            if request.uri().path() == "/hang" {
                std::future::pending::<()>().await;
            }
            let (feed, body) = feed();
            tokio::spawn(async move {
                let _request = request;
                while feed.data("more").await {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            Response::new(body)
        })
    };
    for scheme in ["http", "h2c"] {
        let endless = [endless().await, endless().await];
        let gateway = Setup::to_each(endless.iter().map(|server| server.url(scheme)))
            .admin()
            .start()
            .await;
        for _ in 0..12 {
            // Before the answer.
            let mut wire = gateway.wire().await;
            wire.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
            wire.listen(Duration::from_millis(1)).await;
            wire.reset();
            // In the middle of it.
            let mut wire = gateway.wire().await;
            wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(wire.head().await.status(), 200);
            wire.reset();
            // In the middle of what they say, before the answer and after its head.
            let mut wire = gateway.wire().await;
            wire.send("POST /hang HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
                .await;
            assert_eq!(wire.head().await.status(), 400);
            let mut wire = gateway.wire().await;
            wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                .await;
            assert_eq!(wire.head().await.status(), 200);
            wire.send("zz\r\n").await;
            wire.ended().await;
        }
        let in_flight = async || -> u64 {
            let servers = servers(&gateway).await;
            servers
                .iter()
                .filter_map(|server| server["in_flight"].as_u64())
                .sum()
        };
        within("all of it is over", async {
            while in_flight().await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(states(&gateway).await, ["healthy", "healthy"], "{scheme}");
        // Nothing of it stands in for an error either.
        assert_eq!(servers(&gateway).await[0]["ejections"], 0);
    }
}

// Who is not ejected.

#[tokio::test]
async fn the_only_server_is_never_ejected() {
    let sick = Moody::new(500).await;
    let percent = json!({ "max_ejected_percent": 100 });
    let gateway = to(&[&sick]).balancer("outlier", percent).start().await;
    assert_eq!(good(&gateway, 30).await, 0);
    assert_eq!(sick.requests(), 30);
    sick.becomes(200);
    assert_eq!(good(&gateway, 5).await, 5);
    // Nor one whose only peer takes nothing new.
    let (sick, other) = (Moody::new(500).await, well().await);
    let gateway = to(&[&sick, &other])
        .balancer(
            "servers",
            json!([
                { "url": sick.server.to_string() },
                { "url": other.server.to_string(), "weight": 0 },
            ]),
        )
        .balancer("outlier/max_ejected_percent", 100)
        .start()
        .await;
    assert_eq!(good(&gateway, 30).await, 0);
    assert_eq!(sick.requests(), 30);
}

#[tokio::test]
async fn no_more_than_half_are_ejected_unless_told() {
    for (percent, ejected) in [(50, 2), (25, 1), (100, 3), (0, 0)] {
        let servers = [well().await, well().await, well().await, well().await];
        let gateway = to(&servers.each_ref())
            .balancer("outlier/max_ejected_percent", percent)
            .start()
            .await;
        let [one, two, three, last] = servers;
        for moody in [one, two, three] {
            kill(moody.server).await;
        }
        good(&gateway, 60).await;
        let states = states(&gateway).await;
        let count = states.iter().filter(|state| *state == "ejected").count();
        assert_eq!(count, ejected, "{percent}: {states:?}");
        // The well one is asked in its turn.
        let before = last.requests();
        good(&gateway, 12).await;
        assert_eq!(last.requests() - before, 12 / (4 - ejected), "{percent}");
    }
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let (sick, well) = (Moody::new(500).await, well().await);
    let gateway = to(&[&sick, &well])
        .balancer("outlier/consecutive_errors", 0)
        .start()
        .await;
    assert_eq!(good(&gateway, 40).await, 20);
    assert_eq!(states(&gateway).await, ["healthy", "healthy"]);
}

/// Asks for what makes every server answer with 500, as fast as it can, until told to stop.
async fn poison(mut client: Client, is_over: Arc<AtomicBool>) -> usize {
    let mut asked = 0;
    while !is_over.load(Ordering::SeqCst) {
        assert_eq!(client.get("/poison").await.status, 500);
        asked += 1;
    }
    asked
}

#[tokio::test]
async fn a_client_that_provokes_errors_takes_nothing_down() {
    // Many of them and few others, and as many as others.
    for attackers in [1, 4] {
        let server = || {
            Server::http(async |request: Request<Recorded>| {
                let status = match request.uri().path() {
                    "/poison" => 500,
                    _ => 200,
                };
                Response::builder()
                    .status(status)
                    .body(Body::from("hello"))
                    .unwrap()
            })
        };
        let list = [server().await, server().await, server().await];
        let gateway = Setup::to_each(&list)
            .admin()
            .balancer(
                "outlier",
                json!({ "ejection": "50ms", "max_ejection": "100ms" }),
            )
            .start()
            .await;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut attack = JoinSet::new();
        for _ in 0..attackers {
            attack.spawn(poison(gateway.h1().await, Arc::clone(&is_over)));
        }
        let mut client = gateway.h1().await;
        for _ in 0..300 {
            // It is served all the time, by at least two of the three.
            assert_eq!(client.get("/").await.status, 200);
            let states = states(&gateway).await;
            let ejected = states.iter().filter(|state| *state == "ejected").count();
            assert!(ejected <= 1, "{states:?}");
        }
        is_over.store(true, Ordering::SeqCst);
        let asked: usize = within("the attack is over", attack.join_all())
            .await
            .iter()
            .sum();
        assert!(asked > 300, "{asked}");
        // Everything is back soon, however long it went on.
        let over =
            tokio::time::timeout(Duration::from_secs(5), until_state(&gateway, "healthy", 3));
        over.await.unwrap();
        let before = list.each_ref().map(Server::requests);
        assert_eq!(good(&gateway, 30).await, 30);
        let after = list.each_ref().map(Server::requests);
        for (before, after) in before.iter().zip(after) {
            assert_eq!(after - before, 10);
        }
    }
}

// Return.

#[tokio::test]
async fn a_server_is_back_when_its_time_is_over() {
    let (moody, well) = (Moody::new(500).await, well().await);
    let gateway = to(&[&moody, &well])
        .balancer(
            "outlier",
            json!({ "consecutive_errors": 2, "ejection": "100ms" }),
        )
        .with_all_workers()
        .start()
        .await;
    // Still sick: it is tried again, and left alone for longer.
    let again = async {
        while servers(&gateway).await[0]["ejections"] != 3 {
            good(&gateway, 1).await;
        }
    };
    within("three ejections", again).await;
    assert_eq!(moody.requests(), 6);
    moody.becomes(200);
    let back = async {
        while moody.requests() == 6 {
            assert_eq!(good(&gateway, 1).await, 1);
        }
    };
    within("it is asked", back).await;
    assert_eq!(states(&gateway).await, ["healthy", "healthy"]);
    let before = moody.requests();
    assert_eq!(good(&gateway, 20).await, 20);
    assert_eq!(moody.requests() - before, 10);
}

#[tokio::test]
async fn each_ejection_and_each_return_is_logged_once() {
    let (moody, well) = (Moody::new(500).await, well().await);
    let setup = to(&[&moody, &well]).balancer("outlier/ejection", "200ms");
    let process = Process::start(&setup.text(), &["web"]).await;
    let address = process.address("web");
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(async move {
            let mut client = Client::h1(support::connect(address).await).await;
            for _ in 0..20 {
                client.get("/").await;
            }
        });
    }
    within("all clients", clients.join_all()).await;
    process
        .logs("a server is ejected: 5 errors in a row, the last: status 500")
        .await;
    moody.becomes(200);
    let mut client = Client::h1(support::connect(address).await).await;
    within("it is back", async {
        while !process.has_logged("an ejected server is back") {
            client.get("/").await;
        }
    })
    .await;
    let log = process.log();
    let count = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    // It may have been back, and sick, more than once where the machine is slow.
    let (gone, back) = (
        count("a server is ejected"),
        count("an ejected server is back"),
    );
    assert!(gone == back || gone == back + 1, "{log}");
    let line = log
        .lines()
        .find(|line| line.contains("a server is ejected"))
        .unwrap();
    for word in [
        "WARN",
        "service=\"backend\"",
        &format!("server=\"{}\"", moody.server),
        "time=200ms",
    ] {
        assert!(line.contains(word), "{word} in {line}");
    }
}

// Reloads.

#[tokio::test]
async fn reloads_keep_an_ejection() {
    let (sick, well, new) = (Moody::new(500).await, well().await, well().await);
    let setup = to(&[&sick, &well]).with_all_workers();
    let gateway = setup.start().await;
    assert_eq!(good(&gateway, 10).await, 5);
    let until = servers(&gateway).await[0]["ejected_until"].clone();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let is_over = Arc::clone(&is_over);
        load.spawn(async move {
            let mut asked = 0;
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(client.get("/").await.status, 200);
                asked += 1;
            }
            asked
        });
    }
    for n in 0..20 {
        let mut next = match n % 2 {
            0 => to(&[&sick, &well, &new]),
            _ => setup.clone(),
        };
        next = match n % 4 {
            0 => next.balancer("pass_host", false),
            1 => next.balancer("strategy", "least-connections"),
            2 => next.balancer("outlier/consecutive_errors", 7),
            _ => next.route("other", "Path(`/other`)", "backend"),
        };
        gateway.become_(&next).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(servers(&gateway).await[0]["ejected_until"], until);
    }
    is_over.store(true, Ordering::SeqCst);
    let asked: usize = within("the load ends", load.join_all()).await.iter().sum();
    assert!(asked > 100, "{asked}");
    assert_eq!(sick.requests(), 5);
    // Turned off, it is asked again.
    gateway
        .become_(&setup.balancer("outlier/consecutive_errors", 0))
        .await;
    assert_eq!(states(&gateway).await, ["healthy", "healthy"]);
    assert_eq!(good(&gateway, 10).await, 5);
}

#[tokio::test]
async fn an_ejected_server_is_back_when_a_reload_leaves_no_other() {
    let (sick, well) = (Moody::new(500).await, well().await);
    let gateway = to(&[&sick, &well]).start().await;
    assert_eq!(good(&gateway, 10).await, 5);
    assert_eq!(states(&gateway).await, ["ejected", "healthy"]);
    gateway.become_(&to(&[&sick])).await;
    sick.becomes(200);
    assert_eq!(good(&gateway, 5).await, 5);
}

#[tokio::test]
async fn a_configuration_that_is_refused_changes_nothing_of_it() {
    let (sick, well) = (Moody::new(500).await, well().await);
    let setup = to(&[&sick, &well]);
    let gateway = setup.start().await;
    assert_eq!(good(&gateway, 10).await, 5);
    let taken = well.server.address().to_string();
    let refused = setup
        .balancer("outlier/consecutive_errors", 0)
        .set("entrypoints/more/address", taken);
    let refused = gateway.reload(refused.config());
    within("a reload", refused).await.unwrap_err();
    assert_eq!(states(&gateway).await, ["ejected", "healthy"]);
    assert_eq!(good(&gateway, 10).await, 10);
}

// Connections.

#[tokio::test]
async fn a_server_that_cannot_be_dialled_is_left_alone() {
    let greets = || {
        Server::raw(|mut wire, _| async move {
            wire.send("hello").await;
        })
    };
    let (dead, well) = (greets().await, greets().await);
    let urls = [dead.url("tcp"), well.url("tcp")];
    let gateway = Setup::to_each(urls)
        .set("entrypoints/web/protocol", "tcp")
        .set("routers/all/rule", "HostSNI(`*`)")
        .set("routers/all/entrypoints", json!(["web"]))
        .admin()
        .start()
        .await;
    kill(dead).await;
    for _ in 0..30 {
        assert_eq!(gateway.wire().await.exactly(5).await, b"hello");
    }
    let shown = servers(&gateway).await;
    let why = "5 errors in a row, the last: connect";
    assert_eq!(shown[0]["why"], json!({ "ejected": why }));
    assert_eq!(shown[0]["requests"], 5);
    assert_eq!(well.accepted(), 30);
}

#[tokio::test]
async fn an_error_of_grpc_behind_messages_is_one_too() {
    let ending = async |status: &'static str| {
        Server::http(move |_: Request<Recorded>| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            let messages = Body::from("hello").with_trailers(async { Some(Ok(trailers)) });
            let response = Response::builder().header("content-type", "application/grpc");
            std::future::ready(response.body(Body::new(messages)).unwrap())
        })
        .await
    };
    let (bad, good) = (ending("13").await, ending("0").await);
    let urls = [bad.url("h2c"), good.url("h2c")];
    let gateway = Setup::to_each(urls).admin().start().await;
    let mut client = gateway.h2().await;
    for _ in 0..20 {
        let reply = client.get("/test.Echo/Say").await;
        assert!(reply.trailers.unwrap().contains_key("grpc-status"));
    }
    assert_eq!(states(&gateway).await, ["ejected", "healthy"]);
    assert_eq!(bad.requests(), 5);
}
