//! Bodies of any size pass through a little memory, and no faster than they are read.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::body::{counted, long};
use support::server::Recorded;
use support::{Client, DEADLINE, Server, Setup, TestGateway, eventually, request, within};

/// How much is sent through.
const SIZE: u64 = if cfg!(debug_assertions) {
    256 << 20
} else {
    1 << 30
};

/// How much memory that may cost in this process: client, gateway and server.
const MEMORY: u64 = 64 << 20;

/// How much may be under way to somebody who does not read: the buffers of four sockets, as large as this system
/// lets them grow, and of two connections.
const UNDER_WAY: u64 = 48 << 20;

/// The memory is that of the process, so its tests take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const PAIRS: [(&str, bool); 4] = [
    ("http", false),
    ("http", true),
    ("h2c", false),
    ("h2c", true),
];

async fn client(gateway: &TestGateway, h2: bool) -> Client {
    if h2 {
        gateway.h2().await
    } else {
        gateway.h1().await
    }
}

/// Resident memory of this process.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// Reads a body to its end; returns its length, and the most memory that was taken meanwhile.
async fn consume<B: http_body::Body<Data = bytes::Bytes> + Unpin>(mut body: B) -> (u64, u64)
where
    B::Error: std::fmt::Debug,
{
    let (mut length, mut looked, mut most) = (0, 0, memory());
    while let Some(frame) = within("a frame", body.frame()).await {
        length += frame
            .unwrap()
            .data_ref()
            .map_or(0, |data| data.len() as u64);
        if length - looked > 8 << 20 {
            looked = length;
            most = most.max(memory());
        }
    }
    (length, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_download_takes_little_memory() {
    let _turn = TURN.lock().await;
    let server =
        Server::http(|_: Request<Recorded>| std::future::ready(Response::new(long(SIZE)))).await;
    for (scheme, h2) in PAIRS {
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut client = client(&gateway, h2).await;
        let before = memory();
        let response = client.send(request("GET", "/")).await;
        let (length, most) = consume(response.into_body()).await;
        assert_eq!(length, SIZE, "{scheme} {h2}");
        let grown = most.saturating_sub(before);
        assert!(grown < MEMORY, "{scheme} {h2}: {} MiB", grown >> 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_takes_little_memory() {
    let _turn = TURN.lock().await;
    let server = Server::http(|request: Request<Recorded>| async {
        let (length, most) = consume(request.into_body()).await;
        Response::new(Body::from(format!("{length} {most}")))
    })
    .await;
    for (scheme, h2) in PAIRS {
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut client = client(&gateway, h2).await;
        let before = memory();
        let mut upload = request("POST", "/");
        *upload.body_mut() = long(SIZE);
        // It takes longer than any other answer.
        let sending = client.ask_for(upload, 12 * DEADLINE);
        let reply = sending.await.text();
        let (length, most) = reply.split_once(' ').unwrap();
        assert_eq!(length, SIZE.to_string(), "{scheme} {h2}");
        let grown = most.parse::<u64>().unwrap().saturating_sub(before);
        assert!(grown < MEMORY, "{scheme} {h2}: {} MiB", grown >> 20);
    }
}

/// Waits until `made` grows no more; returns it.
async fn settled(made: &AtomicU64) -> u64 {
    let (mut last, mut quiet) = (0, 0);
    within("it stops", async {
        while quiet < 5 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let now = made.load(Ordering::Relaxed);
            quiet = if now == last && now > 0 { quiet + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    last
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_server() {
    let _turn = TURN.lock().await;
    let made = Arc::new(AtomicU64::new(0));
    let server = Server::http({
        let made = Arc::clone(&made);
        move |_: Request<Recorded>| {
            let body = counted(SIZE, Arc::clone(&made));
            std::future::ready(Response::new(body))
        }
    })
    .await;
    for (scheme, h2) in PAIRS {
        made.store(0, Ordering::Relaxed);
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut client = client(&gateway, h2).await;
        let response = client.send(request("GET", "/")).await;
        let stopped = settled(&made).await;
        assert!(stopped < UNDER_WAY, "{scheme} {h2}: {} MiB", stopped >> 20);
        // What is read makes room for more.
        let mut body = response.into_body();
        let mut read = 0;
        while read < stopped {
            let frame = within("a frame", body.frame()).await.unwrap().unwrap();
            read += frame.data_ref().unwrap().len() as u64;
        }
        eventually("it goes on", || made.load(Ordering::Relaxed) > stopped).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_the_client() {
    let _turn = TURN.lock().await;
    let server = Server::http(|request: Request<Recorded>| async move {
        let _body = request;
        std::future::pending().await
    })
    .await;
    for (scheme, h2) in PAIRS {
        let made = Arc::new(AtomicU64::new(0));
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut client = client(&gateway, h2).await;
        let mut upload = request("POST", "/");
        *upload.body_mut() = counted(SIZE, Arc::clone(&made));
        tokio::select! {
            response = client.try_send(upload) => panic!("{response:?}"),
            stopped = settled(&made) => {
                assert!(stopped < UNDER_WAY, "{scheme} {h2}: {} MiB", stopped >> 20);
            }
        }
    }
}

#[tokio::test]
async fn those_who_do_not_read_hold_nobody_up() {
    let _turn = TURN.lock().await;
    let server = Server::http(|request: Request<Recorded>| {
        let body = match request.uri().path() {
            "/large" => long(SIZE),
            path => Body::from(path.to_owned()),
        };
        std::future::ready(Response::new(body))
    })
    .await;
    for (scheme, h2) in PAIRS {
        let gateway = Setup::to(server.url(scheme)).start().await;
        let mut deaf = Vec::new();
        for _ in 0..20 {
            let mut client = client(&gateway, h2).await;
            let response = client.send(request("GET", "/large")).await;
            assert!(!response.body().is_end_stream());
            deaf.push((client, response));
        }
        let mut honest = client(&gateway, h2).await;
        for _ in 0..20 {
            assert_eq!(honest.get("/small").await.text(), "/small", "{scheme} {h2}");
        }
    }
}

#[tokio::test]
async fn uploads_that_nobody_reads_hold_up_no_other() {
    let _turn = TURN.lock().await;
    let server = Server::http(|request: Request<Recorded>| async move {
        if request.uri().path() == "/stuck" {
            let _body = request;
            return std::future::pending().await;
        }
        let (length, _) = consume(request.into_body()).await;
        Response::new(Body::from(length.to_string()))
    })
    .await;
    // Not over h2c: there the server has a window for them all.
    let gateway = Setup::to(&server).start().await;
    let mut client = gateway.h2().await;
    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let made = Arc::new(AtomicU64::new(0));
        let mut upload = request("POST", "/stuck");
        *upload.body_mut() = counted(SIZE, Arc::clone(&made));
        let response = client.begin(upload).await;
        stuck.spawn(response);
        settled(&made).await;
    }
    let mut upload = request("POST", "/");
    *upload.body_mut() = long(1 << 20);
    assert_eq!(client.ask(upload).await.text(), "1048576");
}
