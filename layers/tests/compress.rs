//! `compress` from outside.

#![cfg(feature = "compression")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::compress::{Coding, CompressError, CompressLayer, ContentTypes};
use axum::body::Body;
use bytes::Bytes;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn};

type Lines = &'static [(&'static str, &'static str)];

/// A decoder that shows what can be read of what has come so far.
struct Decoder {
    decode: Box<dyn DecodeV2>,
    is_over: bool,
}

impl Decoder {
    fn new(coding: Coding) -> Self {
        Self {
            decode: match coding {
                Coding::Zstd => Box::new(ZstdDecoder::new()),
                Coding::Brotli => Box::new(BrotliDecoder::new()),
                Coding::Gzip => Box::new(GzipDecoder::new()),
                Coding::Deflate => Box::new(ZlibDecoder::new()),
            },
            is_over: false,
        }
    }

    fn read(&mut self, data: &[u8]) -> Vec<u8> {
        let (mut input, mut read) = (PartialBuffer::new(data), Vec::new());
        let mut room = vec![0; 4096];
        loop {
            let before = input.written_len();
            let mut output = WriteBuffer::new_initialized(&mut room);
            self.is_over = self.decode.decode(&mut input, &mut output).unwrap();
            read.extend_from_slice(output.written());
            if self.is_over || (input.written_len() == before && output.written_len() == 0) {
                break;
            }
            if input.unwritten().is_empty() && !output.has_no_spare_space() {
                break;
            }
        }
        read
    }
}

/// The whole of what `data` stands for; it must be whole.
fn decoded(coding: Coding, data: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(coding);
    let read = decoder.read(data);
    assert!(decoder.is_over, "{coding:?}: an end");
    read
}

fn map(lines: Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// What a request with these lines gets, where the service answers with `response`.
async fn answer(
    layer: &CompressLayer,
    method: Method,
    asked: Lines,
    response: Response<Body>,
) -> Response<Body> {
    let response = std::sync::Mutex::new(Some(response));
    let service = layer.layer(service_fn(|_: Request<()>| {
        let response = response.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(response) }
    }));
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.headers_mut() = map(asked);
    service.oneshot(request).await.unwrap()
}

fn response(lines: Lines, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.headers_mut() = map(lines);
    response
}

const TEXT: (&str, &str) = ("content-type", "text/plain");
const ANY: Lines = &[("accept-encoding", "zstd, br, gzip, deflate")];

/// A body of these frames, and of an error at the end.
struct Pieces(VecDeque<Result<Frame<Bytes>, io::Error>>);

impl Pieces {
    fn of(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Body {
        Body::new(Self(frames.into_iter().map(Ok).collect()))
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn data(bytes: impl AsRef<[u8]>) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(bytes.as_ref()))
}

fn words(count: usize) -> String {
    (0..count)
        .map(|n| format!("word {} ", n * n % 1009))
        .collect()
}

#[tokio::test]
async fn every_coding_gives_back_what_went_in() {
    for coding in Coding::ALL {
        for size in [1, 100, 50_000] {
            for level in [None, Some(1), Some(9)] {
                let layer = CompressLayer::new().codings([coding]).min_size(0);
                let layer = level.map_or(layer.clone(), |level| layer.level(level).unwrap());
                let text = words(size);
                // With a known length, and without.
                let pieces = text.as_bytes().chunks(7919).map(data);
                for body in [Body::from(text.clone()), Pieces::of(pieces)] {
                    let response = answer(&layer, Method::GET, ANY, response(&[TEXT], body)).await;
                    assert_eq!(response.headers()["content-encoding"], coding.name());
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    assert!(
                        decoded(coding, &body) == text.as_bytes(),
                        "{coding:?} {size} {level:?}"
                    );
                }
            }
        }
    }
}

/// What a client that accepts everything gets of a text.
async fn gets(layer: &CompressLayer, body: Body) -> Response<Body> {
    answer(layer, Method::GET, ANY, response(&[TEXT], body)).await
}

fn only(coding: Coding) -> CompressLayer {
    CompressLayer::new().codings([coding])
}

#[tokio::test]
async fn what_has_come_goes_on_when_the_service_pauses() {
    for coding in Coding::ALL {
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(8);
        let response = gets(&only(coding), Body::new(channel)).await;
        let mut body = response.into_body();
        let mut decoder = Decoder::new(coding);
        for round in 0..5 {
            let mut frame = task::spawn(body.frame());
            assert!(frame.poll().is_pending(), "{coding:?}: nothing has come");
            let line = format!("event {round}\n");
            sender.send_data(line.clone().into()).await.unwrap();
            assert!(frame.is_woken());
            // The first time it waits for what may be on its way.
            assert!(frame.poll().is_pending());
            assert!(frame.is_woken());
            let Poll::Ready(Some(Ok(frame))) = frame.poll() else {
                panic!("{coding:?}: no frame in round {round}");
            };
            assert_eq!(decoder.read(frame.data_ref().unwrap()), line.as_bytes());
        }
        drop(sender);
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(decoder.read(&rest), b"");
        assert!(decoder.is_over, "{coding:?}");
    }
}

#[tokio::test]
async fn however_long_or_dense_a_piece_is_all_of_it_goes_on() {
    // Incompressible, so that more comes out of a flush than a frame holds.
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    };
    for coding in Coding::ALL {
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(8);
        let response = gets(&only(coding), Body::new(channel)).await;
        let mut body = response.into_body();
        let mut decoder = Decoder::new(coding);
        for length in [0, 1, 100_000, 16 * 1024, 3, 70_000, 64 * 1024] {
            let piece: Bytes = (0..length).map(|_| noise()).collect();
            sender.send_data(piece.clone()).await.unwrap();
            let mut read = Vec::new();
            loop {
                let mut frame = task::spawn(body.frame());
                match frame.poll() {
                    Poll::Ready(frame) => {
                        let frame = frame.unwrap().unwrap();
                        let data = frame.data_ref().unwrap();
                        assert!((1..=16 * 1024).contains(&data.len()));
                        read.extend(decoder.read(data));
                    }
                    Poll::Pending if frame.is_woken() => {}
                    Poll::Pending => break,
                }
            }
            assert!(read == piece, "{coding:?}: {} of {length}", read.len());
        }
    }
}

#[tokio::test]
async fn what_arrives_together_goes_on_together() {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(8);
    let response = gets(&only(Coding::Gzip), Body::new(channel)).await;
    let mut body = response.into_body();
    for text in ["one ", "two "] {
        sender.send_data(text.into()).await.unwrap();
    }
    let mut frame = task::spawn(body.frame());
    assert!(frame.poll().is_pending());
    sender.send_data("three".into()).await.unwrap();
    assert!(frame.poll().is_pending());
    let Poll::Ready(Some(Ok(frame))) = frame.poll() else {
        panic!("no frame");
    };
    let read = Decoder::new(Coding::Gzip).read(frame.data_ref().unwrap());
    assert_eq!(read, b"one two three");
}

#[tokio::test]
async fn a_body_that_fails_has_no_end() {
    for coding in Coding::ALL {
        let frames = [Ok(data(words(5000))), Err(io::Error::other("cut off"))];
        let response = gets(&only(coding), Body::new(Pieces(frames.into()))).await;
        let mut body = response.into_body();
        let mut decoder = Decoder::new(coding);
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(frame) => drop(decoder.read(frame.data_ref().unwrap())),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("cut off"), "{error}");
        assert!(!decoder.is_over, "{coding:?}");
        assert!(
            body.frame().await.is_none(),
            "{coding:?}: nothing comes after an error"
        );
    }
}

#[tokio::test]
async fn trailers_stay() {
    for coding in Coding::ALL {
        let trailers = Frame::trailers(map(&[("x-sum", "1")]));
        let response = gets(&only(coding), Pieces::of([data(words(10)), trailers])).await;
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&map(&[("x-sum", "1")])));
        assert_eq!(decoded(coding, &body.to_bytes()), words(10).as_bytes());
    }
}

#[tokio::test]
async fn a_long_body_lets_others_have_their_turn() {
    let response = gets(&only(Coding::Zstd), Body::from(vec![b'a'; 1 << 20])).await;
    let mut body = response.into_body();
    let mut turns = 0;
    loop {
        let mut frame = task::spawn(body.frame());
        match frame.poll() {
            Poll::Pending => {
                assert!(frame.is_woken(), "it has all that it needs");
                turns += 1;
            }
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => drop(frame.unwrap()),
        }
    }
    assert_eq!(turns, 15);
}

#[tokio::test]
async fn a_compressed_answer_says_what_it_is() {
    let lines: Lines = &[
        TEXT,
        ("content-length", "2048"),
        ("accept-ranges", "bytes"),
        ("etag", "\"abc\""),
        ("vary", "Cookie"),
        ("x-other", "kept"),
    ];
    let layer = CompressLayer::new();
    let given = response(lines, vec![b'a'; 2048]);
    let response = answer(&layer, Method::GET, ANY, given).await;
    let expected = map(&[
        TEXT,
        ("content-encoding", "zstd"),
        ("etag", "W/\"abc\""),
        ("vary", "Cookie, Accept-Encoding"),
        ("x-other", "kept"),
    ]);
    assert_eq!(response.headers(), &expected);
    assert_eq!(response.body().size_hint().exact(), None);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(decoded(Coding::Zstd, &body), vec![b'a'; 2048]);
}

#[tokio::test]
async fn what_must_not_be_changed_is_not() {
    const LENGTH: (&str, &str) = ("content-length", "2048");
    const ETAG: (&str, &str) = ("etag", "\"abc\"");
    let gzip: Lines = &[("accept-encoding", "gzip")];
    for (asked, given) in [
        (gzip, &[TEXT, ETAG, ("content-encoding", "br")][..]),
        (gzip, &[TEXT, ETAG, ("content-encoding", "identity")]),
        (
            gzip,
            &[TEXT, ETAG, ("cache-control", "max-age=1, No-Transform")],
        ),
        (
            &[
                ("accept-encoding", "gzip"),
                ("cache-control", "no-transform"),
            ],
            &[TEXT, ETAG],
        ),
        (gzip, &[TEXT, ETAG, ("content-range", "bytes 0-1/2")]),
        (gzip, &[TEXT, ETAG, ("content-digest", "sha-256=:AA==:")]),
        (gzip, &[TEXT, ETAG, ("repr-digest", "sha-256=:AA==:")]),
        (gzip, &[TEXT, ETAG, ("digest", "sha-256=AA==")]),
        (gzip, &[TEXT, ETAG, ("content-md5", "AA==")]),
        (gzip, &[("content-type", "text/event-stream"), ETAG]),
        (gzip, &[("content-type", "application/grpc+proto"), ETAG]),
        (gzip, &[("content-type", "image/png"), LENGTH]),
        (gzip, &[LENGTH]),
        (gzip, &[TEXT, ("content-length", "1023")]),
    ] {
        let given = response(given, vec![b'a'; 2048]);
        let headers = given.headers().clone();
        let response = answer(&CompressLayer::new(), Method::GET, asked, given).await;
        assert_eq!(response.headers(), &headers);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, vec![b'a'; 2048], "{headers:?}");
    }
    for status in [101, 204, 205, 206] {
        let mut given = response(&[TEXT], vec![b'a'; 2048]);
        *given.status_mut() = StatusCode::from_u16(status).unwrap();
        let response = answer(&CompressLayer::new(), Method::GET, gzip, given).await;
        assert_eq!(response.headers(), &map(&[TEXT]), "{status}");
    }
    // Without a header that says so, a short body is seen to be one.
    let response = gets(&CompressLayer::new(), Body::from("short")).await;
    assert_eq!(response.headers(), &map(&[TEXT]));
    let response = gets(&CompressLayer::new().min_size(0), Body::empty()).await;
    assert_eq!(response.headers(), &map(&[TEXT]));
}

#[tokio::test]
async fn what_another_client_would_get_compressed_says_so_and_nobody_is_refused() {
    for asked in [
        &[][..],
        &[("accept-encoding", "")],
        &[("accept-encoding", "identity")],
        &[("accept-encoding", "identity;q=0")],
        &[("accept-encoding", "*;q=0")],
        &[("accept-encoding", "compress, lzma")],
    ] {
        let given = response(&[TEXT, ("etag", "\"abc\"")], vec![b'a'; 2048]);
        let response = answer(&CompressLayer::new(), Method::GET, asked, given).await;
        assert_eq!(response.status(), 200);
        let expected = [TEXT, ("etag", "\"abc\""), ("vary", "Accept-Encoding")];
        assert_eq!(
            response.headers(),
            &map(expected.to_vec().leak()),
            "{asked:?}"
        );
    }
    let given = response(&[TEXT, ("content-length", "2048")], Body::empty());
    let response = answer(&CompressLayer::new(), Method::HEAD, ANY, given).await;
    let expected: Lines = &[
        TEXT,
        ("content-length", "2048"),
        ("vary", "Accept-Encoding"),
    ];
    assert_eq!(response.headers(), &map(expected));
}

#[tokio::test]
async fn an_answer_of_304_names_what_the_client_has() {
    const STRONG: (&str, &str) = ("etag", "\"abc\"");
    const WEAK: (&str, &str) = ("etag", "W/\"abc\"");
    const VARY: (&str, &str) = ("vary", "Accept-Encoding");
    for (known, given, expected) in [
        (
            &[("if-none-match", "\"x\", W/\"abc\"")][..],
            &[STRONG][..],
            &[WEAK, VARY][..],
        ),
        (&[("if-none-match", "\"abc\"")], &[STRONG], &[STRONG, VARY]),
        (&[], &[STRONG], &[STRONG, VARY]),
        (
            &[("if-none-match", "W/\"abc\"")],
            &[STRONG, ("content-type", "image/png")],
            &[STRONG, ("content-type", "image/png")],
        ),
    ] {
        let mut given = response(given, Body::empty());
        *given.status_mut() = StatusCode::NOT_MODIFIED;
        let response = answer(&CompressLayer::new(), Method::GET, known, given).await;
        assert_eq!(response.headers(), &map(expected), "{known:?}");
    }
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = CompressLayer::new().max_concurrent(1);
    let is_compressed =
        |response: &Response<Body>| response.headers().contains_key("content-encoding");
    let text = || Body::from(vec![b'a'; 2048]);
    let first = gets(&layer, text()).await;
    assert!(is_compressed(&first));
    let second = gets(&layer, text()).await;
    assert!(!is_compressed(&second), "the one place is taken");
    assert_eq!(second.headers()["vary"], "Accept-Encoding");
    // Read to its end it takes no memory, though somebody keeps it.
    let mut body = first.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    assert!(body.is_end_stream());
    let third = gets(&layer, text()).await;
    assert!(is_compressed(&third));
    drop(third);
    assert!(is_compressed(&gets(&layer, text()).await));
}

#[test]
fn what_is_no_setting_is_refused() {
    for level in [0, 10] {
        assert_eq!(
            CompressLayer::new().level(level).unwrap_err(),
            CompressError::Level
        );
    }
    let refused = ContentTypes::parse(["text/html", "text"]);
    assert_eq!(refused.unwrap_err(), CompressError::ContentType);
}

#[tokio::test]
async fn an_error_of_the_service_passes() {
    let mut service = CompressLayer::new().layer(service_fn(|_: Request<()>| async {
        Err::<Response<Body>, _>("no")
    }));
    assert_eq!(service.call(Request::new(())).await.unwrap_err(), "no");
}
