//! The same requests, as clients, a scrape, the access log, the traces and the dashboard's data tell of them.

#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use support::body::feed;
use support::collector::Collector;
use support::server::Recorded;
use support::{Client, Port, Server, Setup, TestGateway, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CLIENTS: u64 = 8;
const REQUESTS: u64 = 10_000;

/// How many exchanges there were by router (none where none took it), status and whether they were cut short.
type Told = BTreeMap<(Option<String>, u16), u64>;

fn add(told: &mut Told, router: Option<&str>, status: u16) {
    // A client that is gone at once may be so before a router is found, or after.
    let router = router.filter(|_| status != 499);
    *told.entry((router.map(str::to_owned), status)).or_default() += 1;
}

/// A server that answers at once, never, or without an end, by the path.
async fn server() -> Server {
    Server::http(|request: Request<Recorded>| async move {
        match request.uri().path() {
            "/slow" => std::future::pending().await,
            "/stream" => {
                let (feed, body) = feed();
                // It goes on until nobody listens.
                tokio::spawn(async move { while feed.data("more").await {} });
                Response::new(body)
            }
            _ => {
                // Whoever answers before it has read a body may close the connection on it.
                let _ = request.into_body().collect().await;
                Response::new(Body::from("answer"))
            }
        }
    })
    .await
}

async fn gateway(log: &Path, collector: &Collector) -> (TestGateway, Server, Port) {
    let server = server().await;
    let nobody = Port::reserve();
    let router = |rule: &str, service: &str, middleware: &str| {
        let middlewares: Vec<_> = Some(middleware)
            .filter(|name| !name.is_empty())
            .into_iter()
            .collect();
        json!({ "rule": rule, "service": service, "middlewares": middlewares })
    };
    let setup = Setup::new()
        .service("backend", server.url("http"))
        .service("nobody", format!("http://{}", nobody.address()))
        .set(
            "middlewares/few",
            json!({ "type": "rate-limit", "rate": 1, "period": "1h", "burst": 5 }),
        )
        .set(
            "middlewares/keys",
            json!({ "type": "api-key", "keys": ["0123456789abcdef0123456789abcdef"] }),
        )
        .set(
            "middlewares/away",
            json!({ "type": "redirect", "scheme": "https" }),
        )
        .set(
            "routers/ok",
            router("PathPrefix(`/ok`) || PathPrefix(`/s`)", "backend", ""),
        )
        .set(
            "routers/limited",
            router("PathPrefix(`/limited`)", "backend", "few"),
        )
        .set(
            "routers/locked",
            router("PathPrefix(`/locked`)", "backend", "keys"),
        )
        .set(
            "routers/moved",
            router("PathPrefix(`/moved`)", "backend", "away"),
        )
        .set("routers/dead", router("PathPrefix(`/dead`)", "nobody", ""))
        .set("access_log/file", log.to_str().unwrap())
        .set(
            "tracing",
            json!({ "otlp_endpoint": collector.url(), "sample": 1, "queue": 1_000_000 }),
        )
        .admin()
        .with_all_workers();
    (setup.start().await, server, nobody)
}

/// One client's share of the requests, of every kind; what it was told.
async fn client(gateway: SocketAddr, number: u64) -> Told {
    let connect = || support::connect(gateway);
    let mut told = Told::new();
    let mut client = match number % 2 {
        0 => Client::h1(connect().await).await,
        _ => Client::h2(connect().await).await,
    };
    for turn in 0..REQUESTS / CLIENTS {
        let (router, path) = match turn % 20 {
            0 => (None, "/nothing"),
            1 => (Some("limited"), "/limited"),
            2 => (Some("locked"), "/locked"),
            3 => (Some("moved"), "/moved"),
            4 => (Some("dead"), "/dead"),
            5 => {
                // Refused by the parser, or before it.
                let bad = [
                    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                    "GET /\tHTTP/1.1\r\n\r\n",
                ];
                let bad = bad[(turn / 20 % 2) as usize];
                let answer = talk(connect().await, bad, true).await;
                assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
                add(&mut told, None, 400);
                continue;
            }
            6 => {
                talk(
                    connect().await,
                    "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
                    false,
                )
                .await;
                add(&mut told, Some("ok"), 499);
                continue;
            }
            7 => {
                let mut io = connect().await;
                io.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
                    .await
                    .unwrap();
                let mut head = [0; 12];
                io.read_exact(&mut head).await.unwrap();
                assert_eq!(&head, b"HTTP/1.1 200");
                add(&mut told, Some("ok"), 200);
                continue;
            }
            8 => {
                let reply = client.ask(upload(turn)).await;
                add(&mut told, Some("ok"), reply.status.as_u16());
                continue;
            }
            _ => (Some("ok"), "/ok"),
        };
        let reply = client.get(path).await;
        add(&mut told, router, reply.status.as_u16());
    }
    told
}

fn upload(turn: u64) -> Request<Body> {
    let mut request = request("POST", "/ok?token=secret");
    *request.body_mut() = Body::from(vec![b'x'; turn as usize]);
    request
}

/// Says `words`, and hears the answer, or goes away without it.
async fn talk(mut io: TcpStream, words: &str, hears: bool) -> String {
    io.write_all(words.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    if hears {
        let read = io.read_to_end(&mut answer);
        support::within("an answer", read).await.unwrap();
    }
    String::from_utf8(answer).unwrap()
}

/// What the access log tells.
fn of_log(log: &Path) -> (Told, Vec<Value>) {
    let text = fs::read_to_string(log).unwrap_or_default();
    // The last line may be half written yet.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines: Vec<Value> = (whole.lines())
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let mut told = Told::new();
    for line in &lines {
        let status = line["status"].as_u64().unwrap() as u16;
        add(&mut told, line["router"].as_str(), status);
    }
    (told, lines)
}

/// What a scrape tells.
fn of_scrape(gateway: &TestGateway) -> Told {
    let mut told = Told::new();
    let text = gateway.metrics();
    let mut all = BTreeMap::<u16, u64>::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let label = |name: &str| {
            let (_, rest) = series.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let count = || value.parse::<f64>().unwrap() as u64;
        if series.starts_with("gateway_router_requests_total{") {
            let status = label("code").unwrap().parse().unwrap();
            if status != 499 {
                *told.entry((label("router"), status)).or_default() += count();
            }
        } else if series.starts_with("gateway_entrypoint_requests_total{") {
            *all.entry(label("code").unwrap().parse().unwrap())
                .or_default() += count();
        }
    }
    // Those that no router took are only an entrypoint's.
    for (status, mut count) in all {
        count -= told
            .iter()
            .filter(|((_, code), _)| *code == status)
            .map(|(_, count)| count)
            .sum::<u64>();
        if count > 0 {
            told.insert((None, status), count);
        }
    }
    told
}

/// What the traces tell.
fn of_traces(collector: &Collector) -> Told {
    let spans = collector.spans();
    let routers: BTreeMap<_, _> = (spans.iter())
        .filter(|span| span.name.starts_with("router "))
        .map(|span| (&span.trace, &span.attributes["gateway.router"]))
        .collect();
    let mut told = Told::new();
    for span in &spans {
        // The span of an entrypoint has this.
        if !span.attributes.contains_key("gateway.entrypoint") {
            continue;
        }
        let status = span.attributes.get("http.response.status_code");
        let status = status.map_or(499, |status| status.parse().unwrap());
        let router = routers.get(&span.trace).map(|name| name.as_str());
        add(&mut told, router, status);
    }
    told
}

/// The classes of a router's answers, as the dashboard shows them.
async fn of_dashboard(gateway: &TestGateway, router: &str) -> [u64; 5] {
    let routers = gateway.admin("/api/gateway/routers").await;
    let all = routers.as_array().unwrap();
    let router = all.iter().find(|each| each["name"] == router).unwrap();
    ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| router["requests"][class].as_u64().unwrap())
}

/// Waits until they tell the same, for exchanges end a moment after their clients have.
async fn agree(who: &str, expected: &Told, told: impl Fn() -> Told) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = told();
        if found == *expected {
            return;
        }
        let others: Vec<_> = (found
            .iter()
            .filter(|(key, count)| expected.get(key) != Some(count)))
        .chain(
            expected
                .iter()
                .filter(|(key, count)| found.get(key) != Some(count)),
        )
        .collect();
        assert!(
            Instant::now() < deadline,
            "{who}, then what was expected: {others:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_tells_of_the_same_requests() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let collector = Collector::start().await;
    let (gateway, _server, _nobody) = gateway(&log, &collector).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(gateway.address(), number));
    }
    let mut expected = Told::new();
    while let Some(told) = clients.join_next().await {
        for (what, count) in told.unwrap() {
            *expected.entry(what).or_default() += count;
        }
    }
    assert_eq!(expected.values().sum::<u64>(), REQUESTS);
    for kind in [
        (None, 404),
        (None, 400),
        (Some("limited"), 429),
        (Some("limited"), 200),
        (None, 499),
        (Some("dead"), 502),
        (Some("locked"), 401),
    ] {
        let kind = (kind.0.map(str::to_owned), kind.1);
        assert!(expected.contains_key(&kind), "{kind:?}: {expected:#?}");
    }

    agree("the scrape", &expected, || of_scrape(&gateway)).await;
    agree("the access log", &expected, || of_log(&log).0).await;
    // What could not be read as a request has no trace.
    let (_, lines) = of_log(&log);
    let unread = (lines.iter())
        .filter(|line| line["method"].is_null())
        .count() as u64;
    let mut traced = expected.clone();
    *traced.get_mut(&(None, 400)).unwrap() -= unread;
    agree("the traces", &traced, || of_traces(&collector)).await;
    for router in ["ok", "limited", "locked", "moved", "dead"] {
        let mut classes = [0; 5];
        for ((name, status), count) in &expected {
            if name.as_deref() == Some(router) {
                classes[usize::from(status / 100) - 1] += count;
            }
        }
        let mut shown = of_dashboard(&gateway, router).await;
        if router == "ok" {
            // Some of those whose clients went away.
            shown[3] = 0;
        }
        assert_eq!(shown, classes, "{router}");
    }

    let reasons = |status: u16, path: &str| {
        let mut reasons: Vec<_> = (lines.iter())
            .filter(|line| {
                line["status"] == status
                    && line["path"].as_str().is_none_or(|it| it.starts_with(path))
            })
            .map(|line| line["reason"].as_str().map(str::to_owned))
            .collect();
        reasons.sort();
        reasons.dedup();
        reasons
    };
    let only = |reason: &str| vec![Some(reason.to_owned())];
    assert_eq!(reasons(404, "/"), only("no_route"));
    assert_eq!(reasons(429, "/"), only("rate_limit"));
    assert_eq!(reasons(401, "/"), only("api_key"));
    assert_eq!(reasons(499, "/"), only("client_closed"));
    assert_eq!(reasons(502, "/"), only("connect"));
    assert_eq!(reasons(200, "/stream"), only("client_closed"));
    assert_eq!(reasons(200, "/ok"), [None]);
    assert!(!fs::read_to_string(&log).unwrap().contains("secret"));
    // Bytes are told by both, too.
    let sum = |field: &str| {
        lines
            .iter()
            .map(|line| line[field].as_u64().unwrap())
            .sum::<u64>() as f64
    };
    for way in ["request", "response"] {
        let scraped = gateway.metric(&format!("gateway_entrypoint_{way}_bytes_total"));
        assert_eq!(scraped, Some(sum(&format!("{way}_bytes"))), "{way}");
    }
}
