//! Datagrams: whose they are, where they go, and what becomes of them.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use support::{
    Client, Dns, Port, Process, Says, Server, Setup, TestGateway, UdpClient, UdpServer, connect,
    eventually, within,
};
use tokio::net::UdpSocket;

const LONGEST: usize = 65_507;

/// An entrypoint `web` of UDP, before these servers, and the admin API.
fn to_each<'s>(servers: impl IntoIterator<Item = &'s UdpServer>) -> Setup {
    of_urls(servers.into_iter().map(UdpServer::url))
}

fn of_urls(urls: impl IntoIterator<Item = String>) -> Setup {
    Setup::to_each(urls)
        .set("entrypoints/web/protocol", "udp")
        .set("routers/all/rule", "HostSNI(`*`)")
        .set("routers/all/entrypoints", json!(["web"]))
        .admin()
}

fn to(server: &UdpServer) -> Setup {
    to_each([server])
}

/// What the admin API says of the datagrams of `web`.
async fn shown(gateway: &TestGateway) -> Value {
    shown_at(gateway.address_of("admin@internal").await).await
}

async fn shown_at(admin: SocketAddr) -> Value {
    let mut client = Client::admin(connect(admin).await).await;
    let reply = client.get("/api/gateway/entrypoints").await;
    let entrypoints: Value = serde_json::from_slice(&reply.body).unwrap();
    let mut entrypoints = entrypoints.as_array().unwrap().iter();
    let web = entrypoints.find(|each| each["name"] == "web").unwrap();
    web["udp"].clone()
}

/// Waits until a number that the admin API shows is this.
async fn shows(gateway: &TestGateway, pointer: &str, expected: u64) {
    within(pointer, async {
        while shown(gateway).await.pointer(pointer) != Some(&expected.into()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn client(gateway: &TestGateway) -> UdpClient {
    UdpClient::to(gateway.address()).await
}

// Bytes.

#[tokio::test]
async fn datagrams_go_both_ways_whatever_their_length() {
    // It says how long they are, and answers with as much.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = UdpServer::on(socket, |datagram| Some(datagram.to_vec())).await;
    let gateway = to(&server).start().await;
    let client = client(&gateway).await;
    for length in [1, 0, 512, 1472, 1473, 9000, LONGEST, 0, 1] {
        let datagram: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        client.send(&datagram).await;
        assert!(client.hear().await == datagram, "{length}");
    }
    let shown = shown(&gateway).await;
    let expected = json!({
        "open_sessions": 1,
        "sessions": 1,
        "evicted": 0,
        "datagrams_from_clients": 9,
        "bytes_from_clients": 1 + 512 + 1472 + 1473 + 9000 + LONGEST + 1,
        "datagrams_to_clients": 9,
        "bytes_to_clients": 1 + 512 + 1472 + 1473 + 9000 + LONGEST + 1,
        "dropped": {
            "not_allowed": 0, "no_route": 0, "no_server": 0, "busy": 0, "too_long": 0,
            "failed": 0, "ending": 0,
        },
    });
    assert_eq!(shown, expected);
    let open = "gateway_open_connections{entrypoint=\"web\"}";
    assert_eq!(gateway.metric(open), Some(1.0));
}

/// A question for the addresses of IPv4 of a name (RFC 1035, 4.1).
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut question = id.to_be_bytes().to_vec();
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

#[tokio::test]
async fn a_resolver_asks_through_it_over_both_protocols_of_one_port() {
    let dns = Dns::start().await;
    dns.says("a.test", Says::Addresses(vec![[192, 0, 2, 7].into()], 60));
    // The same port of TCP is another one.
    let both = loop {
        let port = Port::reserve();
        if UdpSocket::bind(port.address()).await.is_ok() {
            break port;
        }
    };
    let setup = of_urls([format!("udp://{}", dns.address())])
        .set("entrypoints/web/address", both.address().to_string())
        .set("entrypoints/tcp/address", both.address().to_string())
        .set("entrypoints/tcp/protocol", "tcp")
        .route("tcp", "HostSNI(`*`)", "tcp")
        .set("routers/tcp/entrypoints", json!(["tcp"]))
        .service("tcp", format!("tcp://{}", dns.address()));
    let gateway = setup.start().await;
    let client = client(&gateway).await;
    let asked = question(4711, "a.test");
    client.send(&asked).await;
    let answer = client.hear().await;
    assert_eq!(answer[..2], 4711u16.to_be_bytes());
    assert!(answer.ends_with(&[192, 0, 2, 7]), "{answer:?}");

    let mut stream = support::connect(gateway.address_of("tcp").await).await;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_u16(asked.len() as u16).await.unwrap();
    stream.write_all(&asked).await.unwrap();
    let length = within("an answer", stream.read_u16()).await.unwrap();
    let mut told = vec![0; length.into()];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(told, answer);
}

#[tokio::test]
async fn the_address_that_was_asked_answers_whatever_its_family() {
    let (four, six) = (
        UdpServer::echo("4").await,
        UdpServer::echo_at("[::1]:0", "6").await,
    );
    for (address, asked, from) in [
        ("127.0.0.1:0", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.9", "127.0.0.2"),
        ("[::1]:0", "::1", "::1"),
        ("[::]:0", "::1", "::1"),
        ("[::]:0", "127.0.0.9", "127.0.0.2"),
        (":0", "127.0.0.9", "127.0.0.2"),
    ] {
        for (server, name) in [(&four, "4"), (&six, "6")] {
            let setup = to(server).set("entrypoints/web/address", address);
            let gateway = setup.start().await;
            let there = SocketAddr::new(asked.parse().unwrap(), gateway.address().port());
            // It hears nobody else than whom it asks.
            let client = UdpClient::at(from.parse::<IpAddr>().unwrap(), there).await;
            let answer = client.ask(b"?").await;
            assert_eq!(answer, format!("{name}?"), "{address} {asked}");
        }
    }
}

// Sessions.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_share_the_servers_and_stay_where_they_are() {
    let servers = [
        UdpServer::echo("a").await,
        UdpServer::echo("b").await,
        UdpServer::echo("c").await,
        UdpServer::echo("d").await,
    ];
    let gateway = to_each(&servers).with_all_workers().start().await;
    let mut clients = Vec::new();
    let mut shares = HashMap::<String, usize>::new();
    for _ in 0..1000 {
        let client = client(&gateway).await;
        let name = client.ask(b"").await;
        *shares.entry(name.clone()).or_default() += 1;
        clients.push((client, name));
    }
    assert!(
        shares.len() == 4 && shares.values().all(|share| *share == 250),
        "{shares:?}"
    );
    for round in [b"1", b"2"] {
        for (client, name) in &clients {
            let answer = client.ask(round).await;
            assert!(answer.starts_with(&**name), "{name}: {answer}");
        }
    }
    let shown = shown(&gateway).await;
    assert_eq!(shown["open_sessions"], 1000);
    assert_eq!(shown["sessions"], 1000);
    assert!(servers.iter().all(|server| server.sessions() == 250));
}

#[tokio::test]
async fn the_strategies_choose_for_sessions_too() {
    let servers = [UdpServer::echo("a").await, UdpServer::echo("b").await];
    for (strategy, expected) in [("weighted", [30, 10]), ("least-connections", [20, 20])] {
        let urls = servers.iter().map(UdpServer::url).zip([3, 1]);
        let weights = strategy == "weighted";
        let list = urls.map(|(url, weight)| match weights {
            true => json!({ "url": url, "weight": weight }),
            false => json!({ "url": url }),
        });
        let list = Value::Array(list.collect());
        let setup = to_each(&servers).balancer("servers", list);
        let gateway = setup.balancer("strategy", strategy).start().await;
        let mut clients = Vec::new();
        let mut shares = [0, 0];
        for _ in 0..40 {
            let client = client(&gateway).await;
            shares[usize::from(client.ask(b"").await == "b")] += 1;
            clients.push(client);
        }
        assert_eq!(shares, expected, "{strategy}");
    }
    let setup = to_each(&servers).balancer("strategy", "consistent-hash");
    let gateway = setup.start().await;
    for host in 1..20 {
        let ip = [127, 0, 1, host];
        let mut names = HashSet::new();
        for _ in 0..4 {
            let client = UdpClient::at(ip, gateway.address()).await;
            names.insert(client.ask(b"").await);
        }
        assert_eq!(names.len(), 1, "{ip:?}");
    }
}

#[tokio::test]
async fn a_session_ends_when_nobody_has_said_anything_for_long_enough() {
    let server = UdpServer::echo("a").await;
    let setup = to(&server).set("entrypoints/web/udp_session_timeout_secs", 1);
    let gateway = setup.start().await;
    let client = client(&gateway).await;
    assert_eq!(client.ask(b"1").await, "a1");
    assert_eq!(client.ask(b"2").await, "a2");
    assert_eq!(server.sessions(), 1);
    shows(&gateway, "/open_sessions", 0).await;
    assert_eq!(gateway.metric(&in_flight(&server)), Some(0.0));
    assert_eq!(client.ask(b"3").await, "a3");
    assert_eq!(server.sessions(), 2);
}

fn in_flight(server: &UdpServer) -> String {
    let url = server.url();
    format!("gateway_service_server_in_flight{{service=\"backend\",server=\"{url}\"}}")
}

#[tokio::test]
async fn one_too_many_takes_the_place_of_who_was_idle_for_longest() {
    let server = UdpServer::echo("a").await;
    let setup = to(&server).set("entrypoints/web/udp_max_sessions", 2);
    let gateway = setup.start().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(client(&gateway).await);
    }
    let [one, two, three] = &clients[..] else {
        unreachable!()
    };
    one.ask(b"").await;
    two.ask(b"").await;
    one.ask(b"").await;
    assert_eq!(server.sessions(), 2);
    three.ask(b"").await;
    assert_eq!(server.sessions(), 3);
    // The first was not the idlest, though it was the first.
    one.ask(b"").await;
    assert_eq!(server.sessions(), 3);
    let told = shown(&gateway).await;
    assert_eq!([&told["open_sessions"], &told["evicted"]], [2, 1]);
    two.ask(b"").await;
    assert_eq!(server.sessions(), 4);
    one.ask(b"").await;
    assert_eq!(server.sessions(), 4);
}

#[tokio::test]
async fn a_flood_of_clients_costs_no_more_than_there_may_be_sessions() {
    let server = UdpServer::echo("a").await;
    let setup = to(&server).set("entrypoints/web/udp_max_sessions", 50);
    let gateway = Process::start(&setup.text(), &["web", "admin@internal"]).await;
    let [web, admin] = ["web", "admin@internal"].map(|name| gateway.address(name));
    UdpClient::to(web).await.ask_until_answered(b"").await;
    let files = format!("/proc/{}/fd", gateway.id());
    let descriptors = || std::fs::read_dir(&files).unwrap().count();
    let before = (descriptors(), gateway.resident_bytes());
    // Each socket is another client, and none of them is kept.
    for _ in 0..5000 {
        UdpClient::to(web).await.send(&[b'z'; 1000]).await;
        tokio::task::yield_now().await;
    }
    // And those who mean it are served.
    let (answer, _) = UdpClient::to(web).await.ask_until_answered(b"!").await;
    assert_eq!(answer, "a!");
    let told = shown_at(admin).await;
    let [begun, evicted, open] =
        ["sessions", "evicted", "open_sessions"].map(|key| told[key].as_u64().unwrap());
    assert!(
        begun > 500 && begun - evicted == open && open <= 50 + 64,
        "{told}"
    );
    let after = (descriptors(), gateway.resident_bytes());
    assert!(after.0 <= before.0 + 120, "{before:?} {after:?}");
    assert!(after.1 <= before.1 + (8 << 20), "{before:?} {after:?}");
}

#[tokio::test]
async fn an_answer_goes_to_nobody_who_has_not_asked() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let gateway = of_urls([format!("udp://{address}")]).start().await;
    let client = client(&gateway).await;
    client.send(b"question").await;
    let mut buffer = [0; 64];
    let received = within("a question", socket.recv_from(&mut buffer)).await;
    let (_, session) = received.unwrap();
    // Somebody else finds the port of the session.
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(b"forged", session).await.unwrap();
    // Somebody else has never asked.
    socket.send_to(b"answer", session).await.unwrap();
    assert_eq!(client.hear().await, b"answer");
    assert_eq!(shown(&gateway).await["datagrams_to_clients"], 1);
}

// Who may.

#[tokio::test]
async fn who_is_not_allowed_or_wanted_gets_no_session() {
    let servers = [UdpServer::echo("a").await, UdpServer::echo("b").await];
    let setup = to(&servers[0])
        .set("entrypoints/web/tcp_allowed_ips", json!(["127.0.0.0/29"]))
        .set("routers/all/rule", "ClientIP(`127.0.0.1`, `127.0.0.2`)")
        .route("two", "ClientIP(`127.0.0.2`)", "two")
        .set("routers/two/entrypoints", json!(["web"]))
        .set("routers/two/priority", 100)
        .service("two", servers[1].url());
    let gateway = setup.start().await;
    let at = |host| UdpClient::at([127, 0, 0, host], gateway.address());
    assert_eq!(at(1).await.ask(b"?").await, "a?");
    assert_eq!(at(2).await.ask(b"?").await, "b?");
    at(3).await.send(b"?").await;
    at(9).await.send(b"?").await;
    shows(&gateway, "/dropped/no_route", 1).await;
    shows(&gateway, "/dropped/not_allowed", 1).await;
    shows(&gateway, "/open_sessions", 2).await;
}

#[tokio::test]
async fn a_server_has_no_more_sessions_than_it_may() {
    let server = UdpServer::echo("a").await;
    let setup = to(&server).balancer("max_in_flight", 1);
    let gateway = setup.start().await;
    let one = client(&gateway).await;
    assert_eq!(one.ask(b"1").await, "a1");
    client(&gateway).await.send(b"2").await;
    shows(&gateway, "/dropped/no_server", 1).await;
    assert_eq!(one.ask(b"3").await, "a3");
}

// Servers that fail.

#[tokio::test]
async fn a_server_that_is_gone_ends_no_more_than_its_sessions() {
    let (gone, there) = (
        UdpServer::echo("gone").await,
        UdpServer::echo("there").await,
    );
    let setup = to_each([&gone, &there]);
    let gateway = setup.start().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let client = client(&gateway).await;
        let name = client.ask(b"").await;
        clients.push((client, name));
    }
    drop(gone);
    for (client, name) in &clients {
        // The first datagram is lost where the server is gone. Those of the other notice nothing.
        let (answer, asked) = client.ask_until_answered(b"").await;
        assert_eq!(answer, "there");
        assert!(name == "gone" || asked == 1, "{name} {asked}");
    }
    // After some of these nobody is sent there any more.
    within("it is ejected", async {
        while !ejected(&gateway).await {
            client(&gateway).await.ask_until_answered(b"").await;
        }
    })
    .await;
    for _ in 0..4 {
        assert_eq!(client(&gateway).await.ask(b"").await, "there");
    }
}

async fn ejected(gateway: &TestGateway) -> bool {
    let services = gateway.admin("/api/gateway/services").await;
    services.to_string().contains("ejected")
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_by_the_sessions_that_there_are() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let server = UdpServer::on(socket, |_| Some(b"old".to_vec())).await;
    let setup = to(&server).balancer("outlier/consecutive_errors", 0);
    let gateway = setup.start().await;
    let client = client(&gateway).await;
    assert_eq!(client.ask(b"?").await, "old");
    drop(server);
    for _ in 0..20 {
        client.send(b"?").await;
        tokio::task::yield_now().await;
    }
    let _server = UdpServer::echo_at(&address, "new").await;
    let (answer, _) = client.ask_until_answered(b"?").await;
    assert_eq!(answer, "new?");
}

#[tokio::test]
async fn where_a_name_has_two_families_the_one_that_is_there_is_found() {
    let dns = Dns::start().await;
    let server = UdpServer::echo("four").await;
    let both: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), [127, 0, 0, 1].into()];
    dns.points("both.test", both);
    let url = format!("udp://both.test:{}", server.address.port());
    let dns = json!({ "servers": [dns.address().to_string()], "timeout": "200ms" });
    let gateway = of_urls([url]).set("dns", dns).start().await;
    let client = client(&gateway).await;
    let (answer, _) = client.ask_until_answered(b"!").await;
    assert_eq!(answer, "four!");
}

#[tokio::test]
async fn a_failover_takes_sessions_over_and_gives_them_back() {
    let health = Server::http(|_| async { http::Response::new(axum::body::Body::empty()) }).await;
    let (first, second) = (
        UdpServer::echo("first").await,
        UdpServer::echo("second").await,
    );
    let address = first.address.to_string();
    let check = json!({
        "kind": "http", "port": health.address().port(), "interval": "100ms",
        "unhealthy_threshold": 1,
    });
    let setup = to(&first)
        .set("services/backend/failover/service", "spare")
        .set("entrypoints/web/udp_session_timeout_secs", 1)
        .balancer("health_check", check)
        .service("spare", second.url());
    let gateway = setup.start().await;
    let client = client(&gateway).await;
    assert_eq!(client.ask(b"").await, "first");
    drop(health);
    within("it is taken over", async {
        while client.ask(b"").await != "second" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(first.address.to_string(), address);
    // The check asks the port of another server from now on, which is well.
    let health = Server::http(|_| async { http::Response::new(axum::body::Body::empty()) }).await;
    let check = json!({ "kind": "http", "port": health.address().port(), "interval": "100ms" });
    let setup = setup.balancer("health_check", check);
    gateway.become_(&setup).await;
    within("it is given back", async {
        while client.ask(b"").await != "first" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

// Changes.

#[tokio::test]
async fn sessions_outlive_reloads_as_long_as_they_have_a_server() {
    let servers = [UdpServer::echo("a").await, UdpServer::echo("b").await];
    let setup = to_each(&servers);
    let gateway = setup.start().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let client = client(&gateway).await;
        let name = client.ask(b"").await;
        clients.push((client, name));
    }
    let more = setup.clone().service("more", "http://127.0.0.1:9");
    let more = more.set("entrypoints/web/udp_session_timeout_secs", 20);
    for round in 0..500 {
        gateway
            .become_(if round % 2 == 0 { &more } else { &setup })
            .await;
        let (client, name) = &clients[round % clients.len()];
        assert_eq!(client.ask(b"").await, *name, "{round}");
    }
    assert_eq!(servers.each_ref().map(UdpServer::sessions), [4, 4]);
    assert_eq!(shown(&gateway).await["sessions"], 8);

    // A server that leaves takes nobody along.
    gateway.become_(&to(&servers[1])).await;
    for (client, _) in &clients {
        assert_eq!(client.ask(b"").await, "b");
    }
    assert_eq!(servers.each_ref().map(UdpServer::sessions), [4, 8]);

    // Another service has servers of its own, though they are the same.
    let other = to(&servers[1]).service("other", servers[1].url());
    gateway
        .become_(&other.set("routers/all/service", "other"))
        .await;
    for (client, _) in &clients {
        assert_eq!(client.ask(b"").await, "b");
    }
    assert_eq!(servers[1].sessions(), 16);

    // Who may not send any more does not.
    let forbidden = to(&servers[1]).set("entrypoints/web/tcp_allowed_ips", json!(["192.0.2.1"]));
    gateway.become_(&forbidden).await;
    clients[0].0.send(b"").await;
    shows(&gateway, "/dropped/not_allowed", 1).await;
}

#[tokio::test]
async fn a_shutdown_waits_for_answers_and_then_closes_the_socket() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let gateway = of_urls([format!("udp://{address}")]).start().await;
    let (web, admin) = (
        gateway.address(),
        gateway.address_of("admin@internal").await,
    );
    let client = client(&gateway).await;
    client.send(b"question").await;
    let mut buffer = [0; 64];
    let received = within("a question", socket.recv_from(&mut buffer)).await;
    let (_, session) = received.unwrap();
    let answering = async {
        // Until the word has come, others may begin sessions; they have their answers.
        loop {
            let told = shown_at(admin).await;
            if told["dropped"]["ending"].as_u64() > Some(0) {
                break;
            }
            UdpClient::to(web).await.send(b"early").await;
            while let Ok((_, from)) = socket.try_recv_from(&mut buffer) {
                socket.send_to(b"answer", from).await.unwrap();
            }
        }
        // From then on nobody new is served, and those who are go on.
        UdpClient::to(web).await.send(b"late").await;
        client.send(b"more").await;
        loop {
            let received = within("more", socket.recv_from(&mut buffer)).await;
            let (length, from) = received.unwrap();
            assert_ne!(&buffer[..length], b"late");
            socket.send_to(b"answer", from).await.unwrap();
            if &buffer[..length] == b"more" {
                assert_eq!(from, session);
                break;
            }
        }
        assert_eq!(client.hear().await, b"answer");
    };
    let stop = within("the gateway ends", gateway.shutdown());
    tokio::join!(stop, answering);
    UdpSocket::bind(web)
        .await
        .expect("a port that is free again");
}

#[tokio::test]
async fn an_idle_entrypoint_ends_at_once() {
    let server = UdpServer::echo("a").await;
    let both = to(&server)
        .set("entrypoints/other/address", "127.0.0.1:0")
        .set("entrypoints/other/protocol", "udp")
        .set("routers/all/entrypoints", json!(["web", "other"]));
    let gateway = both.start().await;
    let other = gateway.address_of("other").await;
    let client = UdpClient::to(other).await;
    assert_eq!(client.ask(b"?").await, "a?");
    // Without it the others go on, and its port is free once its sessions are idle.
    gateway.become_(&to(&server)).await;
    within("its port is free", async {
        while UdpSocket::bind(other).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(self::client(&gateway).await.ask(b"!").await, "a!");
    eventually("they are gone", || {
        gateway.metric(&in_flight(&server)) == Some(1.0)
    })
    .await;
}
