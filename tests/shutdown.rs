//! The end of a gateway: no request is lost, and it does end.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Gateway;
use axum::body::Body;
use http::{Request, Response};
use rustix::process::Signal;
use serde_json::json;
use std::future::ready;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::body::{Feed, feed};
use support::frames::{self, GOAWAY, PING};
use support::gateway::{Port, connect};
use support::server::Recorded;
use support::{
    Client, End, Load, Process, Question, Server, Setup, Told, Wire, eventually, request, within,
};
use tokio::net::TcpStream;

/// Answers with the path that was asked for.
async fn echo() -> Server {
    Server::http(|request: Request<Recorded>| {
        let path = request.uri().path().to_owned();
        ready(Response::new(Body::from(path)))
    })
    .await
}

/// Asks for another path each time, so that no answer can be taken for another.
struct Echo;

impl Question for Echo {
    type Asked = ();

    fn ask(&self, number: u64) -> (String, ()) {
        (format!("/{number}"), ())
    }

    fn check(&self, path: &str, (): (), body: &str) -> Result<(), String> {
        match body == path {
            true => Ok(()),
            false => Err(format!("not {path}")),
        }
    }
}

/// Answers that a test feeds, one for each request.
async fn fed() -> (Server, Arc<Mutex<Vec<Feed>>>) {
    let feeds = Arc::new(Mutex::new(Vec::new()));
    let server = {
        let feeds = Arc::clone(&feeds);
        Server::http(move |_: Request<Recorded>| {
            let (feed, body) = feed();
            feeds.lock().unwrap().push(feed);
            ready(Response::new(body))
        })
        .await
    };
    (server, feeds)
}

async fn is_refused(address: SocketAddr) -> bool {
    let refused = TcpStream::connect(address).await;
    refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

async fn start(setup: &Setup) -> Process {
    let text = setup.clone().admin().text();
    Process::start(&text, &["web", "admin@internal"]).await
}

// Under load.

#[tokio::test]
async fn one_of_two_gateways_on_a_port_ends_without_a_lost_request() {
    const ROUNDS: u64 = 4;
    let server = echo().await;
    let port = Port::reserve();
    let setup = Setup::to(&server).set("entrypoints/web/address", port.address().to_string());
    let mut first = start(&setup).await;
    let mut second = start(&setup).await;
    let load = Load::start(port.address(), (8, 4), Told::Reconnects, Echo).await;
    for _ in 0..ROUNDS {
        first.signal(Signal::TERM);
        assert!(first.ended().await.success(), "{}", first.log());
        load.more(200).await;
        // The next is there before the other goes.
        first = std::mem::replace(&mut second, start(&setup).await);
        load.more(200).await;
    }
    let tally = load.stop().await;
    println!("{ROUNDS} ends of one of two: {}", tally.numbers());
    tally.is_clean();
    assert!(tally.told.load(std::sync::atomic::Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_gateway_alone_answers_all_that_its_clients_ask_before_they_know() {
    let server = echo().await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = start(&Setup::to(&server)).await;
        let load = Load::start(gateway.address("web"), (8, 4), Told::Ends, Echo).await;
        let since = Instant::now();
        gateway.signal(signal);
        let tally = load.ended().await;
        assert!(gateway.ended().await.success(), "{}", gateway.log());
        let elapsed = since.elapsed();
        println!("alone, {signal:?}, {elapsed:.2?}: {}", tally.numbers());
        tally.is_clean();
        // Nine connections, each told once.
        assert_eq!(tally.told.load(std::sync::atomic::Ordering::Relaxed), 9);
        assert_eq!(
            tally.connections.load(std::sync::atomic::Ordering::Relaxed),
            9
        );
    }
}

// What a drain is.

#[tokio::test]
async fn a_gateway_that_drains_listens_no_more_and_says_so() {
    let (server, feeds) = fed().await;
    let mut gateway = start(&Setup::to(&server)).await;
    let web = gateway.address("web");
    let mut admin = Client::admin(connect(gateway.address("admin@internal")).await).await;
    assert_eq!(admin.get("/ready").await.status, 200);
    let mut h1 = Client::h1(connect(web).await).await;
    let mut h2 = Client::h2(connect(web).await).await;
    let under_way = [
        h1.send(request("GET", "/")).await,
        h2.send(request("GET", "/")).await,
    ];
    gateway.signal(Signal::TERM);
    gateway.logs("draining").await;
    within("the listener closes", async {
        while !is_refused(web).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    // The admin API goes on, also for those who come now.
    let mut late = Client::admin(connect(gateway.address("admin@internal")).await).await;
    for admin in [&mut admin, &mut late] {
        assert_eq!(admin.get("/ready").await.status, 503);
        assert_eq!(admin.get("/live").await.status, 200);
        let health = admin.get("/api/gateway/health").await;
        assert_eq!(health.status, 200);
        assert!(health.text().contains(r#""status":"draining""#));
    }
    // Nobody has a second chance to say something, and everybody gets to the end of the first.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(gateway.is_running());
    let feeds = std::mem::take(&mut *feeds.lock().unwrap());
    assert_eq!(feeds.len(), 2);
    for feed in feeds {
        assert!(feed.data("first ").await && feed.data("last").await);
    }
    for response in under_way {
        let reply = support::client::read(response).await.expect("a whole body");
        assert_eq!(reply.text(), "first last");
    }
    assert!(gateway.ended().await.success());
    gateway.logs("stopped").await;
}

#[tokio::test]
async fn uploads_under_way_are_taken_to_their_end() {
    let server = Server::start().await;
    let mut gateway = start(&Setup::to(&server)).await;
    let web = gateway.address("web");
    let clients = [
        Client::h1(connect(web).await).await,
        Client::h2(connect(web).await).await,
    ];
    let mut uploads = Vec::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let (feed, body) = feed();
        let mut upload = request("POST", "/upload");
        *upload.body_mut() = body;
        let answer = tokio::spawn(async move { client.ask(upload).await });
        assert!(feed.data("before ").await);
        server.has_seen(number + 1).await;
        uploads.push((feed, answer));
    }
    gateway.signal(Signal::TERM);
    gateway.logs("draining").await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    for (feed, answer) in uploads {
        assert!(feed.data("after").await);
        drop(feed);
        assert_eq!(answer.await.unwrap().text(), "/upload");
    }
    for seen in server.seen() {
        assert_eq!(seen.body, b"before after");
    }
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn idle_clients_are_let_go() {
    let server = echo().await;
    let mut gateway = start(&Setup::to(&server)).await;
    let web = gateway.address("web");
    let get = "GET /idle HTTP/1.1\r\nhost: a\r\n\r\n";
    let silent = Wire::new(connect(web).await);
    let mut used = Wire::new(connect(web).await);
    used.send(get).await;
    assert_eq!(used.answer().await.text(), "/idle");
    let mut last = Wire::new(connect(web).await);
    last.send(get).await;
    last.answer().await;
    let mut h2 = Wire::new(connect(web).await);
    h2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    h2.send(frames::frame(frames::SETTINGS, 0, 0, &[])).await;
    assert_eq!(frames::read(&mut h2).await.unwrap().0, frames::SETTINGS);

    gateway.signal(Signal::TERM);
    gateway.logs("draining").await;
    // Who goes on asking in the time that is left is answered, and told as soon as the socket is closed.
    loop {
        last.send(get).await;
        let answer = last.answer().await;
        assert_eq!(answer.text(), "/idle");
        if let Some(value) = answer.header("connection") {
            assert_eq!(value, "close");
            break;
        }
    }
    assert_eq!(last.rest().await, (Vec::new(), End::Closed));
    let mut goaway = None;
    while let Some((kind, _, _, payload)) = frames::read(&mut h2).await {
        match kind {
            GOAWAY => goaway = Some(payload),
            // How the gateway learns that we know.
            PING => h2.send(frames::frame(PING, 1, 0, &payload)).await,
            _ => {}
        }
    }
    let goaway = goaway.expect("GOAWAY");
    assert_eq!(goaway[4..8], [0; 4], "without an error");
    for mut idle in [silent, used] {
        assert_eq!(idle.rest().await, (Vec::new(), End::Closed));
    }
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn what_outlasts_the_timeout_is_cut_off_and_the_end_is_still_a_good_one() {
    let (server, feeds) = fed().await;
    let setup = Setup::to(&server).set("shutdown_timeout_secs", 2);
    let mut gateway = start(&setup).await;
    let mut clients = [
        Client::h1(connect(gateway.address("web")).await).await,
        Client::h2(connect(gateway.address("web")).await).await,
    ];
    let mut under_way = Vec::new();
    for client in &mut clients {
        under_way.push(client.send(request("GET", "/")).await);
    }
    let since = Instant::now();
    gateway.signal(Signal::TERM);
    for response in under_way {
        assert!(support::client::read(response).await.is_err(), "cut off");
    }
    assert!(gateway.ended().await.success());
    // Not before its time; `ended` has the deadline.
    assert!(since.elapsed() >= Duration::from_millis(1900));
    gateway.logs("cut off").await;
    drop(feeds);
}

#[tokio::test]
async fn a_timeout_of_zero_ends_at_once() {
    let (server, _feeds) = fed().await;
    let setup = Setup::to(&server).set("shutdown_timeout_secs", 0);
    let mut gateway = start(&setup).await;
    let mut client = Client::h1(connect(gateway.address("web")).await).await;
    let response = client.send(request("GET", "/")).await;
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    assert!(support::client::read(response).await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (server, _feeds) = fed().await;
    for (first, second) in [
        (Signal::TERM, Signal::TERM),
        (Signal::TERM, Signal::INT),
        (Signal::INT, Signal::TERM),
        (Signal::INT, Signal::INT),
    ] {
        let mut gateway = start(&Setup::to(&server)).await;
        let mut client = Client::h1(connect(gateway.address("web")).await).await;
        let _under_way = client.send(request("GET", "/")).await;
        gateway.signal(first);
        gateway.logs("draining").await;
        // It does not count: who asks for a new configuration does not ask for an end.
        gateway.signal(Signal::HUP);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(gateway.is_running());
        gateway.signal(second);
        assert!(gateway.ended().await.success(), "{first:?} {second:?}");
        gateway.logs("second signal").await;
    }
}

#[tokio::test]
async fn a_hangup_reads_the_configuration_again_and_ends_nothing() {
    let server = echo().await;
    let fixed = |body: &str| {
        Setup::to(&server)
            .set("providers/file/watch", false)
            .set("services/fixed/respond/body", body)
            .route("fixed", "PathPrefix(`/fixed`)", "fixed")
            .admin()
            .text()
    };
    let mut gateway = Process::start(&fixed("0"), &["web"]).await;
    let mut client = Client::h1(connect(gateway.address("web")).await).await;
    for number in ["1", "2", "3"] {
        std::fs::write(gateway.file(), fixed(number)).unwrap();
        gateway.signal(Signal::HUP);
        within("the new answer", async {
            while client.get("/fixed").await.text() != number {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
    assert!(gateway.is_running());
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn a_signal_as_soon_as_it_listens_is_a_good_end_too() {
    let server = echo().await;
    for signal in [Signal::TERM, Signal::INT] {
        for _ in 0..5 {
            let text = Setup::to(&server).text();
            let mut gateway = Process::start(&text, &["web"]).await;
            gateway.signal(signal);
            let status = gateway.ended().await;
            assert!(status.success(), "{status}");
        }
    }
}

#[tokio::test]
async fn a_refused_reload_does_not_stand_in_the_way_of_the_end() {
    let server = echo().await;
    let mut gateway = start(&Setup::to(&server)).await;
    std::fs::write(gateway.file(), "").unwrap();
    gateway.logs("refused").await;
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
}

// By call.

/// The tests that count threads, and those that start some in this process, come one after the other.
static WORKERS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The worker threads of this process.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| {
        // It may have ended since it was listed.
        std::fs::read_to_string(task.unwrap().path().join("comm")).ok()
    });
    names.filter(|name| name.starts_with("worker-")).count()
}

#[tokio::test]
async fn shutdown_may_be_called_at_any_time_and_more_than_once() {
    let _alone = WORKERS.lock().await;
    let server = echo().await;
    let config = Setup::to(&server).config();
    let gateway = Arc::new(Gateway::new(config).unwrap());
    within("the end of what has not begun", gateway.shutdown()).await;
    assert_eq!(json!(gateway.state()), "created");
    gateway.start().await.expect("it can still be started");
    assert_eq!(json!(gateway.state()), "running");
    // A thread gives itself its name.
    eventually("workers", || workers() > 0).await;

    let waiting = {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.wait_for_shutdown().await })
    };
    within("both", async {
        tokio::join!(gateway.shutdown(), gateway.shutdown())
    })
    .await;
    assert_eq!(json!(gateway.state()), "stopped");
    within("who waits for it", waiting).await.unwrap();
    within("once more", gateway.shutdown()).await;
    within("who waits after it", gateway.wait_for_shutdown()).await;
    assert!(gateway.start().await.is_err(), "it does not begin again");
    assert_eq!(gateway.local_address("web").await, None);
    eventually("the workers end", || workers() == 0).await;
}

#[tokio::test]
async fn a_shutdown_by_call_finishes_what_is_under_way() {
    let _alone = WORKERS.lock().await;
    let (server, feeds) = fed().await;
    let gateway = Setup::to(&server).start().await;
    let mut client = gateway.h1().await;
    let under_way = client.send(request("GET", "/")).await;
    let finish = async {
        let address = gateway.address();
        while !is_refused(address).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(gateway.health().status, "draining");
        let feed = feeds.lock().unwrap().pop().unwrap();
        assert!(feed.data("whole").await);
        drop(feed);
        support::client::read(under_way).await.unwrap().text()
    };
    let both = async { tokio::join!(gateway.shutdown(), finish) };
    let ((), text) = within("the end", both).await;
    assert_eq!(text, "whole");
}

#[tokio::test]
async fn a_shutdown_that_nobody_waits_for_goes_on_and_can_be_waited_for_again() {
    let _alone = WORKERS.lock().await;
    let (server, feeds) = fed().await;
    let gateway = Setup::to(&server).start().await;
    let mut client = gateway.h1().await;
    let under_way = client.send(request("GET", "/")).await;
    let patience = Duration::from_millis(100);
    let given_up = tokio::time::timeout(patience, gateway.shutdown()).await;
    assert!(given_up.is_err());
    let feed = feeds.lock().unwrap().pop().unwrap();
    assert!(feed.data("whole").await);
    drop(feed);
    within("the end", gateway.shutdown()).await;
    let reply = support::client::read(under_way)
        .await
        .expect("a whole body");
    assert_eq!(reply.text(), "whole");
    assert_eq!(json!(gateway.state()), "stopped");
    eventually("the workers end", || workers() == 0).await;
}

#[tokio::test]
async fn a_gateway_that_is_dropped_takes_its_threads_and_sockets_along() {
    let _alone = WORKERS.lock().await;
    eventually("the workers of others end", || workers() == 0).await;
    let (server, _feeds) = fed().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.hcl");
    let setup = Setup::to(&server).admin().with_all_workers();
    std::fs::write(&file, setup.text()).unwrap();
    for from_file in [false, true] {
        let config = match from_file {
            true => a3s_gateway::config::GatewayConfig::from_file(&file)
                .await
                .unwrap(),
            false => setup.config(),
        };
        let gateway = support::TestGateway::start(config, false).await;
        // A thread gives itself its name.
        eventually("workers", || workers() > 0).await;
        let address = gateway.address();
        // An idle client, one in the middle of an answer, and entrypoints that a reload has left behind.
        let idle = gateway.wire().await;
        let mut h1 = gateway.h1().await;
        let under_way = h1.send(request("GET", "/")).await;
        gateway
            .become_(&setup.clone().set("entrypoints/more/address", "127.0.0.1:0"))
            .await;
        gateway.become_(&setup).await;
        drop(gateway);
        eventually("the workers end", || workers() == 0).await;
        assert!(is_refused(address).await);
        { idle }.ended().await;
        assert!(support::client::read(under_way).await.is_err());
    }
}

#[test]
fn a_gateway_may_be_dropped_outside_of_a_runtime() {
    let _alone = WORKERS.blocking_lock();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (gateway, server) = runtime.block_on(async {
        let server = echo().await;
        let gateway = Setup::to(&server).start().await;
        assert_eq!(gateway.h1().await.get("/a").await.text(), "/a");
        (gateway, server)
    });
    drop(runtime);
    drop(gateway);
    drop(server);
    let since = Instant::now();
    while workers() > 0 {
        assert!(since.elapsed() < support::DEADLINE, "the workers go on");
        std::thread::sleep(Duration::from_millis(2));
    }
}
