//! A mirror gets copies, and nobody notices.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use support::body::{Feed, feed, long};
use support::server::Recorded;
use support::{
    Client, Load, Question, Server, Setup, TestGateway, Told, eventually, request, within,
};

fn mirrored(backend: &Server, shadow: &Server) -> Setup {
    Setup::to(backend)
        .service("shadow", shadow)
        .set("services/backend/mirror/service", "shadow")
        .admin()
}

/// A server that takes a request and never answers.
async fn hangs() -> Server {
    Server::http(|_: Request<Recorded>| std::future::pending::<Response<Body>>()).await
}

async fn told(gateway: &TestGateway) -> Value {
    let services = gateway.admin("/api/gateway/services").await;
    let services = services.as_array().unwrap().iter();
    let mut backend = services.filter(|service| service["name"] == "backend");
    backend.next().unwrap()["mirror"].clone()
}

async fn until_told(gateway: &TestGateway, what: &str, holds: impl Fn(&Value) -> bool) {
    within(what, async {
        while !holds(&told(gateway).await) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
}

async fn post(client: &mut Client, body: Body) -> u16 {
    let mut post = request("POST", "/orders?a=1");
    *post.body_mut() = body;
    let answer = client.send(post).await;
    answer.status().as_u16()
}

#[tokio::test]
async fn a_copy_has_all_of_the_request_but_what_is_left_out_and_a_mark() {
    let (backend, shadow) = (Server::start().await, Server::start().await);
    let gateway = mirrored(&backend, &shadow)
        .set(
            "services/backend/mirror/omit_headers",
            json!(["Authorization", "Cookie"]),
        )
        .start()
        .await;
    for mut client in [gateway.h1().await, gateway.h2().await] {
        let before = shadow.requests();
        let mut post = request("POST", "/orders?a=1");
        *post.body_mut() = Body::from("hello");
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-mirrored", "no"),
            ("x-own", "1"),
        ] {
            post.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(client.send(post).await.status(), 200);
        let original = backend.last();
        assert_eq!(original.header("x-mirrored"), None);
        assert_eq!(original.header("authorization").unwrap(), "Bearer x");
        shadow.has_seen(before + 1).await;
        shadow.upload_over().await;
        let copy = shadow.last();
        assert_eq!(
            (&copy.method, &*copy.target),
            (&http::Method::POST, "/orders?a=1")
        );
        assert_eq!(copy.host, original.host);
        assert_eq!(copy.body, b"hello");
        assert_eq!(copy.header("content-length").unwrap(), "5");
        assert_eq!(copy.header("x-mirrored").unwrap(), "1");
        assert_eq!(copy.header("x-own").unwrap(), "1");
        assert_eq!(
            copy.header("x-forwarded-for"),
            original.header("x-forwarded-for")
        );
        assert_eq!(
            (copy.header("authorization"), copy.header("cookie")),
            (None, None)
        );
    }
    until_told(&gateway, "both are answered", |told| told["answered"] == 2).await;
}

#[tokio::test]
async fn of_a_hundred_requests_the_percentage_is_copied() {
    let (backend, shadow) = (Server::start().await, Server::start().await);
    let setup = mirrored(&backend, &shadow).set("services/backend/mirror/percentage", 30);
    let gateway = setup.with_all_workers().start().await;
    let (mut one, mut two) = (gateway.h1().await, gateway.h2().await);
    for _ in 0..50 {
        one.get("/").await;
        two.get("/").await;
    }
    until_told(&gateway, "all are answered", |told| told["answered"] == 30).await;
    assert_eq!((backend.requests(), shadow.requests()), (100, 30));
    let copies = "gateway_service_mirror_copies_total";
    let answered = format!("{copies}{{service=\"backend\",result=\"answered\"}}");
    assert_eq!(gateway.metric(&answered), Some(30.0));
}

#[tokio::test]
async fn a_mirror_that_hangs_costs_its_places_and_nothing_else() {
    let (backend, shadow) = (Server::start().await, hangs().await);
    let gateway = mirrored(&backend, &shadow)
        .set("services/backend/mirror/max_in_flight", 4)
        .set("services/backend/mirror/timeout", "1s")
        .start()
        .await;
    let mut client = gateway.h1().await;
    for _ in 0..20 {
        assert_eq!(post(&mut client, Body::from("hello")).await, 200);
    }
    let counts = told(&gateway).await;
    assert!(counts["in_flight"].as_u64().unwrap() <= 4, "{counts}");
    until_told(&gateway, "no copy is left", |told| told["in_flight"] == 0).await;
    let counts = told(&gateway).await;
    let sum = counts["failed"].as_u64().unwrap() + counts["dropped"]["full"].as_u64().unwrap();
    assert_eq!(sum, 20, "{counts}");
    eventually("its connections are closed", || shadow.open() == 0).await;
}

#[tokio::test]
async fn a_mirror_that_is_dead_or_never_ends_its_answer_is_nobodys_trouble() {
    let backend = Server::start().await;
    let dead = Server::start().await;
    let endless = Server::http(|_: Request<Recorded>| async { Response::new(long(1 << 30)) }).await;
    let rubbish = Server::says("this is not HTTP\r\n\r\n").await;
    let setup = mirrored(&backend, &dead);
    let gateway = setup.start().await;
    drop(dead);
    for (shadow, is_answered) in [
        (None, false),
        (Some(&endless), true),
        (Some(&rubbish), false),
    ] {
        if let Some(shadow) = shadow {
            let setup = setup.clone().service("shadow", shadow);
            gateway.become_(&setup).await;
        }
        let before = told(&gateway).await;
        let mut client = gateway.h1().await;
        assert_eq!(post(&mut client, Body::from("hello")).await, 200);
        let key = if is_answered { "answered" } else { "failed" };
        let expected = before[key].as_u64().unwrap() + 1;
        until_told(&gateway, key, |told| told[key] == expected).await;
    }
    eventually("the endless answer is broken off", || endless.open() == 0).await;
}

#[tokio::test]
async fn a_body_past_the_limit_or_broken_off_is_not_copied() {
    let (backend, shadow) = (Server::start().await, Server::start().await);
    let gateway = mirrored(&backend, &shadow)
        .set("services/backend/mirror/max_body", "4KiB")
        .start()
        .await;
    let mut client = gateway.h1().await;
    assert_eq!(post(&mut client, long(1 << 20)).await, 200);
    let mut client = gateway.h1().await;
    let mut sized = request("POST", "/");
    *sized.body_mut() = Body::from(vec![b'x'; 5_000]);
    assert_eq!(client.send(sized).await.status(), 200);
    until_told(&gateway, "two are too large", |told| {
        told["dropped"]["too_large"] == 2
    })
    .await;

    let (feed, body): (Feed, Body) = feed();
    let mut client = gateway.h2().await;
    let mut broken = request("POST", "/");
    *broken.body_mut() = body;
    let answer = client.begin(broken).await;
    feed.data("some").await;
    backend.has_seen(3).await;
    drop(answer);
    feed.break_off().await;
    until_told(&gateway, "one broke off", |told| {
        told["dropped"]["incomplete"] == 1
    })
    .await;
    assert_eq!(shadow.requests(), 0);
}

#[tokio::test]
async fn reloads_keep_the_counts_and_lose_no_copy() {
    let (backend, shadow) = (Server::start().await, Server::start().await);
    let setup = mirrored(&backend, &shadow);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    for turn in 0..30 {
        // Of an unrelated thing, of the service, and of the mirror's own.
        let setup = match turn % 3 {
            0 => setup.clone().route("other", "Host(`other.test`)", "shadow"),
            1 => setup.clone().balancer("strategy", "random"),
            _ => setup
                .clone()
                .set("services/backend/mirror/max_in_flight", 50 + turn),
        };
        gateway.become_(&setup).await;
        assert_eq!(post(&mut client, Body::from("hello")).await, 200);
    }
    until_told(&gateway, "all are answered", |told| told["answered"] == 30).await;
    assert_eq!(shadow.requests(), 30);
}

#[tokio::test]
async fn no_client_passes_for_a_copy_wherever_copies_come() {
    let (backend, shadow, standby) = (
        Server::start().await,
        Server::start().await,
        Server::start().await,
    );
    // The mirror's own server is gone: copies come to its failover, which clients can reach as well.
    let setup = mirrored(&backend, &shadow)
        .set("services/shadow/failover/service", "standby")
        .service("standby", &standby)
        .route("shadow", "Host(`shadow.test`)", "shadow")
        .route("standby", "Host(`standby.test`)", "standby");
    let gateway = setup.start().await;
    let forged = |host: &str| {
        let lines = "X-Mirrored: 1\r\nX_Mirrored: 1\r\nConnection: close";
        format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n\r\n")
    };
    for (host, server) in [
        ("a.test", &backend),
        ("shadow.test", &shadow),
        ("standby.test", &standby),
    ] {
        assert_eq!(gateway.ask(forged(host)).await.status(), 200);
        let own = server.seen();
        let own = own.iter().find(|seen| seen.host == host).unwrap();
        assert_eq!(own.header("x-mirrored"), None, "{host}");
        assert_eq!(own.header("x_mirrored"), None, "{host}");
    }
    shadow.has_seen(2).await;
    let copies = shadow.seen();
    let copy = copies.iter().find(|seen| seen.host == "a.test").unwrap();
    assert_eq!(copy.header("x-mirrored").unwrap(), "1");

    let setup = setup.service("shadow", "http://127.0.0.1:1");
    gateway.become_(&setup).await;
    assert_eq!(gateway.ask(forged("a.test")).await.status(), 200);
    eventually("the failover of the mirror sees the copy", || {
        let seen = standby.seen();
        seen.iter().any(|seen| seen.host == "a.test")
    })
    .await;
    let copies = standby.seen();
    let copy = copies.iter().find(|seen| seen.host == "a.test").unwrap();
    assert_eq!(copy.header("x-mirrored").unwrap(), "1");

    // Without the mirror it is a field as any other.
    gateway
        .become_(&setup.without("services/backend/mirror"))
        .await;
    assert_eq!(gateway.ask(forged("standby.test")).await.status(), 200);
    assert_eq!(standby.last().header("x-mirrored").unwrap(), "1");
}

/// Every answer is the path that was asked for.
struct Echo;

impl Question for Echo {
    type Asked = ();

    fn ask(&self, number: u64) -> (String, ()) {
        (format!("/{number}"), ())
    }

    fn check(&self, path: &str, (): (), body: &str) -> Result<(), String> {
        match path == body {
            true => Ok(()),
            false => Err("the path".to_owned()),
        }
    }
}

#[tokio::test]
async fn nobody_notices_a_mirror_that_hangs_while_reloads_go_on() {
    let (backend, shadow) = (Server::start().await, hangs().await);
    let setup = mirrored(&backend, &shadow)
        .set("services/backend/mirror/max_in_flight", 8)
        .set("services/backend/mirror/timeout", "1s")
        .with_all_workers();
    let gateway = setup.start().await;
    let load = Load::start(gateway.address(), (4, 4), Told::Reconnects, Echo).await;
    for round in 0..10 {
        // Of the mirror's own, of another service, and of nothing.
        let changed = match round % 3 {
            0 => setup
                .clone()
                .set("services/backend/mirror/percentage", 90 + round),
            1 => setup.clone().service("more", "http://127.0.0.1:1"),
            _ => setup.clone(),
        };
        gateway.become_(&changed).await;
        assert!(told(&gateway).await["in_flight"].as_u64().unwrap() <= 8);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let tally = load.stop().await;
    tally.is_clean();
    println!("{}", tally.numbers());
    assert!(told(&gateway).await["dropped"]["full"].as_u64().unwrap() > 0);
    until_told(&gateway, "no copy is left", |told| told["in_flight"] == 0).await;
    eventually("its connections are closed", || shadow.open() == 0).await;
}
