//! Which server is asked, by each strategy.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::body::{Feed, feed};
use support::server::Recorded;
use support::{Client, Server, Setup, TestGateway, eventually, request, within};

/// Servers that answer with their number, and their URLs with these weights.
async fn numbered(weights: &[u16]) -> (Vec<Server>, Value) {
    let mut servers = Vec::new();
    for number in 0..weights.len() {
        let server = Server::http(move |_: Request<Recorded>| {
            std::future::ready(Response::new(Body::from(number.to_string())))
        });
        servers.push(server.await);
    }
    let urls = servers
        .iter()
        .zip(weights)
        .map(|(server, weight)| json!({ "url": server.to_string(), "weight": weight }))
        .collect();
    (servers, urls)
}

async fn balanced(strategy: &str, servers: Value) -> TestGateway {
    Setup::to("http://127.0.0.1:1")
        .balancer("strategy", strategy)
        .balancer("servers", servers)
        .with_all_workers()
        .start()
        .await
}

/// The numbers of the servers that answer so many requests, in their order.
async fn turns(client: &mut Client, count: usize) -> Vec<usize> {
    let mut turns = Vec::new();
    for _ in 0..count {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200);
        turns.push(reply.text().parse().unwrap());
    }
    turns
}

#[tokio::test]
async fn round_robin_asks_each_in_turn_whatever_its_weight() {
    let (_servers, urls) = numbered(&[5, 1, 1]).await;
    let gateway = balanced("round-robin", urls).await;
    let mut client = gateway.h1().await;
    assert_eq!(turns(&mut client, 7).await, [0, 1, 2, 0, 1, 2, 0]);
    // The turn is the service's, not the connection's or the worker's.
    let mut another = gateway.h2().await;
    assert_eq!(turns(&mut another, 2).await, [1, 2]);
    assert_eq!(turns(&mut client, 2).await, [0, 1]);
}

#[tokio::test]
async fn round_robin_is_exact_over_many_clients_at_once() {
    let (servers, urls) = numbered(&[1, 1, 1]).await;
    let gateway = balanced("round-robin", urls).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut client = gateway.h1().await;
        clients.spawn(async move { turns(&mut client, 30).await.len() });
    }
    within("all clients", clients.join_all()).await;
    for server in &servers {
        assert_eq!(server.requests(), 100);
    }
}

#[tokio::test]
async fn weighted_turns_are_interleaved_as_nginx_does() {
    for (weights, expected) in [
        (
            &[5, 1, 1][..],
            &[0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0][..],
        ),
        (&[1, 1], &[0, 1, 0, 1]),
        (&[2, 1], &[0, 1, 0, 0, 1, 0]),
        (&[10, 10], &[0, 1, 0, 1]),
        (&[3, 0, 1], &[0, 0, 2, 0, 0, 0, 2, 0]),
    ] {
        let (_servers, urls) = numbered(weights).await;
        let gateway = balanced("weighted", urls).await;
        let seen = turns(&mut gateway.h1().await, expected.len()).await;
        assert_eq!(seen, expected, "{weights:?}");
    }
}

#[tokio::test]
async fn random_keeps_to_the_weights_in_the_long_run() {
    const REQUESTS: usize = 4000;
    let weights = [1, 3, 0];
    let (servers, urls) = numbered(&weights).await;
    let gateway = balanced("random", urls).await;
    let mut client = gateway.h1().await;
    let seen = turns(&mut client, REQUESTS).await;
    assert_eq!(servers[2].requests(), 0);
    // The standard deviation of a share of 1/4 is sqrt(n * 1/4 * 3/4), some 27 of 4000. Six of them are
    // passed by one run in five hundred million.
    let first = seen.iter().filter(|server| **server == 0).count();
    let deviation = (REQUESTS as f64 * 0.25 * 0.75).sqrt();
    let off = (first as f64 - REQUESTS as f64 / 4.0).abs();
    assert!(off < 6.0 * deviation, "{first} of {REQUESTS}");
    // And it is no round: what follows 0 is not always the same.
    let after: Vec<_> = seen
        .windows(2)
        .filter(|pair| pair[0] == 0)
        .map(|pair| pair[1])
        .collect();
    assert!(after.contains(&0) && after.contains(&1));
}

#[tokio::test]
async fn weight_0_takes_no_new_requests() {
    for strategy in [
        "round-robin",
        "weighted",
        "least-connections",
        "random",
        "p2c-ewma",
    ] {
        let (servers, urls) = numbered(&[1, 0, 1]).await;
        let gateway = balanced(strategy, urls).await;
        let seen = turns(&mut gateway.h1().await, 40).await;
        assert!(
            seen.contains(&0) && seen.contains(&2),
            "{strategy}: {seen:?}"
        );
        assert_eq!(servers[1].requests(), 0, "{strategy}");
    }
}

#[tokio::test]
async fn where_every_weight_is_0_the_answer_is_503() {
    for strategy in [
        "round-robin",
        "weighted",
        "least-connections",
        "random",
        "p2c-ewma",
        "consistent-hash",
    ] {
        let (servers, urls) = numbered(&[0, 0]).await;
        let gateway = balanced(strategy, urls).await;
        let reply = gateway.h1().await.get("/").await;
        assert_eq!(reply.status, 503, "{strategy}");
        assert!(reply.headers.contains_key("retry-after"), "{strategy}");
        assert!(
            servers.iter().all(|server| server.requests() == 0),
            "{strategy}"
        );
    }
}

/// Servers whose answers have no end until a test gives them one.
struct Endless {
    servers: Vec<Server>,
    feeds: Vec<Arc<Mutex<Vec<Feed>>>>,
    gateway: TestGateway,
}

impl Endless {
    async fn new(weights: &[u16]) -> Self {
        let mut servers = Vec::new();
        let mut feeds = Vec::new();
        for number in 0..weights.len() {
            let ours: Arc<Mutex<Vec<Feed>>> = Arc::default();
            feeds.push(Arc::clone(&ours));
            let server = Server::http(move |_: Request<Recorded>| {
                let (feed, body) = feed();
                ours.lock().unwrap().push(feed);
                let response = Response::builder().header("x-server", number);
                std::future::ready(response.body(body).unwrap())
            });
            servers.push(server.await);
        }
        let urls = servers
            .iter()
            .zip(weights)
            .map(|(server, weight)| json!({ "url": server.to_string(), "weight": weight }))
            .collect();
        let gateway = balanced("least-connections", urls).await;
        Self {
            servers,
            feeds,
            gateway,
        }
    }

    /// A request whose head has been answered and whose body has not ended, and the server that has it.
    async fn open(&self) -> (usize, Client, Response<hyper::body::Incoming>) {
        let mut client = self.gateway.h1().await;
        let response = client.send(request("GET", "/")).await;
        let server = response.headers()["x-server"].to_str().unwrap().parse();
        (server.unwrap(), client, response)
    }

    /// Requests under way at each server, as the gateway counts them.
    fn in_flight(&self) -> Vec<u64> {
        let metrics = self.gateway.metrics();
        let counts: Vec<_> = metrics
            .lines()
            .filter(|line| line.starts_with("gateway_service_server_in_flight{"))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(counts.len(), self.servers.len(), "{metrics}");
        counts
    }
}

#[tokio::test]
async fn least_connections_counts_until_the_body_ends() {
    let scene = Endless::new(&[1, 1, 1]).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(scene.open().await);
    }
    // Two each, though all heads have been answered.
    let mut counts = [0; 3];
    for (server, ..) in &open {
        counts[*server] += 1;
    }
    assert_eq!(counts, [2, 2, 2]);
    // One body ends: its server is the next.
    let at = open.iter().position(|(server, ..)| *server == 1).unwrap();
    let (_, client, response) = open.remove(at);
    drop(scene.feeds[1].lock().unwrap().remove(0));
    let (_, body) = response.into_parts();
    within("the end", http_body_util::BodyExt::collect(body))
        .await
        .unwrap();
    let (server, ..) = scene.open().await;
    assert_eq!(server, 1);
    drop(client);
}

#[tokio::test]
async fn least_connections_leaks_nothing_when_clients_go_away() {
    let scene = Endless::new(&[1, 1]).await;
    for round in 0..5 {
        let mut open = Vec::new();
        for _ in 0..4 {
            open.push(scene.open().await);
        }
        assert_eq!(scene.in_flight(), [2, 2]);
        drop(open);
        eventually("all counts are back", || scene.in_flight() == [0, 0]).await;
        // Nor do the servers go on.
        eventually("the servers are told", || {
            let feeds = scene.feeds.iter();
            feeds
                .map(|feeds| feeds.lock().unwrap())
                .all(|feeds| feeds.iter().all(Feed::is_closed))
        })
        .await;
        assert_eq!(
            scene.servers.iter().map(Server::requests).sum::<usize>(),
            4 * (round + 1)
        );
    }
}

#[tokio::test]
async fn least_connections_leaks_nothing_when_servers_fail() {
    let silent = Server::raw(|wire, _| wire.hang()).await;
    let rude = Server::raw(|mut wire, _| async move {
        wire.try_head().await;
        wire.reset();
    })
    .await;
    let gone = "http://127.0.0.1:1";
    let setup = Setup::to_each([gone.to_owned(), silent.to_string(), rude.to_string()])
        .balancer("strategy", "least-connections")
        .balancer("timeouts", json!({ "response": "20ms" }))
        .admin();
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    for _ in 0..60 {
        let status = client.get("/").await.status;
        assert!(status == 502 || status == 504, "{status}");
    }
    // None of them gathers a count: each is asked again and again. By chance one gets
    // less than 5 of 60 in three runs of a million (binomial, 1/3).
    let services = gateway.admin("/api/gateway/services").await;
    let servers = services[0]["servers"].as_array().unwrap();
    for server in servers {
        assert_eq!(server["in_flight"], 0, "{server}");
        assert!(server["requests"].as_u64().unwrap() >= 5, "{server}");
    }
}

#[tokio::test]
async fn least_connections_goes_by_weight_too() {
    let scene = Endless::new(&[3, 1]).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(scene.open().await);
    }
    let first = open.iter().filter(|(server, ..)| *server == 0).count();
    assert_eq!(first, 6);
}

#[tokio::test]
async fn of_equals_least_connections_asks_any_by_weight() {
    const REQUESTS: usize = 1200;
    let weights = [1, 2, 3];
    let (_servers, urls) = numbered(&weights).await;
    let gateway = balanced("least-connections", urls).await;
    let seen = turns(&mut gateway.h1().await, REQUESTS).await;
    for (server, weight) in weights.iter().enumerate() {
        // Six standard deviations of a binomial count are passed by one run in five hundred million.
        let share = f64::from(*weight) / 6.0;
        let deviation = (REQUESTS as f64 * share * (1.0 - share)).sqrt();
        let count = seen.iter().filter(|seen| **seen == server).count();
        let off = (count as f64 - REQUESTS as f64 * share).abs();
        assert!(off < 6.0 * deviation, "{server}: {count} of {REQUESTS}");
    }
}

#[tokio::test]
async fn a_service_can_answer_by_itself() {
    let gateway = Setup::new()
        .route("all", "PathPrefix(`/`)", "fixed")
        .set(
            "services/fixed/respond",
            json!({
                "status": 418,
                "body": "short and stout",
                "headers": { "Content-Type": "text/plain", "X-Tea": "${green}" },
            }),
        )
        .start()
        .await;
    for h2 in [false, true] {
        let mut client = if h2 {
            gateway.h2().await
        } else {
            gateway.h1().await
        };
        for _ in 0..2 {
            let reply = client.get("/").await;
            assert_eq!(
                (reply.status.as_u16(), &*reply.text()),
                (418, "short and stout")
            );
            assert_eq!(reply.headers["content-type"], "text/plain");
            assert_eq!(reply.headers["x-tea"], "${green}");
            assert_eq!(reply.headers["content-length"], "15");
        }
        let reply = client.ask(request("HEAD", "/")).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (418, 0));
        assert_eq!(reply.headers["content-length"], "15");
        // A body that nobody wants harms nothing.
        let mut post = request("POST", "/");
        *post.body_mut() = Body::from(vec![b'x'; 100_000]);
        assert_eq!(client.ask(post).await.status, 418);
    }
    assert_eq!(
        gateway.h1().await.get("/").await.headers["content-length"],
        "15"
    );
}
