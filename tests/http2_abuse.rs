//! What HTTP/2 can be abused for costs the one who does it its connection, and the process little: its memory has a
//! bound, and somebody else is served meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::body::long;
use support::frames::{DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame};
use support::server::Recorded;
use support::{Client, Process, Server, Setup, connect, eventually, request, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinHandle;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PRIORITY: u8 = 2;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xee;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What an attacker may cost: beside the buffers of connections, an allocator keeps what it once had.
const MEMORY: u64 = 64 << 20;

/// A download that nobody reads to its end.
const LARGE: u64 = 1 << 40;

/// `GET /`, and `GET /large`, of a static table and without Huffman coding (RFC 7541, appendix A).
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
const GET_LARGE: &[u8] = b"\x82\x86\x04\x06/large\x01\x01a";

/// A gateway that is a process, and a server behind it.
struct Scene {
    process: Process,
    server: Server,
    before: u64,
}

impl Scene {
    async fn new(scheme: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let server = Server::http(|request: Request<Recorded>| async move {
            match request.uri().path() {
                "/large" => Response::new(long(LARGE)),
                _ => {
                    let _ = request.into_body().collect().await;
                    Response::new(Body::from("hello"))
                }
            }
        })
        .await;
        let setup = change(Setup::to(server.url(scheme)));
        let process = Process::start(&setup.text(), &["web"]).await;
        let scene = Self {
            process,
            server,
            before: 0,
        };
        // What is made once is made now.
        for _ in 0..4 {
            let mut client = scene.client().await;
            for _ in 0..20 {
                assert_eq!(client.get("/").await.text(), "hello");
            }
        }
        let before = scene.process.resident_bytes();
        Self { before, ..scene }
    }

    fn address(&self) -> SocketAddr {
        self.process.address("web")
    }

    async fn client(&self) -> Client {
        Client::h2(connect(self.address()).await).await
    }

    /// Does something while another client is served; the process's memory stays in bounds.
    async fn while_another_is_served<T>(&self, name: &str, abuse: impl Future<Output = T>) -> T {
        let mut client = self.client().await;
        let is_over = AtomicBool::new(false);
        let mut most = 0;
        let other = async {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.get("/").await.text(), "hello", "{name}");
                most = most.max(self.process.resident_bytes());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let abuse = async {
            let result = abuse.await;
            is_over.store(true, Ordering::Relaxed);
            result
        };
        let (result, ()) = tokio::join!(abuse, other);
        let grown = most.saturating_sub(self.before);
        println!("{name}: {} MiB", grown >> 20);
        assert!(grown < MEMORY, "{name}: {} MiB", grown >> 20);
        result
    }
}

/// A client that says what it likes, and hears what it is told.
struct Attacker {
    writing: OwnedWriteHalf,
    heard: Arc<Heard>,
    reading: JoinHandle<()>,
}

/// What an attacker was told so far.
#[derive(Debug, Default)]
struct Heard {
    pings: AtomicUsize,
    answers: AtomicUsize,
    resets: AtomicUsize,
    last_reset: AtomicUsize,
    /// The code, and one more.
    go_away: AtomicUsize,
}

impl Attacker {
    async fn new(address: SocketAddr, settings: &[u8]) -> Self {
        let (mut reading, mut writing) = connect(address).await.into_split();
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
        writing.write_all(&begin).await.unwrap();
        let heard = Arc::<Heard>::default();
        let hears = Arc::clone(&heard);
        let reading = tokio::spawn(async move {
            let mut bytes = Vec::new();
            while matches!(reading.read_buf(&mut bytes).await, Ok(1..)) {
                let mut at = 0;
                while let Some(head) = bytes.get(at..at + 9) {
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                    let Some(payload) = bytes.get(at + 9..at + 9 + length) else {
                        break;
                    };
                    hears.hear(head[3], head[4], payload);
                    at += 9 + length;
                }
                bytes.drain(..at);
            }
        });
        Self {
            writing,
            heard,
            reading,
        }
    }

    /// Whether the other side has taken it.
    async fn say(&mut self, bytes: &[u8]) -> bool {
        let write = within("writing", self.writing.write_all(bytes));
        write.await.is_ok()
    }

    /// Waits until everything that was said so far has been looked at; false where nothing is any more.
    async fn is_heard(&mut self) -> bool {
        let before = self.heard.pings.load(Ordering::Relaxed);
        if !self.say(&frame(PING, 0, 0, &[0; 8])).await {
            return false;
        }
        within("a ping is answered", async {
            while self.heard.pings.load(Ordering::Relaxed) == before {
                if self.reading.is_finished() {
                    return false;
                }
                tokio::task::yield_now().await;
            }
            true
        })
        .await
    }

    /// Waits until the other side has ended; the code of its last word.
    async fn ended(self) -> Option<u32> {
        within("the gateway ends the connection", self.reading)
            .await
            .unwrap();
        let code = self.heard.go_away.load(Ordering::Relaxed);
        code.checked_sub(1).map(|code| u32::try_from(code).unwrap())
    }
}

impl Heard {
    fn hear(&self, kind: u8, flags: u8, payload: &[u8]) {
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()) as usize;
        match kind {
            PING if flags & 1 == 1 => _ = self.pings.fetch_add(1, Ordering::Relaxed),
            HEADERS => _ = self.answers.fetch_add(1, Ordering::Relaxed),
            RST_STREAM => {
                self.last_reset.store(code(0), Ordering::Relaxed);
                self.resets.fetch_add(1, Ordering::Relaxed);
            }
            GOAWAY => self.go_away.store(code(4) + 1, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// Says `first`, and then `unit` again and again until the other side ends. How often, at most, and its last word.
async fn flood(address: SocketAddr, first: &[u8], unit: &[u8]) -> (usize, Option<u32>) {
    /// Nobody is to take that much.
    const MOST: usize = 64 << 20;
    let mut attacker = Attacker::new(address, &[]).await;
    attacker.say(first).await;
    let units = (16_384 / unit.len()).max(1);
    let batch = unit.repeat(units);
    let mut said = 0;
    while attacker.say(&batch).await && !attacker.reading.is_finished() {
        said += units;
        assert!(said * unit.len() < MOST, "nobody ends it");
    }
    (said, attacker.ended().await)
}

fn head(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

fn get(stream: u32, block: &[u8]) -> Vec<u8> {
    head(stream, END_HEADERS | END_STREAM, block)
}

fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// The streams of a client, each with what comes before it.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| 2 * index + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_frames_costs_its_sender_the_connection() {
    let scene = Scene::new("http", |setup| setup).await;
    let address = scene.address();
    let open_head = head(1, 0, GET);
    let open_stream = head(1, END_HEADERS, b"\x83\x86\x84\x01\x01a");
    let window = frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
    for (name, first, unit) in [
        ("settings", vec![], frame(SETTINGS, 0, 0, &[])),
        (
            "settings that change all streams",
            vec![],
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]),
        ),
        ("pings", vec![], frame(PING, 0, 0, &[0; 8])),
        ("pongs", vec![], frame(PING, 1, 0, &[0; 8])),
        (
            "priorities",
            vec![],
            frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]),
        ),
        ("windows", vec![], window),
        ("unknown frames", vec![], frame(UNKNOWN, 0, 0, &[0; 40])),
        ("empty data", open_stream.clone(), frame(DATA, 0, 1, &[])),
        ("padding", open_stream, frame(DATA, 8, 1, &[1, 0])),
        (
            "empty heads",
            open_head.clone(),
            frame(CONTINUATION, 0, 1, &[]),
        ),
        (
            "endless heads",
            open_head.clone(),
            frame(CONTINUATION, 0, 1, &b"\0\x01a\x01b".repeat(3000)),
        ),
        (
            "long names",
            open_head,
            frame(CONTINUATION, 0, 1, &[b'x'; 16_384]),
        ),
    ] {
        let flood = flood(address, &first, &unit);
        let (said, code) = scene.while_another_is_served(name, flood).await;
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}: after {said}");
    }
    // Nor does any of it fill the log.
    let log = scene.process.log();
    assert!(log.lines().count() < 10, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_are_no_way_to_more_of_them() {
    let scene = Scene::new("http", |setup| setup.http("h2_max_resets", 50)).await;
    let address = scene.address();
    let before = scene.server.requests();
    // All in a batch: we see them when they are reset already.
    let batch = async {
        let mut attacker = Attacker::new(address, &[]).await;
        let pairs = streams(2000).map(|stream| [get(stream, GET), cancel(stream)].concat());
        attacker.say(&pairs.collect::<Vec<_>>().concat()).await;
        attacker.ended().await
    };
    let code = scene.while_another_is_served("a batch", batch).await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    // One after the other, each once it is under way.
    let mut opened = 0;
    let one_by_one = async {
        let mut attacker = Attacker::new(address, &[]).await;
        for stream in streams(2000) {
            attacker.say(&get(stream, GET_LARGE)).await;
            if !attacker.is_heard().await || !attacker.say(&cancel(stream)).await {
                break;
            }
            opened += 1;
        }
        attacker.ended().await
    };
    let code = scene
        .while_another_is_served("one by one", one_by_one)
        .await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    assert!((50..=200).contains(&opened), "{opened}");
    // Those of the other client are among them; none of those that were reset stays.
    assert!(scene.server.requests() > before);
    eventually("uploads and downloads end", || scene.server.open() < 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cancels_now_and_then_may_do_so_for_ever() {
    let scene = Scene::new("http", |setup| setup.http("h2_max_resets", 20)).await;
    let mut attacker = Attacker::new(scene.address(), &[]).await;
    for stream in streams(1000) {
        attacker.say(&get(stream, GET)).await;
        if stream % 4 == 1 {
            attacker.say(&cancel(stream)).await;
        }
        assert!(attacker.is_heard().await, "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_unpacks_to_more_than_may_be_is_not_kept() {
    let scene = Scene::new("http", |setup| setup).await;
    // A field of 4,000 bytes that the table remembers, and 16,000 times the same (RFC 7541, 6.2.1 and 6.1).
    let mut block = GET.to_vec();
    block.extend(b"\x40\x01x\x7f\xa1\x1e");
    block.extend([b'v'; 4000]);
    let mut bomb = block;
    bomb.extend([0xbe; 12_000]);
    let bombs = async {
        for _ in 0..100 {
            let mut attacker = Attacker::new(scene.address(), &[]).await;
            attacker.say(&get(1, &bomb)).await;
            assert_eq!(attacker.ended().await, Some(ENHANCE_YOUR_CALM));
        }
    };
    scene.while_another_is_served("bombs", bombs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_a_window_that_never_opens_are_given_up() {
    for scheme in ["http", "h2c"] {
        let scene = Scene::new(scheme, |setup| setup.http("idle_timeout", "1s")).await;
        let abuse = async {
            let mut attackers = Vec::new();
            // The first never opens it, the second by as little as it can.
            for window in [0u8, 1] {
                let settings = [0, 4, 0, 0, 0, window];
                let mut attacker = Attacker::new(scene.address(), &settings).await;
                for stream in streams(50) {
                    attacker.say(&get(stream, GET_LARGE)).await;
                }
                attackers.push(attacker);
            }
            for mut attacker in attackers {
                let heard = Arc::clone(&attacker.heard);
                // It is there all the time.
                while heard.resets.load(Ordering::Relaxed) < 50 {
                    assert!(attacker.is_heard().await);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                assert_eq!(heard.answers.load(Ordering::Relaxed), 50);
                let code = heard.last_reset.load(Ordering::Relaxed);
                assert_eq!(code, CANCEL as usize);
                // Pings alone do not keep a connection that nobody uses.
                let farewell = async {
                    while attacker.is_heard().await {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    attacker.ended().await
                };
                assert_eq!(within("the end", farewell).await, Some(0));
            }
        };
        scene.while_another_is_served(scheme, abuse).await;
        eventually("the downloads end", || scene.server.open() < 20).await;
    }
}

/// Downloads of clients that read next to nothing cost what is on its way to each, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_of_a_large_download_cost_little() {
    for (scheme, is_h2) in [
        ("http", false),
        ("http", true),
        ("h2c", false),
        ("h2c", true),
    ] {
        let scene = Scene::new(scheme, |setup| setup).await;
        let name = format!("{scheme} {is_h2}");
        let abuse = async {
            let mut readers = Vec::new();
            for _ in 0..20 {
                let io = connect(scene.address()).await;
                let mut client = match is_h2 {
                    true => Client::h2(io).await,
                    false => Client::h1(io).await,
                };
                let response = client.send(request("GET", "/large")).await;
                readers.push((client, response.into_body()));
            }
            for _ in 0..20 {
                for (_, body) in &mut readers {
                    within("a frame", body.frame()).await.unwrap().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        scene.while_another_is_served(&name, abuse).await;
    }
}

/// Each connection has its buffers, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_idle_connections_cost_their_buffers() {
    const CONNECTIONS: usize = 2000;
    const EACH: u64 = 96 << 10;
    let limits = getrlimit(Resource::Nofile);
    let more = Rlimit {
        current: limits.maximum,
        ..limits
    };
    setrlimit(Resource::Nofile, more).unwrap();
    let scene = Scene::new("http", |setup| setup).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut attacker = Attacker::new(scene.address(), &[]).await;
        attacker.say(&get(1, GET)).await;
        idle.push(attacker);
    }
    for attacker in &mut idle {
        assert!(attacker.is_heard().await);
        let heard = &attacker.heard;
        eventually("an answer", || heard.answers.load(Ordering::Relaxed) == 1).await;
    }
    assert_eq!(scene.client().await.get("/").await.text(), "hello");
    let grown = scene.process.resident_bytes().saturating_sub(scene.before);
    let most = EACH * CONNECTIONS as u64;
    assert!(
        grown < most,
        "{} KiB each",
        (grown / CONNECTIONS as u64) >> 10
    );
    println!("{} KiB each", (grown / CONNECTIONS as u64) >> 10);
}
