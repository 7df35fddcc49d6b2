//! `compress` in a gateway.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use axum::body::Body;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::body::{Feed, feed};
use support::{Client, Server, Setup, TestGateway, request, within};

const CODINGS: [&str; 4] = ["zstd", "br", "gzip", "deflate"];

/// Reads what a client can of what has come so far.
struct Decoder(Box<dyn DecodeV2>);

impl Decoder {
    fn new(coding: &str) -> Self {
        Self(match coding {
            "zstd" => Box::new(ZstdDecoder::new()),
            "br" => Box::new(BrotliDecoder::new()),
            "gzip" => Box::new(GzipDecoder::new()),
            "deflate" => Box::new(ZlibDecoder::new()),
            other => panic!("{other} is none of ours"),
        })
    }

    fn read(&mut self, data: &[u8]) -> String {
        let mut input = PartialBuffer::new(data);
        let (mut read, mut room) = (Vec::new(), vec![0; 4096]);
        loop {
            let mut output = WriteBuffer::new_initialized(&mut room);
            let is_over = self.0.decode(&mut input, &mut output).unwrap();
            read.extend_from_slice(output.written());
            if is_over || (input.unwritten().is_empty() && !output.has_no_spare_space()) {
                return String::from_utf8(read).unwrap();
            }
        }
    }
}

fn with_compress(server: &Server, mut settings: Value) -> Setup {
    settings["type"] = "compress".into();
    Setup::to(server)
        .set("middlewares/small", settings)
        .set("routers/all/middlewares", json!(["small"]))
}

fn accepting(codings: &str) -> Request<Body> {
    let mut request = request("GET", "/");
    let codings = codings.parse().unwrap();
    request.headers_mut().insert("accept-encoding", codings);
    request
}

fn text() -> String {
    (0..20_000_u32)
        .map(|n| format!("line {}\n", n.pow(2) % 997))
        .collect()
}

/// A server that answers with a text, whose header the request gives.
async fn text_server() -> Server {
    Server::http(|request: Request<_>| async move {
        let mut response = Response::new(Body::from(text()));
        let said = request.headers().iter();
        let said =
            said.filter_map(|(name, value)| Some((name.as_str().strip_prefix("say-")?, value)));
        let headers: HeaderMap = said
            .map(|(name, value)| (name.parse().unwrap(), value.clone()))
            .collect();
        *response.headers_mut() = headers;
        response
    })
    .await
}

/// A server that answers with a body that the test feeds, one after the other.
async fn fed_server(content_type: &'static str) -> (Server, impl AsyncFn() -> Feed) {
    let feeds: Arc<Mutex<Vec<Feed>>> = Arc::default();
    let fed = Arc::clone(&feeds);
    let server = Server::http(move |_| {
        let (feed, body) = feed();
        fed.lock().unwrap().push(feed);
        let response = Response::builder().header("content-type", content_type);
        std::future::ready(response.body(body).unwrap())
    })
    .await;
    let next = async move || {
        within("a request", async {
            loop {
                let feed = feeds.lock().unwrap().pop();
                match feed {
                    Some(feed) => return feed,
                    None => tokio::task::yield_now().await,
                }
            }
        })
        .await
    };
    (server, next)
}

fn saying(mut request: Request<Body>, lines: &[(&str, &str)]) -> Request<Body> {
    for (name, value) in lines {
        let name: http::HeaderName = format!("say-{name}").parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

async fn clients(gateway: &TestGateway) -> [Client; 2] {
    [gateway.h1().await, gateway.h2().await]
}

#[tokio::test]
async fn each_client_gets_what_it_likes_best() {
    let server = text_server().await;
    let gateway = with_compress(&server, json!({})).start().await;
    let html = &[("content-type", "text/html"), ("etag", "\"1\"")];
    for mut client in clients(&gateway).await {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, deflate, br", "br"),
            ("gzip, deflate", "gzip"),
            ("deflate", "deflate"),
            ("br;q=0.5, gzip", "gzip"),
        ] {
            let reply = client.ask(saying(accepting(accepted), html)).await;
            assert_eq!(reply.headers["content-encoding"], expected);
            assert_eq!(reply.headers["vary"], "Accept-Encoding");
            assert_eq!(reply.headers["etag"], "W/\"1\"");
            assert!(!reply.headers.contains_key("content-length"));
            assert!(reply.body.len() < text().len() / 3);
            assert!(Decoder::new(expected).read(&reply.body) == text());
        }
        let hostile = "gzip;q=0,".repeat(500) + ";;q=1,\t,*;q=0.0000, identity;q=0";
        for accepted in ["identity", "*;q=0", "compress", &hostile] {
            let reply = client.ask(saying(accepting(accepted), html)).await;
            assert_eq!(reply.status, 200);
            assert!(
                !reply.headers.contains_key("content-encoding"),
                "{accepted}"
            );
            assert_eq!(reply.headers["vary"], "Accept-Encoding");
            assert_eq!(reply.headers["etag"], "\"1\"");
            assert!(reply.text() == text());
        }
    }
}

#[tokio::test]
async fn what_is_not_to_be_changed_is_not() {
    let server = text_server().await;
    let gateway = with_compress(&server, json!({ "content_types": ["text/*"] }))
        .start()
        .await;
    let mut client = gateway.h1().await;
    for lines in [
        &[("content-type", "text/html"), ("content-encoding", "br")][..],
        &[
            ("content-type", "text/html"),
            ("cache-control", "no-transform"),
        ],
        &[("content-type", "text/event-stream")],
        &[("content-type", "application/json")],
        &[],
    ] {
        let reply = client.ask(saying(accepting("gzip"), lines)).await;
        for (name, value) in lines {
            assert_eq!(reply.headers[*name], *value);
        }
        assert!(!reply.headers.contains_key("vary"), "{lines:?}");
        assert_eq!(reply.headers["content-length"], text().len().to_string());
        assert!(reply.text() == text(), "{lines:?}");
    }
    let mut head = saying(accepting("gzip"), &[("content-type", "text/html")]);
    *head.method_mut() = http::Method::HEAD;
    let reply = client.ask(head).await;
    assert_eq!(reply.headers["content-length"], text().len().to_string());
    assert_eq!(reply.headers["vary"], "Accept-Encoding");
}

/// Reads until `expected` has come.
async fn comes(body: &mut Incoming, decoder: &mut Decoder, expected: &str) {
    let mut read = String::new();
    while read.len() < expected.len() {
        let frame = within("a piece", body.frame()).await.unwrap().unwrap();
        read += &decoder.read(frame.data_ref().unwrap());
    }
    assert_eq!(read, expected);
}

#[tokio::test]
async fn a_piece_reaches_the_client_while_the_server_pauses() {
    let (server, next) = fed_server("text/plain").await;
    let gateway = with_compress(&server, json!({})).start().await;
    for mut client in clients(&gateway).await {
        for coding in CODINGS {
            let response = client.send(accepting(coding)).await;
            assert_eq!(response.headers()["content-encoding"], coding);
            let feed = next().await;
            let mut body = response.into_body();
            let mut decoder = Decoder::new(coding);
            for piece in ["one\n", "two\n", &"long ".repeat(10_000), "three\n"] {
                assert!(feed.data(piece.to_owned()).await);
                comes(&mut body, &mut decoder, piece).await;
            }
            drop(feed);
            let end = within("the end", body.collect()).await.unwrap();
            assert_eq!(decoder.read(&end.to_bytes()), "");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let (server, next) = fed_server("text/plain").await;
    let gateway = with_compress(&server, json!({})).start().await;
    for h2 in [false, true] {
        for coding in CODINGS {
            let mut client = if h2 {
                gateway.h2().await
            } else {
                gateway.h1().await
            };
            let response = client.send(accepting(coding)).await;
            let feed = next().await;
            let mut body = response.into_body();
            assert!(feed.data("some").await);
            comes(&mut body, &mut Decoder::new(coding), "some").await;
            feed.break_off().await;
            let end = within("the end", body.collect()).await;
            assert!(end.is_err(), "{coding}, h2: {h2}");
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_server_and_the_memory() {
    let (server, next) = fed_server("text/plain").await;
    let gateway = with_compress(&server, json!({ "max_concurrent": 1 }))
        .start()
        .await;
    for _ in 0..3 {
        let mut client = gateway.h1().await;
        let response = client.send(accepting("zstd")).await;
        assert_eq!(
            response.headers()["content-encoding"],
            "zstd",
            "the one place is free"
        );
        let feed = next().await;
        assert!(feed.data("some").await);
        drop((response, client));
        feed.closed().await;
    }
}

#[tokio::test]
async fn a_reload_counts_on_and_a_change_begins_anew() {
    let (server, next) = fed_server("text/plain").await;
    let setup = with_compress(&server, json!({ "max_concurrent": 1 }));
    let gateway = setup.start().await;
    let (mut first, mut second) = (gateway.h2().await, gateway.h2().await);
    let running = first.send(accepting("br")).await;
    assert!(running.headers().contains_key("content-encoding"));
    let feed = next().await;
    let mut is_compressed = async || {
        let response = second.send(accepting("br")).await;
        let is_compressed = response.headers().contains_key("content-encoding");
        drop(next().await);
        let _ = within("the end", response.into_body().collect()).await;
        is_compressed
    };
    assert!(!is_compressed().await, "the one place is taken");
    let unrelated = setup.clone().route("other", "Path(`/other`)", "backend");
    gateway.become_(&unrelated).await;
    assert!(!is_compressed().await, "it is taken after a reload too");
    gateway
        .become_(&unrelated.set("middlewares/small/level", 2))
        .await;
    assert!(
        is_compressed().await,
        "another middleware has a place of its own"
    );
    drop((feed, running));
}

#[tokio::test]
async fn answers_of_middlewares_and_of_the_gateway_are_compressed_too() {
    let server = text_server().await;
    let gateway = with_compress(&server, json!({ "min_size": 1 }))
        .set(
            "middlewares/nobody",
            json!({ "type": "ip-allow", "allowed_ips": ["192.0.2.1"] }),
        )
        .set("routers/all/middlewares", json!(["small", "nobody"]))
        .start()
        .await;
    let reply = gateway.h1().await.ask(accepting("gzip")).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.headers["content-encoding"], "gzip");
    let text = Decoder::new("gzip").read(&reply.body);
    assert!(text.contains("\"status\":403"), "{text}");
}
