//! Connections before they are anything more: who may open one, and where its bytes go.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use support::gateway::connect;
use support::{
    Client, End, Port, Server, Setup, TestGateway, Wire, connect_from, eventually, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{Receiver, channel};

const ONE: [u8; 4] = [127, 0, 0, 1];
const TWO: [u8; 4] = [127, 0, 0, 2];

/// A client at an address of loopback.
async fn wire_from(ip: [u8; 4], address: SocketAddr) -> Wire {
    let stream = connect_from(ip, address).await;
    Wire::new(stream.expect("a connection"))
}

/// Whether a client at an address of loopback has its connection reset without a word.
async fn is_reset(ip: [u8; 4], address: SocketAddr) -> bool {
    match connect_from(ip, address).await {
        Ok(stream) => Wire::new(stream).rest().await == (Vec::new(), End::Reset),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// A server that says its name, then everything that it is told, and at the end goodbye.
async fn echo(name: &'static str) -> Server {
    Server::raw(move |wire, _| async move {
        let mut stream = wire.into_io();
        let _ = stream.write_all(name.as_bytes()).await;
        let (mut reading, mut writing) = stream.split();
        if tokio::io::copy(&mut reading, &mut writing).await.is_ok() {
            let _ = writing.write_all(b"bye").await;
        }
    })
    .await
}

/// A server that says `words`, ends if it `ends`, and reports what it hears after that, and how the client ends.
async fn listener(words: &'static str, ends: bool) -> (Server, Receiver<(Vec<u8>, End)>) {
    let (report, heard) = channel(1);
    let server = Server::raw(move |mut wire, _| {
        let report = report.clone();
        async move {
            wire.send(words).await;
            if ends {
                wire.end().await;
            }
            let _ = report.send(wire.rest().await).await;
        }
    })
    .await;
    (server, heard)
}

async fn heard(heard: &mut Receiver<(Vec<u8>, End)>) -> (Vec<u8>, End) {
    let heard = within("the server hears", heard.recv()).await;
    heard.expect("a server")
}

/// An entrypoint `web` of TCP, before these servers.
fn to_each<'s>(servers: impl IntoIterator<Item = &'s Server>) -> Setup {
    let urls = servers.into_iter().map(|server| server.url("tcp"));
    Setup::to_each(urls)
        .set("entrypoints/web/protocol", "tcp")
        .set("routers/all/rule", "HostSNI(`*`)")
        .set("routers/all/entrypoints", json!(["web"]))
}

fn to(server: &Server) -> Setup {
    to_each([server])
}

/// With a `tcp-filter` of these keys on the router.
fn filtered(setup: Setup, filter: &Value) -> Setup {
    let mut filter = filter.clone();
    filter["type"] = json!("tcp-filter");
    setup
        .set("middlewares/filter", filter)
        .set("routers/all/middlewares", json!(["filter"]))
}

/// The name, one letter, of the server that a new connection leads to, and the connection.
async fn greeted(gateway: &TestGateway) -> (String, Wire) {
    greeted_at(ONE, gateway).await
}

async fn greeted_at(ip: [u8; 4], gateway: &TestGateway) -> (String, Wire) {
    let mut wire = wire_from(ip, gateway.address()).await;
    let name = wire.exactly(1).await;
    (String::from_utf8(name).unwrap(), wire)
}

async fn says(wire: &mut Wire, words: &str) {
    wire.send(words).await;
    assert_eq!(wire.exactly(words.len()).await, words.as_bytes());
}

// Bytes.

#[tokio::test]
async fn bytes_go_both_ways_and_a_client_may_end_first() {
    let server = echo("a").await;
    let gateway = to(&server).start().await;
    let (name, mut wire) = greeted(&gateway).await;
    assert_eq!(name, "a");
    says(&mut wire, "one").await;
    says(&mut wire, "two").await;
    wire.end().await;
    assert_eq!(wire.rest().await, (b"bye".to_vec(), End::Closed));
}

#[tokio::test]
async fn a_server_may_end_first() {
    let (server, mut told) = listener("enough", true).await;
    let gateway = to(&server).start().await;
    let mut wire = gateway.wire().await;
    assert_eq!(wire.rest().await, (b"enough".to_vec(), End::Closed));
    wire.send("and yet").await;
    wire.end().await;
    assert_eq!(heard(&mut told).await, (b"and yet".to_vec(), End::Closed));
    let open = "gateway_open_connections{entrypoint=\"web\"}";
    eventually("it has ended", || gateway.metric(open) == Some(0.0)).await;
}

#[tokio::test]
async fn much_goes_both_ways_at_once() {
    const LENGTH: usize = 8 << 20;
    let server = echo("").await;
    let gateway = to(&server).start().await;
    let mut stream = gateway.connect().await;
    let (mut reading, mut writing) = stream.split();
    let sent: Vec<u8> = (0..LENGTH).map(|i| ((i * i) >> 7) as u8).collect();
    let send = async {
        writing.write_all(&sent).await.unwrap();
        writing.shutdown().await.unwrap();
    };
    let mut read = Vec::new();
    let both = async { tokio::join!(send, reading.read_to_end(&mut read)) };
    within("all is there", both).await.1.unwrap();
    assert!(read.strip_suffix(b"bye") == Some(&sent));
}

#[tokio::test]
async fn a_side_that_breaks_off_breaks_off_the_other() {
    let server = Server::raw(|mut wire, _| async move {
        wire.send("half").await;
        wire.reset();
    })
    .await;
    let gateway = to(&server).start().await;
    assert_eq!(gateway.wire().await.rest().await.1, End::Reset);

    let (server, mut told) = listener("half", false).await;
    let gateway = to(&server).start().await;
    let mut wire = gateway.wire().await;
    assert_eq!(wire.exactly(4).await, b"half");
    wire.reset();
    assert_eq!(heard(&mut told).await, (Vec::new(), End::Reset));
}

#[tokio::test]
async fn a_server_that_hangs_up_is_heard_to_its_end() {
    // It closes with bytes unread, which is a reset for whoever goes on to write.
    let server = Server::raw(|mut wire, _| async move {
        wire.exactly(1).await;
        wire.send("no").await;
    })
    .await;
    let gateway = to(&server).start().await;
    let mut wire = gateway.wire().await;
    wire.send("hello, this is a long story").await;
    assert_eq!(wire.rest().await.0, b"no");
}

/// Writes until nobody takes any more.
async fn stuff(stream: &mut TcpStream) {
    let chunk = [b'z'; 64 * 1024];
    let patience = Duration::from_millis(300);
    while let Ok(written) = tokio::time::timeout(patience, stream.write(&chunk)).await {
        written.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_is_gone_gives_back_its_place_whatever_the_server_does() {
    // It reads no more while it cannot write, or reads nothing at all.
    let deaf = Server::raw(|mut wire, _| async move {
        wire.send("a").await;
        std::future::pending::<()>().await;
    })
    .await;
    for (server, ends, resets) in [
        (&echo("a").await, false, false),
        (&echo("a").await, true, false),
        (&echo("a").await, false, true),
        (&deaf, false, false),
        (&deaf, true, false),
        (&deaf, false, true),
    ] {
        let setup = to(server).set("entrypoints/web/max_connections", 2);
        let gateway = setup.start().await;
        for _ in 0..2 {
            let mut stream = gateway.connect().await;
            stuff(&mut stream).await;
            if ends {
                stream.shutdown().await.unwrap();
            }
            if resets {
                stream.set_zero_linger().unwrap();
            }
            // With something unread this is a reset anyway.
        }
        let open = "gateway_open_connections{entrypoint=\"web\"}";
        eventually("they are gone", || gateway.metric(open) == Some(0.0)).await;
        assert_eq!(greeted(&gateway).await.0, "a");
    }
}

#[tokio::test]
async fn a_client_that_has_ended_and_is_gone_gives_back_its_place() {
    let (report, mut asked) = channel(1);
    let server = Server::raw(move |mut wire, _| {
        let report = report.clone();
        async move {
            let _ = report.send(wire.rest().await).await;
            // It neither answers nor ends.
            std::future::pending::<()>().await;
        }
    })
    .await;
    let gateway = to(&server).start().await;
    let mut wire = gateway.wire().await;
    wire.send("question").await;
    wire.end().await;
    assert_eq!(heard(&mut asked).await, (b"question".to_vec(), End::Closed));
    wire.reset();
    let open = "gateway_open_connections{entrypoint=\"web\"}";
    eventually("it is gone", || gateway.metric(open) == Some(0.0)).await;
}

#[tokio::test]
async fn a_server_that_breaks_off_frees_a_client_that_does_not_read() {
    let server = Server::raw(|wire, _| async move {
        let mut stream = wire.into_io();
        stuff(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let gateway = to(&server).start().await;
    let mut wire = gateway.wire().await;
    let open = "gateway_open_connections{entrypoint=\"web\"}";
    eventually("it is there", || server.accepted() == 1).await;
    eventually("both are gone", || gateway.metric(open) == Some(0.0)).await;
    assert_eq!(wire.rest().await.1, End::Reset);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_watches_for_peers_that_vanish() {
    let server = echo("a").await;
    let gateway = to(&server).start().await;
    let (_, _open) = greeted(&gateway).await;
    // `local remote state queues timer:when`, in hexadecimal; timer 2 is that of probes.
    let is_watched = |local: u16, remote: u16| {
        let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let ends = |port: u16| format!(":{port:04X}");
        sockets.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (here, there) = (words.next().unwrap(), words.next().unwrap());
            let is_it = |word: &str, port| port == 0 || word.ends_with(&ends(port));
            is_it(here, local) && is_it(there, remote) && words.nth(2).unwrap().starts_with("02:")
        })
    };
    let (ours, servers) = (gateway.address().port(), server.address().port());
    eventually("to the client", || is_watched(ours, 0)).await;
    eventually("to the server", || is_watched(0, servers)).await;
}

// Who may connect.

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn only_peers_that_are_allowed_speak_http() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set(
            "entrypoints/web/tcp_allowed_ips",
            json!(["127.0.0.2", "127.0.1.0/24"]),
        )
        .start()
        .await;
    for (ip, is_allowed) in [
        (ONE, false),
        (TWO, true),
        ([127, 0, 1, 200], true),
        ([127, 0, 2, 1], false),
    ] {
        if is_allowed {
            let mut wire = wire_from(ip, gateway.address()).await;
            wire.send(GET).await;
            assert_eq!(wire.answer().await.status(), 200, "{ip:?}");
        } else {
            assert!(is_reset(ip, gateway.address()).await, "{ip:?}");
        }
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn another_list_of_allowed_peers_holds_for_new_connections_and_closes_none() {
    let server = Server::start().await;
    let setup = Setup::to(&server);
    let gateway = setup.start().await;
    let mut open = gateway.wire().await;
    for allowed in [json!(["192.0.2.1"]), json!(["127.0.0.2"])] {
        let setup = setup.clone();
        let next = setup.set("entrypoints/web/tcp_allowed_ips", allowed);
        gateway.become_(&next).await;
        assert!(is_reset(ONE, gateway.address()).await);
        open.send(GET).await;
        assert_eq!(open.answer().await.status(), 200);
    }
    gateway.become_(&setup).await;
    assert_eq!(gateway.ask(GET).await.status(), 200);
}

#[tokio::test]
async fn only_peers_that_are_allowed_reach_a_server() {
    let server = echo("a").await;
    let allowed = json!(["127.0.0.2"]);
    let setups = [
        to(&server).set("entrypoints/web/tcp_allowed_ips", allowed.clone()),
        filtered(to(&server), &json!({ "allowed_ips": allowed })),
    ];
    for setup in setups {
        let gateway = setup.start().await;
        assert!(is_reset(ONE, gateway.address()).await);
        greeted_at(TWO, &gateway).await;
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn past_the_limit_of_an_entrypoint_connections_are_reset_until_one_ends() {
    let server = echo("a").await;
    let setup = to(&server).set("entrypoints/web/max_connections", 2);
    let gateway = setup.start().await;
    let (_, first) = greeted(&gateway).await;
    let (_, mut second) = greeted(&gateway).await;
    assert!(is_reset(ONE, gateway.address()).await);
    assert!(is_reset(TWO, gateway.address()).await);
    drop(first);
    eventually("the first has ended", || server.open() == 1).await;
    let (_, _third) = greeted(&gateway).await;

    // More, and fewer than there are.
    gateway
        .become_(&setup.clone().set("entrypoints/web/max_connections", 3))
        .await;
    let (_, _fourth) = greeted(&gateway).await;
    gateway
        .become_(&setup.set("entrypoints/web/max_connections", 1))
        .await;
    assert!(is_reset(ONE, gateway.address()).await);
    says(&mut second, "still here").await;
}

#[tokio::test]
async fn a_filter_limits_connections_of_all_and_of_each() {
    let server = echo("a").await;
    let limits = json!({ "max_connections": 3, "max_connections_per_ip": 2 });
    let gateway = filtered(to(&server), &limits).start().await;
    let (_, first) = greeted(&gateway).await;
    let (_, _second) = greeted(&gateway).await;
    assert!(is_reset(ONE, gateway.address()).await, "a third of one");
    let (_, third) = greeted_at(TWO, &gateway).await;
    assert!(is_reset(TWO, gateway.address()).await, "a fourth of all");
    drop(first);
    eventually("the first has ended", || server.open() == 2).await;
    let (_, _again) = greeted(&gateway).await;
    drop(third);
    eventually("the third has ended", || server.open() == 2).await;
    assert!(is_reset(ONE, gateway.address()).await, "a third of one");
    greeted_at(TWO, &gateway).await;
}

#[tokio::test]
async fn a_filter_limits_the_rate_of_each() {
    let server = echo("a").await;
    // Nobody waits for the next one of a minute in a test.
    let gateway = filtered(to(&server), &json!({ "rate": 1, "burst": 3 }))
        .start()
        .await;
    let mut let_in = 0;
    for _ in 0..20 {
        let_in += usize::from(!is_reset_at_once(gateway.address()).await);
    }
    // As many as in a burst, and those of the seconds that it took.
    assert!((3..20).contains(&let_in), "{let_in} of 20");
    greeted_at(TWO, &gateway).await;
}

/// Whether a connection is reset before the server says anything.
async fn is_reset_at_once(address: SocketAddr) -> bool {
    match connect_from(ONE, address).await {
        Ok(stream) => Wire::new(stream).try_byte().await.is_none(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_filter_on_an_entrypoint_counts_connections_whatever_is_spoken_on_them() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .set(
            "middlewares/filter",
            json!({ "type": "tcp-filter", "max_connections_per_ip": 1 }),
        )
        .set("entrypoints/web/middlewares", json!(["filter"]))
        .start()
        .await;
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/").await.status, 200);
    assert!(is_reset(ONE, gateway.address()).await);
    let mut other = wire_from(TWO, gateway.address()).await;
    other.send(GET).await;
    assert_eq!(other.answer().await.status(), 200);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_filter_keeps_its_count_over_a_reload_that_leaves_it_alone() {
    let (a, b) = (echo("a").await, echo("b").await);
    let one = json!({ "max_connections": 1 });
    let setup = filtered(to(&a), &one);
    let gateway = setup.start().await;
    let (_, mut open) = greeted(&gateway).await;

    // Another service, another router with the same filter: it is full.
    let other = filtered(to(&b), &one)
        .set("shutdown_timeout_secs", 7)
        .set("entrypoints/two", json!({ "address": "127.0.0.1:0", "protocol": "tcp" }))
        .set("routers/two", json!({
            "rule": "ClientIP(`127.0.0.1`)", "service": "backend", "entrypoints": ["two"], "middlewares": ["filter"],
        }));
    gateway.become_(&other).await;
    assert!(is_reset(ONE, gateway.address()).await);
    assert!(is_reset(ONE, gateway.address_of("two").await).await);

    // Another filter begins to count.
    let more = filtered(to(&b), &json!({ "max_connections": 1, "rate": 1000 }));
    gateway.become_(&more).await;
    let (name, _open) = greeted(&gateway).await;
    assert_eq!(name, "b");
    assert!(is_reset(ONE, gateway.address()).await);
    says(&mut open, "still here").await;
}

// Where it leads.

#[tokio::test]
async fn the_best_router_takes_a_connection_and_where_there_is_none_it_is_reset() {
    let (a, b) = (echo("a").await, echo("b").await);
    let router = |rule: &str, service: &str| json!({ "rule": rule, "service": service, "entrypoints": ["web"] });
    let setup = to(&a)
        .service("other", b.url("tcp"))
        .set("routers/all", router("ClientIP(`127.0.0.0/24`)", "backend"))
        .set(
            "routers/two",
            router("ClientIP(`127.0.0.2`) && !ClientIP(`::1`)", "other"),
        );
    let gateway = setup.start().await;
    assert_eq!(greeted_at(ONE, &gateway).await.0, "a");
    assert_eq!(greeted_at(TWO, &gateway).await.0, "b");
    assert!(is_reset([127, 0, 1, 1], gateway.address()).await);

    gateway
        .become_(&setup.clone().set("routers/all/priority", 1000))
        .await;
    assert_eq!(greeted_at(TWO, &gateway).await.0, "a");
    // The catch-all comes after everything, also by its other name.
    for all in ["HostSNI(`*`)", "PathPrefix(`/`)"] {
        gateway
            .become_(&setup.clone().set("routers/all/rule", all))
            .await;
        assert_eq!(greeted_at(TWO, &gateway).await.0, "b", "{all}");
        assert_eq!(greeted_at([127, 0, 1, 1], &gateway).await.0, "a", "{all}");
    }
}

#[tokio::test]
async fn servers_take_turns_by_the_strategy() {
    let (a, b) = (echo("a").await, echo("b").await);
    let servers = json!([{ "url": a.url("tcp"), "weight": 2 }, { "url": b.url("tcp") }]);
    for (strategy, expected) in [
        ("round-robin", "abab"),
        ("weighted", "abaaba"),
        // Two on the first for each on the second, while all stay open.
        ("least-connections", "abaaba"),
    ] {
        let gateway = to(&a)
            .balancer("servers", servers.clone())
            .balancer("strategy", strategy)
            .start()
            .await;
        let (mut names, mut open) = (String::new(), Vec::new());
        while names.len() < expected.len() {
            let (name, wire) = greeted(&gateway).await;
            names += &name;
            open.push(wire);
        }
        let count = |names: &str| names.matches('a').count();
        match strategy {
            "least-connections" => assert_eq!(count(&names), count(expected), "{names}"),
            _ => assert_eq!(names, expected, "{strategy}"),
        }
    }
}

#[tokio::test]
async fn where_a_server_is_dead_another_is_dialled_whatever_the_strategy() {
    let (a, b) = (echo("a").await, echo("b").await);
    let dead = [Port::reserve(), Port::reserve()];
    let url = |address: SocketAddr| json!({ "url": format!("tcp://{address}") });
    for strategy in [
        "round-robin",
        "weighted",
        "least-connections",
        "random",
        "p2c-ewma",
        "consistent-hash",
    ] {
        let servers = json!([
            url(dead[0].address()),
            url(a.address()),
            url(dead[1].address()),
            url(b.address()),
        ]);
        let gateway = to(&a)
            .balancer("servers", servers)
            .balancer("strategy", strategy)
            .admin()
            .start()
            .await;
        let mut open = Vec::new();
        for _ in 0..8 {
            open.push(greeted(&gateway).await);
        }
        let services = gateway.admin("/api/gateway/services").await;
        let servers = services[0]["servers"].as_array().unwrap();
        let count = |key: &str| -> Vec<u64> {
            let counts = servers.iter().map(|each| each[key].as_u64().unwrap());
            counts.collect()
        };
        let sum = |key: &str| count(key).iter().sum::<u64>();
        assert_eq!(sum("in_flight"), 8, "{strategy}");
        assert_eq!(sum("requests"), 8 + sum("failures"), "{strategy}");
        let failures = count("failures");
        assert_eq!((failures[1], failures[3]), (0, 0), "{strategy}");
    }
}

#[tokio::test]
async fn where_a_server_does_not_accept_in_time_another_is_dialled() {
    let server = echo("a").await;
    // A full backlog drops what comes next.
    let full = TcpSocket::new_v4().unwrap();
    full.bind((ONE, 0).into()).unwrap();
    let full = full.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let connect = TcpStream::connect(address);
        waiting.push(tokio::time::timeout(Duration::from_millis(50), connect).await);
    }
    let servers = json!([{ "url": format!("tcp://{address}") }, { "url": server.url("tcp") }]);
    let gateway = to(&server)
        .balancer("servers", servers)
        .balancer("timeouts", json!({ "connect": "100ms" }))
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(greeted(&gateway).await.0, "a");
    }
}

#[tokio::test]
async fn where_no_server_takes_it_a_connection_is_reset() {
    let server = echo("a").await;
    let dead = [Port::reserve(), Port::reserve()];
    let url = |port: &Port| json!({ "url": format!("tcp://{}", port.address()) });
    for servers in [
        json!([url(&dead[0])]),
        json!([url(&dead[0]), url(&dead[1])]),
        json!([{ "url": server.url("tcp"), "weight": 0 }]),
        json!([url(&dead[0]), { "url": server.url("tcp"), "weight": 0 }]),
    ] {
        let gateway = to(&server).balancer("servers", servers).start().await;
        assert!(is_reset(ONE, gateway.address()).await);
    }
    assert_eq!(server.accepted(), 0);
}

// Reloads, and the end.

#[tokio::test]
async fn a_reload_keeps_open_connections_and_their_counts() {
    let (a, b) = (echo("a").await, echo("b").await);
    let setup = to(&a);
    let gateway = setup.start().await;
    let (_, mut old) = greeted(&gateway).await;
    let open = "gateway_open_connections{entrypoint=\"web\"}";
    let in_flight = |server: &Server| {
        let url = server.url("tcp");
        gateway.metric(&format!(
            "gateway_service_server_in_flight{{service=\"backend\",server=\"{url}\"}}"
        ))
    };
    assert_eq!(
        (gateway.metric(open), in_flight(&a)),
        (Some(1.0), Some(1.0))
    );
    gateway.become_(&to_each([&b, &a])).await;
    says(&mut old, "still here").await;
    assert_eq!((in_flight(&a), in_flight(&b)), (Some(1.0), Some(0.0)));
    let (name, _new) = greeted(&gateway).await;
    assert_eq!(name, "b");
    // Neither its server nor its router is there any more.
    gateway
        .become_(&to(&b).set("routers/all/rule", "ClientIP(`192.0.2.1`)"))
        .await;
    says(&mut old, "even now").await;
    assert!(is_reset(ONE, gateway.address()).await);
    for _ in 0..100 {
        gateway.become_(&to_each([&b, &a])).await;
        gateway.become_(&setup).await;
    }
    says(&mut old, "and ever").await;
    assert_eq!(gateway.metric(open), Some(2.0));
}

#[tokio::test]
async fn an_address_may_go_over_to_the_other_protocol() {
    let port = Port::reserve();
    let (echo, server) = (echo("a").await, Server::start().await);
    let address = port.address().to_string();
    let tcp = to(&echo).set("entrypoints/web/address", address.clone());
    let http = Setup::to(&server).set("entrypoints/web/address", address);
    let gateway = tcp.start().await;
    let mut old = Wire::new(connect(port.address()).await);
    assert_eq!(old.exactly(1).await, b"a");
    gateway.become_(&http).await;
    let mut client = Client::h1(connect(port.address()).await).await;
    assert_eq!(client.get("/x").await.text(), "/x");
    says(&mut old, "still here").await;
    gateway.become_(&tcp).await;
    let mut new = Wire::new(connect(port.address()).await);
    assert_eq!(new.exactly(1).await, b"a");
    client.closed().await;
    says(&mut old, "even now").await;
}

#[tokio::test]
async fn at_the_end_connections_go_on_until_they_are_over() {
    let server = echo("a").await;
    let gateway = to(&server).start().await;
    let (_, mut wire) = greeted(&gateway).await;
    let ending = async {
        let address = gateway.address();
        let is_gone = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within("nobody listens", is_gone).await;
        says(&mut wire, "a last word").await;
        wire.end().await;
        assert_eq!(wire.rest().await, (b"bye".to_vec(), End::Closed));
    };
    let both = async { tokio::join!(gateway.shutdown(), ending) };
    within("the end", both).await;
}

#[tokio::test]
async fn connections_that_do_not_end_are_reset_on_both_sides() {
    let (server, mut told) = listener("a", false).await;
    let gateway = to(&server).set("shutdown_timeout_secs", 1).start().await;
    let (_, mut wire) = greeted(&gateway).await;
    within("the end", gateway.shutdown()).await;
    assert_eq!(wire.rest().await, (Vec::new(), End::Reset));
    assert_eq!(heard(&mut told).await, (Vec::new(), End::Reset));
}
