//! Reloads beside sessions of every protocol: none of those ends.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use support::body::{Feed, feed};
use support::gateway::connect;
use support::server::Recorded;
use support::{Client, Server, Setup, Wire, request, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How often the configuration changes.
const RELOADS: usize = 500;

/// After so many reloads each session is used.
const EACH: usize = 25;

/// Sends back whatever comes.
async fn tcp_echo() -> Server {
    Server::raw(|wire, _| async move {
        let mut stream = wire.into_io();
        let (mut reading, mut writing) = stream.split();
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
        let _ = writing.shutdown().await;
    })
    .await
}

/// Grants a WebSocket, and sends back whatever comes on it.
async fn websocket_echo() -> Server {
    Server::raw(|mut wire, _| async move {
        if wire.try_head().await.is_none() {
            return;
        }
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            .await;
        let mut stream = wire.into_io();
        let (mut reading, mut writing) = stream.split();
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
    })
    .await
}

/// Sends back each datagram; notes who sent any.
async fn udp_echo() -> (String, Arc<Mutex<HashSet<SocketAddr>>>) {
    let clients: Arc<Mutex<HashSet<SocketAddr>>> = Arc::default();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let noted = Arc::clone(&clients);
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            noted.lock().unwrap().insert(from);
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    });
    (format!("udp://{address}"), clients)
}

/// Whether all of `bytes` come next.
async fn comes(what: &str, stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    within(what, stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, bytes, "{what}");
}

/// Whether `piece` is the next of a body.
async fn piece_comes(what: &str, body: &mut Incoming, piece: &[u8]) {
    let frame = within(what, body.frame()).await;
    let data = frame.expect(what).expect(what).into_data();
    assert_eq!(data.expect("data"), piece, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_reloads_end_no_session_of_any_protocol() {
    let feeds: Arc<Mutex<Vec<Feed>>> = Arc::default();
    let streams = Server::http({
        let feeds = Arc::clone(&feeds);
        move |request: Request<Recorded>| {
            let answer = Response::builder();
            let answer = match request.uri().path() {
                "/events" => {
                    let (feed, body) = feed();
                    feeds.lock().unwrap().push(feed);
                    answer
                        .header("content-type", "text/event-stream")
                        .body(body)
                }
                // A call that streams both ways.
                _ => answer
                    .header("content-type", "application/grpc")
                    .body(Body::new(request.into_body())),
            };
            std::future::ready(answer.unwrap())
        }
    })
    .await;
    let (tcp_server, websocket_server) = (tcp_echo().await, websocket_echo().await);
    let (udp, udp_clients) = udp_echo().await;
    let setup = Setup::to(streams.url("h2c"))
        .set(
            "entrypoints/tcp",
            json!({ "address": "127.0.0.1:0", "protocol": "tcp" }),
        )
        .set(
            "entrypoints/udp",
            json!({ "address": "127.0.0.1:0", "protocol": "udp" }),
        )
        .service("websocket", websocket_server.url("http"))
        .route("websocket", "Path(`/websocket`)", "websocket")
        .service("tcp", tcp_server.url("tcp"))
        .set(
            "routers/tcp",
            json!({ "rule": "HostSNI(`*`)", "service": "tcp", "entrypoints": ["tcp"] }),
        )
        .service("udp", udp)
        .set(
            "routers/udp",
            json!({ "rule": "HostSNI(`*`)", "service": "udp", "entrypoints": ["udp"] }),
        );
    let gateway = setup.start().await;

    let mut events = gateway.h1().await;
    let mut events = events.send(request("GET", "/events")).await.into_body();
    let (messages, body) = feed();
    let mut grpc: Client = gateway.h2().await;
    let mut call = request("POST", "/echo.Echo/Chat");
    let headers = call.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    *call.body_mut() = body;
    let mut replies = grpc.send(call).await.into_body();
    let mut wire: Wire = gateway.wire().await;
    wire.send("GET /websocket HTTP/1.1\r\nHost: test.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.status(), 101);
    let mut websocket = wire.into_io();
    let mut tcp = connect(gateway.address_of("tcp").await).await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = gateway.address_of("udp").await;
    datagrams.connect(udp).await.unwrap();

    for number in 0..=RELOADS {
        // One router comes and goes, the rules of all sessions' routers stay what they are.
        let next = match number % 2 {
            0 => setup.clone(),
            _ => setup
                .clone()
                .route("other", &format!("Path(`/other-{number}`)"), "backend"),
        };
        gateway.become_(&next).await;
        if number % EACH != 0 {
            continue;
        }
        let word = format!("{number:03}");
        let feed = feeds.lock().unwrap().pop().expect("one stream of events");
        assert!(feed.data(word.clone()).await, "an event after {number}");
        piece_comes("an event", &mut events, word.as_bytes()).await;
        feeds.lock().unwrap().push(feed);
        assert!(messages.data(word.clone()).await, "a call after {number}");
        piece_comes("a message of a call", &mut replies, word.as_bytes()).await;
        tcp.write_all(word.as_bytes()).await.unwrap();
        comes("an echo over TCP", &mut tcp, word.as_bytes()).await;
        // A text frame, masked with zeros.
        let frame = [b"\x81\x83\0\0\0\0", word.as_bytes()].concat();
        websocket.write_all(&frame).await.unwrap();
        comes("an echo over WebSocket", &mut websocket, &frame).await;
        datagrams.send(word.as_bytes()).await.unwrap();
        let mut echo = [0; 16];
        let length = within("an echo over UDP", datagrams.recv(&mut echo)).await;
        assert_eq!(&echo[..length.unwrap()], word.as_bytes());
    }
    assert_eq!(streams.requests(), 2, "each stream was asked for once");
    assert_eq!((tcp_server.accepted(), websocket_server.accepted()), (1, 1));
    assert_eq!(udp_clients.lock().unwrap().len(), 1, "one session of UDP");
}
