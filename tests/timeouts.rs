//! How long things may take: each time begins and ends where the manual says, and what is too late is told as such.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;
use support::body::{Feed, feed};
use support::server::Recorded;
use support::{Client, Server, Setup, TestGateway, Upload, request, within};

/// Short, and long enough for a machine that has much to do.
const SHORT: Duration = Duration::from_millis(500);

/// From one piece to the next: ten of them make a timeout.
const PAUSE: Duration = Duration::from_millis(50);

/// Pieces that together take several times as long as a timeout.
const PIECES: usize = 40;

/// The protocols of the server, and whether the client speaks HTTP/2.
const PAIRS: [(&str, bool); 4] = [
    ("http", false),
    ("http", true),
    ("h2c", false),
    ("h2c", true),
];

fn timeouts(server: &Server, timeouts: Value) -> Setup {
    Setup::to(server).balancer("timeouts", timeouts)
}

async fn client(gateway: &TestGateway, h2: bool) -> Client {
    match h2 {
        true => gateway.h2().await,
        false => gateway.h1().await,
    }
}

/// Feeds so many pieces, one after each pause, and then ends the body.
async fn trickle(feed: Feed, pieces: usize) {
    for _ in 0..pieces {
        tokio::time::sleep(PAUSE).await;
        assert!(feed.data("x").await, "somebody still reads");
    }
}

/// A server that answers at once with a body of so many pieces.
async fn trickling(pieces: usize) -> Server {
    Server::http(move |_: Request<Recorded>| async move {
        let (feed, body) = feed();
        tokio::spawn(async move {
            for _ in 0..pieces {
                tokio::time::sleep(PAUSE).await;
                if !feed.data("x").await {
                    return;
                }
            }
        });
        Response::new(body)
    })
    .await
}

/// A server that reads all of a request and never answers.
async fn silent() -> Server {
    Server::http(|request: Request<Recorded>| async {
        let _ = request.into_body().collect().await;
        std::future::pending().await
    })
    .await
}

/// Reads an answer that is cut: how much has come.
async fn cut(response: Response<hyper::body::Incoming>) -> usize {
    let mut body = response.into_body();
    let mut length = 0;
    loop {
        match within("a frame", body.frame()).await {
            Some(Ok(frame)) => length += frame.into_data().unwrap().len(),
            Some(Err(_)) => return length,
            None => panic!("it looks whole after {length}"),
        }
    }
}

#[tokio::test]
async fn an_upload_takes_as_long_as_it_takes_while_bytes_flow() {
    let each = async |(scheme, h2): (&str, bool)| {
        let server = Server::start().await;
        let gateway = timeouts(&server, json!({ "response": "500ms", "idle": "500ms" }))
            .balancer("servers", json!([{ "url": server.url(scheme) }]))
            .start()
            .await;
        let mut client = client(&gateway, h2).await;
        let (feed, body) = feed();
        let mut upload = request("POST", "/up");
        *upload.body_mut() = body;
        let response = client.begin(upload).await;
        let (response, ()) = tokio::join!(within("an answer", response), trickle(feed, PIECES));
        assert_eq!(response.unwrap().status(), 200, "{scheme} {h2}");
        let seen = server.last();
        assert_eq!((seen.body.len(), seen.upload), (PIECES, Upload::Complete));
    };
    let [a, b, c, d] = PAIRS.map(each);
    tokio::join!(a, b, c, d);
}

#[tokio::test]
async fn a_download_takes_as_long_as_it_takes_while_bytes_flow() {
    let each = async |(scheme, h2): (&str, bool)| {
        let server = trickling(PIECES).await;
        let gateway = timeouts(&server, json!({ "response": "500ms", "idle": "500ms" }))
            .balancer("servers", json!([{ "url": server.url(scheme) }]))
            .start()
            .await;
        let reply = client(&gateway, h2).await.get("/").await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, PIECES));
    };
    let [a, b, c, d] = PAIRS.map(each);
    tokio::join!(a, b, c, d);
}

#[tokio::test]
async fn the_time_to_answer_begins_at_the_end_of_the_request() {
    let server = silent().await;
    let gateway = timeouts(&server, json!({ "response": "500ms" }))
        .start()
        .await;
    let mut client = gateway.h1().await;
    let reply = client.get("/").await;
    assert_eq!(reply.status, 504);
    assert_eq!(
        reply.text(),
        "{\"error\":\"the upstream server took too long\",\"status\":504}\n"
    );
    // The upload alone takes longer, and is not too late.
    let (feed, body) = feed();
    let mut upload = request("POST", "/");
    *upload.body_mut() = body;
    let response = client.begin(upload).await;
    trickle(feed, PIECES).await;
    assert_eq!(server.upload_over().await, Upload::Complete);
    assert_eq!(within("an answer", response).await.unwrap().status(), 504);
}

#[tokio::test]
async fn an_upload_that_stalls_is_the_clients_fault() {
    let server = Server::start().await;
    let gateway = timeouts(&server, json!({ "response": "500ms" }))
        .http("idle_timeout", "300ms")
        .start()
        .await;
    for h2 in [false, true] {
        let mut client = client(&gateway, h2).await;
        let (feed, body) = feed();
        let mut upload = request("POST", "/");
        *upload.body_mut() = body;
        let response = client.begin(upload).await;
        assert!(feed.data("x").await);
        let response = within("an answer", response).await.unwrap();
        assert_eq!(response.status(), 408);
        drop(feed);
    }
}

/// A router with a timeout before `server`.
fn routed(server: &Server, timeout: &str) -> Setup {
    Setup::to(server).set("routers/all/timeout", timeout)
}

#[tokio::test]
async fn a_router_bounds_the_time_to_the_head() {
    let server = silent().await;
    let gateway = routed(&server, "250ms").start().await;
    for h2 in [false, true] {
        let mut client = client(&gateway, h2).await;
        let reply = client.get("/").await;
        assert_eq!(reply.status, 504);
        assert_eq!(
            reply.text(),
            "{\"error\":\"the upstream server took too long\",\"status\":504}\n"
        );
        // The connection is as good as before.
        assert_eq!(client.get("/").await.status, 504);
    }
}

#[tokio::test]
async fn a_router_cuts_an_answer_that_does_not_end_in_time() {
    let (short, long) = (trickling(2).await, trickling(10_000).await);
    for (scheme, h2) in PAIRS {
        let setup = |server: &Server| {
            let servers = json!([{ "url": server.url(scheme) }]);
            routed(server, "1s").balancer("servers", servers)
        };
        let gateway = setup(&short).start().await;
        let reply = client(&gateway, h2).await.get("/").await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 2));
        gateway.become_(&setup(&long)).await;
        let mut client = client(&gateway, h2).await;
        let response = client.send(request("GET", "/")).await;
        assert_eq!(response.status(), 200);
        let length = cut(response).await;
        assert!((1..10_000).contains(&length), "{length}");
    }
}

#[tokio::test]
async fn a_router_bounds_all_tries_and_its_middlewares_together() {
    let server = silent().await;
    let retry = json!({
        "type": "retry", "max_retries": 10, "retry_interval_ms": 0,
        "per_try_timeout": "100ms", "budget_min_per_second": 1000,
    });
    let gateway = routed(&server, "250ms")
        .set("middlewares/again", retry)
        .set("routers/all/middlewares", json!(["again"]))
        .start()
        .await;
    assert_eq!(gateway.h1().await.get("/").await.status, 504);
    let requests = server.requests();
    assert!((1..=4).contains(&requests), "{requests}");
}

#[tokio::test]
async fn a_router_without_a_timeout_has_none_and_an_upload_counts_where_there_is_one() {
    let server = Server::start().await;
    let gateway = Setup::to(&server)
        .route("bounded", "PathPrefix(`/bounded`)", "backend")
        .set("routers/bounded/timeout", "250ms")
        .start()
        .await;
    for (path, status) in [("/free", 200), ("/bounded", 408)] {
        let mut client = gateway.h1().await;
        let (feed, body) = feed();
        let mut upload = request("POST", path);
        *upload.body_mut() = body;
        let response = client.begin(upload).await;
        let feeding = async {
            for _ in 0..PIECES {
                tokio::time::sleep(PAUSE).await;
                if !feed.data("x").await {
                    break;
                }
            }
            drop(feed);
        };
        let (response, ()) = tokio::join!(within("an answer", response), feeding);
        assert_eq!(response.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_retry_can_tell_what_was_too_late() {
    // The first server accepts nobody, or never answers; the second is good.
    let good = Server::start().await;
    let answerless = silent().await;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let full = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let connect = tokio::net::TcpStream::connect(full);
        waiting.push(tokio::time::timeout(PAUSE, connect).await);
    }
    for (bad, on, status) in [
        (format!("http://{full}"), "connect", 200),
        (format!("http://{full}"), "timeout", 504),
        (answerless.to_string(), "timeout", 200),
        (answerless.to_string(), "connect", 504),
    ] {
        let retry = json!({
            "type": "retry", "on": [on], "retry_interval_ms": 0, "budget_min_per_second": 1000,
        });
        let gateway = Setup::to_each([bad.clone(), good.to_string()])
            .balancer(
                "timeouts",
                json!({ "connect": "250ms", "response": "500ms" }),
            )
            .set("middlewares/again", retry)
            .set("routers/all/middlewares", json!(["again"]))
            .start()
            .await;
        let reply = gateway.h1().await.get("/").await;
        assert_eq!(reply.status, status, "{bad} {on}");
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_taken_for_a_server_that_stalls() {
    let server = Server::http(|_: Request<Recorded>| {
        std::future::ready(Response::new(support::body::long(64 << 20)))
    })
    .await;
    let gateway = timeouts(&server, json!({ "idle": "500ms" })).start().await;
    let mut client = gateway.h1().await;
    let response = client.send(request("GET", "/")).await;
    // It pauses for longer than the server may.
    tokio::time::sleep(3 * SHORT).await;
    let body = within("the end", response.into_body().collect()).await;
    assert_eq!(body.unwrap().to_bytes().len(), 64 << 20);
}

#[tokio::test]
async fn an_answer_without_a_body_needs_no_more_time() {
    let server = Server::http(|_: Request<Recorded>| {
        std::future::ready(Response::builder().status(204).body(Body::empty()).unwrap())
    })
    .await;
    let gateway = routed(&server, "250ms").start().await;
    let mut client = gateway.h1().await;
    for method in ["GET", "HEAD"] {
        assert_eq!(client.ask(request(method, "/")).await.status, 204);
    }
}
