//! Failover: when the secondary is asked, what goes there, and whose answer a client gets.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::balance::{Balance, Member, Strategy};
use a3s_layers::endpoint::{Endpoint, Placed};
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::failover::{Failover, FailoverLayer};
use a3s_layers::reject::{Shape, reject};
use a3s_layers::rescue::RescueLayer;
use a3s_layers::retry::RetryLayer;
use a3s_layers::tried::Tried;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel};
use std::sync::{Arc, Mutex};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// What one of the services does with a request.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Fails, and has read nothing.
    Fails(Failure),
    /// Reads so many bytes, and fails.
    Reads(usize, Failure),
    /// Reads everything, and answers with this status and what it has read.
    Answers(u16),
    /// Reads everything; the gateway's own answer.
    Refuses,
}

/// A service that does so, and the bodies that it has seen.
fn doing(does: Does) -> (Inner, Arc<Mutex<Vec<Bytes>>>) {
    let seen = Arc::<Mutex<Vec<Bytes>>>::default();
    let log = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Body>| {
        let log = Arc::clone(&log);
        async move {
            let mut body = request.into_body();
            let index = {
                let mut log = log.lock().unwrap();
                log.push(Bytes::new());
                log.len() - 1
            };
            let failed = |failure| Err::<_, BoxError>(UpstreamError::from(failure).into());
            match does {
                Does::Fails(failure) => failed(failure),
                Does::Reads(most, failure) => {
                    let mut read = 0;
                    while read < most {
                        let Some(frame) = body.frame().await else {
                            break;
                        };
                        read += frame?.into_data().unwrap().len();
                    }
                    failed(failure)
                }
                Does::Answers(status) => {
                    let read = body.collect().await?.to_bytes();
                    log.lock().unwrap()[index] = read.clone();
                    let response = Response::builder().status(status);
                    Ok(response.body(Body::from(read)).unwrap())
                }
                Does::Refuses => {
                    body.collect().await?;
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    Ok(reject(status, "full", Shape::Json))
                }
            }
        }
    });
    (BoxCloneSyncService::new(service), seen)
}

fn layer(secondary: Inner) -> FailoverLayer<Inner> {
    FailoverLayer::new(secondary)
        .on_status([502..=504, 429..=429])
        .max_replay_bytes(8)
}

fn request(method: &Method, body: &str) -> Request<Body> {
    let body = Body::from(body.to_owned());
    let request = Request::builder().method(method).uri("/path?query");
    request.header("x-tag", "1").body(body).unwrap()
}

async fn ask(failover: &Failover<Inner, Inner>, request: Request<Body>) -> Result<u16, Failure> {
    let outcome = failover.clone().oneshot(request).await;
    outcome
        .map(|response| response.status().as_u16())
        .map_err(|error| Failure::of(&*error))
}

#[tokio::test]
async fn the_secondary_is_asked_where_that_is_safe_and_wanted() {
    use Failure::*;
    let (get, put, post) = (&Method::GET, &Method::PUT, &Method::POST);
    let long = "a body that is long";
    for (method, body, primary, expected) in [
        // Nobody was sent anything: whatever it is, it goes on.
        (get, "", Does::Fails(Unavailable), Ok(299)),
        (post, long, Does::Fails(Unavailable), Ok(299)),
        (post, long, Does::Fails(Overloaded), Ok(299)),
        (post, long, Does::Fails(Connect), Ok(299)),
        (post, long, Does::Fails(ConnectTimeout), Ok(299)),
        // Unless somebody has read of it meanwhile.
        (post, long, Does::Reads(1, Connect), Err(Connect)),
        (put, long, Does::Reads(1, Connect), Err(Connect)),
        (put, "short", Does::Reads(1, Connect), Ok(299)),
        // It was sent: the rules are those of a retry.
        (get, "", Does::Fails(Reset), Ok(299)),
        (get, "", Does::Fails(ResponseTimeout), Ok(299)),
        (put, "short", Does::Reads(5, Reset), Ok(299)),
        (put, long, Does::Fails(Reset), Ok(299)),
        (put, long, Does::Reads(1, Reset), Err(Reset)),
        (post, "", Does::Fails(Reset), Err(Reset)),
        (
            post,
            "short",
            Does::Fails(ResponseTimeout),
            Err(ResponseTimeout),
        ),
        (get, "", Does::Answers(503), Ok(299)),
        (put, "short", Does::Answers(503), Ok(299)),
        (put, "12345678", Does::Answers(429), Ok(299)),
        (put, "123456789", Does::Answers(429), Ok(429)),
        (post, "", Does::Answers(503), Ok(503)),
        (get, "", Does::Answers(500), Ok(500)),
        (get, "", Does::Answers(404), Ok(404)),
        (get, "", Does::Answers(200), Ok(200)),
        // The gateway's own word, and the client's own fault.
        (get, "", Does::Refuses, Ok(503)),
        (put, "short", Does::Fails(RequestBody), Err(RequestBody)),
        (get, "", Does::Fails(RequestTimeout), Err(RequestTimeout)),
        (put, "short", Does::Fails(BodyTooLarge), Err(BodyTooLarge)),
    ] {
        let (secondary, seen) = doing(Does::Answers(299));
        let layer = layer(secondary);
        let failover = layer.layer(doing(primary).0);
        let outcome = ask(&failover, request(method, body)).await;
        assert_eq!(outcome, expected, "{method} {body:?} {primary:?}");
        let seen = seen.lock().unwrap();
        let asked = u64::from(expected == Ok(299));
        assert_eq!(seen.len() as u64, asked, "{method} {body:?} {primary:?}");
        assert_eq!(layer.course().requests(), asked);
        assert!(seen.iter().all(|seen| seen == body), "{seen:?} {body:?}");
    }
}

#[tokio::test]
async fn of_two_failures_the_client_gets_the_one_that_is_better_to_know() {
    use Failure::*;
    for (primary, secondary, expected) in [
        (Does::Fails(Unavailable), Does::Answers(503), Ok(503)),
        (
            Does::Fails(Unavailable),
            Does::Fails(Unavailable),
            Err(Unavailable),
        ),
        (Does::Fails(Unavailable), Does::Fails(Reset), Err(Reset)),
        (
            Does::Fails(Connect),
            Does::Fails(ResponseTimeout),
            Err(ResponseTimeout),
        ),
        // The secondary had nobody: what the primary failed with may be tried again.
        (Does::Fails(Connect), Does::Fails(Unavailable), Err(Connect)),
        (
            Does::Fails(ResponseTimeout),
            Does::Fails(Overloaded),
            Err(ResponseTimeout),
        ),
        // A server's own answer is better than none.
        (Does::Answers(503), Does::Fails(Unavailable), Ok(503)),
        (Does::Answers(503), Does::Fails(Reset), Ok(503)),
        (Does::Answers(503), Does::Answers(500), Ok(500)),
        // The client broke off.
        (
            Does::Answers(503),
            Does::Fails(RequestBody),
            Err(RequestBody),
        ),
    ] {
        let failover = layer(doing(secondary).0).layer(doing(primary).0);
        let outcome = ask(&failover, request(&Method::GET, "")).await;
        assert_eq!(outcome, expected, "{primary:?} {secondary:?}");
    }
}

#[tokio::test]
async fn the_answer_of_the_primary_that_is_given_back_is_whole() {
    let failover = layer(doing(Does::Fails(Failure::Reset)).0).layer(doing(Does::Answers(503)).0);
    let response = failover.oneshot(request(&Method::PUT, "short")).await;
    let body = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "short");
}

#[tokio::test]
async fn the_secondary_sees_the_request_as_it_was() {
    let secondary = service_fn(|request: Request<Body>| async move {
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri(), "/path?query");
        assert_eq!(request.headers()["x-tag"], "1");
        assert_eq!(request.extensions().get(), Some(&"kept"));
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let primary = service_fn(|mut request: Request<Body>| async move {
        request.headers_mut().clear();
        request.extensions_mut().clear();
        Err::<Response<Body>, BoxError>(UpstreamError::from(Failure::Reset).into())
    });
    let failover = FailoverLayer::new(secondary).layer(primary);
    let mut request = request(&Method::PUT, "");
    request.extensions_mut().insert("kept");
    failover.oneshot(request).await.unwrap();
}

#[tokio::test]
async fn an_upload_under_way_goes_on_at_the_secondary() {
    let (mut feed, body) = Channel::<Bytes>::new(1);
    let failover =
        layer(doing(Does::Answers(299)).0).layer(doing(Does::Reads(3, Failure::Reset)).0);
    let mut request = request(&Method::PUT, "");
    *request.body_mut() = Body::new(body);
    let feeding = async move {
        for piece in ["abc", "def", "ghi", "jkl"] {
            feed.send_data(piece.into()).await.unwrap();
        }
    };
    let (response, ()) = tokio::join!(failover.oneshot(request), feeding);
    let body = response.unwrap().into_body().collect().await.unwrap();
    // More than could be recorded: nothing is from the secondary on.
    assert_eq!(body.to_bytes(), "abcdefghijkl");
}

#[tokio::test]
async fn failovers_in_a_row_ask_one_after_the_other() {
    let (last, seen) = doing(Does::Answers(200));
    let second = FailoverLayer::new(last).layer(doing(Does::Fails(Failure::Unavailable)).0);
    let first = FailoverLayer::new(second).layer(doing(Does::Reads(2, Failure::Reset)).0);
    let response = first.oneshot(request(&Method::PUT, "the body")).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), ["the body"]);
}

#[tokio::test]
async fn a_retry_above_sends_what_neither_could_answer_once_more() {
    let (primary, first) = doing(Does::Reads(4, Failure::Reset));
    let (secondary, second) = doing(Does::Answers(502));
    let service = ServiceBuilder::new()
        .layer(
            RetryLayer::new()
                .max_retries(2)
                .backoff(std::time::Duration::ZERO),
        )
        .layer(RescueLayer::new())
        .layer(FailoverLayer::new(secondary))
        .service(primary);
    let response = service
        .oneshot(request(&Method::PUT, "the whole body"))
        .await
        .unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(first.lock().unwrap().len(), 3);
    assert_eq!(*second.lock().unwrap(), ["the whole body"; 3]);
}

#[tokio::test]
async fn it_knows_failures_above_a_rescue_too() {
    let primary = RescueLayer::new().layer(doing(Does::Fails(Failure::Unavailable)).0);
    let secondary = RescueLayer::new().layer(doing(Does::Answers(299)).0);
    let failover = FailoverLayer::new(secondary).layer(primary);
    let response = failover.oneshot(request(&Method::POST, "any")).await;
    assert_eq!(response.unwrap().status(), 299);
}

/// A balance over servers that fail so, and how often each was tried.
fn balance(fails: &[Failure]) -> (Balance<Server>, Vec<Arc<Endpoint>>) {
    let members: Vec<_> = fails
        .iter()
        .enumerate()
        .map(|(number, failure)| {
            let failure = *failure;
            Member {
                endpoint: Endpoint::new(number.to_string()),
                weight: 1,
                service: BoxCloneSyncService::new(service_fn(
                    move |_: Placed<Request<Body>>| async move {
                        Err::<Response<Body>, BoxError>(UpstreamError::from(failure).into())
                    },
                )),
            }
        })
        .collect();
    let endpoints = members.iter().map(|member| Arc::clone(&member.endpoint));
    let endpoints = endpoints.collect();
    (Balance::new(Strategy::RoundRobin, members), endpoints)
}

type Server = BoxCloneSyncService<Placed<Request<Body>>, Response<Body>, BoxError>;

#[tokio::test]
async fn every_server_that_refuses_connections_is_tried_once_before_the_secondary() {
    use Failure::*;
    for (fails, tries) in [
        (&[Connect][..], &[1][..]),
        (&[Connect, Connect, Connect], &[1, 1, 1]),
        // After a timeout the client has waited enough, and what was sent may not go to many.
        (&[ConnectTimeout, Connect], &[1, 0]),
        (&[Connect, Reset, Connect], &[1, 1, 0]),
    ] {
        let (primary, endpoints) = balance(fails);
        let (secondary, seen) = doing(Does::Answers(200));
        let failover = FailoverLayer::new(secondary).layer(primary);
        let response = failover.oneshot(request(&Method::GET, "")).await;
        assert_eq!(response.unwrap().status(), 200);
        let counts: Vec<_> = endpoints.iter().map(|each| each.requests()).collect();
        assert_eq!(counts, tries, "{fails:?}");
        assert_eq!(seen.lock().unwrap().len(), 1);
        assert!(endpoints.iter().all(|each| each.in_flight() == 0));
    }
}

#[tokio::test]
async fn what_a_retry_has_tried_is_not_tried_before_others() {
    let (primary, endpoints) = balance(&[Failure::Reset, Failure::Connect]);
    let (secondary, _) = doing(Does::Answers(200));
    let failover = FailoverLayer::new(secondary).layer(primary);
    let tried = Tried::new();
    tried.add(&endpoints[0]);
    let mut request = request(&Method::POST, "");
    request.extensions_mut().insert(tried.clone());
    // The first of the two would have been next in turn, and does not take the request from the second.
    let response = failover.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(endpoints[0].requests(), 0);
    assert_eq!(endpoints[1].requests(), 1);
    assert_eq!(tried.to_vec().len(), 2);
}

#[tokio::test]
async fn each_request_asks_the_primary_first_and_that_it_is_back_is_known() {
    let is_there = Arc::new(Mutex::new(false));
    let there = Arc::clone(&is_there);
    let primary = service_fn(move |_: Request<Body>| {
        let is_there = *there.lock().unwrap();
        async move {
            match is_there {
                true => Ok(Response::new(Body::empty())),
                false => Err(BoxError::from(UpstreamError::from(Failure::Unavailable))),
            }
        }
    });
    let layer = FailoverLayer::new(doing(Does::Answers(299)).0);
    let failover = layer.layer(primary);
    for (is, status, is_active) in [
        (true, 200, false),
        (false, 299, true),
        (false, 299, true),
        (true, 200, false),
        (true, 200, false),
    ] {
        *is_there.lock().unwrap() = is;
        let response = failover.clone().oneshot(request(&Method::POST, "any"));
        assert_eq!(response.await.unwrap().status(), status);
        assert_eq!(layer.course().is_active(), is_active);
    }
    assert_eq!(layer.course().requests(), 2);
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = layer(doing(Does::Answers(299)).0);
    let one = layer.layer(doing(Does::Fails(Failure::Unavailable)).0);
    let other = layer.layer(doing(Does::Fails(Failure::Unavailable)).0);
    assert_eq!(ask(&one, request(&Method::GET, "")).await, Ok(299));
    assert_eq!(ask(&other, request(&Method::GET, "")).await, Ok(299));
    assert_eq!(layer.course().requests(), 2);
    assert!(layer.course().is_active());
    // So does one that goes on from it.
    let changed = FailoverLayer::new(()).continuing(Arc::clone(layer.course()));
    assert_eq!(changed.course().requests(), 2);
}
