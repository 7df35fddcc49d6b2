//! `retry` in a gateway: what is sent again, where, and how often.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::body::feed;
use support::server::Recorded;
use support::{End, Server, Setup, Upload, Wire, eventually, request, within};
use tokio::sync::Notify;

/// A gateway with a retry, and without pauses, before these servers.
fn retried(urls: impl IntoIterator<Item = impl std::fmt::Display>) -> Setup {
    with(urls, &json!({}))
}

/// As [`retried`], with more settings of the retry. Servers that fail are asked all the same: nobody ejects them.
fn with(urls: impl IntoIterator<Item = impl std::fmt::Display>, settings: &Value) -> Setup {
    let mut retry =
        json!({ "type": "retry", "retry_interval_ms": 0, "budget_min_per_second": 1000 });
    let more = settings.as_object().unwrap().clone();
    retry.as_object_mut().unwrap().extend(more);
    Setup::to_each(urls)
        .balancer("outlier/consecutive_errors", 0)
        .set("middlewares/again", retry)
        .set("routers/all/middlewares", json!(["again"]))
}

/// A server that reads everything and answers so.
async fn answering(status: u16) -> Server {
    Server::http(move |request: Request<Recorded>| async move {
        let _ = request.into_body().collect().await;
        let builder = Response::builder().status(status);
        builder.body(Body::from("not this time")).unwrap()
    })
    .await
}

fn put(body: impl Into<Body>) -> Request<Body> {
    let mut put = request("PUT", "/");
    *put.body_mut() = body.into();
    put
}

#[tokio::test]
async fn another_server_answers_for_one_that_fails_whatever_the_strategy() {
    let good = Server::start().await;
    let unwell = answering(503).await;
    let gone = "http://127.0.0.1:1";
    for strategy in [
        "round-robin",
        "weighted",
        "least-connections",
        "random",
        "p2c-ewma",
        "consistent-hash",
    ] {
        let gateway = retried([gone.to_owned(), unwell.to_string(), good.to_string()])
            .balancer("strategy", strategy)
            .start()
            .await;
        for mut client in [gateway.h1().await, gateway.h2().await] {
            for _ in 0..10 {
                assert_eq!(client.get("/").await.status, 200, "{strategy}");
            }
        }
    }
    assert_eq!(good.requests(), 6 * 20);
}

#[tokio::test]
async fn only_a_method_that_may_be_repeated_is() {
    let server = Server::start().await;
    let urls = || ["http://127.0.0.1:1".to_owned(), server.to_string()];
    for (settings, method, statuses) in [
        (json!({}), Method::GET, [200, 200]),
        (json!({}), Method::DELETE, [200, 200]),
        (json!({}), Method::PUT, [200, 200]),
        (json!({}), Method::POST, [502, 200]),
        (json!({}), Method::PATCH, [502, 200]),
        (json!({ "non_idempotent": true }), Method::POST, [200, 200]),
        (json!({ "on": ["timeout"] }), Method::GET, [502, 200]),
        (json!({ "max_retries": 0 }), Method::GET, [502, 200]),
    ] {
        let gateway = with(urls(), &settings).start().await;
        let mut client = gateway.h1().await;
        for status in statuses {
            let reply = client.ask(request(method.as_str(), "/")).await;
            assert_eq!(reply.status, status, "{method}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_is_not_sent_twice() {
    let server = Server::start().await;
    let gateway = retried(["http://127.0.0.1:1".to_owned(), server.to_string()])
        .start()
        .await;
    let answer = gateway
        .ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 502);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn servers_that_misbehave_before_an_answer_are_passed_over() {
    type Talk = fn(Wire) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let ways: [(&str, Talk); 6] = [
        ("resets at once", |wire| Box::pin(async { wire.reset() })),
        ("resets after the request", |mut wire| {
            Box::pin(async move {
                wire.request().await;
                wire.reset();
            })
        }),
        ("closes within its head", |mut wire| {
            Box::pin(async move {
                wire.request().await;
                let _ = wire.try_send("HTTP/1.1 200 OK\r\nx-").await;
            })
        }),
        ("resets within its head", |mut wire| {
            Box::pin(async move {
                wire.request().await;
                let _ = wire.try_send("HTTP/1.1 200 OK\r\nx-").await;
                wire.reset();
            })
        }),
        ("says what is not HTTP", |mut wire| {
            Box::pin(async move {
                wire.request().await;
                let _ = wire.try_send("\0\r\n\r\n220 mail\r\n").await;
                wire.hang().await;
            })
        }),
        ("says nothing", |wire| Box::pin(wire.hang())),
    ];
    for (way, talk) in ways {
        let rude = Server::raw(move |wire, _| talk(wire)).await;
        let good = Server::start().await;
        let gateway = retried([&rude, &good])
            .balancer("timeouts", json!({ "response": "100ms" }))
            .start()
            .await;
        let mut client = gateway.h1().await;
        for _ in 0..4 {
            let reply = client.ask(put("the whole body")).await;
            assert_eq!(reply.status, 200, "{way}");
            assert_eq!(good.last().body, b"the whole body", "{way}");
        }
        assert_eq!(good.requests(), 4, "{way}");
        assert!(rude.accepted() >= 2, "{way}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_asked_for_again() {
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    let rude = Server::raw(move |mut wire, _| {
        let told = Arc::clone(&told);
        async move {
            wire.request().await;
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
            let _ = wire.try_send(head).await;
            told.notified().await;
            wire.reset();
        }
    })
    .await;
    let gateway = retried([&rude]).start().await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.status(), 200);
    go.notify_one();
    wire.ended().await;
    assert_eq!(rude.accepted(), 1);
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_the_limit_and_with_its_trailers() {
    let unwell = answering(503).await;
    let good = Server::start().await;
    let urls = || [unwell.to_string(), good.to_string()];
    let gateway = with(urls(), &json!({ "max_replay_bytes": "1KiB" }))
        .start()
        .await;
    for (length, statuses) in [
        (1024, [200, 200]),
        (1025, [503, 200]),
        (1 << 20, [503, 200]),
    ] {
        for h2 in [false, true] {
            let mut client = match h2 {
                true => gateway.h2().await,
                false => gateway.h1().await,
            };
            let mut seen = Vec::new();
            for _ in 0..2 {
                let reply = client.ask(put(vec![b'x'; length])).await;
                seen.push(reply.status.as_u16());
                if reply.status == 200 {
                    assert_eq!(good.last().body.len(), length);
                    assert_eq!(good.last().upload, Upload::Complete);
                }
            }
            // Whose turn it is depends on what came before.
            seen.sort_unstable_by_key(|status| std::cmp::Reverse(*status));
            assert_eq!(seen, statuses, "{length}");
        }
    }
    // Chunked, with trailers.
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(gateway.ask(chunked).await.status(), 200);
        let seen = good.last();
        assert_eq!(seen.body, b"abcde");
        assert_eq!(seen.trailers.unwrap()["x-sum"], "1");
    }
}

#[tokio::test]
async fn a_body_that_no_server_took_may_have_any_size() {
    let good = Server::start().await;
    let gateway = retried(["http://127.0.0.1:1".to_owned(), good.to_string()])
        .start()
        .await;
    let mut client = gateway.h1().await;
    for _ in 0..2 {
        let reply = client.ask(put(support::body::long(1 << 20))).await;
        assert_eq!(reply.status, 200);
        assert_eq!(good.last().upload, Upload::Complete);
    }
}

#[tokio::test]
async fn an_upload_that_is_under_way_goes_on_to_another_server() {
    // Answers before it has read, and still holds the body.
    let hasty = Server::http(|request: Request<Recorded>| async move {
        tokio::spawn(async move {
            let _body = request;
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
        Response::builder().status(503).body(Body::empty()).unwrap()
    })
    .await;
    for scheme in ["http", "h2c"] {
        for h2 in [false, true] {
            let good = Server::start().await;
            let gateway = retried([hasty.url(scheme), good.url(scheme)]).start().await;
            let mut client = match h2 {
                true => gateway.h2().await,
                false => gateway.h1().await,
            };
            let (feed, body) = feed();
            let asking = client.begin(put(body)).await;
            let feeding = async {
                feed.data("first ").await;
                good.has_seen(1).await;
                feed.data("second").await;
                drop(feed);
            };
            let (response, ()) = tokio::join!(within("a response", asking), feeding);
            assert_eq!(response.unwrap().status(), 200, "{scheme} {h2}");
            assert_eq!(good.last().body, b"first second", "{scheme} {h2}");
        }
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_while_it_is_recorded_is_not_tried_for_again() {
    let server = Server::start().await;
    let gateway = retried([&server]).start().await;
    let mut wire = gateway.wire().await;
    wire.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    server.has_seen(1).await;
    drop(wire);
    assert_eq!(server.upload_over().await, Upload::Broken);
    // One that says what is no chunk is told so, once.
    let answer = gateway
        .ask("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .await;
    assert_eq!(answer.status(), 400);
    assert!(server.requests() <= 2);
}

#[tokio::test]
async fn a_client_that_stalls_its_upload_ends_with_its_time() {
    let server = Server::start().await;
    let gateway = retried([&server])
        .http("idle_timeout", "200ms")
        .start()
        .await;
    let answer = gateway
        .ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(answer.status(), 408);
    assert_eq!(server.requests(), 1);
    assert_eq!(server.upload_over().await, Upload::Broken);
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_given_up_for_another() {
    let silent = Server::raw(|wire, _| wire.hang()).await;
    let good = Server::start().await;
    let gateway = with([&silent, &good], &json!({ "per_try_timeout": "100ms" }))
        .start()
        .await;
    let mut client = gateway.h1().await;
    for _ in 0..4 {
        assert_eq!(client.ask(put("body")).await.status, 200);
    }
    // Nobody waits for what was given up.
    eventually("the silent server is left alone", || silent.open() == 0).await;
    assert_eq!(good.requests(), 4);
}

#[tokio::test]
async fn retries_are_bounded_by_their_budget() {
    const REQUESTS: usize = 100;
    let server = answering(503).await;
    let settings = json!({ "budget_percent": 20, "budget_min_per_second": 1 });
    let gateway = with([&server], &settings).with_all_workers().start().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = gateway.h1().await;
        clients.spawn(async move {
            for _ in 0..REQUESTS / 4 {
                assert_eq!(client.get("/").await.status, 503);
            }
        });
    }
    clients.join_all().await;
    // Ten are free in ten seconds, and threads that ask at the same instant may each get the last one.
    let most = REQUESTS + REQUESTS / 5 + 10 + 4;
    let seen = server.requests();
    assert!((REQUESTS + 10..=most).contains(&seen), "{seen}");
}

#[tokio::test]
async fn a_connection_is_free_again_after_an_answer_that_is_thrown_away() {
    let server = answering(503).await;
    let gateway = with([&server], &json!({ "retry_interval_ms": 20 }))
        .start()
        .await;
    assert_eq!(gateway.h1().await.get("/").await.status, 503);
    assert_eq!(server.requests(), 4);
    assert_eq!(server.accepted(), 1);
    // One that has no end is dropped instead.
    let endless = Server::http(|_: Request<Recorded>| async {
        let (feed, body) = feed();
        tokio::spawn(async move { while feed.data(vec![0; 64 * 1024]).await {} });
        Response::builder().status(503).body(body).unwrap()
    })
    .await;
    let gateway = with([&endless], &json!({ "retry_interval_ms": 20 }))
        .start()
        .await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.status(), 503);
    assert_eq!(endless.accepted(), 4);
    drop(wire);
    eventually("nothing is left", || endless.open() == 0).await;
}

#[tokio::test]
async fn an_unrelated_reload_keeps_the_budget_and_a_change_makes_a_new_one() {
    let server = answering(503).await;
    let settings = json!({ "budget_percent": 0, "budget_min_per_second": 1 });
    let setup = with([&server], &settings);
    let gateway = setup.start().await;
    let mut client = gateway.h1().await;
    // All that is free is taken: three, three, three and one.
    for _ in 0..4 {
        client.get("/").await;
    }
    assert_eq!(server.requests(), 4 + 10);
    let other = setup.clone().route("other", "Path(`/other`)", "backend");
    gateway.become_(&other).await;
    client.get("/").await;
    assert_eq!(server.requests(), 14 + 1);
    let changed = setup.set("middlewares/again/max_retries", 2);
    gateway.become_(&changed).await;
    client.get("/").await;
    assert_eq!(server.requests(), 15 + 3);
}

#[tokio::test]
async fn a_refusal_of_the_gateway_is_not_insisted_on() {
    let server = Server::start().await;
    let gateway = retried([&server])
        .balancer(
            "servers",
            json!([{ "url": server.to_string(), "weight": 0 }]),
        )
        .set(
            "middlewares/again/retry_interval_ms",
            Duration::from_secs(10).as_millis() as u64,
        )
        .start()
        .await;
    // There is nobody to ask: three pauses would take longer than anybody waits here.
    let mut client = gateway.h1().await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 503);
    }
    let (_, rest, end) = gateway
        .ask_to_end("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!((rest.len(), end), (0, End::Closed));
}
