//! Who of a pool gets a request.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::balance::{Balance, Balanced, HashOn, Member, Rules, Strategy};
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
        (Strategy::LeastConnections, &[0, 1, 0], "bbbb"),
        (Strategy::Random, &[0, 1, 0], "bbbb"),
        (Strategy::P2cEwma, &[0, 1, 0], "bbbb"),
        (Strategy::ConsistentHash(HashOn::Path), &[0, 1, 0], "bbbb"),
    ] {
        let pool = pool(strategy.clone(), weights);
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
        (Strategy::P2cEwma, &[60_000, 1, 1]),
        (Strategy::ConsistentHash(HashOn::ClientIp), &[60_000, 1, 1]),
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
        let pool = Balance::new(strategy.clone(), members);
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
        Strategy::P2cEwma,
        Strategy::ConsistentHash(HashOn::ClientIp),
    ] {
        for weights in [&[][..], &[0], &[0, 0]] {
            let error = pool(strategy.clone(), weights)
                .oneshot(())
                .await
                .unwrap_err();
            let failure = Failure::of(&*error);
            assert_eq!(failure, Failure::Unavailable, "{strategy:?} {weights:?}");
        }
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

    /// As [`Counted::in_flight`], the fewest first: who is the first of equals is a matter of chance.
    fn sorted(&self) -> Vec<usize> {
        let mut counts = self.in_flight();
        counts.sort_unstable();
        counts
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
    assert_eq!(pool.sorted(), [1, 1], "heads are here, bodies are not");
    drop(one);
    assert_eq!(pool.sorted(), [0, 1], "dropped");
    let mut one = pool.call("/").await.unwrap();
    assert_eq!(pool.sorted(), [1, 1], "to the one that is free");
    two.into_body().collect().await.unwrap();
    assert_eq!(pool.sorted(), [0, 1], "read to its end");
    let _two = pool.call("/").await.unwrap();
    assert_eq!(pool.sorted(), [1, 1], "to the one that is free");
    one.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(pool.sorted(), [0, 1], "the last frame was read");
}

#[tokio::test]
async fn a_connection_counts_no_more_once_it_failed_or_was_given_up() {
    let pool = Counted::new(&[1, 1]);
    let mut waiting = task::spawn(pool.call("/wait"));
    assert_eq!(pool.sorted(), [0, 0], "not polled yet");
    assert!(waiting.poll().is_pending());
    assert_eq!(pool.sorted(), [0, 1]);
    for _ in 0..3 {
        pool.call("/fail").await.err().unwrap();
        assert_eq!(pool.sorted(), [0, 1], "failed");
    }
    assert!(tokio::spawn(pool.call("/panic")).await.is_err());
    assert_eq!(pool.sorted(), [0, 1], "panicked");
    drop(waiting);
    assert_eq!(pool.sorted(), [0, 0], "given up");
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

/// Members as [`Counted`], of which those that are `down` are unhealthy, by these rules.
fn by(rules: Rules, weights: &[u32], down: &[usize]) -> Counted {
    let mut pool = Counted::new(weights);
    let member = |(endpoint, weight): (&Arc<Endpoint>, &u32)| {
        let service = service_fn(async |_: Request<Body>| {
            Ok::<_, BoxError>(Response::new(Body::from("hello")))
        });
        Member {
            endpoint: Arc::clone(endpoint),
            weight: *weight,
            service: BoxCloneSyncService::new(PlaceLayer::new().layer(service)),
        }
    };
    let members = pool.endpoints.iter().zip(weights).map(member).collect();
    pool.balance = Balance::new(rules, members);
    for index in down {
        pool.endpoints[*index].set(Trouble::Unhealthy, "down");
    }
    pool
}

fn round_robin(panic_threshold_percent: u8) -> Rules {
    Rules {
        panic_threshold_percent,
        ..Rules::default()
    }
}

#[tokio::test]
async fn where_too_few_are_available_requests_go_to_all_that_are_not_drained() {
    let requests =
        |pool: &Counted| -> Vec<_> { pool.endpoints.iter().map(|each| each.requests()).collect() };
    for (threshold, down, expected) in [
        (50, &[0, 1][..], [0, 0, 6, 6]),
        (51, &[0, 1], [3; 4]),
        (25, &[0, 1, 2], [0, 0, 0, 12]),
        (26, &[0, 1, 2], [3; 4]),
        (1, &[0, 1, 2, 3], [3; 4]),
        (100, &[], [3; 4]),
    ] {
        let pool = by(round_robin(threshold), &[1; 4], down);
        for _ in 0..12 {
            pool.call("/").await.unwrap();
        }
        assert_eq!(requests(&pool), expected, "{threshold} {down:?}");
    }
    // It ends with the change that ends it. One without a weight does not count, and one that is drained is available.
    let pool = by(round_robin(50), &[1, 1, 1, 0], &[0, 1]);
    pool.endpoints[2].set(Trouble::Drained, "by hand");
    for _ in 0..12 {
        pool.call("/").await.unwrap();
    }
    assert_eq!(requests(&pool), [6, 6, 0, 0]);
    pool.endpoints[0].clear(Trouble::Unhealthy);
    for _ in 0..12 {
        pool.call("/").await.unwrap();
    }
    assert_eq!(requests(&pool), [18, 6, 0, 0]);
}

#[tokio::test]
async fn without_a_threshold_nobody_who_is_unavailable_is_asked() {
    let pool = by(round_robin(0), &[1, 1], &[0, 1]);
    let error = pool.call("/").await.err().unwrap();
    assert_eq!(Failure::of(&*error), Failure::Unavailable);
}

#[tokio::test]
async fn nobody_has_more_than_its_limit_at_a_time() {
    for strategy in [
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastConnections,
        Strategy::Random,
        Strategy::P2cEwma,
        Strategy::ConsistentHash(HashOn::Path),
    ] {
        let pool = by(strategy.clone().into(), &[7, 1, 1], &[]);
        for endpoint in &pool.endpoints {
            endpoint.set_max_in_flight(Some(2));
        }
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(pool.call("/").await.unwrap());
        }
        assert_eq!(pool.in_flight(), [2, 2, 2], "{strategy:?}");
        let error = pool.call("/").await.err().unwrap();
        assert_eq!(Failure::of(&*error), Failure::Overloaded, "{strategy:?}");
        // Panic does not lift it.
        for endpoint in &pool.endpoints {
            endpoint.set(Trouble::Unhealthy, "down");
        }
        let error = pool.call("/").await.err().unwrap();
        assert_eq!(Failure::of(&*error), Failure::Unavailable, "{strategy:?}");
        for endpoint in &pool.endpoints {
            endpoint.clear(Trouble::Unhealthy);
        }
        held.pop();
        held.push(pool.call("/").await.unwrap());
        assert_eq!(pool.in_flight(), [2, 2, 2], "{strategy:?}");
    }
}

#[test]
fn a_place_is_taken_once_also_by_many_threads() {
    const LIMIT: usize = 3;
    let endpoint = Endpoint::new("a");
    endpoint.set_max_in_flight(Some(LIMIT));
    let taken: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut taken = 0;
                    for _ in 0..5_000 {
                        let place = endpoint.try_enter();
                        assert!(endpoint.in_flight() <= LIMIT);
                        taken += usize::from(place.is_some());
                    }
                    taken
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(endpoint.requests(), taken as u64);
    assert_eq!(endpoint.in_flight(), 0);
    assert!(taken > 0);
}
