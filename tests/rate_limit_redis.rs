//! `rate-limit-redis` in gateways, with a real Redis: shared, killed, frozen, and back; and with one that lies.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::fake_redis::FakeRedis;
use support::redis::Redis;
use support::tls::Authority;
use support::{Client, Process, Server, Setup, TestGateway, connect, eventually};
use tokio::task::JoinSet;

/// Longer than any answer takes on a busy machine.
const PATIENCE: &str = "5s";

fn limit(redis: &Redis, rate: u32, period: &str) -> Value {
    limit_at(&redis.url(), rate, period)
}

fn limit_at(url: &str, rate: u32, period: &str) -> Value {
    json!({
        "type": "rate-limit-redis",
        "rate": rate,
        "period": period,
        "redis_url": url,
        "timeout": PATIENCE,
    })
}

fn limited(server: &Server, limit: Value) -> Setup {
    Setup::to(server)
        .set("middlewares/limit", limit)
        .set("routers/all/middlewares", json!(["limit"]))
}

async fn status(gateway: &TestGateway) -> u16 {
    gateway.h1().await.get("/").await.status.as_u16()
}

/// Asks until a reply has this status.
async fn until(gateway: &TestGateway, expected: u16) {
    support::within(&format!("a reply of {expected}"), async {
        while status(gateway).await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_past_its_burst_gets_429_on_every_gateway() {
    let redis = Redis::start(&[]);
    let server = Server::start().await;
    let setup = limited(&server, limit(&redis, 2, "1h")).with_all_workers();
    let gateways = [setup.start().await, setup.start().await];
    for (gateway, remaining) in [(0, 1), (1, 0)] {
        let reply = gateways[gateway].h1().await.get("/").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["ratelimit-policy"], r#""default";q=2;w=3600"#);
        let fields = format!(r#""default";r={remaining};t=1800"#);
        assert_eq!(reply.headers["ratelimit"], fields);
    }
    for gateway in &gateways {
        let refused = gateway.h2().await.get("/").await;
        assert_eq!(refused.status, 429);
        assert_eq!(
            refused.text(),
            "{\"error\":\"too many requests\",\"status\":429}\n"
        );
        let seconds: u64 = refused.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1790..=1800).contains(&seconds), "{seconds}");
    }
    assert_eq!(redis.run("KEYS *"), ["a3s:rate:limit:ip:127.0.0.1"]);
    assert_eq!(server.requests(), 2);
}

/// Clients that ask as fast as they can, and what they are told.
struct Flood {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Tally {
    passed: AtomicU64,
    refused: AtomicU64,
    denied: AtomicU64,
    slowest: AtomicU64,
}

impl Flood {
    fn start<'g>(gateways: impl IntoIterator<Item = &'g TestGateway>, clients: usize) -> Self {
        let mut flood = Self {
            stop: Arc::default(),
            tally: Arc::default(),
            clients: JoinSet::new(),
        };
        for gateway in gateways {
            for _ in 0..clients {
                let connection = connect(gateway.address());
                let (stop, tally) = (Arc::clone(&flood.stop), Arc::clone(&flood.tally));
                flood.clients.spawn(async move {
                    let mut client = Client::h1(connection.await).await;
                    while !stop.load(Relaxed) {
                        let sent = Instant::now();
                        let count = match client.get("/").await.status.as_u16() {
                            200 => &tally.passed,
                            429 => &tally.refused,
                            503 => &tally.denied,
                            other => panic!("{other}"),
                        };
                        count.fetch_add(1, Relaxed);
                        let micros = u64::try_from(sent.elapsed().as_micros()).unwrap();
                        tally.slowest.fetch_max(micros, Relaxed);
                    }
                });
            }
        }
        flood
    }

    /// Waits until so many more answers of a kind have come.
    async fn more(&self, what: &str, answers: u64, count: impl Fn(&Tally) -> &AtomicU64) {
        let count = count(&self.tally);
        let from = count.load(Relaxed);
        eventually(what, || count.load(Relaxed) >= from + answers).await;
    }

    fn slowest(&self) -> Duration {
        Duration::from_micros(self.tally.slowest.load(Relaxed))
    }

    async fn stop(self) -> Arc<Tally> {
        self.stop.store(true, Relaxed);
        support::within("the clients end", self.clients.join_all()).await;
        self.tally
    }
}

#[tokio::test]
async fn two_gateways_share_one_limit_within_a_hundredth_over_ten_seconds() {
    const RATE: u32 = 100;
    let redis = Redis::start(&[]);
    let server = Server::start().await;
    let mut limit = limit(&redis, RATE, "1s");
    // What a busy machine misses in two seconds it makes up for.
    limit["burst"] = json!(2 * RATE);
    let setup = limited(&server, limit).with_all_workers();
    let gateways = [setup.start().await, setup.start().await];
    let flood = Flood::start(&gateways, 2);
    // From an empty bucket to an empty bucket.
    let empty = async |refusals| {
        let what = "the bucket is empty";
        flood.more(what, refusals, |tally| &tally.refused).await;
        (flood.tally.passed.load(Relaxed), Instant::now())
    };
    let (before, start) = empty(20).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (after, end) = empty(1).await;
    let due = (end - start).as_secs_f64() * f64::from(RATE);
    let share = (after - before) as f64 / due;
    flood.stop().await;
    assert!((0.99..=1.01).contains(&share), "{share}");
}

#[tokio::test]
async fn a_redis_that_is_killed_under_load_is_done_without_and_found_again() {
    for (on_error, denied) in [("allow", false), ("deny", true)] {
        let mut redis = Redis::start(&[]);
        let server = Server::start().await;
        let mut limit = limit(&redis, 1, "1h");
        limit["on_error"] = json!(on_error);
        limit["timeout"] = json!("200ms");
        let gateway = limited(&server, limit).with_all_workers().start().await;
        let flood = Flood::start([&gateway], 8);
        flood
            .more("they are counted", 50, |tally| &tally.refused)
            .await;
        for _ in 0..2 {
            redis.kill();
            match denied {
                true => {
                    flood
                        .more("they are refused", 200, |tally| &tally.denied)
                        .await
                }
                false => flood.more("they pass", 200, |tally| &tally.passed).await,
            }
            redis.start_again();
            flood
                .more("they are counted again", 200, |tally| &tally.refused)
                .await;
        }
        let slowest = flood.slowest();
        let tally = flood.stop().await;
        // Its deadline, and what a busy machine adds.
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        assert_eq!(denied, tally.denied.load(Relaxed) > 0);
    }
}

#[tokio::test]
async fn a_redis_that_hangs_under_load_holds_nobody_up() {
    let redis = Redis::start(&[]);
    let server = Server::start().await;
    let mut limit = limit(&redis, 1, "1h");
    limit["on_error"] = json!("deny");
    limit["timeout"] = json!("200ms");
    let gateway = limited(&server, limit).with_all_workers().start().await;
    let flood = Flood::start([&gateway], 8);
    flood
        .more("they are counted", 50, |tally| &tally.refused)
        .await;
    for _ in 0..2 {
        redis.freeze();
        flood
            .more("they are refused", 500, |tally| &tally.denied)
            .await;
        redis.thaw();
        flood
            .more("they are counted again", 200, |tally| &tally.refused)
            .await;
    }
    let slowest = flood.slowest();
    flood.stop().await;
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test]
async fn a_gateway_starts_without_its_redis() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let server = Server::start().await;
    let gateway = limited(&server, limit(&redis, 1, "1h")).start().await;
    for _ in 0..3 {
        let reply = gateway.h1().await.get("/").await;
        assert_eq!(reply.status, 200);
        assert!(!reply.headers.contains_key("ratelimit"));
    }
    redis.start_again();
    until(&gateway, 429).await;
}

#[tokio::test]
async fn the_counts_are_those_of_the_redis_whatever_is_reloaded() {
    let redis = Redis::start(&[]);
    let server = Server::start().await;
    let setup = limited(&server, limit(&redis, 1, "1h"));
    let gateway = setup.start().await;
    assert_eq!(status(&gateway).await, 200);
    let connections = || redis.run("CLIENT LIST")[0].lines().count() - 1;
    let id = || {
        redis.run("CLIENT LIST")[0]
            .split(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    let first = id();
    gateway
        .become_(&setup.clone().balancer("strategy", "random"))
        .await;
    assert_eq!(status(&gateway).await, 429);
    assert_eq!((connections(), id()), (1, first));
    // Written otherwise it has a connection of its own, and the old one ends.
    gateway
        .become_(&setup.set("middlewares/limit/shadow", true))
        .await;
    assert_eq!(status(&gateway).await, 200);
    eventually("the old connection is closed", || connections() == 1).await;
    gateway.shutdown().await;
    drop(gateway);
    eventually("the last connection is closed", || connections() == 0).await;
}

#[tokio::test]
async fn a_password_opens_it_and_is_shown_nowhere() {
    let mut redis = Redis::start(&["--requirepass", "hunter2"]);
    let server = Server::start().await;
    let mut limit = limit(&redis, 1, "1h");
    let url = |password| format!("redis://:{password}@127.0.0.1:{}", redis.port());
    limit["redis_url"] = json!(url("hunter2"));
    limit["on_error"] = json!("deny");
    let setup = limited(&server, limit).admin();
    let gateway = setup.start().await;
    assert_eq!(status(&gateway).await, 200);
    assert_eq!(status(&gateway).await, 429);
    let config = gateway.admin("/api/gateway/config").await;
    assert_eq!(config["middlewares"]["limit"]["redis_url"], "***");
    assert!(!format!("{:?}", gateway.config()).contains("hunter2"));
    let wrong = setup.set("middlewares/limit/redis_url", url("hunter3"));
    for kill in [false, true] {
        if kill {
            redis.kill();
        }
        let process = Process::start(&wrong.text(), &["web"]).await;
        let mut client = Client::h1(connect(process.address("web")).await).await;
        assert_eq!(client.get("/").await.status, 503);
        process.logs("a rate limit cannot count").await;
        let log = process.log();
        assert!(
            log.contains("middleware=\"limit\" redis=127.0.0.1:") && !log.contains("hunter"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn over_tls_it_is_judged_by_the_authorities_that_are_named() {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("localhost");
    let tls = support::Port::reserve();
    let port = tls.number.to_string();
    drop(tls);
    let ca_file = authority.file();
    let redis = Redis::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert_file,
        "--tls-key-file",
        &key_file,
        "--tls-ca-cert-file",
        &ca_file,
        "--tls-auth-clients",
        "yes",
    ]);
    let server = Server::start().await;
    let mut limit = limit(&redis, 1, "1h");
    limit["redis_url"] = json!(format!("rediss://localhost:{port}"));
    limit["on_error"] = json!("deny");
    let stranger = limited(&server, limit.clone());
    limit["ca_file"] = json!(ca_file);
    let nobody = limited(&server, limit.clone());
    limit["cert_file"] = json!(cert_file);
    limit["key_file"] = json!(key_file);
    let gateway = limited(&server, limit).start().await;
    assert_eq!(status(&gateway).await, 200);
    assert_eq!(status(&gateway).await, 429);
    for setup in [stranger, nobody] {
        gateway.become_(&setup).await;
        assert_eq!(status(&gateway).await, 503);
    }
}

#[tokio::test]
async fn on_error_decides_where_a_redis_lies() {
    let server = Server::start().await;
    for evalsha in [
        "-NOSCRIPT No matching script.\r\n",
        "+OK\r\n",
        "*3\r\n:1\r\n:-5\r\n:0\r\n",
        "*3\r\n:0\r\n:0\r\n:-1\r\n",
    ] {
        let redis = FakeRedis::start(move |name| match name {
            "EVALSHA" => evalsha.into(),
            _ => "+OK\r\n".into(),
        })
        .await;
        for (on_error, expected) in [("allow", 200), ("deny", 503)] {
            let mut limit = limit_at(&redis.url(), 10, "1h");
            limit["on_error"] = json!(on_error);
            let gateway = limited(&server, limit).start().await;
            for _ in 0..2 {
                assert_eq!(status(&gateway).await, expected, "{on_error}: {evalsha:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_redis_says_cannot_forge_a_line_of_the_log() {
    let error = format!("-ERR a\nforged\x1b[2J {}\r\n", "x".repeat(10_000));
    let redis = FakeRedis::start(move |_| error.as_str().into()).await;
    let server = Server::start().await;
    let setup = limited(&server, limit_at(&redis.url(), 10, "1h"));
    let process = Process::start(&setup.text(), &["web"]).await;
    let mut client = Client::h1(connect(process.address("web")).await).await;
    assert_eq!(client.get("/").await.status, 200);
    process.logs("a rate limit cannot count").await;
    let log = process.log();
    let line = log.lines().find(|line| line.contains("cannot count"));
    let line = line.unwrap_or_default();
    assert!(line.contains(r"a\nforged\u{1b}[2J xxx"), "{log}");
    assert!(line.len() < 1000, "{} bytes", line.len());
}
