//! Above the rescue there are only answers.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::error::{Failure, UpstreamError};
use a3s_layers::rescue::RescueLayer;
use axum::body::Body;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use std::future::ready;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_test::mock;

const ALL: [(Failure, u16, &str); 8] = [
    (Failure::Connect, 502, "14"),
    (Failure::ConnectTimeout, 504, "4"),
    (Failure::Reset, 502, "14"),
    (Failure::ResponseTimeout, 504, "4"),
    (Failure::Unavailable, 503, "14"),
    (Failure::RequestBody, 400, "13"),
    (Failure::RequestTimeout, 408, "4"),
    (Failure::BodyTooLarge, 413, "8"),
];

fn request() -> Request<Body> {
    Request::new(Body::empty())
}

async fn answer_to(request: Request<Body>, error: impl Into<BoxError>) -> Response<Body> {
    let mut error = Some(error.into());
    let failing = service_fn(move |_: Request<Body>| {
        ready(Err::<Response<Body>, _>(error.take().expect("one request")))
    });
    let service = RescueLayer::new().layer(failing);
    service.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn each_failure_has_its_status_and_is_left_as_an_extension() {
    for (failure, status, _) in ALL {
        let response = answer_to(request(), UpstreamError::from(failure)).await;
        assert_eq!(response.status(), status, "{failure:?}");
        assert_eq!(response.extensions().get(), Some(&failure));
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_grpc_client_is_told_in_its_own_way() {
    for (failure, _, code) in ALL {
        let mut request = request();
        let headers = request.headers_mut();
        headers.insert("content-type", "application/grpc+proto".parse().unwrap());
        let response = answer_to(request, UpstreamError::from(failure)).await;
        assert_eq!(response.status(), StatusCode::OK, "{failure:?}");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], code, "{failure:?}");
        assert_eq!(response.headers()["grpc-message"], failure.message());
        assert_eq!(response.extensions().get(), Some(&failure));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "{failure:?}");
    }
}

#[tokio::test]
async fn a_connection_ends_where_its_body_is_out_of_step_and_only_below_http_2() {
    for (failure, ..) in ALL {
        let is_of_body = failure.is_of_request_body();
        for (version, has_one_request) in [
            (Version::HTTP_10, true),
            (Version::HTTP_11, true),
            (Version::HTTP_2, false),
            (Version::HTTP_3, false),
        ] {
            let mut request = request();
            *request.version_mut() = version;
            let response = answer_to(request, UpstreamError::from(failure)).await;
            let expected = (is_of_body && has_one_request).then_some("close");
            let connection = response.headers().get("connection");
            let connection = connection.map(|value| value.to_str().unwrap());
            assert_eq!(connection, expected, "{failure:?} {version:?}");
        }
    }
}

#[tokio::test]
async fn only_a_503_says_when_to_come_again() {
    for (failure, status, _) in ALL {
        let response = answer_to(request(), UpstreamError::from(failure)).await;
        let says = response.headers().contains_key("retry-after");
        assert_eq!(says, status == 503, "{failure:?}");
    }
}

#[tokio::test]
async fn an_unknown_error_is_a_502_that_does_not_tell_its_cause() {
    let response = answer_to(request(), "10.0.0.1:80 said something odd").await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.extensions().get(), Some(&Failure::Reset));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let expected = "{\"error\":\"the upstream server failed\",\"status\":502}\n";
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_failure_is_found_under_the_errors_that_wrap_it() {
    let inner = UpstreamError::new(Failure::ConnectTimeout, "cause");
    let outer = std::io::Error::other(std::io::Error::other(inner));
    let response = answer_to(request(), outer).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    // The outermost says it where two do.
    let inner = UpstreamError::from(Failure::Reset);
    let response = answer_to(request(), UpstreamError::new(Failure::RequestBody, inner)).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_service_that_fails_to_be_ready_is_answered_for() {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let service = RescueLayer::new().layer(service);
    handle.send_error(UpstreamError::from(Failure::Unavailable));
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.extensions().get(), Some(&Failure::Unavailable));
}

#[tokio::test]
async fn an_answer_goes_through_untouched() {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let service = RescueLayer::new().layer(service);
    let upstream = async {
        let (_, answer) = handle.next_request().await.unwrap();
        let theirs = Response::builder().status(502).body(Body::from("theirs"));
        answer.send_response(theirs.unwrap());
    };
    let (response, ()) = tokio::join!(service.oneshot(request()), upstream);
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.extensions().get::<Failure>(), None);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "theirs");
}
