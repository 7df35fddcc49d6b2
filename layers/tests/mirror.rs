//! Copies that nobody waits for.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::error::{Failure, UpstreamError};
use a3s_layers::failover::FailoverLayer;
use a3s_layers::mirror::{MAX_ANSWER, Mark, MirrorLayer, MirrorTold, UnmarkLayer};
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use a3s_layers::rescue::RescueLayer;
use a3s_layers::retry::RetryLayer;
use a3s_layers::trailers::TrailerGuard;
use axum::body::{Body, Bytes};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_test::task;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

type Service = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;
type Copies = UnboundedReceiver<Request<Bytes>>;

/// A service that tells of each request that it gets, with its body, and answers so.
fn tells(answer: fn() -> Body) -> (Service, Copies) {
    let (told, copies) = unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let told = told.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let _ = told.send(Request::from_parts(head, body));
            Ok::<_, BoxError>(Response::new(answer()))
        }
    });
    (BoxCloneSyncService::new(service), copies)
}

fn never() -> Service {
    BoxCloneSyncService::new(service_fn(|_| std::future::pending()))
}

/// Reads the request to its end and answers with its body.
fn echo() -> Service {
    BoxCloneSyncService::new(service_fn(|request: Request<Body>| async {
        let body = request.into_body().collect().await?;
        Ok(Response::new(Body::from(body.to_bytes())))
    }))
}

async fn until(layer: &MirrorLayer<Service>, holds: impl Fn(MirrorTold) -> bool) {
    let wait = async {
        while !holds(layer.counts().told()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    assert!(waited.is_ok(), "{:?}", layer.counts().told());
}

fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/a?b=c").body(body.into()).unwrap()
}

#[tokio::test]
async fn a_copy_is_what_the_request_was_but_for_what_is_left_out() {
    let (shadow, mut copies) = tells(Body::empty);
    let layer = MirrorLayer::new(shadow).omit(["authorization".parse().unwrap()]);
    let (primary, mut originals) = tells(|| Body::from("answer"));
    let service = layer.layer(primary);
    let mut request = post("hello");
    let headers = request.headers_mut();
    for (name, value) in [
        ("authorization", "Basic x"),
        ("cookie", "a=b"),
        ("content-length", "5"),
        ("x-mirrored", "0"),
        ("x-twice", "1"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    headers.append("x-twice", "2".parse().unwrap());
    let peer = Peer::new(
        "192.0.2.1:1".parse().unwrap(),
        80,
        false,
        &TrustedProxies::default(),
    );
    let client = Client::of(Arc::new(peer), &HeaderMap::new());
    request.extensions_mut().insert(client);
    request.extensions_mut().insert("its own");
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "answer"
    );

    let original = originals.recv().await.unwrap();
    assert!(
        !original.headers().contains_key(Mark::NAME),
        "a client cannot mark"
    );
    assert!(original.headers().contains_key("authorization"));
    let copy = copies.recv().await.unwrap();
    assert_eq!(copy.method(), "POST");
    assert_eq!(copy.uri(), "/a?b=c");
    assert_eq!(copy.body(), "hello");
    assert_eq!(copy.headers()[Mark::NAME], "1");
    assert_eq!(copy.headers()["cookie"], "a=b");
    assert_eq!(copy.headers().get_all("x-twice").iter().count(), 2);
    assert!(!copy.headers().contains_key("authorization"));
    assert!(copy.extensions().get::<Client>().is_some());
    assert!(copy.extensions().get::<&str>().is_none());
    until(&layer, |told| told.answered == 1 && told.in_flight == 0).await;
}

#[tokio::test]
async fn a_body_is_copied_as_it_streams_and_nobody_waits_for_the_copy() {
    let (shadow, mut copies) = tells(Body::empty);
    let service = MirrorLayer::new(shadow).layer(echo());
    let (mut feed, body) = Channel::<Bytes, BoxError>::new(1);
    let mut answer = task::spawn(service.oneshot(post(Body::new(body))));
    for piece in ["one ", "two ", "three"] {
        feed.send_data(piece.into()).await.unwrap();
        assert!(answer.poll().is_pending());
        assert!(copies.try_recv().is_err(), "not before the end");
    }
    drop(feed);
    let answer = answer.await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "one two three"
    );
    assert_eq!(copies.recv().await.unwrap().body(), "one two three");
}

#[tokio::test]
async fn what_comes_of_the_copy_is_no_matter_of_the_request() {
    let fails = service_fn(|_| ready(Err::<Response<Body>, BoxError>("down".into())));
    let breaks = service_fn(|_| {
        let body = Body::new(Channel::<Bytes, BoxError>::new(1).1);
        ready(Ok::<_, BoxError>(
            Response::builder().status(500).body(body).unwrap(),
        ))
    });
    let panics = service_fn(|_| async { panic!("a bug") });
    for (shadow, failed) in [
        (BoxCloneSyncService::new(fails), 1),
        (BoxCloneSyncService::new(breaks), 0),
        (BoxCloneSyncService::new(panics), 0),
    ] {
        let layer = MirrorLayer::new(shadow);
        let answer = layer.layer(echo()).oneshot(post("hello")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        until(&layer, |told| told.in_flight == 0).await;
        assert_eq!(layer.counts().told().failed, failed);
    }
}

#[tokio::test(start_paused = true)]
async fn copies_that_hang_are_bounded_in_number_and_time_and_the_rest_is_dropped() {
    let (told, mut asked) = unbounded_channel();
    let hangs = service_fn(move |_| {
        let _ = told.send(());
        std::future::pending()
    });
    let layer = MirrorLayer::new(BoxCloneSyncService::new(hangs))
        .max_in_flight(3)
        .timeout(Duration::from_secs(7));
    let service = layer.layer(echo());
    for _ in 0..10 {
        service.clone().oneshot(post("hello")).await.unwrap();
    }
    for _ in 0..3 {
        asked.recv().await.unwrap();
    }
    let told = layer.counts().told();
    assert_eq!((told.in_flight, told.dropped_full), (3, 7));
    tokio::time::advance(Duration::from_millis(6_999)).await;
    assert_eq!(layer.counts().told().in_flight, 3);
    until(&layer, |told| told.in_flight == 0 && told.failed == 3).await;
    service.oneshot(post("hello")).await.unwrap();
    assert_eq!(layer.counts().told().in_flight, 1);
}

#[tokio::test]
async fn there_is_no_copy_of_what_is_too_long_or_broken_off_or_not_read() {
    let (shadow, mut copies) = tells(Body::empty);
    let layer = MirrorLayer::new(shadow).max_body(5);
    let ask = |body: Body| layer.layer(echo()).oneshot(post(body));

    assert_eq!(ask(Body::from("12345")).await.unwrap().status(), 200);
    assert_eq!(copies.recv().await.unwrap().body(), "12345");
    // Known beforehand, and not.
    let answer = ask(Body::from("123456")).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "123456"
    );
    let (mut feed, body) = Channel::<Bytes, BoxError>::new(2);
    feed.send_data("1234".into()).await.unwrap();
    feed.send_data("56".into()).await.unwrap();
    drop(feed);
    let answer = ask(Body::new(body)).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "123456"
    );
    assert_eq!(layer.counts().told().dropped_too_large, 2);

    let (mut feed, body) = Channel::<Bytes, BoxError>::new(2);
    feed.send_data("12".into()).await.unwrap();
    feed.abort("broken off".into());
    assert!(ask(Body::new(body)).await.is_err());
    let (mut feed, body) = Channel::<Bytes, BoxError>::new(2);
    feed.send_data("12".into()).await.unwrap();
    feed.send_trailers(HeaderMap::new()).await.unwrap();
    drop(feed);
    ask(Body::new(body)).await.unwrap();
    let hasty =
        service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(Body::empty()))));
    let (_feed, body) = Channel::<Bytes, BoxError>::new(2);
    layer
        .layer(hasty)
        .oneshot(post(Body::new(body)))
        .await
        .unwrap();
    let told = layer.counts().told();
    assert_eq!((told.dropped_incomplete, told.in_flight), (3, 0));
    assert!(copies.try_recv().is_err());
}

#[tokio::test]
async fn an_endless_answer_is_broken_off() {
    struct Endless;
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            let data = Bytes::from_static(&[0; MAX_ANSWER / 4]);
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(data))))
        }
    }
    let shadow =
        service_fn(|_: Request<Body>| ready(Ok::<_, BoxError>(Response::new(Body::new(Endless)))));
    let layer = MirrorLayer::new(BoxCloneSyncService::new(shadow));
    layer.layer(echo()).oneshot(post("x")).await.unwrap();
    until(&layer, |told| told.answered == 1 && told.in_flight == 0).await;
}

#[tokio::test]
async fn upgrades_are_for_one() {
    let (shadow, mut copies) = tells(Body::empty);
    let service = MirrorLayer::new(shadow).layer(echo());
    for (method, upgrade) in [("CONNECT", None), ("GET", Some("websocket"))] {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse().unwrap();
        if let Some(upgrade) = upgrade {
            request
                .headers_mut()
                .insert("upgrade", upgrade.parse().unwrap());
        }
        service.clone().oneshot(request).await.unwrap();
    }
    service.oneshot(post("the first")).await.unwrap();
    assert_eq!(copies.recv().await.unwrap().body(), "the first");
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = MirrorLayer::new(never()).percentage(50).max_in_flight(3);
    let (one, two) = (layer.layer(echo()), layer.layer(echo()));
    for _ in 0..5 {
        one.clone().oneshot(post("")).await.unwrap();
        two.clone().oneshot(post("")).await.unwrap();
    }
    let told = layer.counts().told();
    assert_eq!(
        (told.in_flight, told.dropped_full),
        (3, 2),
        "every second of ten"
    );
}

/// A request that says that it is a copy, in every way there is.
fn forged() -> Request<Body> {
    let mut request = post("body");
    request.extensions_mut().insert(TrailerGuard::new());
    for name in ["x-mirrored", "x_mirrored"] {
        request.headers_mut().append(name, "1".parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_client_cannot_pass_for_a_copy_and_a_copy_stays_one() {
    // Copies come to a service that has a mirror of its own, and from there to one that clients can reach as well.
    let ((second, mut seconds), (last, mut lasts)) = (tells(Body::empty), tells(Body::empty));
    let last = BoxCloneSyncService::new(UnmarkLayer::new().layer(last));
    let second = MirrorLayer::new(last.clone()).layer(second);
    let second = BoxCloneSyncService::new(second);
    let (first, mut firsts) = tells(Body::empty);
    let first = MirrorLayer::new(second.clone()).layer(first);

    first.oneshot(forged()).await.unwrap();
    let own = firsts.recv().await.unwrap();
    assert!(own.headers().is_empty(), "{:?}", own.headers());
    let mut trailers = HeaderMap::new();
    trailers.insert(Mark::NAME, "1".parse().unwrap());
    own.extensions()
        .get::<TrailerGuard>()
        .unwrap()
        .strip(&mut trailers);
    assert!(trailers.is_empty());
    for copies in [&mut seconds, &mut lasts] {
        let copy = copies.recv().await.unwrap();
        assert_eq!(copy.headers()[Mark::NAME], "1");
    }
    // Who goes there by themselves.
    last.oneshot(forged()).await.unwrap();
    assert!(lasts.recv().await.unwrap().headers().is_empty());
    second.oneshot(forged()).await.unwrap();
    assert!(seconds.recv().await.unwrap().headers().is_empty());
    let copy = lasts.recv().await.unwrap();
    assert_eq!(copy.headers()[Mark::NAME], "1");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_time_does_not_keep_the_place_of_a_copy() {
    let (shadow, mut copies) = tells(Body::empty);
    let layer = MirrorLayer::new(shadow)
        .max_in_flight(1)
        .timeout(Duration::from_secs(5));
    let (mut feed, body) = Channel::<Bytes>::new(4);
    let mut asked = task::spawn(layer.layer(echo()).oneshot(post(Body::new(body))));
    feed.send_data("slow".into()).await.unwrap();
    assert!(asked.poll().is_pending());
    assert_eq!(layer.counts().told().in_flight, 1);
    tokio::time::sleep(Duration::from_millis(5_001)).await;
    assert!(asked.is_woken() && asked.poll().is_pending());
    let told = layer.counts().told();
    assert_eq!((told.in_flight, told.dropped_incomplete), (0, 1));
    // The request itself goes on, and others have their copies.
    feed.send_data("ly".into()).await.unwrap();
    drop(feed);
    let answer = asked.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.to_bytes(), "slowly");
    layer.layer(echo()).oneshot(post("fast")).await.unwrap();
    assert_eq!(copies.recv().await.unwrap().body(), "fast");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_once_more_is_copied_once() {
    let (shadow, mut copies) = tells(Body::empty);
    let layer = MirrorLayer::new(shadow);
    let unwell = service_fn(|request: Request<Body>| async {
        request.into_body().collect().await?;
        Ok::<_, BoxError>(Response::builder().status(503).body(Body::empty())?)
    });
    let retried = ServiceBuilder::new()
        .layer(RetryLayer::new().max_retries(2).non_idempotent(true))
        .layer(RescueLayer::new())
        .layer(layer.clone())
        .service(unwell);
    retried.oneshot(post("again")).await.unwrap();
    // A failover below reads the same body.
    let breaks = service_fn(|request: Request<Body>| async {
        let _ = request.into_body().frame().await;
        Err::<Response<Body>, BoxError>(UpstreamError::from(Failure::Reset).into())
    });
    let failing = layer.layer(FailoverLayer::new(echo()).layer(breaks));
    let mut put = post("elsewhere");
    *put.method_mut() = http::Method::PUT;
    failing.oneshot(put).await.unwrap();
    until(&layer, |told| told.answered == 2).await;
    assert_eq!(copies.recv().await.unwrap().body(), "again");
    assert_eq!(copies.recv().await.unwrap().body(), "elsewhere");
    assert!(copies.try_recv().is_err());
}
