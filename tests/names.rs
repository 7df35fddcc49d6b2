//! Servers that are called by names: what a name stands for is looked up, and followed when it moves.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::body::{Feed, feed};
use support::server::Recorded;
use support::tls::Authority;
use support::{
    Client, Dns, Load, Log, Question, Says, Server, Setup, TestGateway, Told, eventually, request,
    within,
};
use tokio::net::TcpListener;

const NAME: &str = "backend.test";

/// An address of loopback.
fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// Listens at each of these addresses, on one port.
async fn listen(addresses: &[IpAddr]) -> (Vec<TcpListener>, u16) {
    for _ in 0..100 {
        let first = TcpListener::bind((addresses[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut listeners = vec![first];
        for address in &addresses[1..] {
            listeners.extend(TcpListener::bind((*address, port)).await);
        }
        if listeners.len() == addresses.len() {
            return (listeners, port);
        }
    }
    panic!("no port is free at {addresses:?}");
}

/// Servers at these addresses of one port, each of which answers with its own address.
async fn servers(addresses: &[IpAddr]) -> (Vec<Server>, u16) {
    let (listeners, port) = listen(addresses).await;
    let server = |listener: TcpListener| {
        let ip = listener.local_addr().unwrap().ip().to_string();
        Server::http_on(listener, move |_: Request<Recorded>| {
            std::future::ready(Response::new(Body::from(ip.clone())))
        })
    };
    (listeners.into_iter().map(server).collect(), port)
}

/// A gateway before servers that are called by names of `dns`, which it asks again and again.
fn setup(dns: &Dns, urls: &[String]) -> Setup {
    Setup::to_each(urls).set("dns", followed(dns))
}

fn followed(dns: &Dns) -> Value {
    json!({
        "servers": [dns.address().to_string()],
        "min_ttl": "20ms",
        "timeout": "200ms",
    })
}

/// The servers of `backend`, as the gateway knows them.
fn known(gateway: &TestGateway) -> BTreeSet<String> {
    let metrics = gateway.metrics();
    let line = "gateway_service_server_in_flight{service=\"backend\",server=\"";
    let lines = metrics.lines().filter_map(|each| each.strip_prefix(line));
    lines
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// Waits until the servers are those at these addresses.
async fn moved(gateway: &TestGateway, port: u16, addresses: &[IpAddr]) {
    let urls = addresses.iter().map(|ip| format!("http://{ip}:{port}"));
    let urls: BTreeSet<_> = urls.collect();
    eventually("the servers have moved", || known(gateway) == urls).await;
}

/// Who answers so many requests.
async fn answers(gateway: &TestGateway, count: usize) -> BTreeSet<String> {
    let mut client = gateway.h1().await;
    let mut seen = BTreeSet::new();
    for _ in 0..count {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        seen.insert(reply.text());
    }
    seen
}

fn texts(addresses: &[IpAddr]) -> BTreeSet<String> {
    addresses.iter().map(IpAddr::to_string).collect()
}

#[tokio::test]
async fn every_address_of_a_name_is_a_server_and_moves_are_followed() {
    let all = [ip(2), ip(3), ip(4)];
    let (servers, port) = servers(&all).await;
    let dns = Dns::start().await;
    dns.points(NAME, [ip(2), ip(3)]);
    let url = format!("http://{NAME}:{port}");
    let gateway = setup(&dns, &[url]).start().await;
    // The first request finds them.
    assert_eq!(known(&gateway).len(), 2);
    assert_eq!(answers(&gateway, 4).await, texts(&all[..2]));
    for (server, requests) in servers.iter().zip([2, 2, 0]) {
        assert_eq!(server.requests(), requests);
    }
    for now in [&all[1..], &all[2..], &all[..], &all[..1]] {
        dns.points(NAME, now.iter().copied());
        moved(&gateway, port, now).await;
        assert_eq!(answers(&gateway, 2 * now.len()).await, texts(now));
    }
    assert_eq!(servers[0].last().host, "test.example");
}

#[tokio::test]
async fn a_server_that_stays_keeps_its_counts_its_connections_and_its_turn() {
    let all = [ip(2), ip(3)];
    let (servers, port) = servers(&all).await;
    let dns = Dns::start().await;
    dns.points(NAME, [ip(2)]);
    let gateway = setup(&dns, &[format!("http://{NAME}:{port}")])
        .start()
        .await;
    assert_eq!(answers(&gateway, 5).await, texts(&all[..1]));
    let requests = |ip: IpAddr| {
        let series = format!(
            "gateway_service_server_requests_total{{service=\"backend\",server=\"http://{ip}:{port}\"}}"
        );
        gateway.metric(&series)
    };
    assert_eq!(requests(ip(2)), Some(5.0));
    for now in [&all[..], &all[..1], &all[..]] {
        dns.points(NAME, now.iter().copied());
        moved(&gateway, port, now).await;
    }
    assert_eq!(requests(ip(2)), Some(5.0));
    assert_eq!(requests(ip(3)), Some(0.0));
    answers(&gateway, 4).await;
    assert_eq!(requests(ip(2)), Some(7.0));
    assert_eq!(servers[0].accepted(), 1);
}

#[tokio::test]
async fn a_request_under_way_ends_where_it_is_when_its_server_leaves() {
    let (listeners, port) = listen(&[ip(2), ip(3)]).await;
    let feeds = Arc::<Mutex<Vec<Feed>>>::default();
    let servers: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let feeds = Arc::clone(&feeds);
            Server::http_on(listener, move |_: Request<Recorded>| {
                let (feed, body) = feed();
                feeds.lock().unwrap().push(feed);
                std::future::ready(Response::new(body))
            })
        })
        .collect();
    let dns = Dns::start().await;
    dns.points(NAME, [ip(2)]);
    let gateway = setup(&dns, &[format!("http://{NAME}:{port}")])
        .start()
        .await;
    let mut client = gateway.h2().await;
    let old = client.send(request("GET", "/")).await;
    dns.points(NAME, [ip(3)]);
    moved(&gateway, port, &[ip(3)]).await;
    let new = client.send(request("GET", "/")).await;
    assert_eq!((servers[0].requests(), servers[1].requests()), (1, 1));
    let feeds = std::mem::take(&mut *feeds.lock().unwrap());
    for feed in feeds {
        assert!(feed.data("done").await);
    }
    for response in [old, new] {
        let body = within("the end", response.into_body().collect()).await;
        assert_eq!(body.unwrap().to_bytes(), "done");
    }
}

#[tokio::test]
async fn what_fails_keeps_the_last_good_answer() {
    let (_servers, port) = servers(&[ip(2), ip(3)]).await;
    let dns = Dns::start().await;
    dns.points(NAME, [ip(2)]);
    let log = Log::start();
    let gateway = setup(&dns, &[format!("http://{NAME}:{port}")])
        .start()
        .await;
    for says in [
        Says::Failure,
        Says::NoName,
        Says::Addresses(Vec::new(), 3600),
        Says::Addresses(vec![[0, 0, 0, 0].into()], 3600),
        Says::Nothing,
    ] {
        log.take();
        dns.says(NAME, says.clone());
        // Asked again and again, told once.
        dns.is_asked(NAME, 4).await;
        assert_eq!(answers(&gateway, 2).await, texts(&[ip(2)]), "{says:?}");
        let told = log.take();
        let count = told.matches("a name cannot be looked up").count();
        assert_eq!(count, 1, "{says:?}: {told}");
        dns.points(NAME, [ip(2)]);
        let mut told = String::new();
        eventually("it is told that all is well", || {
            told += &log.take();
            told.contains("looked up again without a failure")
        })
        .await;
    }
    // One family that cannot be asked for takes the other one's addresses from nobody.
    dns.says(NAME, Says::Half(vec![ip(3)]));
    moved(&gateway, port, &[ip(3)]).await;
    assert_eq!(answers(&gateway, 2).await, texts(&[ip(3)]));
}

#[tokio::test]
async fn a_name_that_nobody_knows_yet_is_no_reason_to_wait() {
    let (_servers, port) = servers(&[ip(2)]).await;
    let good = Server::start().await;
    let dns = Dns::start().await;
    for says in [Says::NoName, Says::Failure, Says::Nothing] {
        dns.says(NAME, says);
        let gateway = setup(&dns, &[format!("http://{NAME}:{port}")])
            .route("good", "Path(`/good`) && Method(`GET`)", "good")
            .service("good", &good)
            .start()
            .await;
        let mut client = gateway.h1().await;
        let reply = client.get("/").await;
        assert_eq!(reply.status, 503);
        assert!(reply.headers.contains_key("retry-after"));
        assert_eq!(client.get("/good").await.status, 200);
        dns.points(NAME, [ip(2)]);
        moved(&gateway, port, &[ip(2)]).await;
        assert_eq!(client.get("/").await.text(), "127.0.0.2");
    }
}

#[tokio::test]
async fn a_reload_asks_for_new_names_alone_and_before_it_takes_effect() {
    let (_servers, port) = servers(&[ip(2), ip(3)]).await;
    let dns = Dns::start().await;
    let long = |last| Says::Addresses(vec![ip(last)], 3600);
    dns.says(NAME, long(2));
    dns.says("other.test", long(3));
    let url = |name: &str| format!("http://{name}:{port}");
    let before = setup(&dns, &[url(NAME)]);
    let gateway = before.start().await;
    assert_eq!(dns.asked(NAME), 1);
    // Changes of something else, of the service, and of its servers.
    let both = setup(&dns, &[url(NAME), url("other.test")]);
    for next in [
        before.clone().http("max_headers", 99),
        before.clone().balancer("pass_host", false),
        before.clone().balancer("strategy", "random"),
        both,
    ] {
        gateway.become_(&next).await;
        assert_eq!(answers(&gateway, 1).await.len(), 1);
        assert_eq!(dns.asked(NAME), 1);
    }
    assert_eq!(dns.asked("other.test"), 1);
    assert_eq!(answers(&gateway, 4).await, texts(&[ip(2), ip(3)]));
    // A name that is no longer there is no longer known.
    gateway.become_(&setup(&dns, &[url("other.test")])).await;
    assert_eq!(answers(&gateway, 2).await, texts(&[ip(3)]));
    dns.says(NAME, long(3));
    gateway.become_(&before).await;
    assert_eq!(dns.asked(NAME), 2);
    assert_eq!(answers(&gateway, 2).await, texts(&[ip(3)]));
}

#[tokio::test]
async fn other_dns_servers_are_asked_at_once_and_the_old_answers_stay_until_they_know() {
    let (_servers, port) = servers(&[ip(2), ip(3)]).await;
    let (one, other) = (Dns::start().await, Dns::start().await);
    one.says(NAME, Says::Addresses(vec![ip(2)], 3600));
    let url = format!("http://{NAME}:{port}");
    let gateway = setup(&one, std::slice::from_ref(&url)).start().await;
    gateway
        .become_(&setup(&other, std::slice::from_ref(&url)))
        .await;
    assert_eq!(answers(&gateway, 2).await, texts(&[ip(2)]));
    assert!(other.asked(NAME) > 0);
    other.points(NAME, [ip(3)]);
    moved(&gateway, port, &[ip(3)]).await;
    assert_eq!(answers(&gateway, 2).await, texts(&[ip(3)]));
    assert_eq!(one.asked(NAME), 1);
}

#[tokio::test]
async fn a_refused_reload_follows_nothing_new() {
    let (_servers, port) = servers(&[ip(2)]).await;
    let dns = Dns::start().await;
    dns.points(NAME, [ip(2)]);
    dns.points("other.test", [ip(2)]);
    let url = |name: &str| format!("http://{name}:{port}");
    let gateway = setup(&dns, &[url(NAME)]).start().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bad = setup(&dns, &[url("other.test")]).set("entrypoints/more/address", address);
    let refused = within("a reload", gateway.reload(bad.config())).await;
    assert!(refused.is_err());
    let asked = dns.asked("other.test");
    dns.is_asked(NAME, 5).await;
    assert_eq!(dns.asked("other.test"), asked);
    assert_eq!(answers(&gateway, 2).await, texts(&[ip(2)]));
}

#[tokio::test]
async fn names_of_one_address_are_one_server() {
    let (_servers, port) = servers(&[ip(2), ip(3)]).await;
    let dns = Dns::start().await;
    dns.points("a.test", [ip(2)]);
    dns.points("b.test", [ip(2), ip(3)]);
    let list = json!([
        { "url": format!("http://a.test:{port}"), "weight": 1 },
        { "url": format!("http://b.test:{port}"), "weight": 3 },
        { "url": format!("http://127.0.0.3:{port}"), "weight": 2 },
    ]);
    let gateway = setup(&dns, &[])
        .balancer("servers", list)
        .admin()
        .start()
        .await;
    let services = gateway.admin("/api/gateway/services").await;
    let servers = services[0]["servers"].as_array().unwrap().iter();
    let servers: Vec<_> = servers
        .map(|server| {
            (
                server["url"].as_str().unwrap(),
                server["weight"].as_u64().unwrap(),
            )
        })
        .collect();
    let ids = [2, 3].map(|last| format!("http://127.0.0.{last}:{port}"));
    assert_eq!(servers, [(&*ids[0], 3), (&*ids[1], 3)]);
}

#[tokio::test]
async fn a_dead_address_costs_nothing_where_there_is_a_retry() {
    // Nobody listens at the second one.
    let (_servers, port) = servers(&[ip(2)]).await;
    let dns = Dns::start().await;
    dns.points(NAME, [ip(2), ip(3)]);
    let retry = json!({ "type": "retry", "retry_interval_ms": 0, "budget_min_per_second": 1000 });
    let gateway = setup(&dns, &[format!("http://{NAME}:{port}")])
        .set("middlewares/again", retry)
        .set("routers/all/middlewares", json!(["again"]))
        .start()
        .await;
    assert_eq!(known(&gateway).len(), 2);
    assert_eq!(answers(&gateway, 20).await, texts(&[ip(2)]));
}

#[tokio::test]
async fn two_families_of_one_address_each_are_one_server() {
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let both = [ip(1), v6];
    let dns = Dns::start().await;
    dns.points(NAME, both);
    for name in [NAME, "localhost", "app.localhost"] {
        for at in both {
            let (_servers, port) = servers(&[at]).await;
            let url = format!("http://{name}:{port}");
            let gateway = setup(&dns, std::slice::from_ref(&url)).start().await;
            assert_eq!(known(&gateway), BTreeSet::from([url]));
            assert_eq!(answers(&gateway, 3).await, texts(&[at]), "{name}");
        }
    }
    // More than one of a family, and each is a server.
    let (_servers, port) = servers(&[ip(1), ip(2), v6]).await;
    dns.points(NAME, [ip(1), ip(2), v6]);
    let gateway = setup(&dns, &[format!("http://{NAME}:{port}")])
        .start()
        .await;
    let urls = ["127.0.0.1", "127.0.0.2", "[::1]"].map(|ip| format!("http://{ip}:{port}"));
    assert_eq!(known(&gateway), BTreeSet::from(urls));
    assert_eq!(answers(&gateway, 3).await, texts(&[ip(1), ip(2), v6]));
}

#[tokio::test]
async fn a_family_that_leads_nowhere_is_passed_by() {
    // A full queue of the one family, a server of the other, on a port that is free for both.
    let (socket, deaf, listener) = loop {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_only_v6(true).unwrap();
        let any = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        let deaf = socket.local_addr().unwrap().as_socket().unwrap();
        if let Ok(listener) = TcpListener::bind((ip(1), deaf.port())).await {
            break (socket, deaf, listener);
        }
    };
    socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let connect = tokio::net::TcpStream::connect(deaf);
        waiting.push(tokio::time::timeout(Duration::from_millis(50), connect).await);
    }
    let _server = Server::http_on(listener, |_: Request<Recorded>| {
        std::future::ready(Response::new(Body::from("here")))
    });
    let url = format!("http://localhost:{}", deaf.port());
    let gateway = Setup::to(url).start().await;
    for _ in 0..2 {
        assert_eq!(
            answers(&gateway, 2).await,
            BTreeSet::from(["here".to_owned()])
        );
    }
}

#[tokio::test]
async fn an_answer_of_many_addresses_is_cut_to_so_many() {
    let many = (0..1000u16).map(|n| {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([127, 1, high, low])
    });
    let dns = Dns::start().await;
    dns.points(NAME, many);
    let gateway = setup(&dns, &[format!("http://{NAME}:9")]).start().await;
    let known = known(&gateway);
    assert_eq!(known.len(), 256);
    assert!(known.contains("http://127.1.0.255:9"));
}

#[tokio::test]
async fn many_names_are_looked_up_together() {
    let dns = Dns::start().await;
    let names: Vec<_> = (0..100u16)
        .map(|n| {
            let name = format!("n{n}.test");
            let [high, low] = n.to_be_bytes();
            dns.says(
                &name,
                Says::Addresses(vec![[127, 2, high, low].into()], 3600),
            );
            name
        })
        .collect();
    let urls: Vec<_> = names
        .iter()
        .map(|name| format!("http://{name}:9"))
        .collect();
    let before = setup(&dns, &urls[1..]);
    let gateway = before.start().await;
    assert_eq!(known(&gateway).len(), 99);
    gateway.become_(&setup(&dns, &urls)).await;
    assert_eq!(known(&gateway).len(), 100);
    assert!(names.iter().all(|name| dns.asked(name) == 1));
}

#[tokio::test]
async fn tls_and_host_go_by_the_name() {
    let authority = Authority::new();
    let tls = authority.server(NAME, &["h2", "http/1.1"], false);
    let server = Server::https(tls, |_: Request<Recorded>| {
        std::future::ready(Response::new(Body::from("secret")))
    })
    .await;
    let port = server.address().port();
    let dns = Dns::start().await;
    dns.points(NAME, [ip(1)]);
    let gateway = setup(&dns, &[format!("https://{NAME}:{port}")])
        .balancer("tls", json!({ "ca_file": authority.file() }))
        .balancer("pass_host", false)
        .start()
        .await;
    assert_eq!(gateway.h1().await.get("/").await.text(), "secret");
    assert_eq!(server.last().host, format!("{NAME}:{port}"));
    let urls = BTreeSet::from([format!("https://127.0.0.1:{port}")]);
    assert_eq!(known(&gateway), urls);
}

#[tokio::test]
async fn connections_go_by_names_too() {
    let (_servers, port) = servers(&[ip(2), ip(3)]).await;
    let dns = Dns::start().await;
    dns.points(NAME, [ip(2)]);
    let gateway = setup(&dns, &[format!("tcp://{NAME}:{port}")])
        .set("entrypoints/web/protocol", "tcp")
        .set("routers/all/rule", "HostSNI(`*`)")
        .set("routers/all/entrypoints", json!(["web"]))
        .start()
        .await;
    assert_eq!(answers(&gateway, 1).await, texts(&[ip(2)]));
    let mut kept = gateway.h1().await;
    assert_eq!(kept.get("/").await.text(), "127.0.0.2");
    dns.points(NAME, [ip(3)]);
    let urls = BTreeSet::from([format!("tcp://127.0.0.3:{port}")]);
    eventually("it has moved", || known(&gateway) == urls).await;
    assert_eq!(answers(&gateway, 1).await, texts(&[ip(3)]));
    // A connection stays where it is.
    assert_eq!(kept.get("/").await.text(), "127.0.0.2");
}

/// Each answer is the address of a server.
struct AnyServer;

impl Question for AnyServer {
    type Asked = ();

    fn ask(&self, number: u64) -> (String, ()) {
        (format!("/{number}"), ())
    }

    fn check(&self, _: &str, (): (), body: &str) -> Result<(), String> {
        match body.parse::<Ipv4Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("an address".to_owned()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_names_move_and_configurations_change() {
    let all = [ip(2), ip(3), ip(4), ip(5)];
    let (servers, port) = servers(&all).await;
    let dns = Dns::start().await;
    for scheme in ["http", "h2c"] {
        dns.points(NAME, all);
        let url = format!("{scheme}://{NAME}:{port}");
        let plain = setup(&dns, &[url]);
        let gateway = plain.clone().with_all_workers().start().await;
        let load = Load::start(gateway.address(), (8, 8), Told::Reconnects, AnyServer).await;
        let moves = [
            &all[..1],
            &all[1..3],
            &all[3..],
            &all[..],
            &all[2..],
            &all[..2],
        ];
        for (round, now) in moves.into_iter().cycle().take(18).enumerate() {
            dns.points(NAME, now.iter().copied());
            if round % 3 == 1 {
                let headers = 100 + round;
                gateway
                    .become_(&plain.clone().http("max_headers", headers))
                    .await;
            }
            if round % 3 == 2 {
                let random = plain.clone().balancer("strategy", "random");
                gateway.become_(&random).await;
            }
            let urls = now.iter().map(|ip| format!("{scheme}://{ip}:{port}"));
            let urls: BTreeSet<_> = urls.collect();
            eventually("the servers have moved", || known(&gateway) == urls).await;
            load.more(200).await;
        }
        // Who left before gets nothing more.
        let gone: Vec<_> = servers.iter().map(Server::requests).collect();
        load.more(500).await;
        for (index, server) in servers.iter().enumerate() {
            let stays = moves[5].contains(&all[index]);
            assert_eq!(server.requests() > gone[index], stays, "{index}");
        }
        let tally = load.stop().await;
        tally.is_clean();
        let idle = || {
            let metrics = gateway.metrics();
            let mut lines = metrics
                .lines()
                .filter(|line| line.starts_with("gateway_service_server_in_flight{"));
            lines.all(|line| line.ends_with(" 0"))
        };
        eventually("nothing is under way", idle).await;
    }
}

#[tokio::test]
async fn without_a_name_nobody_is_asked() {
    let server = Server::start().await;
    let dns = Dns::start().await;
    let gateway = setup(&dns, &[server.to_string(), "http://localhost:9".to_owned()])
        .start()
        .await;
    let mut client: Client = gateway.h1().await;
    assert_eq!(client.get("/").await.status, 200);
    for name in ["localhost", "127.0.0.1"] {
        assert_eq!(dns.asked(name), 0);
    }
    // To check a configuration asks nobody either.
    let config = setup(&dns, &[format!("http://{NAME}:80")]).config();
    a3s_gateway::Gateway::validate(&config).unwrap();
    assert_eq!(dns.asked(NAME), 0);
}
