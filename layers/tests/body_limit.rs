//! `body_limit` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::body_limit::BodyLimitLayer;
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::rescue::RescueLayer;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Channel, LengthLimitError};
use std::convert::Infallible;
use tower::{Layer, ServiceExt, service_fn};

/// A body whose length nobody knows, in these pieces.
fn streamed(pieces: &[&'static str]) -> Body {
    let (mut feed, body) = Channel::<Bytes>::new(pieces.len().max(1) + 1);
    for piece in pieces {
        feed.try_send(http_body::Frame::data((*piece).into()))
            .unwrap();
    }
    Body::new(body)
}

/// What a server reads of a body behind a limit of 10, and the answer.
async fn read(request: Request<Body>) -> (Option<Result<Bytes, axum::Error>>, Response<Body>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut sender = Some(sender);
    let service = service_fn(move |request: Request<Body>| {
        let sender = sender.take().unwrap();
        async move {
            let body = request.into_body();
            let length = body.size_hint();
            let read = body.collect().await.map(|body| body.to_bytes());
            if let Ok(read) = &read {
                let length = (length.lower(), length.upper().unwrap_or(u64::MAX));
                assert!(length.0 <= read.len() as u64 && read.len() as u64 <= length.1);
            }
            let failed = read.as_ref().err().map(ToString::to_string);
            sender.send(read).unwrap();
            match failed {
                Some(error) => Err(BoxError::from(error)),
                None => Ok(Response::new(Body::empty())),
            }
        }
    });
    let service = BodyLimitLayer::new(10).layer(RescueLayer::new().layer(service));
    let response = service.oneshot(request).await.unwrap();
    (receiver.await.ok(), response)
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_limit() {
    for body in ["", "x", "0123456789"] {
        let (seen, response) = read(Request::new(Body::from(body))).await;
        assert_eq!(seen.unwrap().unwrap(), body);
        assert_eq!(response.status(), 200);
    }
    for pieces in [&[][..], &["01234", "56789"], &["0123456789", ""]] {
        let (seen, response) = read(Request::new(streamed(pieces))).await;
        assert_eq!(seen.unwrap().unwrap(), pieces.concat());
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_length_past_the_limit_is_refused_before_the_service_is_asked() {
    fn says(length: &str) -> Request<Body> {
        let request = Request::post("/").header("content-length", length);
        request.body(streamed(&["x"])).unwrap()
    }
    for request in [
        || Request::new(Body::from("0123456789x")),
        || says("11"),
        || says("18446744073709551616"),
    ] {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let mut request = request();
            *request.version_mut() = version;
            let (seen, response) = read(request).await;
            assert!(seen.is_none());
            assert_eq!(response.status(), 413);
            assert_eq!(response.extensions().get(), Some(&Failure::BodyTooLarge));
            let closes = response.headers().contains_key("connection");
            assert_eq!(closes, version < Version::HTTP_2);
        }
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_where_it_passes_the_limit() {
    for pieces in [
        &["0123456789x"][..],
        &["0123456789", "x"],
        &["01234", "56789x"],
    ] {
        let (seen, _) = read(Request::new(streamed(pieces))).await;
        let error = seen.unwrap().unwrap_err();
        assert_eq!(Failure::of(&error), Failure::BodyTooLarge);
        assert_eq!(Failure::of_request_body(&error), Failure::BodyTooLarge);
        assert!(error.into_inner().is::<LengthLimitError>());
    }
}

#[tokio::test]
async fn a_limit_of_0_lets_no_body_pass_and_calls_none_complete() {
    let service = service_fn(|request: Request<Body>| async move {
        let body = request.into_body();
        // A client that sees a length of 0 would not even read it.
        assert!(
            body.size_hint()
                .exact()
                .is_none_or(|_| body.is_end_stream())
        );
        let is_whole = body.collect().await.is_ok();
        Ok::<_, Infallible>(Response::new(Body::from(is_whole.to_string())))
    });
    for (body, expected) in [
        (Body::empty(), "true"),
        (streamed(&[]), "true"),
        (streamed(&["x"]), "false"),
    ] {
        let service = BodyLimitLayer::new(0).layer(service);
        let response = service.oneshot(Request::new(body)).await.unwrap();
        let read = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn a_cut_body_is_a_413_of_the_rescue_and_a_servers_answer_stands() {
    for (answers_first, status) in [(false, 413), (true, 201)] {
        let service = service_fn(move |request: Request<Body>| async move {
            let read = request.into_body().collect().await;
            match (answers_first, read) {
                (true, _) => Ok(Response::builder().status(201).body(Body::empty()).unwrap()),
                // As a client of a server reports it.
                (false, Err(error)) => {
                    let failure = Failure::of_request_body(&error);
                    Err(BoxError::from(UpstreamError::new(failure, error)))
                }
                (false, Ok(_)) => panic!("the body is cut"),
            }
        });
        let service = BodyLimitLayer::new(10).layer(RescueLayer::new().layer(service));
        let request = Request::new(streamed(&["0123456789", "x"]));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn trailers_and_errors_go_through() {
    let (mut feed, body) = Channel::<Bytes, BoxError>::new(2);
    feed.send_data("0123456789".into()).await.unwrap();
    let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
    feed.send_trailers(trailers.clone()).await.unwrap();
    drop(feed);
    let service = service_fn(move |request: Request<Body>| {
        let trailers = trailers.clone();
        async move {
            let read = request.into_body().collect().await.unwrap();
            assert_eq!(read.trailers(), Some(&trailers));
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let service = BodyLimitLayer::new(10).layer(service);
    service
        .oneshot(Request::new(Body::new(body)))
        .await
        .unwrap();

    let (feed, body) = Channel::<Bytes, BoxError>::new(2);
    feed.abort(UpstreamError::from(Failure::RequestTimeout).into());
    let (seen, _) = read(Request::new(Body::new(body))).await;
    let error = seen.unwrap().unwrap_err();
    assert_eq!(Failure::of(&error), Failure::RequestTimeout);
}

#[tokio::test]
async fn the_extractors_of_an_axum_app_answer_413_by_themselves() {
    let app = axum::Router::new()
        .fallback(|body: Bytes| async move { body.len().to_string() })
        .layer(BodyLimitLayer::new(10));
    for (body, status) in [
        (Body::from("0123456789"), 200),
        (Body::from("0123456789x"), 413),
        (streamed(&["0123456789"]), 200),
        (streamed(&["0123456789", "x"]), 413),
    ] {
        let response = app.clone().oneshot(Request::new(body)).await.unwrap();
        assert_eq!(response.status(), status);
    }
}
