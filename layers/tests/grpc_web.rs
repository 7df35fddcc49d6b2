//! `grpc_web` from outside.

#![cfg(feature = "grpc-web")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::error::{BoxError, Failure};
use a3s_layers::grpc_web::GrpcWebLayer;
use a3s_layers::reject::{Shape, reject};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::channel::Sender;
use http_body_util::{BodyExt, Channel};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio_test::task;
use tower::{Layer, ServiceExt, service_fn};

const HI: &[u8] = b"\0\0\0\0\x02hi";
const STATUS: &[u8] = b"\x80\0\0\0\x10grpc-status: 0\r\n";

fn feed() -> (Sender<Bytes, BoxError>, Body) {
    let (feed, body) = Channel::<Bytes, BoxError>::new(8);
    (feed, Body::new(body))
}

fn call(content_type: &'static str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/test.Echo/Say").header("content-type", content_type);
    request.body(body.into()).unwrap()
}

fn status_0() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

/// Asks a server that answers so; returns the request as it saw it, and the answer.
async fn ask(request: Request<Body>, answer: Response<Body>) -> (Request<Body>, Response<Body>) {
    let seen = Arc::new(Mutex::new(None));
    let answer = Mutex::new(Some(answer));
    let service = GrpcWebLayer::new().layer(service_fn(|request: Request<Body>| {
        *seen.lock().unwrap() = Some(request);
        let answer = answer.lock().unwrap().take().unwrap();
        std::future::ready(Ok::<_, Infallible>(answer))
    }));
    let answer = service.oneshot(request).await.unwrap();
    let request = seen.lock().unwrap().take().unwrap();
    (request, answer)
}

fn messages(body: impl Into<Body>) -> Response<Body> {
    let body = body.into().with_trailers(async { Some(Ok(status_0())) });
    Response::builder()
        .header("content-type", "application/grpc")
        .header("content-length", "7")
        .body(Body::new(body))
        .unwrap()
}

async fn read(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_call_is_grpc_for_the_server_and_grpc_web_for_its_client() {
    for (given, accept, at_server, answered, is_text) in [
        ("", "", "", "", false),
        ("+proto", "application/grpc-web+proto", "+proto", "", false),
        ("+json;a=b", "*/*", "+json;a=b", "", false),
        ("-text", "application/grpc-web-text", "", "-text", true),
        ("-text+proto", "", "+proto", "-text", true),
        (
            "",
            "text/plain, application/grpc-web-text",
            "",
            "-text",
            true,
        ),
    ] {
        let sent: Body = match given.starts_with("-text") {
            true => STANDARD.encode(HI).into(),
            false => HI.into(),
        };
        let mut request = call("application/grpc-web", sent);
        let content_type = format!("application/grpc-web{given}").parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("content-type", content_type);
        headers.insert("accept", accept.parse().unwrap());
        headers.insert("x-user", HeaderValue::from_static("anna"));
        let (seen, answer) = ask(request, messages(HI)).await;
        let content_type = format!("application/grpc{at_server}");
        assert_eq!(seen.headers()["content-type"], content_type, "{given}");
        assert_eq!(seen.headers()["te"], "trailers");
        assert_eq!(seen.headers()["x-user"], "anna");
        assert!(!seen.headers().contains_key("accept"));
        assert_eq!(read(seen.into_body()).await, HI, "{given}");
        let content_type = format!("application/grpc-web{answered}");
        assert_eq!(answer.headers()["content-type"], content_type, "{given}");
        assert!(!answer.headers().contains_key("content-length"));
        let body = read(answer.into_body()).await;
        let expected = match is_text {
            true => [STANDARD.encode(HI), STANDARD.encode(STATUS)]
                .concat()
                .into(),
            false => [HI, STATUS].concat(),
        };
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn a_piece_of_a_stream_waits_for_no_other() {
    for (content_type, is_text) in [
        ("application/grpc-web", false),
        ("application/grpc-web-text", true),
    ] {
        let written = |bytes: &[u8]| match is_text {
            true => Bytes::from(STANDARD.encode(bytes)),
            false => Bytes::copy_from_slice(bytes),
        };
        let (mut to_server, upload) = feed();
        let (mut to_client, download) = feed();
        let answer = Response::builder().header("content-type", "application/grpc");
        let (seen, answer) = ask(call(content_type, upload), answer.body(download).unwrap()).await;
        let (mut upload, mut download) = (seen.into_body(), answer.into_body());
        for message in [HI, b"\0\0\0\0\0", b"\0\0\0\0\x03you"] {
            to_server.send_data(written(message)).await.unwrap();
            let frame = upload.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), message);
            to_client
                .send_data(Bytes::from_static(message))
                .await
                .unwrap();
            let frame = download.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), written(message));
        }
        drop(to_server);
        assert!(upload.frame().await.is_none());
        to_client.send_trailers(status_0()).await.unwrap();
        let frame = download.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), written(STATUS));
        drop(to_client);
        assert!(download.frame().await.is_none());
    }
}

#[tokio::test]
async fn base64_is_read_in_pieces_of_any_size_and_with_padding_in_the_middle() {
    let text = [STANDARD.encode(HI), STANDARD.encode(b"\0")].concat();
    for size in 1..=text.len() {
        let (mut to_server, upload) = feed();
        let request = call("application/grpc-web-text", upload);
        let (seen, _) = ask(request, messages("")).await;
        let mut reading = task::spawn(seen.into_body().collect());
        for piece in text.as_bytes().chunks(size) {
            to_server
                .send_data(Bytes::copy_from_slice(piece))
                .await
                .unwrap();
            assert!(reading.poll().is_pending());
        }
        drop(to_server);
        let body = reading.await.unwrap().to_bytes();
        assert_eq!(body, [HI, b"\0"].concat(), "in pieces of {size}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_base64_fails_as_its_own_fault() {
    for text in ["AAAA*", "AAA", "AAAA====AAAA"] {
        let request = call("application/grpc-web-text", text);
        let (seen, _) = ask(request, messages("")).await;
        let error = seen.into_body().collect().await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::RequestBody, "{text}");
    }
}

#[tokio::test]
async fn an_answer_of_a_head_alone_stays_one() {
    let refused = reject(StatusCode::FORBIDDEN, "not you", Shape::Grpc);
    let (_, answer) = ask(call("application/grpc-web+proto", HI), refused).await;
    assert_eq!(answer.headers()["content-type"], "application/grpc-web");
    assert_eq!(answer.headers()["grpc-status"], "7");
    assert_eq!(answer.headers()["grpc-message"], "not you");
    assert!(answer.body().is_end_stream());
}

#[tokio::test]
async fn what_is_not_grpc_web_passes_untouched() {
    for content_type in ["application/grpc", "application/json"] {
        let (seen, answer) = ask(call(content_type, "body"), messages("answer")).await;
        assert_eq!(seen.headers()["content-type"], content_type);
        assert!(!seen.headers().contains_key("te"));
        assert_eq!(read(seen.into_body()).await, "body");
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let answer = answer.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers(), Some(&status_0()));
        assert_eq!(answer.to_bytes(), "answer");
    }
    let page = Response::builder().header("content-type", "text/html");
    let page = page.body(Body::from("<p>")).unwrap();
    let (_, answer) = ask(call("application/grpc-web", HI), page).await;
    assert_eq!(answer.headers()["content-type"], "text/html");
    assert_eq!(read(answer.into_body()).await, "<p>");
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_no_status() {
    let (to_client, download) = feed();
    let answer = Response::builder().header("content-type", "application/grpc");
    let (_, answer) = ask(
        call("application/grpc-web", HI),
        answer.body(download).unwrap(),
    )
    .await;
    to_client.abort("the server is gone".into());
    assert!(answer.into_body().collect().await.is_err());
}
