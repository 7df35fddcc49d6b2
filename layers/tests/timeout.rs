//! `timeout` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::error::Failure;
use a3s_layers::timeout::TimeoutLayer;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Channel};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn an_answer_must_begin_in_time() {
    for (takes, status) in [(0, 200), (4_999, 200), (5_002, 504), (1 << 40, 504)] {
        let service = service_fn(move |_: Request<Body>| async move {
            sleep(Duration::from_millis(takes)).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let start = Instant::now();
        let service = TimeoutLayer::new(LIMIT).layer(service);
        let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), status, "{takes}");
        assert!(start.elapsed() <= LIMIT + Duration::from_millis(2));
        let failure = response.extensions().get();
        assert_eq!(
            failure,
            (status == 504).then_some(&Failure::ResponseTimeout)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_too_late_is_told_in_its_own_words() {
    for (name, value, content_type, body) in [
        (
            "accept",
            "*/*",
            "application/json",
            "{\"error\":\"the upstream server took too long\",\"status\":504}\n",
        ),
        (
            "accept",
            "text/plain",
            "text/plain; charset=utf-8",
            "the upstream server took too long\n",
        ),
        ("content-type", "application/grpc", "application/grpc", ""),
    ] {
        let service = service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let service = TimeoutLayer::new(LIMIT).layer(service);
        let request = Request::get("/")
            .header(name, value)
            .body(Body::empty())
            .unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], content_type);
        let read = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read, body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_late_is_told_so_and_a_server_that_does_not_read_is_late_itself() {
    // How much of the body the service reads, what the client sends of it, and whether it ends it.
    for (reads, sends, ends, status) in [
        (9, 0, false, 408),
        (9, 2, false, 408),
        (2, 2, false, 504),
        (1, 2, false, 504),
        (0, 0, false, 504),
        (9, 2, true, 504),
        (9, 0, true, 504),
    ] {
        let service = service_fn(move |request: Request<Body>| async move {
            let mut body = request.into_body();
            for _ in 0..reads {
                if body.frame().await.is_none() {
                    break;
                }
            }
            std::future::pending::<Result<Response<Body>, Infallible>>().await
        });
        let (mut feed, body) = Channel::<Bytes>::new(9);
        for _ in 0..sends {
            feed.send_data("x".into()).await.unwrap();
        }
        let feed = Some(feed).filter(|_| !ends);
        let service = TimeoutLayer::new(LIMIT).layer(service);
        let response = service.oneshot(Request::new(body)).await.unwrap();
        assert_eq!(response.status(), status, "{reads} {sends} {ends}");
        let failure = match status {
            408 => Failure::RequestTimeout,
            _ => Failure::ResponseTimeout,
        };
        assert_eq!(response.extensions().get(), Some(&failure));
        // The rest of the body, when it comes, is no request.
        let closes = response.headers().contains_key("connection");
        assert_eq!(closes, status == 408);
        drop(feed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_work_below_is_dropped() {
    let work = Arc::new(());
    let service = service_fn({
        let work = Arc::clone(&work);
        move |_: Request<Body>| {
            let work = Arc::clone(&work);
            async move {
                let _held = work;
                std::future::pending::<Result<Response<Body>, Infallible>>().await
            }
        }
    });
    let layer = TimeoutLayer::new(LIMIT);
    let mut asking = Box::pin(
        layer
            .layer(service.clone())
            .oneshot(Request::new(Body::empty())),
    );
    let held = Arc::strong_count(&work);
    assert_eq!((&mut asking).await.unwrap().status(), 504);
    assert!(Arc::strong_count(&work) <= held);
    drop((asking, service));
    assert_eq!(Arc::strong_count(&work), 1);
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_answer_may_take_longer() {
    let service = service_fn(|_: Request<Body>| async {
        let (mut feed, body) = Channel::<Bytes>::new(1);
        tokio::spawn(async move {
            for _ in 0..3 {
                sleep(LIMIT).await;
                feed.send_data("x".into()).await.unwrap();
            }
        });
        Ok::<_, Infallible>(Response::new(body))
    });
    let service = TimeoutLayer::new(LIMIT).layer(service);
    let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "xxx");
}

#[tokio::test(start_paused = true)]
async fn an_axum_app_can_use_it() {
    let app = axum::Router::new()
        .fallback(std::future::pending::<()>)
        .layer(TimeoutLayer::new(LIMIT));
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), 504);
}

/// A body of so many pieces, one after each pause, and whether it has ended.
fn pieces(count: usize, pause: Duration) -> (Body, Arc<()>) {
    let ended = Arc::new(());
    let held = Arc::clone(&ended);
    let (mut feed, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        let _held = held;
        for _ in 0..count {
            sleep(pause).await;
            if feed.send_data("x".into()).await.is_err() {
                return;
            }
        }
    });
    (Body::new(body), ended)
}

/// What comes of a body: its bytes, and how it failed.
async fn read(mut body: Body) -> (usize, Option<Failure>) {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => length += frame.into_data().unwrap().len(),
            Err(error) => {
                assert!(body.is_end_stream());
                assert!(body.frame().await.is_none());
                return (length, Some(Failure::of(&error)));
            }
        }
    }
    (length, None)
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_must_end_in_time() {
    // The head takes a second, and each piece a little more.
    for (count, length, failure) in [
        (0, 0, None),
        (3, 3, None),
        (4, 3, Some(Failure::ResponseTimeout)),
        (1_000_000, 3, Some(Failure::ResponseTimeout)),
    ] {
        let (body, feeding) = pieces(count, Duration::from_millis(1_300));
        let body = Arc::new(std::sync::Mutex::new(Some(body)));
        let service = service_fn(move |_: Request<Body>| {
            let body = body.lock().unwrap().take().unwrap();
            async move {
                sleep(Duration::from_secs(1)).await;
                Ok::<_, Infallible>(Response::new(body))
            }
        });
        let start = Instant::now();
        let service = TimeoutLayer::whole(LIMIT).layer(service);
        let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            read(response.into_body()).await,
            (length, failure),
            "{count}"
        );
        if failure.is_some() {
            let late = start.elapsed().saturating_sub(LIMIT);
            assert!(late <= Duration::from_millis(2), "{late:?}");
        }
        // The work goes with it.
        sleep(Duration::from_secs(2)).await;
        assert_eq!(Arc::strong_count(&feeding), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_after_a_101_is_no_answer_that_is_late() {
    let service = service_fn(|_: Request<Body>| async {
        let (body, _feeding) = pieces(4, LIMIT);
        let switched = Response::builder().status(101);
        Ok::<_, Infallible>(switched.body(body).unwrap())
    });
    let service = TimeoutLayer::whole(LIMIT).layer(service);
    let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(read(response.into_body()).await, (4, None));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_always_ready_and_never_ends_is_cut() {
    struct Endless;
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data("x".into()))))
        }
    }
    let service =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Endless)) });
    let service = TimeoutLayer::whole(LIMIT).layer(service);
    let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    tokio::time::advance(LIMIT).await;
    let (_, failure) = read(body).await;
    assert_eq!(failure, Some(Failure::ResponseTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_must_begin_in_time_as_well() {
    let service =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let service = TimeoutLayer::whole(LIMIT).layer(service);
    let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), 504);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(!body.is_empty());
}
