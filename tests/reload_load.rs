//! Reloads under load: no request fails, and every answer is one that the configuration of its time gives.
//!
//! A longer run is made by hand: `A3S_RELOADS` is how many, `A3S_RELOAD_MILLIS` how often, `A3S_BESIDE` a command
//! that loads the gateway as well (`URL` in it is replaced), and `A3S_GATEWAY_PROGRAM` another build:
//!
//! ```text
//! A3S_RELOADS=60 A3S_RELOAD_MILLIS=1000 A3S_GATEWAY_PROGRAM=target/release/a3s-gateway \
//!     A3S_BESIDE='wrk -t1 -c16 -d60s URL/one' cargo test --test reload_load -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use std::fs;
use std::future::ready;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::server::Recorded;
use support::{Client, Load, Process, Question, Server, Setup, Told, connect, request, within};

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// One file in so many is broken.
const BROKEN: u64 = 5;

/// Servers that answer with their number and the path.
async fn four() -> [Server; 4] {
    let server = |number: usize| {
        Server::http(move |request: Request<Recorded>| {
            let answer = format!("{number} {}", request.uri().path());
            ready(Response::new(Body::from(answer)))
        })
    };
    [
        server(0).await,
        server(1).await,
        server(2).await,
        server(3).await,
    ]
}

/// The servers that may answer for a path in a generation of the configuration.
fn servers_of(path: &str, generation: u64) -> &'static [usize] {
    match path {
        // Never changes, and has a server to itself.
        "/one" => &[3],
        // Its list of servers does.
        "/list" => [&[0, 1][..], &[1, 2], &[2], &[0, 1, 2]][generation as usize % 4],
        // It comes and goes; without it the catch-all answers.
        "/comes" if generation % 2 == 1 => &[1],
        // It is always there, for another service each time.
        "/moves" => [&[0][..], &[1], &[2]][generation as usize % 3],
        _ => &[2],
    }
}

fn configuration(servers: &[Server; 4], generation: u64) -> Setup {
    let list = |numbers: &[usize]| -> Value {
        let urls = numbers.iter().map(|number| servers[*number].to_string());
        urls.map(|url| json!({ "url": url })).collect()
    };
    let mut setup = Setup::new()
        .admin()
        .service("s0", &servers[0])
        .service("s1", &servers[1])
        .service("s2", &servers[2])
        .service("one", &servers[3])
        .route("all", "PathPrefix(`/`)", "s2")
        .route("one", "PathPrefix(`/one`)", "one")
        .route("list", "PathPrefix(`/list`)", "list")
        .set(
            "services/list/load_balancer/servers",
            list(servers_of("/list", generation)),
        )
        .route("generation", "PathPrefix(`/generation`)", "generation")
        .set("services/generation/respond/body", generation.to_string());
    let to = format!("s{}", servers_of("/moves", generation)[0]);
    setup = setup.route("moves", "PathPrefix(`/moves`)", &to);
    if generation % 2 == 1 {
        setup = setup.route("comes", "PathPrefix(`/comes`)", "s1");
    }
    setup
}

/// Which configurations may run now: from the last that was seen to run to the last that was written.
#[derive(Debug, Default)]
struct Generations {
    seen: AtomicU64,
    written: AtomicU64,
}

impl Question for Arc<Generations> {
    type Asked = u64;

    fn ask(&self, number: u64) -> (String, u64) {
        let paths = ["/one", "/list", "/comes", "/moves", "/generation"];
        let path = paths[number as usize % paths.len()].to_owned();
        (path, self.seen.load(Ordering::SeqCst))
    }

    fn check(&self, path: &str, from: u64, body: &str) -> Result<(), String> {
        let may_be = from..=self.written.load(Ordering::SeqCst);
        let mut generations = may_be.clone();
        let is_right = match path {
            "/generation" => body
                .parse()
                .is_ok_and(|generation| may_be.contains(&generation)),
            _ => generations.any(|generation| {
                let servers = servers_of(path, generation);
                servers
                    .iter()
                    .any(|server| body == format!("{server} {path}"))
            }),
        };
        match is_right {
            true => Ok(()),
            false => Err(format!("not of the generations {may_be:?}")),
        }
    }
}

/// Writes the file as one program or another would.
fn write(file: &Path, text: &str, manner: u64) {
    match manner % 3 {
        0 => fs::write(file, text).unwrap(),
        1 => {
            let (begin, end) = text.split_at(text.len() / 2);
            let mut file = fs::File::create(file).unwrap();
            file.write_all(begin.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
            file.write_all(end.as_bytes()).unwrap();
        }
        _ => {
            let new = file.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, file).unwrap();
        }
    }
}

async fn get_json(client: &mut Client, path: &str) -> Value {
    serde_json::from_slice(&client.get(path).await.body).expect("JSON")
}

/// The command that is to run beside, if there is one.
fn beside(url: &str) -> Option<Child> {
    let command = std::env::var("A3S_BESIDE").ok()?.replace("URL", url);
    Some(Command::new("sh").args(["-c", &command]).spawn().unwrap())
}

#[tokio::test]
async fn reloads_under_load_lose_no_request_and_give_no_wrong_answer() {
    let reloads = from_environment("A3S_RELOADS", 50);
    let pause = Duration::from_millis(from_environment("A3S_RELOAD_MILLIS", 200));
    let servers = four().await;
    let text = configuration(&servers, 0).text();
    let process = Process::start(&text, &["web", "admin@internal"]).await;
    let address = process.address("web");
    let mut admin = Client::admin(connect(process.address("admin@internal")).await).await;
    let mut probe = Client::h1(connect(address).await).await;
    let generations = Arc::new(Generations::default());
    let question = Arc::clone(&generations);
    let load = Load::start(address, (6, 4), Told::Reconnects, question).await;
    let other = beside(&format!("http://{address}"));

    let (mut cpu, mut refused) = (process.cpu_seconds(), 0);
    for number in 1..=reloads {
        let next = tokio::time::Instant::now() + pause;
        let is_broken = number % BROKEN == 0;
        if is_broken {
            let text = configuration(&servers, number).text();
            let text = match number / BROKEN % 4 {
                0 => text[..text.len() / 2].to_owned(),
                1 => String::new(),
                2 => text.replace("service = \"s2\"", "service = \"nobody\""),
                _ => text.replace("PathPrefix(`/list`)", "PathPrefix(`/list)"),
            };
            write(&process.file(), &text, number);
            refused += 1;
            within("it is refused", async {
                loop {
                    let health = get_json(&mut admin, "/api/gateway/health").await;
                    if health["status"] == "degraded" {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        } else {
            generations.written.store(number, Ordering::SeqCst);
            let text = configuration(&servers, number).text();
            write(&process.file(), &text, number);
            within("it runs", async {
                while probe.get("/generation").await.text() != number.to_string() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            // From here on, nobody may meet an older one.
            generations.seen.store(number, Ordering::SeqCst);
        }
        load.tally.is_clean();
        tokio::time::sleep_until(next).await;
    }
    cpu = process.cpu_seconds() - cpu;
    let tally = load.stop().await;
    let is_alone = other.is_none();
    if let Some(mut other) = other {
        other.wait().unwrap();
    }
    println!(
        "{reloads} reloads, {refused} of them broken: {}",
        tally.numbers()
    );
    println!("{cpu:.2} s of CPU, {} KiB", process.resident_bytes() / 1024);
    tally.is_clean();
    assert_eq!(
        tally.told.load(Ordering::Relaxed),
        0,
        "connections are kept"
    );
    assert_eq!(tally.connections.load(Ordering::Relaxed), 7);
    // The server that is in every configuration has kept its connections as well: no more than there were
    // requests at a time, on each worker.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let accepted = servers[3].accepted();
    let is_few = accepted <= 10 * workers;
    assert!(is_few || !is_alone, "{accepted} connections to a server");
    let metrics = admin
        .ask(request("GET", "/api/gateway/metrics"))
        .await
        .text();
    let success = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"gateway_config_reloads_total{result="success"} "#));
    assert_eq!(success.unwrap().parse(), Ok(reloads - refused));
}
