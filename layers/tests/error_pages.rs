//! `error_pages` from outside.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::error::Failure;
use a3s_layers::error_pages::{ErrorPagesLayer, PageQuery};
use a3s_layers::peer::{Client, Peer, TrustedProxies};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

type Lines = &'static [(&'static str, &'static str)];
type Head = http::request::Parts;
type Maker = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

fn map(lines: Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn response(status: u16, lines: Lines, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = map(lines);
    response
}

/// A maker of pages that answers with what `page` makes, and the requests that it saw.
fn pages<F>(page: impl Fn() -> F + Clone + Send + Sync + 'static) -> (Maker, Arc<Mutex<Vec<Head>>>)
where
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let seen: Arc<Mutex<Vec<Head>>> = Arc::default();
    let log = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Body>| {
        let (head, body) = request.into_parts();
        assert!(http_body::Body::is_end_stream(&body), "it is shown no body");
        log.lock().unwrap().push(head);
        page()
    });
    (Maker::new(service), seen)
}

fn page() -> (Maker, Arc<Mutex<Vec<Head>>>) {
    pages(|| async {
        Ok(response(
            200,
            &[
                ("content-type", "text/html"),
                ("content-length", "4"),
                ("content-security-policy", "default-src 'self'"),
                ("cache-control", "max-age=9"),
                ("etag", "\"page\""),
                ("set-cookie", "page=1"),
                ("vary", "Accept-Language"),
            ],
            "page",
        ))
    })
}

async fn ask<Q>(
    layer: &ErrorPagesLayer<Maker>,
    request: Request<Body>,
    answer: Response<Q>,
) -> Response<Body>
where
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<BoxError>,
{
    let answer = Mutex::new(Some(answer));
    let service = layer.layer(service_fn(|_: Request<Body>| {
        let answer = answer.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(answer) }
    }));
    service.oneshot(request).await.unwrap()
}

fn get(lines: Lines) -> Request<Body> {
    let mut request = Request::new(Body::from("a body"));
    *request.uri_mut() = "/a?b=c".parse().unwrap();
    *request.headers_mut() = map(lines);
    request
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn statuses_of_the_list_have_a_page_and_others_have_not() {
    let (service, seen) = page();
    let layer = ErrorPagesLayer::new([404..=404, 500..=503], service);
    for (status, expected) in [
        (200, "own"),
        (403, "own"),
        (404, "page"),
        (499, "own"),
        (500, "page"),
        (503, "page"),
        (504, "own"),
    ] {
        let answer = ask(&layer, get(&[]), response(status, &[], "own")).await;
        assert_eq!(answer.status(), status);
        assert_eq!(text(answer).await, expected, "{status}");
    }
    let seen = seen.lock().unwrap();
    let seen: Vec<_> = seen.iter().map(|head| head.uri.to_string()).collect();
    assert_eq!(seen, ["/404.html", "/500.html", "/503.html"]);
}

#[tokio::test]
async fn what_is_said_of_the_error_stays_and_of_its_body_goes() {
    let (service, _) = page();
    let mut given = response(
        503,
        &[
            ("retry-after", "60"),
            ("www-authenticate", "Basic"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("cache-control", "no-store"),
            ("vary", "Origin"),
            ("content-type", "application/json"),
            ("content-length", "3"),
            ("content-encoding", "gzip"),
            ("etag", "\"own\""),
            ("last-modified", "Wed, 25 Nov 2026 00:00:00 GMT"),
            ("accept-ranges", "bytes"),
            ("repr-digest", "sha-256=:AA==:"),
        ],
        "own",
    );
    given.extensions_mut().insert(Failure::Unavailable);
    let layer = ErrorPagesLayer::new([500..=599], service);
    let answer = ask(&layer, get(&[]), given).await;
    let expected = map(&[
        ("retry-after", "60"),
        ("www-authenticate", "Basic"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("cache-control", "no-store"),
        ("vary", "Origin"),
        ("vary", "Accept-Language"),
        ("content-type", "text/html"),
        ("content-length", "4"),
        ("content-security-policy", "default-src 'self'"),
    ]);
    assert_eq!(answer.headers(), &expected);
    assert_eq!(
        answer.extensions().get(),
        Some(&Failure::Unavailable),
        "what failed is known above too"
    );
    assert_eq!(text(answer).await, "page");
}

#[tokio::test]
async fn the_page_is_asked_for_without_what_is_not_its_business() {
    let (service, seen) = page();
    let query: PageQuery = "/e/{status}?from={url}".parse().unwrap();
    let layer = ErrorPagesLayer::new([500..=599], service).query(query);
    let mut request = get(&[
        ("host", "a.com"),
        ("accept", "text/html"),
        ("accept-language", "de"),
        ("accept-language", "en;q=0.5"),
        ("accept-encoding", "br"),
        ("x-forwarded-for", "192.0.2.7"),
        ("traceparent", "00-1-2-01"),
        ("authorization", "Bearer 1"),
        ("cookie", "session=1"),
        ("x-api-key", "1"),
        ("content-type", "text/plain"),
        ("content-length", "6"),
        ("if-none-match", "\"1\""),
        ("range", "bytes=0-1"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ]);
    *request.method_mut() = Method::POST;
    let peer = Peer::new(
        "192.0.2.1:1".parse().unwrap(),
        80,
        false,
        &TrustedProxies::default(),
    );
    let client = Client::of(Arc::new(peer), request.headers());
    request.extensions_mut().insert(client);
    request.extensions_mut().insert("a secret");
    ask(&layer, request, response(500, &[], "own")).await;
    let mut head = get(&[]);
    *head.method_mut() = Method::HEAD;
    ask(&layer, head, response(502, &[], "")).await;
    let seen = seen.lock().unwrap();
    let [asked, head] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (&asked.method, asked.uri.to_string().as_str()),
        (&Method::GET, "/e/500?from=%2Fa%3Fb%3Dc")
    );
    let expected = map(&[
        ("x-error-page-for", "500"),
        ("host", "a.com"),
        ("accept", "text/html"),
        ("accept-language", "de"),
        ("accept-language", "en;q=0.5"),
        ("accept-encoding", "br"),
        ("x-forwarded-for", "192.0.2.7"),
        ("traceparent", "00-1-2-01"),
    ]);
    assert_eq!(asked.headers, expected);
    let client = asked
        .extensions
        .get::<Client>()
        .map(|client| client.ip().to_string());
    assert_eq!(client.as_deref(), Some("192.0.2.1"));
    assert_eq!(asked.extensions.len(), 1);
    assert_eq!(
        (&head.method, head.uri.to_string().as_str()),
        (&Method::HEAD, "/e/502?from=%2Fa%3Fb%3Dc")
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_page_the_answer_is_the_one_that_there_was() {
    for kind in ["refused", "stalled", "302", "304", "404", "503"] {
        let (service, seen) = pages(move || async move {
            match kind.parse() {
                Ok(status) => Ok(response(status, &[("x-page", "1")], "another error")),
                Err(_) if kind == "refused" => Err("connection refused".into()),
                Err(_) => std::future::pending().await,
            }
        });
        let layer = ErrorPagesLayer::new([503..=503], service).timeout(Duration::from_secs(1));
        let given: Lines = &[("content-type", "text/plain"), ("etag", "\"own\"")];
        let answer = ask(&layer, get(&[]), response(503, given, "own")).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers(), &map(given), "{kind}");
        assert_eq!(text(answer).await, "own", "{kind}");
        assert_eq!(
            seen.lock().unwrap().len(),
            1,
            "{kind}: an error of a page has no page"
        );
    }
}

#[tokio::test]
async fn an_answer_to_grpc_is_left_alone() {
    let (service, seen) = page();
    let layer = ErrorPagesLayer::new([503..=503], service);
    let asked = get(&[("content-type", "application/grpc+proto")]);
    let answer = ask(&layer, asked, response(503, &[], "own")).await;
    assert_eq!(text(answer).await, "own");
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_for_a_page_gets_none_of_its_own() {
    let (service, seen) = page();
    let layer = ErrorPagesLayer::new([404..=404], service);
    let asked = get(&[("x-error-page-for", "404")]);
    let answer = ask(&layer, asked, response(404, &[("etag", "\"own\"")], "own")).await;
    assert_eq!(answer.headers()["etag"], "\"own\"");
    assert_eq!(text(answer).await, "own");
    assert!(seen.lock().unwrap().is_empty());
}

/// What a body does next.
#[derive(Clone, Copy)]
enum Next {
    Piece(&'static str),
    Long,
    Trailers,
    Breaks,
    Stalls,
}

/// A body that does one after the other, and is at its end then; it stalls for ever.
struct Script(std::slice::Iter<'static, Next>);

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let [Next::Stalls, ..] = self.0.as_slice() {
            return Poll::Pending;
        }
        Poll::Ready(match self.0.next() {
            None | Some(Next::Stalls) => None,
            Some(Next::Piece(piece)) => Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))),
            Some(Next::Long) => Some(Ok(Frame::data(vec![b'a'; 64 << 10].into()))),
            Some(Next::Trailers) => Some(Ok(Frame::trailers(map(&[("x-sum", "1")])))),
            Some(Next::Breaks) => Some(Err("it broke".into())),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_breaks_off_early_leaves_the_answer_that_there_was() {
    use Next::{Breaks, Piece, Stalls, Trailers};
    for (script, expected) in [
        (&[Breaks][..], "own"),
        (&[Stalls], "own"),
        (&[Piece(""), Stalls], "own"),
        (&[Piece("ab"), Breaks], "own"),
        (&[Piece("ab"), Piece("cd"), Breaks], "own"),
        (&[], ""),
        (&[Piece("ab")], "ab"),
        (&[Piece("ab"), Piece(""), Piece("cd")], "abcd"),
        (&[Piece("ab"), Trailers], "ab"),
        (&[Trailers], ""),
    ] {
        let (service, _) = pages(move || async move {
            let body = Body::new(Script(script.iter()));
            Ok::<_, BoxError>(Response::new(body))
        });
        let layer = ErrorPagesLayer::new([503..=503], service).timeout(Duration::from_secs(1));
        let given: Lines = &[("content-type", "text/plain"), ("etag", "\"own\"")];
        let answer = ask(&layer, get(&[]), response(503, given, "own")).await;
        assert_eq!(answer.status(), 503);
        let is_own = answer.headers().contains_key("etag");
        let collected = answer.into_body().collect().await.unwrap();
        let has_trailers = matches!(script.last(), Some(Trailers));
        assert_eq!(collected.trailers().is_some(), has_trailers);
        assert_eq!(
            (collected.to_bytes(), is_own),
            (expected.into(), expected == "own")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_pauses_or_is_long_goes_out_as_far_as_it_is_there() {
    let (service, _) = pages(|| async {
        let body = Body::new(Script([Next::Piece("ab"), Next::Stalls].iter()));
        Ok::<_, BoxError>(Response::new(body))
    });
    let layer = ErrorPagesLayer::new([503..=503], service).timeout(Duration::from_secs(1));
    let begin = tokio::time::Instant::now();
    let answer = ask(&layer, get(&[]), response(503, &[], "own")).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(1));
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "ab");
    // One that breaks off when it is on its way cannot be taken back.
    let (service, _) = pages(|| async {
        let body = Body::new(Script([Next::Long, Next::Breaks].iter()));
        Ok::<_, BoxError>(Response::new(body))
    });
    let layer = ErrorPagesLayer::new([503..=503], service);
    let mut body = ask(&layer, get(&[]), response(503, &[], "own"))
        .await
        .into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first.len(), 64 << 10);
    body.frame().await.unwrap().unwrap_err();
}

/// A body that tells when it is dropped.
struct Watched {
    _watch: Arc<()>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("nobody wants to read this");
    }
}

#[tokio::test]
async fn the_body_of_the_error_is_dropped_unread() {
    let (service, _) = page();
    let layer = ErrorPagesLayer::new([503..=503], service);
    let watch = Arc::new(());
    let mut given = Response::new(Watched {
        _watch: Arc::clone(&watch),
    });
    *given.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let answer = ask(&layer, get(&[]), given).await;
    assert_eq!(Arc::strong_count(&watch), 1);
    assert_eq!(text(answer).await, "page");
}

#[tokio::test]
async fn an_error_of_the_service_passes() {
    let (service, _) = page();
    let mut service =
        ErrorPagesLayer::new([500..=599], service).layer(service_fn(|_: Request<Body>| async {
            Err::<Response<Body>, _>("no")
        }));
    assert_eq!(service.call(get(&[])).await.unwrap_err(), "no");
}
