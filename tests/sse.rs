//! Streams of events, and other answers that come bit by bit: nothing holds them up, and nothing ends them but their
//! two ends.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::body::{Feed, feed};
use support::server::Recorded;
use support::{Client, Server, Setup, TestGateway, eventually, request, within};

/// Everything that looks at bodies, or at how long an answer takes.
fn middlewares() -> Value {
    json!({
        "compress": { "type": "compress", "min_size": 0 },
        "buffering": { "type": "buffering" },
        "error-pages": { "type": "error-pages", "status": ["400-599"], "service": "pages" },
        "circuit-breaker": { "type": "circuit-breaker" },
        "timeout": { "type": "timeout", "duration": "10s" },
        "retry": { "type": "retry", "non_idempotent": true, "per_try_timeout": "10s" },
        "body-limit": { "type": "body-limit", "max_body_bytes": 1000 },
        "headers": { "type": "headers", "security": true },
        "cors": { "type": "cors" },
        "grpc-web": { "type": "grpc-web" },
        "in-flight": { "type": "in-flight", "max": 100 },
        "rate-limit": { "type": "rate-limit", "rate": 1000 },
        "request-id": { "type": "request-id" },
    })
}

/// A server whose answers are fed by the test, and a gateway with all of that before it.
struct Scene {
    feeds: Arc<Mutex<Vec<Feed>>>,
    server: Server,
    gateway: TestGateway,
}

impl Scene {
    async fn new(scheme: &str, content_type: &'static str) -> Self {
        let feeds = Arc::<Mutex<Vec<Feed>>>::default();
        let server = Server::http({
            let feeds = Arc::clone(&feeds);
            move |request: Request<Recorded>| {
                let feeds = Arc::clone(&feeds);
                async move {
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    let (feed, body) = feed();
                    feeds.lock().unwrap().push(feed);
                    let response = Response::builder().header("content-type", content_type);
                    response.header("x-asked", asked.len()).body(body).unwrap()
                }
            }
        })
        .await;
        let middlewares = middlewares();
        let names: Vec<_> = middlewares.as_object().unwrap().keys().cloned().collect();
        let setup = Setup::to(server.url(scheme))
            .set("middlewares", middlewares)
            .set("routers/all/middlewares", names)
            .set("services/pages/respond", json!({ "status": 404 }));
        let gateway = setup.start().await;
        Self {
            feeds,
            server,
            gateway,
        }
    }

    async fn client(&self, is_h2: bool) -> Client {
        match is_h2 {
            true => self.gateway.h2().await,
            false => self.gateway.h1().await,
        }
    }

    /// Asks, as a browser or a program does; the feed of the answer, and the answer.
    async fn ask(&self, client: &mut Client, method: &str) -> (Feed, Response<Incoming>) {
        let mut question = request(method, "/");
        let headers = question.headers_mut();
        headers.insert("accept", "text/event-stream".parse().unwrap());
        headers.insert("accept-encoding", "gzip, br, zstd".parse().unwrap());
        if method == "POST" {
            *question.body_mut() = Body::from(r#"{"stream":true}"#);
        }
        let response = client.send(question).await;
        let feed = self.feeds.lock().unwrap().pop().unwrap();
        (feed, response)
    }
}

#[tokio::test]
async fn each_event_comes_at_once_through_every_middleware() {
    for scheme in ["http", "h2c"] {
        let scene = Scene::new(scheme, "text/event-stream").await;
        for (method, is_h2) in [
            ("GET", false),
            ("GET", true),
            ("POST", false),
            ("POST", true),
        ] {
            let mut client = scene.client(is_h2).await;
            // The head is there before any event.
            let (feed, response) = scene.ask(&mut client, method).await;
            assert_eq!(response.status(), 200);
            assert!(!response.headers().contains_key("content-encoding"));
            let asked = if method == "POST" { "15" } else { "0" };
            assert_eq!(response.headers()["x-asked"], asked);
            let mut body = response.into_body();
            for n in 0..10 {
                let event = format!("id: {n}\ndata: {{}}\n\n");
                assert!(feed.data(event.clone()).await);
                let frame = within("an event", body.frame()).await.unwrap().unwrap();
                assert_eq!(
                    frame.into_data().unwrap(),
                    event,
                    "{scheme} {method} {is_h2}"
                );
            }
            drop(feed);
            let rest = within("the end", body.collect()).await.unwrap();
            assert!(rest.to_bytes().is_empty());
        }
    }
}

/// What is no event stream is compressed, and comes bit by bit all the same.
#[tokio::test]
async fn lines_of_json_come_at_once_too() {
    let scene = Scene::new("http", "application/x-ndjson").await;
    let without = json!(["compress", "retry", "circuit-breaker", "timeout"]);
    let setup = Setup::to(scene.server.url("http"))
        .set("middlewares", middlewares())
        .set("routers/all/middlewares", without)
        .set("services/pages/respond", json!({ "status": 404 }));
    scene.gateway.become_(&setup).await;
    for is_h2 in [false, true] {
        let mut client = scene.client(is_h2).await;
        let (feed, response) = scene.ask(&mut client, "POST").await;
        assert!(response.headers().contains_key("content-encoding"));
        let mut body = response.into_body();
        for _ in 0..5 {
            assert!(feed.data("{\"token\":\"a\"}\n").await);
            let frame = within("a piece", body.frame()).await.unwrap().unwrap();
            assert!(!frame.into_data().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_stream_at_its_server() {
    for scheme in ["http", "h2c"] {
        let scene = Scene::new(scheme, "text/event-stream").await;
        for method in ["GET", "POST"] {
            for is_h2 in [false, true] {
                let mut client = scene.client(is_h2).await;
                let (feed, response) = scene.ask(&mut client, method).await;
                let mut body = response.into_body();
                assert!(feed.data("data: 1\n\n").await);
                within("an event", body.frame()).await.unwrap().unwrap();
                // A stream of HTTP/2 that is let go is reset; of HTTP/1.1 the connection is closed.
                drop(body);
                let mut other = None;
                if is_h2 {
                    other = Some(client);
                } else {
                    drop(client);
                }
                let closed = async { while feed.data("data: 2\n\n").await {} };
                within("the server is told", closed).await;
                if let Some(mut client) = other {
                    let (feed, _response) = scene.ask(&mut client, "GET").await;
                    assert!(feed.data("data: 1\n\n").await, "the others go on");
                }
            }
        }
        let open = || scene.server.open() <= 1;
        eventually("no connection is left but one of HTTP/2", open).await;
    }
}

#[tokio::test]
async fn streams_outlive_every_reload() {
    let scene = Scene::new("http", "text/event-stream").await;
    let mut streams = Vec::new();
    for is_h2 in [false, true] {
        let mut client = scene.client(is_h2).await;
        let (feed, response) = scene.ask(&mut client, "GET").await;
        streams.push((client, feed, response.into_body()));
    }
    for n in 0..50 {
        // Now with, and now without what is before it; the service is another, too.
        let mut setup = Setup::to(scene.server.url("http"));
        if n % 2 == 0 {
            setup = setup.balancer("timeouts", json!({ "idle": "1h" }));
        }
        scene.gateway.become_(&setup).await;
        for (_, feed, body) in &mut streams {
            assert!(feed.data(format!("data: {n}\n\n")).await);
            let frame = within("an event", body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), format!("data: {n}\n\n"));
        }
    }
}
