//! Who of a pool gets a request.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::balance::{Balance, Balanced, Member, Strategy};
use a3s_layers::endpoint::{Endpoint, InFlight, PlaceLayer, Placed, Trouble};
use a3s_layers::error::Failure;
use a3s_layers::tried::Tried;
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::future::{pending, ready};
use std::sync::Arc;
use std::task::Poll;
use tokio_test::task;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

type Name = &'static str;
type Pool = Balance<BoxCloneSyncService<Placed<()>, Name, BoxError>>;

const NAMES: [Name; 4] = ["a", "b", "c", "d"];

/// Members `a`, `b`, `c`, ... of these weights, who answer with their names.
fn pool(strategy: Strategy, weights: &[u32]) -> Pool {
    let member = |(name, weight): (&Name, &u32)| {
        let name = *name;
        Member {
            endpoint: Endpoint::new(name),
            weight: *weight,
            service: BoxCloneSyncService::new(service_fn(move |_: Placed<()>| ready(Ok(name)))),
        }
    };
    Balance::new(strategy, NAMES.iter().zip(weights).map(member).collect())
}

/// Who answers each of `count` requests, each made to a clone of its own.
async fn picks(pool: &Pool, count: usize) -> String {
    let mut picks = String::new();
    for _ in 0..count {
        picks += pool.clone().oneshot(()).await.unwrap();
    }
    picks
}

#[tokio::test]
async fn members_take_turns_by_their_strategy() {
    for (strategy, weights, expected) in [
        (Strategy::RoundRobin, &[1][..], "aaaa"),
        (Strategy::RoundRobin, &[1, 1, 1], "abcabcab"),
        (Strategy::RoundRobin, &[5, 1, 1], "abcabcab"),
        (Strategy::RoundRobin, &[1, 0, 1], "acacac"),
        (Strategy::Weighted, &[5, 1, 1], "aabacaaaabacaa"),
        (Strategy::Weighted, &[1, 1], "abab"),
        (Strategy::Weighted, &[3, 0, 1], "aacaaaca"),
        (Strategy::Weighted, &[0, 7], "bbb"),
        (Strategy::LeastConnections, &[1, 1, 1], "abcabc"),
        (Strategy::LeastConnections, &[1, 0, 1], "acacac"),
        (Strategy::Random, &[0, 1, 0], "bbbb"),
    ] {
        let pool = pool(strategy, weights);
        let picks = picks(&pool, expected.len()).await;
        assert_eq!(picks, expected, "{strategy:?} {weights:?}");
    }
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    // A balance is no layer: what is made many times of it is its clones.
    let pool = pool(Strategy::RoundRobin, &[1, 1, 1]);
    let (mut one, mut two) = (pool.clone(), pool);
    let mut picks = String::new();
    for _ in 0..3 {
        picks += one.call(()).await.unwrap();
        picks += two.call(()).await.unwrap();
    }
    assert_eq!(picks, "abcabc");
}

#[test]
fn whoever_is_open_is_found_however_many_look_at_once() {
    for strategy in [Strategy::RoundRobin, Strategy::Weighted] {
        let members: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|name| Member {
                endpoint: Endpoint::new(name),
                weight: 1,
                service: service_fn(|_: Placed<()>| ready(Ok::<_, BoxError>(()))),
            })
            .collect();
        members[0].endpoint.set(Trouble::Unhealthy, "a test");
        let pool = Balance::new(strategy, members);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let mut answer = task::spawn(pool.clone().oneshot(()));
                        assert!(matches!(answer.poll(), Poll::Ready(Ok(()))));
                    }
                });
            }
        });
    }
}

/// A request that is sent again remembers where it has been.
struct Again(Option<Tried>);

impl Balanced for Again {
    fn tried(&self) -> Option<&Tried> {
        self.0.as_ref()
    }
}

#[tokio::test]
async fn another_try_goes_elsewhere_as_long_as_there_is_an_elsewhere() {
    for (strategy, weights) in [
        (Strategy::RoundRobin, &[1, 1, 1][..]),
        (Strategy::Weighted, &[100, 1, 1]),
        (Strategy::LeastConnections, &[100, 1, 1]),
        (Strategy::Random, &[60_000, 1, 1]),
        (Strategy::RoundRobin, &[1, 0, 1]),
        (Strategy::Random, &[1]),
    ] {
        let member = |(name, weight): (&Name, &u32)| {
            let name = *name;
            Member {
                endpoint: Endpoint::new(name),
                weight: *weight,
                service: service_fn(move |_: Placed<Again>| ready(Ok::<_, BoxError>(name))),
            }
        };
        let members = NAMES.iter().zip(weights).map(member).collect();
        let pool = Balance::new(strategy, members);
        let open = weights.iter().filter(|weight| **weight > 0).count();
        for _ in 0..20 {
            let tried = Tried::new();
            let mut picks = Vec::new();
            for _ in 0..open + 2 {
                let again = Again(Some(tried.clone()));
                picks.push(pool.clone().oneshot(again).await.unwrap());
            }
            let mut different = picks[..open].to_vec();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), open, "{strategy:?} {picks:?}");
            // Then it is any, and each is noted once.
            let noted = tried.to_vec();
            let noted: Vec<_> = noted.iter().map(|endpoint| endpoint.id()).collect();
            assert_eq!(noted, picks[..open]);
        }
        // Who says nothing is served as ever.
        assert!(pool.clone().oneshot(Again(None)).await.is_ok());
    }
}

#[tokio::test]
async fn an_http_request_says_by_an_extension_where_it_has_been() {
    let member = |name: &'static str| Member {
        endpoint: Endpoint::new(name),
        weight: 1,
        service: service_fn(move |_: Placed<Request<()>>| ready(Ok::<_, BoxError>(name))),
    };
    let pool = Balance::new(Strategy::LeastConnections, vec![member("a"), member("b")]);
    let tried = Tried::new();
    let ask = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(tried.clone());
        pool.clone().oneshot(request)
    };
    assert_ne!(ask().await.unwrap(), ask().await.unwrap());
    assert_eq!(tried.to_vec().len(), 2);
}

#[tokio::test]
async fn where_nobody_takes_traffic_the_service_is_unavailable() {
    for strategy in [
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastConnections,
        Strategy::Random,
    ] {
        for weights in [&[][..], &[0], &[0, 0]] {
            let error = pool(strategy, weights).oneshot(()).await.unwrap_err();
            let failure = Failure::of(&*error);
            assert_eq!(failure, Failure::Unavailable, "{strategy:?} {weights:?}");
        }
    }
}

#[tokio::test]
async fn random_picks_are_in_proportion_to_the_weights() {
    const PICKS: usize = 20_000;
    fastrand::seed(7);
    let picks = picks(&pool(Strategy::Random, &[5, 0, 2, 1]), PICKS).await;
    for (name, share) in [("a", 5), ("b", 0), ("c", 2), ("d", 1)] {
        // One standard deviation is 71 at most; the seed makes it the same each time.
        let expected = PICKS * share / 8;
        let count = picks.matches(name).count();
        assert!(count.abs_diff(expected) <= 300, "{name}: {count}");
        assert_eq!(count == 0, share == 0, "{name}");
    }
}

#[tokio::test]
async fn a_member_that_is_not_ready_is_waited_for_and_its_error_passed_on() {
    let (service, mut handle) = tower_test::mock::pair::<Placed<()>, ()>();
    handle.allow(0);
    let member = Member {
        endpoint: Endpoint::new("a"),
        weight: 1,
        service,
    };
    let mut balance = Balance::new(Strategy::RoundRobin, vec![member]);
    let mut answer = task::spawn(balance.call(()));
    assert!(answer.poll().is_pending());
    handle.send_error("not today");
    assert!(answer.is_woken());
    let error = answer.await.unwrap_err();
    assert_eq!(error.to_string(), "not today");
}

/// Members whose exchanges are counted, and who never answer `/wait`.
struct Counted {
    endpoints: Vec<Arc<Endpoint>>,
    balance: Balance<BoxCloneSyncService<Placed<Request<Body>>, Answer, BoxError>>,
}

type Answer = Response<a3s_layers::observe::ObservedBody<Body, InFlight>>;

impl Counted {
    fn new(weights: &[u32]) -> Self {
        let endpoints: Vec<_> = NAMES[..weights.len()]
            .iter()
            .map(|name| Endpoint::new(*name))
            .collect();
        let member = |(endpoint, weight): (&Arc<Endpoint>, &u32)| {
            let service = service_fn(async |request: Request<Body>| match request.uri().path() {
                "/wait" => pending().await,
                "/fail" => Err(BoxError::from("down")),
                "/panic" => panic!("a bug"),
                _ => Ok(Response::new(Body::from("hello"))),
            });
            Member {
                endpoint: Arc::clone(endpoint),
                weight: *weight,
                service: BoxCloneSyncService::new(PlaceLayer::new().layer(service)),
            }
        };
        let members = endpoints.iter().zip(weights).map(member).collect();
        Self {
            balance: Balance::new(Strategy::LeastConnections, members),
            endpoints,
        }
    }

    fn in_flight(&self) -> Vec<usize> {
        self.endpoints.iter().map(|e| e.in_flight()).collect()
    }

    fn call(&self, path: &'static str) -> impl Future<Output = Result<Answer, BoxError>> + use<> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.balance.clone().oneshot(request)
    }
}

#[tokio::test]
async fn a_connection_counts_until_its_body_ends_or_is_dropped() {
    let pool = Counted::new(&[1, 1]);
    let one = pool.call("/").await.unwrap();
    let two = pool.call("/").await.unwrap();
    assert_eq!(pool.in_flight(), [1, 1], "heads are here, bodies are not");
    drop(one);
    assert_eq!(pool.in_flight(), [0, 1], "dropped");
    let mut one = pool.call("/").await.unwrap();
    assert_eq!(pool.in_flight(), [1, 1], "to the one that is free");
    two.into_body().collect().await.unwrap();
    assert_eq!(pool.in_flight(), [1, 0], "read to its end");
    let _two = pool.call("/").await.unwrap();
    assert_eq!(pool.in_flight(), [1, 1], "to the one that is free");
    one.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(pool.in_flight(), [0, 1], "the last frame was read");
}

#[tokio::test]
async fn a_connection_counts_no_more_once_it_failed_or_was_given_up() {
    let pool = Counted::new(&[1, 1]);
    let mut waiting = task::spawn(pool.call("/wait"));
    assert_eq!(pool.in_flight(), [0, 0], "not polled yet");
    assert!(waiting.poll().is_pending());
    assert_eq!(pool.in_flight(), [1, 0]);
    for _ in 0..3 {
        pool.call("/fail").await.err().unwrap();
        assert_eq!(pool.in_flight(), [1, 0], "failed");
    }
    assert!(tokio::spawn(pool.call("/panic")).await.is_err());
    assert_eq!(pool.in_flight(), [1, 0], "panicked");
    drop(waiting);
    assert_eq!(pool.in_flight(), [0, 0], "given up");
}

#[tokio::test]
async fn connections_are_spread_in_proportion_to_the_weights() {
    for (weights, expected) in [
        (&[1, 1, 1][..], &[4, 4, 4][..]),
        (&[3, 1], &[9, 3]),
        (&[2, 0, 1], &[8, 0, 4]),
    ] {
        let pool = Counted::new(weights);
        let mut held = Vec::new();
        for _ in 0..12 {
            held.push(pool.call("/").await.unwrap());
        }
        assert_eq!(pool.in_flight(), expected, "{weights:?}");
    }
}

#[tokio::test]
async fn ties_rotate() {
    let pool = Counted::new(&[1, 1, 1]);
    for _ in 0..4 {
        for _ in 0..3 {
            pool.call("/").await.unwrap();
        }
        let requests: Vec<_> = pool.endpoints.iter().map(|e| e.requests()).collect();
        assert!(requests.iter().all(|count| *count == requests[0]));
    }
}
