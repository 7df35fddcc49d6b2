//! Servers at Unix sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Client, Setup, connect, eventually, request};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// A server at a socket, which answers with its name, the host and the path that it was asked for. It ends when
/// dropped.
struct Socket {
    path: PathBuf,
    accepted: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Socket {
    fn listen(path: &Path, name: &'static str) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let counting = Arc::clone(&accepted);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counting.fetch_add(1, Ordering::Relaxed);
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let host = request.headers()["host"].to_str().unwrap();
                    let text = format!("{name} {host} {}", request.uri());
                    std::future::ready(Ok::<_, Infallible>(Response::new(Body::from(text))))
                });
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self {
            path: path.to_owned(),
            accepted,
            _task: task,
        }
    }

    fn url(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_server_at_a_unix_socket_is_one_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let app = Socket::listen(&directory.path().join("app.sock"), "app");
    let setup = Setup::to(app.url()).admin().set("admin/token", "a-token");
    let gateway = setup.start().await;
    for h2 in [false, true] {
        let mut client = match h2 {
            true => gateway.h2().await,
            false => gateway.h1().await,
        };
        for _ in 0..3 {
            let reply = client.get("/a?b").await;
            assert_eq!(&*reply.text(), "app test.example /a?b");
        }
    }
    // One connection for all of them.
    assert_eq!(app.accepted(), 1);
    let series = format!(
        "gateway_service_server_requests_total{{service=\"backend\",server=\"{}\"}}",
        app.url()
    );
    assert_eq!(gateway.metric(&series), Some(6.0));
    // It is drained by its path.
    let escaped = app.path.display().to_string().replace('/', "%2F");
    let put = |state: &str| {
        let path = format!("/api/gateway/services/backend/servers/{escaped}");
        let mut put = request("PUT", &path);
        let headers = put.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("authorization", "Bearer a-token".parse().unwrap());
        *put.body_mut() = Body::from(format!("{{\"state\": \"{state}\"}}"));
        put
    };
    let admin = gateway.address_of("admin@internal").await;
    for (state, status) in [("drain", 503), ("up", 200)] {
        let mut admin = Client::admin(connect(admin).await).await;
        assert_eq!(admin.ask(put(state)).await.status, 200);
        assert_eq!(gateway.h1().await.get("/").await.status, status);
    }
    // A reload of something else keeps the connection, one of the way to the server takes another.
    gateway
        .become_(&setup.clone().http("max_headers", 99))
        .await;
    assert_eq!(gateway.h1().await.get("/").await.status, 200);
    assert_eq!(app.accepted(), 1);
    let own_host = setup.clone().balancer("pass_host", false);
    gateway.become_(&own_host).await;
    assert_eq!(
        &*gateway.h1().await.get("/").await.text(),
        "app localhost /"
    );
    assert_eq!(app.accepted(), 1);
    assert_eq!(gateway.metric(&series), Some(9.0));
    let patient = own_host.balancer("timeouts", json!({ "response": "9s" }));
    gateway.become_(&patient).await;
    assert_eq!(gateway.h1().await.get("/").await.status, 200);
    assert_eq!(app.accepted(), 2);
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_a_server_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let gateway = Setup::to(format!("unix:{}", path.display())).start().await;
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/").await.status, 502);
    // Left behind by a server that is gone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(client.get("/").await.status, 502);
    std::fs::remove_file(&path).unwrap();
    let first = Socket::listen(&path, "first");
    assert_eq!(&*client.get("/").await.text(), "first test.example /");
    // Another one takes its place.
    std::fs::remove_file(&path).unwrap();
    let second = Socket::listen(&path, "second");
    drop(first);
    let mut status = 0;
    for _ in 0..50 {
        let reply = client.get("/").await;
        status = reply.status.as_u16();
        if status == 200 && reply.text().starts_with("second") {
            break;
        }
    }
    assert_eq!((status, second.accepted()), (200, 1));
}

#[tokio::test]
async fn sockets_and_addresses_are_balanced_together() {
    let directory = tempfile::tempdir().unwrap();
    let app = Socket::listen(&directory.path().join("app.sock"), "app");
    let server = support::Server::start().await;
    let gateway = Setup::to_each([app.url(), server.to_string()])
        .start()
        .await;
    let mut client = gateway.h1().await;
    let mut texts = Vec::new();
    for _ in 0..4 {
        texts.push(client.get("/").await.text());
    }
    texts.sort();
    let of_app = "app test.example /";
    assert_eq!(texts, ["/", "/", of_app, of_app]);
}

#[tokio::test]
async fn a_queue_that_is_full_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    // Room for one that waits, and nobody who accepts.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(
        std::os::fd::OwnedFd::from(socket),
    ))
    .unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::net::UnixStream::connect(&path).await {
        waiting.push(stream);
    }
    let url = format!("unix:{}", path.display());
    let short = Setup::to(&url).balancer("timeouts", json!({ "connect": "200ms" }));
    let gateway = short.start().await;
    assert_eq!(gateway.h1().await.get("/").await.status, 504);
    // Somebody accepts at last.
    gateway.become_(&Setup::to(&url)).await;
    let mut client = gateway.h1().await;
    let response = client.begin(request("GET", "/")).await;
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut wire = support::Wire::new(stream);
            held.push(tokio::spawn(async move {
                if wire.try_head().await.is_some() {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .await;
                    wire.hang().await;
                }
            }));
        }
    });
    let response = support::within("an answer", response).await.unwrap();
    assert_eq!(response.status(), 200);
    accepting.abort();
    drop(waiting);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let gateway = Setup::to(format!("unix:{}", path.display())).start().await;
    let mut client = gateway.h1().await;
    let response = client.begin(request("GET", "/")).await;
    let (stream, _) = support::within("a connection", listener.accept())
        .await
        .unwrap();
    let mut wire = support::Wire::new(stream);
    assert!(wire.try_head().await.is_some());
    drop((client, response));
    support::within("it ends", wire.ended()).await;
    let series = format!(
        "gateway_service_server_in_flight{{service=\"backend\",server=\"unix:{}\"}}",
        path.display()
    );
    eventually("it is not counted", || gateway.metric(&series) == Some(0.0)).await;
}
