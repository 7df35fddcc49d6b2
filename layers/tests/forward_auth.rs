//! `auth::forward_auth` from outside.

#![cfg(feature = "forward-auth")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::auth::forward_auth::{Cache, ForwardAuthLayer, Part};
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

type Auth = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// An authentication service that remembers the questions, and the answers that it gives.
#[derive(Clone, Default)]
struct Questions(Arc<Mutex<Vec<Request<Body>>>>);

impl Questions {
    fn answering<F, A>(&self, answer: A) -> Auth
    where
        A: Fn(&Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
    {
        let questions = Arc::clone(&self.0);
        BoxCloneSyncService::new(service_fn(move |question: Request<Body>| {
            let answer = answer(&question);
            questions.lock().unwrap().push(question);
            answer
        }))
    }

    fn with(&self, answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> Auth {
        self.answering(move |_| ready(Ok(answer())))
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn last(&self) -> Request<Body> {
        self.0.lock().unwrap().pop().unwrap()
    }
}

fn yes() -> Response<Body> {
    Response::new(Body::empty())
}

fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body)).unwrap()
}

fn layer(auth: Auth) -> ForwardAuthLayer<Auth> {
    ForwardAuthLayer::new(auth, "http://auth.internal:9000/check?x=1".parse().unwrap())
}

fn names(names: &[&str]) -> Vec<HeaderName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, value.parse().unwrap());
    }
    map
}

/// A request of 192.0.2.7, which may have come by a proxy that is trusted.
fn request(method: &str, target: &str, headers: &[(&str, &str)], by_proxy: bool) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = target.parse().unwrap();
    *request.headers_mut() = map(headers);
    let peer = if by_proxy { "10.0.0.1" } else { "192.0.2.7" };
    let peer = std::net::SocketAddr::new(peer.parse().unwrap(), 4711);
    let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    let peer = Arc::new(Peer::new(peer, 443, true, &trusted));
    let client = Client::of(peer, request.headers());
    request.extensions_mut().insert(client);
    request
}

fn get(headers: &[(&str, &str)]) -> Request<Body> {
    request("GET", "/", headers, false)
}

/// What the service below saw: an extension of its answer.
#[derive(Clone)]
struct Below(HeaderMap);

/// Answers with 200, and remembers what it saw.
fn below()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    service_fn(|request: Request<Body>| async move {
        let mut response = Response::new(Body::from("below"));
        let seen = Below(request.headers().clone());
        response.extensions_mut().insert(seen);
        Ok::<_, Infallible>(response)
    })
}

async fn ask(layer: &ForwardAuthLayer<Auth>, request: Request<Body>) -> Response<Body> {
    layer.layer(below()).oneshot(request).await.unwrap()
}

fn seen(response: &Response<Body>) -> &HeaderMap {
    &response.extensions().get::<Below>().expect("it passed").0
}

#[tokio::test]
async fn the_service_is_told_of_the_request() {
    let questions = Questions::default();
    let layer = layer(questions.with(yes));
    let headers = [
        ("host", "a.example:8443"),
        ("authorization", "Bearer ann"),
        ("cookie", "a=b"),
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("content-encoding", "gzip"),
        ("expect", "100-continue"),
        ("connection", "upgrade, x-hop"),
        ("x-hop", "1"),
        ("upgrade", "websocket"),
        ("te", "trailers"),
        ("if-none-match", "\"a\""),
        ("range", "bytes=0-1"),
    ];
    ask(&layer, request("POST", "/a/b?c=d", &headers, false)).await;
    let question = questions.last();
    assert_eq!(question.method(), "GET");
    assert_eq!(question.uri(), "http://auth.internal:9000/check?x=1");
    assert!(http_body::Body::is_end_stream(question.body()));
    let expected = map(&[
        ("authorization", "Bearer ann"),
        ("content-type", "text/plain"),
        ("cookie", "a=b"),
        ("host", "auth.internal:9000"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-host", "a.example:8443"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-uri", "/a/b?c=d"),
        ("x-real-ip", "192.0.2.7"),
    ]);
    assert_eq!(question.headers(), &expected);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_as_far_as_it_is_told() {
    let forwarded = [
        ("host", "a"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-for", "10.0.0.9"),
        ("x-forwarded-host", "b"),
        ("x-forwarded-method", "PUT"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-uri", "/b"),
        ("x-forwarded-port", "81"),
        ("forwarded", "for=192.0.2.7"),
        ("x_forwarded_uri", "/forged"),
        ("x-forwarded_client_cert", "forged"),
        ("x_real_ip", "192.0.2.66"),
        ("x-forwarded-client-cert", "the proxy's"),
    ];
    let plain = &["192.0.2.7", "a", "GET", "http", "/"];
    let handed_on = &["192.0.2.7, 10.0.0.9, 10.0.0.1", "b", "PUT", "http", "/b"];
    for (trusts, by_proxy, expected) in [
        (false, true, plain),
        (true, true, handed_on),
        // Nobody's proxy: a server of ours removes these before anybody sees them.
        (true, false, &["192.0.2.7", "a", "GET", "https", "/"]),
    ] {
        let questions = Questions::default();
        let layer = layer(questions.with(yes)).trust_forward_header(trusts);
        ask(&layer, request("GET", "/", &forwarded, by_proxy)).await;
        let question = questions.last();
        let told = ["for", "host", "method", "proto", "uri"].map(|name| {
            let lines = question.headers().get_all(format!("x-forwarded-{name}"));
            let lines: Vec<_> = lines.iter().map(|l| l.to_str().unwrap()).collect();
            lines.join("; ")
        });
        assert_eq!(told.each_ref().map(String::as_str), *expected);
        assert_eq!(question.headers()["x-real-ip"], "192.0.2.7");
        let names = question.headers().keys();
        assert_eq!(names.filter(|name| name.as_str().contains('_')).count(), 0);
        assert!(question.headers().contains_key("x-forwarded-client-cert"));
        let is_handed_on = trusts && by_proxy;
        assert_eq!(question.headers().contains_key("forwarded"), is_handed_on);
    }
}

#[tokio::test]
async fn of_a_client_that_nobody_knows_nothing_is_told() {
    let questions = Questions::default();
    let layer = layer(questions.with(yes)).trust_forward_header(true);
    let mut request = Request::get("/a").body(Body::empty()).unwrap();
    *request.headers_mut() = map(&[
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-uri", "/b"),
        ("x-forwarded-client-cert", "forged"),
        ("x-real-ip", "192.0.2.7"),
    ]);
    ask(&layer, request).await;
    let expected = map(&[
        ("host", "auth.internal:9000"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-uri", "/a"),
    ]);
    assert_eq!(questions.last().headers(), &expected);
}

#[tokio::test]
async fn only_some_headers_may_be_told() {
    let questions = Questions::default();
    let layer = layer(questions.with(yes)).request_headers(names(&["cookie", "upgrade", "x-none"]));
    let headers = [
        ("host", "a"),
        ("authorization", "Bearer ann"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
        ("upgrade", "websocket"),
    ];
    ask(&layer, get(&headers)).await;
    let question = questions.last();
    assert!(!question.headers().contains_key("authorization"));
    assert!(!question.headers().contains_key("upgrade"));
    assert_eq!(question.headers().get_all("cookie").iter().count(), 2);
    assert_eq!(question.headers()["x-forwarded-host"], "a");
}

#[tokio::test]
async fn headers_of_the_answer_are_copied_and_no_client_forges_them() {
    let forged = [
        ("x-user", "root"),
        ("x-user", "toor"),
        ("x_user", "root"),
        ("x-role", "admin"),
        ("x_role", "admin"),
        ("authorization", "Basic abc"),
        ("x-other", "kept"),
        ("content-length", "0"),
    ];
    let copied = names(&["x-user", "x-role", "authorization", "content-length"]);
    for (status, answered, expected) in [
        (
            200,
            &[
                ("x-user", "ann"),
                ("x-role", "a"),
                ("x-role", "b"),
                ("authorization", "Bearer internal"),
                ("content-length", "0"),
                ("x-more", "not asked for"),
            ][..],
            &[
                ("x-other", "kept"),
                ("content-length", "0"),
                ("x-user", "ann"),
                ("x-role", "a"),
                ("x-role", "b"),
                ("authorization", "Bearer internal"),
            ][..],
        ),
        (204, &[], &[("x-other", "kept"), ("content-length", "0")]),
        (
            299,
            &[("x-user", "")],
            &[("x-other", "kept"), ("content-length", "0"), ("x-user", "")],
        ),
    ] {
        let questions = Questions::default();
        let auth = questions.with(move || answer(status, answered, ""));
        let layer = layer(auth).response_headers(copied.clone());
        let response = ask(&layer, get(&forged)).await;
        assert_eq!(seen(&response), &map(expected), "{status}");
        // The service itself is shown what the client sent: `Authorization` may be what it judges by.
        assert_eq!(questions.last().headers()["authorization"], "Basic abc");
    }
}

#[tokio::test]
async fn any_other_answer_is_the_clients() {
    for status in [300, 302, 304, 400, 401, 403, 404, 500, 503] {
        let headers = &[
            ("location", "/login?to=%2F"),
            ("set-cookie", "a=b; Path=/"),
            ("set-cookie", "c=d"),
            ("www-authenticate", "Bearer realm=\"a\""),
            ("content-type", "text/html"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
        ];
        let auth = Questions::default().with(move || answer(status, headers, "no"));
        let response = ask(&layer(auth), get(&[])).await;
        assert_eq!(response.status(), status);
        assert!(response.extensions().is_empty());
        assert_eq!(response.headers(), &map(&headers[..5]));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "no");
    }
}

#[tokio::test]
async fn the_answer_to_a_head_has_no_body() {
    let headers = &[("content-length", "2")];
    let auth = Questions::default().with(|| answer(401, headers, "no"));
    let response = ask(&layer(auth), request("HEAD", "/", &[], false)).await;
    assert_eq!(response.headers()["content-length"], "2");
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

async fn assert_unavailable(response: Response<Body>) {
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let expected = "{\"error\":\"the authentication service cannot be asked\",\"status\":503}\n";
    assert_eq!(body, expected);
}

#[tokio::test(start_paused = true)]
async fn nobody_passes_where_nobody_can_be_asked() {
    let questions = Questions::default();
    let failing = questions.answering(|_| ready(Err("http://auth.internal: secret".into())));
    assert_unavailable(ask(&layer(failing), get(&[])).await).await;
    let stalled = questions.answering(|_| pending());
    assert_unavailable(ask(&layer(stalled), get(&[])).await).await;
    let switching = questions.with(|| answer(101, &[], ""));
    assert_unavailable(ask(&layer(switching), get(&[])).await).await;
    let unready = BoxCloneSyncService::new(Unready);
    assert_unavailable(ask(&layer(unready), get(&[])).await).await;
    let long = questions.with(|| answer(401, &[], "12345"));
    assert_unavailable(ask(&layer(long).max_answer_body(4), get(&[])).await).await;
}

/// A service that is never ready.
#[derive(Clone)]
struct Unready;

impl Service<Request<Body>> for Unready {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        unreachable!("it was not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_is_what_it_is_told_to_be() {
    for (timeout, delay, status) in [(2, 1, 200), (2, 3, 503), (5, 4, 200)] {
        let auth = Questions::default().answering(move |_| async move {
            tokio::time::sleep(Duration::from_secs(delay)).await;
            Ok(yes())
        });
        let layer = layer(auth).timeout(Duration::from_secs(timeout));
        assert_eq!(ask(&layer, get(&[])).await.status(), status);
    }
}

/// A body of these pieces, without a length; it pauses for ever after the last.
fn stalling(pieces: &'static [&'static str]) -> Body {
    let mut pieces = pieces.iter();
    let frames = poll_fn(move |_| match pieces.next() {
        Some(piece) => Poll::Ready(Bytes::from_static(piece.as_bytes())),
        None => Poll::Pending,
    });
    Body::new(Pieces(Box::pin(frames)))
}

struct Pieces(Pin<Box<dyn Future<Output = Bytes> + Send>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let piece = self.0.as_mut().poll(cx);
        piece.map(|piece| Some(Ok(http_body::Frame::data(piece))))
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_refusal_has_a_limit_and_may_not_stall() {
    let refusal = |pieces| {
        let auth = Questions::default().with(move || {
            let mut response = Response::new(stalling(pieces));
            *response.status_mut() = 401.try_into().unwrap();
            response
        });
        layer(auth).max_answer_body(4)
    };
    let long = refusal(&["123", "45"]);
    let mut body = ask(&long, get(&[])).await.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "123"
    );
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("longer than 4 bytes"), "{error}");
    let silent = refusal(&["123"]);
    let mut body = ask(&silent, get(&[])).await.into_body();
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("came to a halt"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_does_not_begin_is_none() {
    let refusing = |body: fn() -> Body| {
        let auth = Questions::default().with(move || {
            let mut response = Response::new(body());
            *response.status_mut() = 401.try_into().unwrap();
            response
        });
        layer(auth)
    };
    let broken = refusing(|| Body::new(Broken));
    assert_unavailable(ask(&broken, get(&[])).await).await;
    let begin = tokio::time::Instant::now();
    let silent = refusing(|| stalling(&[])).timeout(Duration::from_secs(2));
    assert_unavailable(ask(&silent, get(&[])).await).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
}

/// A body that breaks at its first frame.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Err("it broke".into())))
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_positive_answer_holds_nobody_up() {
    for body in [&[][..], &["a"], &["a", "b"]] {
        let auth = Questions::default().with(move || Response::new(stalling(body)));
        let begin = tokio::time::Instant::now();
        assert_eq!(ask(&layer(auth), get(&[])).await.status(), 200);
        assert_eq!(begin.elapsed(), Duration::from_millis(50));
    }
}

#[tokio::test]
async fn nothing_of_the_body_is_read_before_there_is_a_decision() {
    struct Unread;
    impl http_body::Body for Unread {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            unreachable!("nobody has asked for it")
        }
    }
    for status in [200, 401] {
        let auth = Questions::default().with(move || answer(status, &[], ""));
        let request = request("POST", "/", &[], false).map(|_| Body::new(Unread));
        assert_eq!(ask(&layer(auth), request).await.status(), status);
    }
}

#[tokio::test]
async fn so_many_wait_and_no_more_and_whoever_leaves_makes_room() {
    let questions = Questions::default();
    let layer = layer(questions.answering(|question| {
        let stalls = question.headers().contains_key("x-stall");
        async move { if stalls { pending().await } else { Ok(yes()) } }
    }));
    let layer = layer.max_in_flight(2);
    let stalled = || {
        let service = layer.layer(below());
        Box::pin(service.oneshot(get(&[("x-stall", "1")])))
    };
    let (mut first, mut second) = (stalled(), stalled());
    assert!(futures_poll(&mut first).await.is_pending());
    assert!(futures_poll(&mut second).await.is_pending());
    assert_unavailable(ask(&layer, get(&[])).await).await;
    assert_eq!(questions.count(), 2);
    drop(first);
    assert_eq!(ask(&layer, get(&[])).await.status(), 200);
    drop(second);
}

async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(pin!(&mut *future).poll(cx))).await
}

#[tokio::test]
async fn whoever_is_served_waits_no_more() {
    let layer = layer(Questions::default().with(yes)).max_in_flight(1);
    let slow = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let mut running = Box::pin(layer.layer(slow).oneshot(get(&[])));
    assert!(futures_poll(&mut running).await.is_pending());
    assert_eq!(ask(&layer, get(&[])).await.status(), 200);
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let questions = Questions::default();
    let layer = layer(questions.with(yes)).cache(cache(60));
    for _ in 0..2 {
        let request = get(&[("authorization", "a")]);
        assert_eq!(ask(&layer, request).await.status(), 200);
    }
    assert_eq!(questions.count(), 1);
    let stalled = self::layer(questions.answering(|_| pending())).max_in_flight(1);
    let mut first = Box::pin(stalled.layer(below()).oneshot(get(&[])));
    assert!(futures_poll(&mut first).await.is_pending());
    assert_unavailable(ask(&stalled, get(&[])).await).await;
}

fn cache(secs: u64) -> Cache {
    let credential = "header:Authorization".parse().unwrap();
    Cache::new(credential, Duration::from_secs(secs))
}

/// How many questions are asked for two requests, one after the other.
async fn questions_for(cache: Cache, first: Request<Body>, second: Request<Body>) -> usize {
    let questions = Questions::default();
    let layer = layer(questions.with(yes)).cache(cache);
    for request in [first, second] {
        assert_eq!(ask(&layer, request).await.status(), 200);
    }
    questions.count()
}

#[tokio::test]
async fn an_answer_is_for_one_credential_and_one_kind_of_request() {
    const ANN: &[(&str, &str)] = &[("authorization", "ann"), ("host", "a")];
    let default = || cache(60);
    let by = |parts: &[Part]| cache(60).parts(parts.to_vec());
    let all = |target| request("GET", target, ANN, false);
    let with = |headers| request("GET", "/", headers, false);
    for (what, cache, second, count) in [
        ("the same", default(), all("/"), 1),
        (
            "a header more",
            default(),
            with(&[("authorization", "ann"), ("host", "a"), ("x", "y")]),
            1,
        ),
        ("another path", default(), all("/b"), 2),
        ("another query", default(), all("/?b"), 2),
        (
            "another method",
            default(),
            request("POST", "/", ANN, false),
            2,
        ),
        (
            "another host",
            default(),
            with(&[("authorization", "ann"), ("host", "b")]),
            2,
        ),
        (
            "another one's",
            default(),
            with(&[("authorization", "bob"), ("host", "a")]),
            2,
        ),
        (
            "two of them",
            default(),
            with(&[
                ("authorization", "a"),
                ("authorization", "nn"),
                ("host", "a"),
            ]),
            2,
        ),
        ("nobody's", default(), with(&[("host", "a")]), 2),
        (
            "an empty one",
            default(),
            with(&[("authorization", ""), ("host", "a")]),
            2,
        ),
        ("any path", by(&[]), all("/b"), 1),
        (
            "any path, another's",
            by(&[]),
            with(&[("authorization", "bob")]),
            2,
        ),
        ("any query", by(&[Part::Path]), all("/?b"), 1),
        ("any query, another path", by(&[Part::Path]), all("/b"), 2),
        (
            "any path, another host",
            by(&[Part::Host]),
            with(&[("authorization", "ann"), ("host", "b")]),
            2,
        ),
        ("of one client", by(&[Part::ClientIp]), all("/b"), 1),
        (
            "by a proxy",
            by(&[Part::ClientIp]),
            request("GET", "/", ANN, true),
            2,
        ),
        (
            "by a header",
            by(&[Part::Header("x".parse().unwrap())]),
            with(&[("authorization", "ann"), ("x", "")]),
            2,
        ),
    ] {
        let found = questions_for(cache, all("/"), second).await;
        assert_eq!(found, count, "{what}");
    }
}

#[tokio::test]
async fn a_cookie_may_be_the_credential() {
    let cache = || Cache::new("cookie:session".parse().unwrap(), Duration::from_secs(60));
    for (first, second, count) in [
        ("session=ann; a=1", "b=2; session=ann", 1),
        ("session=ann", "session=bob", 2),
        ("session=ann", "xsession=ann", 2),
        ("session=ann", "session=ann; session=bob", 2),
        ("a=1", "a=1", 2),
        ("session=", "session=", 2),
    ] {
        let request = |cookie| get(&[("cookie", cookie)]);
        let found = questions_for(cache(), request(first), request(second)).await;
        assert_eq!(found, count, "{first} then {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_remembered_for_so_long() {
    for (answered, elapsed, count) in [
        (&[][..], 59, 1),
        (&[], 60, 2),
        (&[("cache-control", "private, max-age=10")], 9, 1),
        (&[("cache-control", "max-age=10")], 10, 2),
        (&[("cache-control", "max-age=1000")], 60, 2),
        (&[("cache-control", "no-store")], 0, 2),
        (&[("cache-control", "no-cache")], 0, 2),
        (&[("cache-control", "max-age=0")], 0, 2),
    ] {
        let questions = Questions::default();
        let layer = layer(questions.with(move || answer(200, answered, ""))).cache(cache(60));
        let request = || get(&[("authorization", "ann")]);
        ask(&layer, request()).await;
        tokio::time::advance(Duration::from_secs(elapsed)).await;
        ask(&layer, request()).await;
        assert_eq!(questions.count(), count, "{answered:?} after {elapsed}");
    }
}

#[tokio::test]
async fn only_positive_answers_are_remembered_with_what_was_copied() {
    let questions = Questions::default();
    let auth = questions.answering(|question| {
        let is_ann = question.headers()["authorization"] == "ann";
        ready(Ok(match is_ann {
            true => answer(200, &[("x-user", "ann"), ("x-user", "anna")], ""),
            false => answer(401, &[], ""),
        }))
    });
    let layer = layer(auth)
        .response_headers(names(&["x-user"]))
        .cache(cache(60));
    for _ in 0..3 {
        let request = get(&[
            ("authorization", "ann"),
            ("x-user", "root"),
            ("x_user", "root"),
        ]);
        let response = ask(&layer, request).await;
        let expected = map(&[
            ("authorization", "ann"),
            ("x-user", "ann"),
            ("x-user", "anna"),
        ]);
        assert_eq!(seen(&response), &expected);
    }
    assert_eq!(questions.count(), 1);
    for _ in 0..3 {
        let request = get(&[("authorization", "bob")]);
        assert_eq!(ask(&layer, request).await.status(), 401);
    }
    assert_eq!(questions.count(), 4);
}

#[tokio::test]
async fn so_many_answers_are_remembered_and_no_more() {
    for max in [0, 1, 5, 100] {
        let questions = Questions::default();
        let layer = layer(questions.with(yes)).cache(cache(60).max_entries(max));
        let request = |n: usize| get(&[("authorization", &n.to_string())]);
        for n in 0..1000 {
            ask(&layer, request(n)).await;
        }
        assert_eq!(questions.count(), 1000);
        // None of these puts another one in place of what is left to be counted.
        let layer = layer.max_in_flight(0);
        let mut known = 0;
        for n in 0..1000 {
            known += usize::from(ask(&layer, request(n)).await.status() == 200);
        }
        assert!(known <= max, "{known} of {max}");
        assert!(max == 0 || known > 0);
    }
}

#[tokio::test]
async fn an_answer_with_much_to_copy_is_not_remembered() {
    for (length, count) in [(4000, 1), (5000, 2)] {
        let questions = Questions::default();
        let value = "a".repeat(length);
        let auth = questions.with(move || answer(200, &[("x-user", &value)], ""));
        let layer = layer(auth)
            .response_headers(names(&["x-user"]))
            .cache(cache(60));
        for _ in 0..2 {
            let response = ask(&layer, get(&[("authorization", "ann")])).await;
            assert_eq!(seen(&response)["x-user"].len(), length);
        }
        assert_eq!(questions.count(), count);
    }
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    /// It may be called only where it was polled.
    struct Polled(bool);
    impl Clone for Polled {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Service<Request<Body>> for Polled {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(std::mem::take(&mut self.0), "called before it was ready");
            ready(Ok(Response::new(Body::empty())))
        }
    }
    let layer = layer(Questions::default().with(yes)).cache(cache(60));
    let mut service = layer.layer(Polled(false));
    for _ in 0..3 {
        let request = get(&[("authorization", "ann")]);
        let response = service.ready().await.unwrap().call(request).await;
        assert_eq!(response.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_url_without_a_server_is_asked_as_it_is() {
    let questions = Questions::default();
    let layer = ForwardAuthLayer::new(questions.with(yes), "/check".parse().unwrap());
    ask(&layer, get(&[("host", "a")])).await;
    let question = questions.last();
    assert_eq!(question.uri(), "/check");
    assert!(!question.headers().contains_key("host"));
}
