//! Active health checks: servers that die, hang, lie and come back, and clients that do not notice.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::body::feed;
use support::server::Recorded;
use support::tls::Authority;
use support::{Log, Server, Setup, TestGateway, Wire, connect_from, eventually, within};
use tokio::io::AsyncWriteExt;

/// What a server answers to a probe, to be changed while it runs. To everything else it answers 200.
type Mood = Arc<AtomicU16>;

fn mood(status: u16) -> Mood {
    Arc::new(AtomicU16::new(status))
}

fn handler(
    mood: &Mood,
) -> impl Fn(Request<Recorded>) -> std::future::Ready<Response<Body>> + Clone + Send + Sync + 'static
{
    let mood = Arc::clone(mood);
    move |request| {
        let status = match request.uri().path() {
            "/health" => mood.load(Ordering::SeqCst),
            _ => 200,
        };
        let answer = Response::builder().status(status).body(Body::from("said"));
        std::future::ready(answer.unwrap())
    }
}

async fn moody(mood: &Mood) -> Server {
    Server::http(handler(mood)).await
}

fn probes(server: &Server) -> usize {
    let seen = server.seen();
    let probes = seen.iter().filter(|seen| seen.target == "/health");
    probes.count()
}

fn requests(server: &Server) -> usize {
    server.requests() - probes(server)
}

/// A check of `/health` ten times a second; one bad answer is enough.
fn check() -> Value {
    json!({ "path": "/health", "interval": "100ms", "unhealthy_threshold": 1 })
}

fn with(keys: &Value) -> Value {
    let mut check = check();
    let keys = keys.as_object().unwrap();
    check.as_object_mut().unwrap().extend(keys.clone());
    check
}

/// Before these servers, and asking each as `check` says.
fn checked<'s>(servers: impl IntoIterator<Item = &'s Server>, check: Value) -> Setup {
    Setup::to_each(servers)
        .admin()
        .balancer("health_check", check)
}

/// How the servers of a service stand: `healthy`, or what is wrong and why.
async fn standing(gateway: &TestGateway, service: &str) -> Vec<String> {
    let services = gateway.admin("/api/gateway/services").await;
    let services = services.as_array().unwrap();
    let service = services.iter().find(|each| each["name"] == service);
    let service = service.unwrap();
    let pools = match service["revisions"].as_array() {
        Some(revisions) => revisions.iter().collect(),
        None => vec![service],
    };
    let servers = pools
        .iter()
        .flat_map(|pool| pool["servers"].as_array().unwrap());
    let words = servers.map(|server| {
        let state = server["state"].as_str().unwrap();
        match server["why"][state].as_str() {
            Some(why) => format!("{state}: {why}"),
            None => state.to_owned(),
        }
    });
    words.collect()
}

/// Waits until the servers of `backend` stand so.
async fn stands(gateway: &TestGateway, expected: &[&str]) {
    let mut seen = Vec::new();
    let deadline = tokio::time::Instant::now() + support::DEADLINE;
    while seen != expected {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{seen:?} is not {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
        seen = standing(gateway, "backend").await;
    }
}

async fn has_probed(server: &Server, count: usize) {
    eventually("probes", || probes(server) >= count).await;
}

#[tokio::test]
async fn the_first_answer_decides_at_once_and_later_ones_by_their_thresholds() {
    let mood = mood(500);
    let server = moody(&mood).await;
    let check = with(&json!({ "unhealthy_threshold": 4, "healthy_threshold": 3 }));
    let gateway = checked([&server], check).start().await;
    let mut client = gateway.h1().await;
    stands(&gateway, &["unhealthy: status 500"]).await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(requests(&server), 0);
    let probed = probes(&server);
    mood.store(204, Ordering::SeqCst);
    stands(&gateway, &["healthy"]).await;
    // One may have been answered before the mood changed.
    assert!(probes(&server) >= probed + 3);
    assert_eq!(client.get("/").await.status, 200);
    let probed = probes(&server);
    mood.store(503, Ordering::SeqCst);
    stands(&gateway, &["unhealthy: status 503"]).await;
    assert!(probes(&server) >= probed + 4);
    // The reason is the last one.
    mood.store(404, Ordering::SeqCst);
    stands(&gateway, &["unhealthy: status 404"]).await;
}

#[tokio::test]
async fn until_the_first_answer_a_server_counts_as_healthy() {
    let (asked, asking) = tokio::sync::oneshot::channel();
    let asked = Arc::new(Mutex::new(Some(asked)));
    let server = Server::http(move |request: Request<Recorded>| {
        let asked = Arc::clone(&asked);
        async move {
            if request.uri().path() == "/health" {
                if let Some(asked) = asked.lock().unwrap().take() {
                    let _ = asked.send(());
                }
                std::future::pending::<()>().await;
            }
            Response::new(Body::empty())
        }
    })
    .await;
    let check = with(&json!({ "timeout": "1h" }));
    let gateway = checked([&server], check).start().await;
    // The first probe does not wait for the interval.
    within("the first probe", asking).await.unwrap();
    assert_eq!(gateway.h1().await.get("/").await.status, 200);
    assert_eq!(standing(&gateway, "backend").await, ["healthy"]);
}

#[tokio::test]
async fn a_server_that_dies_is_left_alone_until_it_is_back() {
    let moods = [mood(200), mood(200)];
    let [dying, staying] = [moody(&moods[0]).await, moody(&moods[1]).await];
    let log = Log::start();
    let gateway = checked([&dying, &staying], check()).start().await;
    let mut client = gateway.h1().await;
    has_probed(&dying, 1).await;
    let address = dying.address();
    drop(dying);
    stands(&gateway, &["unhealthy: connection refused", "healthy"]).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let back = Server::http_at(address, handler(&moods[0])).await;
    stands(&gateway, &["healthy", "healthy"]).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(requests(&back), 10);
    let log = log.take();
    let told = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(told("unhealthy"), 1, "{log}");
    assert_eq!(told("healthy again"), 1, "{log}");
    assert!(log.contains("reason=connection refused"), "{log}");
}

#[tokio::test]
async fn a_probe_is_no_request_of_the_server() {
    let mood = mood(200);
    let server = moody(&mood).await;
    let gateway = checked([&server], check()).start().await;
    has_probed(&server, 3).await;
    let services = gateway.admin("/api/gateway/services").await;
    let shown = &services[0]["servers"][0];
    assert_eq!(
        (&shown["requests"], &shown["in_flight"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn an_ejected_server_is_back_when_it_was_away_and_not_by_every_probe() {
    let (health, works) = (mood(200), Arc::new(AtomicBool::new(false)));
    let works_now = Arc::clone(&works);
    let probed = handler(&health);
    let failing = Server::http(move |request: Request<Recorded>| {
        let is_good = request.uri().path() == "/health" || works_now.load(Ordering::SeqCst);
        let answer = probed(request);
        async move {
            let mut answer = answer.await;
            if !is_good {
                *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            }
            answer
        }
    })
    .await;
    let other = moody(&mood(200)).await;
    let check = with(&json!({ "unhealthy_threshold": 100 }));
    let gateway = checked([&failing, &other], check)
        .balancer(
            "outlier",
            json!({ "consecutive_errors": 3, "ejection": "1h" }),
        )
        .start()
        .await;
    let mut client = gateway.h1().await;
    for _ in 0..6 {
        client.get("/").await;
    }
    let ejected = "ejected: 3 errors in a row, the last: status 500";
    stands(&gateway, &[ejected, "healthy"]).await;
    // It answers its probes as it did all along.
    let probed = probes(&failing);
    has_probed(&failing, probed + 3).await;
    stands(&gateway, &[ejected, "healthy"]).await;
    // It is away, and comes back.
    health.store(503, Ordering::SeqCst);
    let probed = probes(&failing);
    has_probed(&failing, probed + 2).await;
    stands(&gateway, &[ejected, "healthy"]).await;
    works.store(true, Ordering::SeqCst);
    health.store(200, Ordering::SeqCst);
    stands(&gateway, &["healthy", "healthy"]).await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.status, 200);
    }
}

/// Does with each connection of a probe what is said, and answers nobody else.
async fn odd<T, F>(talk: T) -> Server
where
    T: Fn(Wire) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    Server::raw(move |wire, _| talk(wire)).await
}

/// Says `beginning` to each head, and then `more`, over and over.
async fn endless(beginning: &'static str, more: &'static [u8], pause: Duration) -> Server {
    odd(move |mut wire| async move {
        wire.try_head().await;
        let mut said = wire.try_send(beginning).await;
        while said.is_ok() {
            tokio::time::sleep(pause).await;
            said = wire.try_send(more).await;
        }
    })
    .await
}

#[tokio::test]
async fn whatever_a_server_does_is_bounded_and_told_in_our_own_words() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let slow = Duration::from_millis(5);
    let timed_out = "unhealthy: timed out after 300ms";
    let servers = [
        (odd(Wire::hang).await, timed_out),
        (
            odd(|mut wire| async move {
                wire.try_head().await;
                wire.reset();
            })
            .await,
            "unhealthy: connection reset",
        ),
        (
            Server::says("").await,
            "unhealthy: the connection ended before an answer",
        ),
        (
            Server::says("<h1>rm -rf is my advice</h1>\r\n\r\n").await,
            "unhealthy: the answer is not HTTP",
        ),
        (
            Server::says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort").await,
            "unhealthy: the answer broke off",
        ),
        (
            endless(OK, &[b'x'; 4096], Duration::ZERO).await,
            "unhealthy: the head of the answer is too large",
        ),
        (endless(OK, b"x-slow: y\r\n", slow).await, timed_out),
        (
            endless("", b"HTTP/1.1 103 Early Hints\r\n\r\n", slow).await,
            timed_out,
        ),
        (endless(CHUNKED, b"1\r\nx\r\n", slow).await, timed_out),
        (
            Server::says(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            )
            .await,
            "unhealthy: status 101",
        ),
    ];
    let check = with(&json!({ "timeout": "300ms" }));
    let gateway = checked(servers.iter().map(|(server, _)| server), check)
        .start()
        .await;
    let expected: Vec<_> = servers.iter().map(|(_, expected)| *expected).collect();
    stands(&gateway, &expected).await;
    // They go on like this, and none has more than the connection of one probe.
    for (server, expected) in &servers {
        let accepted = server.accepted();
        eventually(expected, || server.accepted() >= accepted + 3).await;
        assert!(server.open() <= 2, "{expected}: {}", server.open());
    }
    stands(&gateway, &expected).await;
    drop(gateway);
    for (server, expected) in &servers {
        eventually(expected, || server.open() == 0).await;
    }
}

#[tokio::test]
async fn of_a_long_body_only_the_beginning_is_read() {
    let (sent, ended) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let counts = (Arc::clone(&sent), Arc::clone(&ended));
    let server = odd(move |mut wire| {
        let (sent, ended) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
        async move {
            wire.try_head().await;
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = wire.try_send(head).await;
            let chunk = [&b"1000\r\n"[..], &[b'x'; 0x1000], b"\r\n"].concat();
            while wire.try_send(&chunk).await.is_ok() {
                sent.fetch_add(chunk.len(), Ordering::SeqCst);
            }
            ended.store(true, Ordering::SeqCst);
        }
    })
    .await;
    let check = with(&json!({ "interval": "1h", "timeout": "1h" }));
    let gateway = checked([&server], check).start().await;
    eventually("the gateway closes", || ended.load(Ordering::SeqCst)).await;
    stands(&gateway, &["healthy"]).await;
    // What the kernels have room for, on both sides.
    assert!(sent.load(Ordering::SeqCst) < 16 << 20);
}

#[tokio::test]
async fn a_probe_says_what_is_asked() {
    let mood = mood(200);
    let server = moody(&mood).await;
    let check = json!({ "path": "/health?deep=1" });
    let gateway = checked([&server], check).start().await;
    server.has_seen(1).await;
    let seen = server.last();
    assert_eq!(
        (seen.method.as_str(), &*seen.target),
        ("GET", "/health?deep=1")
    );
    assert_eq!(seen.host, server.address().to_string());
    assert_eq!(seen.version, Version::HTTP_11);
    let agent = seen.header("user-agent").unwrap();
    assert!(agent.starts_with("a3s-gateway-probe/"), "{agent}");
    assert_eq!(seen.headers.len(), 2, "{seen:?}");
    drop(gateway);
    let other = moody(&mood).await;
    let check = json!({
        "host": "api.example.com:8443",
        "port": other.address().port(),
        "headers": { "Authorization": "Bearer sesame", "User-Agent": "nurse" },
    });
    let gateway = checked([&server], check).start().await;
    other.has_seen(1).await;
    let seen = other.last();
    assert_eq!((&*seen.target, &*seen.host), ("/", "api.example.com:8443"));
    assert_eq!(seen.header("authorization").unwrap(), "Bearer sesame");
    assert_eq!(seen.header("user-agent").unwrap(), "nurse");
    let shown = gateway.admin("/api/gateway/config").await.to_string();
    assert!(!shown.contains("sesame") && shown.contains("Authorization"));
    // Requests go where they always went.
    assert_eq!(gateway.h1().await.get("/").await.status, 200);
    assert_eq!(other.requests(), 1);
}

#[tokio::test]
async fn the_good_statuses_are_what_is_written() {
    let mood = mood(429);
    let server = moody(&mood).await;
    let check = with(&json!({ "status": [200, "401-403", 429] }));
    let gateway = checked([&server], check).start().await;
    has_probed(&server, 2).await;
    stands(&gateway, &["healthy"]).await;
    for (status, is_good) in [
        (204, false),
        (401, true),
        (404, false),
        (403, true),
        (301, false),
    ] {
        mood.store(status, Ordering::SeqCst);
        let bad = format!("unhealthy: status {status}");
        stands(&gateway, &[if is_good { "healthy" } else { &bad }]).await;
    }
}

#[tokio::test]
async fn a_probe_keeps_its_connection() {
    let mood = mood(200);
    let server = moody(&mood).await;
    let gateway = checked([&server], check()).start().await;
    has_probed(&server, 4).await;
    // Bad answers are answers.
    mood.store(500, Ordering::SeqCst);
    stands(&gateway, &["unhealthy: status 500"]).await;
    mood.store(200, Ordering::SeqCst);
    stands(&gateway, &["healthy"]).await;
    assert_eq!((server.accepted(), server.open()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_was_kept_and_ended_costs_no_verdict() {
    // Each connection is good for one answer, and breaks off when it is asked for another.
    let server = Server::raw(|mut wire, _| async move {
        if wire.try_head().await.is_some() {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            let _ = wire.try_send(answer).await;
            wire.try_head().await;
            wire.reset();
        }
    })
    .await;
    let log = Log::start();
    let gateway = checked([&server], check()).start().await;
    eventually("connections", || server.accepted() >= 5).await;
    stands(&gateway, &["healthy"]).await;
    assert!(!log.take().contains("unhealthy"));
    // And one that says that it ends, or ends by itself.
    for end in ["connection: close\r\n", ""] {
        let server =
            Server::says(format!("HTTP/1.1 200 OK\r\n{end}content-length: 0\r\n\r\n")).await;
        let gateway = checked([&server], check()).start().await;
        eventually("connections", || server.accepted() >= 4).await;
        stands(&gateway, &["healthy"]).await;
        assert!(!log.take().contains("unhealthy"));
    }
}

#[tokio::test]
async fn services_that_name_one_server_share_its_probe() {
    let mood = mood(200);
    let server = moody(&mood).await;
    let (url, other) = (json!([{ "url": server.to_string() }]), moody(&mood).await);
    let service = |check: &Value| json!({ "servers": url, "health_check": check });
    let rare = with(&json!({ "interval": "1h" }));
    let setup = checked([&server], rare.clone())
        .set("services/second/load_balancer", service(&rare))
        .route("second", "Path(`/second`)", "second");
    let gateway = setup.start().await;
    has_probed(&server, 1).await;
    mood.store(500, Ordering::SeqCst);
    // A third one learns nothing new by itself: it hears what the others know.
    let third = setup
        .clone()
        .set("services/third/load_balancer", service(&rare))
        .route("third", "Path(`/third`)", "third");
    gateway.become_(&third).await;
    assert_eq!(standing(&gateway, "third").await, ["healthy"]);
    assert_eq!(probes(&server), 1);
    // Another check, of another server too, is another probe.
    let often = third
        .set("services/third/load_balancer/health_check", check())
        .set(
            "services/third/load_balancer/servers",
            json!([{ "url": other.to_string() }]),
        );
    gateway.become_(&often).await;
    has_probed(&other, 2).await;
    assert_eq!((probes(&server), server.accepted()), (1, 1));
    // All that name it hear of it.
    let all = ["backend", "second", "third"].into_iter();
    let all = all.fold(often, |setup, name| {
        setup.set(&format!("services/{name}/load_balancer"), service(&check()))
    });
    gateway.become_(&all).await;
    stands(&gateway, &["unhealthy: status 500"]).await;
    for name in ["second", "third"] {
        assert_eq!(standing(&gateway, name).await, ["unhealthy: status 500"]);
    }
    // The probes of before have ended, and their connections with them.
    eventually("one connection", || server.open() == 1 && other.open() == 0).await;
}

#[tokio::test]
async fn reloads_neither_ask_anew_nor_forget() {
    let (sick, well) = (moody(&mood(500)).await, moody(&mood(200)).await);
    let rare = with(&json!({ "interval": "1h" }));
    let setup = checked([&sick, &well], rare.clone());
    let gateway = setup.start().await;
    stands(&gateway, &["unhealthy: status 500", "healthy"]).await;
    has_probed(&well, 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..4).map(|_| {
        let (stop, address) = (Arc::clone(&stop), gateway.address());
        tokio::spawn(async move {
            let mut client = support::Client::h1(support::connect(address).await).await;
            let mut asked = 0;
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(client.get("/").await.status, 200);
                asked += 1;
            }
            asked
        })
    });
    let clients: Vec<_> = clients.collect();
    let servers = |urls: &[&Server]| {
        let urls = urls.iter().map(|url| json!({ "url": url.to_string() }));
        Value::Array(urls.collect())
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for round in 0..20 {
        ticks.tick().await;
        let next = setup.clone();
        let next = match round % 5 {
            // Something else, the service itself, the way to its servers, their order, and the name of the service.
            0 => next.set("shutdown_timeout_secs", 5),
            1 => next.balancer("panic_threshold_percent", 1),
            2 => next.balancer("timeouts/response", "7s"),
            3 => next.balancer("servers", servers(&[&well, &sick])),
            _ => next
                .set(
                    "services/renamed/load_balancer",
                    json!({ "servers": servers(&[&sick, &well]), "health_check": rare }),
                )
                .set("routers/all/service", "renamed"),
        };
        gateway.become_(&next).await;
    }
    gateway.become_(&setup).await;
    stop.store(true, Ordering::SeqCst);
    let mut asked = 0;
    for client in clients {
        asked += within("a client", client).await.unwrap();
    }
    assert_eq!((requests(&sick), requests(&well)), (0, asked));
    // Nobody was asked a second time, nor on another connection.
    for server in [&sick, &well] {
        assert_eq!(probes(server), 1);
    }
    assert_eq!(sick.accepted(), 1);
    assert_eq!(
        standing(&gateway, "backend").await,
        ["unhealthy: status 500", "healthy"]
    );
}

#[tokio::test]
async fn counts_of_answers_go_on_over_reloads() {
    let mood = mood(200);
    let server = moody(&mood).await;
    let check = with(&json!({ "unhealthy_threshold": 6 }));
    let setup = checked([&server], check);
    let gateway = setup.start().await;
    has_probed(&server, 1).await;
    mood.store(500, Ordering::SeqCst);
    // Were they begun anew by each reload, this would never end.
    within("it is unhealthy", async {
        for seconds in (10..50).cycle() {
            if standing(&gateway, "backend").await == ["unhealthy: status 500"] {
                return;
            }
            let timeout = format!("{seconds}s");
            let next = setup.clone().balancer("timeouts/response", timeout);
            gateway.become_(&next).await;
        }
    })
    .await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn who_is_not_asked_any_more_is_not_called_unhealthy() {
    let mood = mood(500);
    let server = moody(&mood).await;
    let setup = checked([&server], check());
    let gateway = setup.start().await;
    stands(&gateway, &["unhealthy: status 500"]).await;
    gateway
        .become_(
            &setup
                .clone()
                .without("services/backend/load_balancer/health_check"),
        )
        .await;
    assert_eq!(standing(&gateway, "backend").await, ["healthy"]);
    assert_eq!(gateway.h1().await.get("/").await.status, 200);
    // The task has ended, and its connection with it.
    let probed = probes(&server);
    eventually("the probe ends", || server.open() == 1).await;
    assert!(probes(&server) <= probed + 1);
}

#[tokio::test]
async fn another_check_does_not_make_a_sick_server_well() {
    let mood = mood(500);
    let server = moody(&mood).await;
    let setup = checked([&server], check());
    let gateway = setup.start().await;
    stands(&gateway, &["unhealthy: status 500"]).await;
    // This one never hears an answer.
    let silent = Server::raw(|wire, _| wire.hang()).await;
    let other = with(&json!({ "port": silent.address().port(), "timeout": "1h" }));
    gateway
        .become_(&setup.clone().balancer("health_check", other))
        .await;
    eventually("it is asked", || silent.accepted() == 1).await;
    assert_eq!(
        standing(&gateway, "backend").await,
        ["unhealthy: status 500"]
    );
    // The first answer decides, a good one too, whatever the threshold.
    let good = with(&json!({ "path": "/other", "healthy_threshold": 9 }));
    gateway.become_(&setup.balancer("health_check", good)).await;
    stands(&gateway, &["healthy"]).await;
    eventually("the probe ends", || silent.open() == 0).await;
}

#[tokio::test]
async fn servers_that_hang_do_not_delay_the_news_of_others() {
    // Their kernels take connections; nobody answers.
    let listeners: Vec<_> = (0..150)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let silent = listeners
        .iter()
        .map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    let sick = moody(&mood(500)).await;
    let urls: Vec<_> = silent.chain([sick.to_string()]).collect();
    let check = with(&json!({ "timeout": "1h" }));
    let setup = Setup::to_each(urls).admin().balancer("health_check", check);
    let gateway = setup.start().await;
    let mut expected = vec!["healthy"; 150];
    expected.push("unhealthy: status 500");
    stands(&gateway, &expected).await;
}

#[tokio::test]
async fn servers_are_asked_in_their_own_protocol() {
    let authority = Authority::new();
    let mood = mood(200);
    let cases: [(&str, &[&str], Version); 4] = [
        ("http", &[], Version::HTTP_11),
        ("h2c", &[], Version::HTTP_2),
        ("https", &["h2", "http/1.1"], Version::HTTP_2),
        ("https", &["http/1.1"], Version::HTTP_11),
    ];
    for (scheme, alpn, version) in cases {
        let server = match alpn {
            [] => moody(&mood).await,
            _ => Server::https(authority.server("api.test", alpn, false), handler(&mood)).await,
        };
        let setup = Setup::to(server.url(scheme))
            .admin()
            .balancer("health_check", check());
        let setup = match scheme {
            "https" => setup.balancer(
                "tls",
                json!({ "ca_file": authority.file(), "server_name": "api.test" }),
            ),
            _ => setup,
        };
        mood.store(200, Ordering::SeqCst);
        let gateway = setup.start().await;
        has_probed(&server, 3).await;
        stands(&gateway, &["healthy"]).await;
        assert_eq!(server.last().version, version, "{scheme}");
        assert_eq!(server.last().host, server.address().to_string());
        assert_eq!(server.accepted(), 1, "{scheme}");
        mood.store(503, Ordering::SeqCst);
        stands(&gateway, &["unhealthy: status 503"]).await;
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_believes_is_a_reason() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::https(theirs.server("api.test", &[], false), handler(&mood(200))).await;
    for check in [check(), json!({ "kind": "tcp" }), json!({ "kind": "grpc" })] {
        let gateway = checked([&server], check)
            .balancer(
                "tls",
                json!({ "ca_file": ours.file(), "server_name": "api.test" }),
            )
            .start()
            .await;
        // Both authorities have one name.
        let expected = "unhealthy: tls: invalid peer certificate: BadSignature";
        stands(&gateway, &[expected]).await;
    }
}

/// What a server of the gRPC health protocol answers, and to whom.
#[derive(Clone, Default)]
struct Serving(
    Arc<Mutex<GrpcAnswer>>,
    Arc<Mutex<Vec<(Version, HeaderMap, Bytes)>>>,
);

#[derive(Clone)]
enum GrpcAnswer {
    /// A message and status 0.
    Message(Bytes),
    /// No message and this status, in trailers or as the head.
    Code(&'static str, bool),
    /// What is no answer to this.
    Odd(u16, &'static str),
    /// A body without an end.
    Endless,
    /// A message, and an end without a status.
    NoStatus(Bytes),
    /// A body that breaks off.
    Broken,
}

impl Default for GrpcAnswer {
    fn default() -> Self {
        Self::status(1)
    }
}

impl GrpcAnswer {
    fn status(status: u8) -> Self {
        Self::Message(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]))
    }

    async fn response(self) -> Response<Body> {
        let grpc = Response::builder().header("content-type", "application/grpc");
        let trailers = |code| {
            HeaderMap::from_iter([(
                "grpc-status".parse().unwrap(),
                HeaderValue::from_static(code),
            )])
        };
        let (feed, body) = feed();
        match self {
            Self::Message(message) => {
                tokio::spawn(async move {
                    feed.data(message).await;
                    feed.trailers(trailers("0")).await;
                });
            }
            Self::Code(code, true) => {
                let head = grpc
                    .header("grpc-status", code)
                    .header("grpc-message", "secret");
                return head.body(Body::empty()).unwrap();
            }
            Self::Code(code, false) => {
                tokio::spawn(feed.trailers(trailers(code)));
            }
            Self::Odd(status, kind) => {
                let head = Response::builder()
                    .status(status)
                    .header("content-type", kind);
                return head.body(Body::from("hello")).unwrap();
            }
            Self::Endless => {
                tokio::spawn(async move { while feed.data(vec![0; 1024]).await {} });
            }
            Self::NoStatus(message) => {
                tokio::spawn(async move { feed.data(message).await });
            }
            Self::Broken => {
                tokio::spawn(async move {
                    feed.data(vec![0]).await;
                    feed.break_off().await;
                });
            }
        }
        grpc.body(body).unwrap()
    }
}

impl Serving {
    fn handler(
        &self,
    ) -> impl Fn(Request<Recorded>) -> std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>>
    + Clone
    + Send
    + Sync
    + 'static {
        let Self(answer, asked) = self.clone();
        move |request| {
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
            Box::pin(async move {
                if request.uri().path() != "/grpc.health.v1.Health/Check" {
                    return GrpcAnswer::Code("12", true).response().await;
                }
                let (head, body) = request.into_parts();
                let body = http_body_util::BodyExt::collect(body).await.unwrap();
                let question = (head.version, head.headers, body.to_bytes());
                asked.lock().unwrap().push(question);
                let answer = answer.lock().unwrap().clone();
                answer.response().await
            })
        }
    }

    fn become_(&self, answer: GrpcAnswer) {
        *self.0.lock().unwrap() = answer;
    }
}

#[tokio::test]
async fn grpc_servers_are_asked_by_their_own_protocol() {
    let authority = Authority::new();
    for scheme in ["h2c", "http", "https", "tcp"] {
        let serving = Serving::default();
        let server = match scheme {
            "https" => {
                Server::https(
                    authority.server("api.test", &["h2"], false),
                    serving.handler(),
                )
                .await
            }
            _ => Server::http(serving.handler()).await,
        };
        let check = json!({
            "kind": "grpc",
            "path": "shop.Cart",
            "interval": "100ms",
            "timeout": "2s",
            "unhealthy_threshold": 1,
            "headers": { "X-Key": "k" },
        });
        let setup = Setup::to(server.url(scheme))
            .admin()
            .balancer("health_check", check);
        let setup = match scheme {
            "https" => setup.balancer(
                "tls",
                json!({ "ca_file": authority.file(), "server_name": "api.test" }),
            ),
            "tcp" => setup
                .set("entrypoints/web/protocol", "tcp")
                .set("routers/all/rule", "HostSNI(`*`)")
                .set("routers/all/entrypoints", json!(["web"])),
            _ => setup,
        };
        let gateway = setup.start().await;
        eventually("a question", || serving.1.lock().unwrap().len() >= 2).await;
        stands(&gateway, &["healthy"]).await;
        {
            let asked = serving.1.lock().unwrap();
            let (version, headers, message) = &asked[0];
            assert_eq!(*version, Version::HTTP_2);
            assert_eq!(headers["content-type"], "application/grpc");
            assert_eq!(headers["te"], "trailers");
            assert_eq!(headers["grpc-timeout"], "2000m");
            assert_eq!(headers["x-key"], "k");
            assert_eq!(message[..], b"\0\0\0\0\x0b\x0a\x09shop.Cart"[..]);
        }
        assert_eq!(server.accepted(), 1, "{scheme}");
        for (answer, expected) in [
            (GrpcAnswer::status(2), "unhealthy: grpc status NOT_SERVING"),
            (GrpcAnswer::status(1), "healthy"),
            (
                GrpcAnswer::status(3),
                "unhealthy: grpc status SERVICE_UNKNOWN",
            ),
            (GrpcAnswer::status(0), "unhealthy: grpc status UNKNOWN"),
            (
                GrpcAnswer::Code("12", true),
                "unhealthy: grpc code UNIMPLEMENTED",
            ),
            (
                GrpcAnswer::Code("5", false),
                "unhealthy: grpc code NOT_FOUND",
            ),
            (GrpcAnswer::Code("99", true), "unhealthy: grpc code UNKNOWN"),
            (
                GrpcAnswer::Odd(404, "application/grpc"),
                "unhealthy: status 404",
            ),
            (
                GrpcAnswer::Odd(200, "text/html"),
                "unhealthy: the answer is not gRPC",
            ),
            (GrpcAnswer::Broken, "unhealthy: the answer broke off"),
            (GrpcAnswer::Endless, "unhealthy: the answer is not gRPC"),
            (GrpcAnswer::status(2), "unhealthy: grpc status NOT_SERVING"),
            (
                GrpcAnswer::NoStatus(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])),
                "unhealthy: the answer is not gRPC",
            ),
            (GrpcAnswer::status(1), "healthy"),
            // A good end, and no message.
            (
                GrpcAnswer::Code("0", true),
                "unhealthy: the answer is not gRPC",
            ),
        ] {
            serving.become_(answer);
            stands(&gateway, &[expected]).await;
        }
    }
}

#[tokio::test]
async fn a_server_without_http2_cannot_be_asked_by_grpc() {
    let authority = Authority::new();
    let tls = authority.server("api.test", &["http/1.1"], false);
    let server = Server::https(tls, handler(&mood(200))).await;
    let gateway = checked([&server], json!({ "kind": "grpc" }))
        .balancer(
            "tls",
            json!({ "ca_file": authority.file(), "server_name": "api.test" }),
        )
        .start()
        .await;
    stands(&gateway, &["unhealthy: no HTTP/2"]).await;
    let server = Server::says("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let gateway = checked([&server], json!({ "kind": "grpc" })).start().await;
    stands(
        &gateway,
        &["unhealthy: the connection ended before an answer"],
    )
    .await;
}

fn tcp(urls: impl IntoIterator<Item = String>) -> Setup {
    Setup::to_each(urls)
        .admin()
        .set("entrypoints/web/protocol", "tcp")
        .set("routers/all/rule", "HostSNI(`*`)")
        .set("routers/all/entrypoints", json!(["web"]))
}

/// A server that says its name to each connection.
async fn named(name: &'static str) -> Server {
    Server::raw(move |wire, _| async move {
        let mut stream = wire.into_io();
        let _ = stream.write_all(name.as_bytes()).await;
    })
    .await
}

#[tokio::test]
async fn servers_of_tcp_are_asked_for_a_connection() {
    let (one, two) = (named("one").await, named("two").await);
    let check = json!({ "interval": "100ms", "unhealthy_threshold": 1 });
    let gateway = tcp([one.url("tcp"), two.url("tcp")])
        .balancer("health_check", check)
        .start()
        .await;
    eventually("probes", || one.accepted() >= 2).await;
    // They are closed as soon as they are there.
    eventually("the probes end", || one.open() == 0).await;
    drop(one);
    stands(&gateway, &["unhealthy: connection refused", "healthy"]).await;
    for _ in 0..6 {
        let (said, _) = gateway.wire().await.rest().await;
        assert_eq!(said, b"two");
    }
}

#[tokio::test]
async fn servers_of_tcp_may_have_their_health_at_another_port() {
    let mood = mood(200);
    let (server, health) = (named("one").await, moody(&mood).await);
    let check = with(&json!({ "kind": "http", "port": health.address().port() }));
    let gateway = tcp([server.url("tcp")])
        .balancer("health_check", check)
        .start()
        .await;
    has_probed(&health, 1).await;
    assert_eq!(gateway.wire().await.rest().await.0, b"one");
    mood.store(500, Ordering::SeqCst);
    stands(&gateway, &["unhealthy: status 500"]).await;
    // Reset, perhaps before the client has seen that it is connected.
    if let Ok(stream) = connect_from([127, 0, 0, 1], gateway.address()).await {
        assert!(Wire::new(stream).rest().await.0.is_empty());
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn each_revision_has_its_own_health() {
    let (sick, well) = (moody(&mood(500)).await, moody(&mood(200)).await);
    let revision = |name: &str, servers: &[&Server]| {
        let servers = servers.iter().map(|url| json!({ "url": url.to_string() }));
        let servers: Vec<_> = servers.collect();
        json!({ "name": name, "traffic_percent": 50, "servers": servers })
    };
    let revisions = json!([revision("one", &[&sick, &well]), revision("two", &[&sick])]);
    let gateway = Setup::new()
        .route("all", "PathPrefix(`/`)", "backend")
        .admin()
        .balancer("health_check", with(&json!({ "interval": "1h" })))
        .set("services/backend/revisions", revisions)
        .start()
        .await;
    let bad = "unhealthy: status 500";
    stands(&gateway, &[bad, "healthy", bad]).await;
    // Both of them asked one server once.
    assert_eq!(probes(&sick), 1);
    assert_eq!(requests(&sick), 0);
}

#[tokio::test]
async fn a_server_at_a_unix_socket_is_asked_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let answering = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut wire = Wire::new(stream);
        for status in ["200 OK", "500 Internal Server Error"] {
            let head = wire.head().await;
            assert_eq!(head.line, "GET /health HTTP/1.1");
            assert_eq!(head.header("host").unwrap(), "localhost");
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            wire.send(answer).await;
        }
        (listener, wire)
    });
    let gateway = Setup::to(format!("unix:{}", path.display()))
        .admin()
        .balancer("health_check", check())
        .start()
        .await;
    let held = within("two probes on one connection", answering)
        .await
        .unwrap();
    stands(&gateway, &["unhealthy: status 500"]).await;
    drop(held);
    stands(&gateway, &["unhealthy: connection refused"]).await;
    std::fs::remove_file(&path).unwrap();
    stands(&gateway, &["unhealthy: no such socket"]).await;
}

#[tokio::test]
async fn http2_that_never_comes_to_an_answer_is_bounded_too() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let rubbish = odd(|mut wire| async move {
        let _ = wire.try_send([0xff; 1000]).await;
        wire.hang().await;
    });
    let pings = odd(|mut wire| async move {
        let mut said = wire.try_send(SETTINGS).await;
        while said.is_ok() {
            said = wire.try_send(PING).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let silent = odd(|mut wire| async move {
        let _ = wire.try_send(SETTINGS).await;
        wire.hang().await;
    });
    let servers = [rubbish.await, pings.await, silent.await];
    let urls = servers.iter().map(|server| server.url("h2c"));
    for kind in ["http", "grpc"] {
        let check = json!({
            "kind": kind,
            "interval": "100ms",
            "timeout": "200ms",
            "unhealthy_threshold": 1,
        });
        let gateway = Setup::to_each(urls.clone())
            .admin()
            .balancer("health_check", check)
            .start()
            .await;
        let (ended, late) = (
            "unhealthy: the connection ended before an answer",
            "unhealthy: timed out after 200ms",
        );
        stands(&gateway, &[ended, late, late]).await;
        for server in &servers {
            let accepted = server.accepted();
            eventually("more probes", || server.accepted() >= accepted + 3).await;
            assert!(server.open() <= 2, "{}", server.open());
        }
        drop(gateway);
        for server in &servers {
            eventually("all ends", || server.open() == 0).await;
        }
    }
}

#[tokio::test]
async fn probes_end_with_the_gateway() {
    let mood = mood(200);
    let server = moody(&mood).await;
    let gateway = checked([&server], check()).start().await;
    has_probed(&server, 1).await;
    within("the end", gateway.shutdown()).await;
    eventually("the connection is closed", || server.open() == 0).await;
}
