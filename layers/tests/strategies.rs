//! How requests are spread by each strategy: by a statistic, and how sure it is.
//!
//! Chance comes from seeds that are written down, so that a test does the same each time. The bounds are those that a
//! strategy which does what it says passes once in a million (chi-square) or less (five standard deviations).

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::balance::{Balance, Balanced, HashOn, Member, Rules, Strategy};
use a3s_layers::endpoint::{Endpoint, InFlight, PlaceLayer, Placed, Trouble};
use a3s_layers::error::BoxError;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

/// What chi-square passes once in a million, by degrees of freedom.
const ONCE_IN_A_MILLION: [f64; 10] = [
    0.0, 23.93, 27.64, 30.67, 33.38, 35.89, 38.26, 40.53, 42.71, 44.82,
];

/// Whether counts are those of draws with these chances, in any unit (Pearson's chi-square). None of no chance.
#[track_caller]
fn assert_drawn(counts: &[u64], chances: &[f64], what: &str) {
    let (n, all) = (
        counts.iter().sum::<u64>() as f64,
        chances.iter().sum::<f64>(),
    );
    let (mut chi_square, mut kinds) = (0.0, 0);
    for (count, chance) in counts.iter().zip(chances) {
        let expected = n * chance / all;
        if expected == 0.0 {
            assert_eq!(*count, 0, "{what}: {counts:?}");
            continue;
        }
        assert!(expected >= 5.0, "too few to tell");
        chi_square += (*count as f64 - expected).powi(2) / expected;
        kinds += 1;
    }
    let bound = ONCE_IN_A_MILLION[kinds - 1];
    assert!(
        chi_square <= bound,
        "{what}: {counts:?} by {chances:?}: {chi_square}"
    );
}

/// Members who answer with their places for as long as the one who asks likes.
struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    balance: Balance<BoxCloneSyncService<Placed<()>, (usize, InFlight), BoxError>>,
}

fn member(
    index: usize,
    endpoint: &Arc<Endpoint>,
    weight: u32,
) -> Member<BoxCloneSyncService<Placed<()>, (usize, InFlight), BoxError>> {
    let answer = move |placed: Placed<()>| {
        let mut place = placed.place;
        place.connected();
        ready(Ok((index, place)))
    };
    Member {
        endpoint: Arc::clone(endpoint),
        weight,
        service: BoxCloneSyncService::new(service_fn(answer)),
    }
}

impl Pool {
    fn new(rules: impl Into<Rules>, weights: &[u32]) -> Self {
        fastrand::seed(7);
        let endpoints: Vec<_> = (0..weights.len())
            .map(|index| Endpoint::new(format!("http://10.0.0.{index}:80")))
            .collect();
        let pool = Self {
            balance: Balance::new(rules, Vec::new()),
            endpoints,
        };
        pool.set(0..weights.len(), weights);
        pool
    }

    fn set(&self, indices: impl Iterator<Item = usize>, weights: &[u32]) {
        let member = |index: usize| member(index, &self.endpoints[index], weights[index]);
        self.balance.set_members(indices.map(member).collect());
    }

    async fn pick(&self) -> (usize, InFlight) {
        self.balance.clone().oneshot(()).await.unwrap()
    }

    /// Who is picked how often where nobody keeps a place.
    async fn counts(&self, picks: usize) -> Vec<u64> {
        let mut counts = vec![0; self.endpoints.len()];
        for _ in 0..picks {
            counts[self.pick().await.0] += 1;
        }
        counts
    }

    /// Each is known to answer at once.
    async fn warm_up(&self) {
        for endpoint in &self.endpoints {
            endpoint.enter().connected();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_picks_are_drawn_by_weight() {
    for weights in [&[5, 0, 2, 1][..], &[1, 1], &[1; 10]] {
        let pool = Pool::new(Strategy::Random, weights);
        let chances: Vec<_> = weights.iter().map(|weight| f64::from(*weight)).collect();
        assert_drawn(&pool.counts(20_000).await, &chances, "all");
        // Who is left out leaves the others as they were to each other.
        pool.endpoints[0].set(Trouble::Ejected, "");
        let chances: Vec<_> = [0.0]
            .into_iter()
            .chain(chances[1..].iter().copied())
            .collect();
        assert_drawn(&pool.counts(20_000).await, &chances, "all but one");
    }
}

#[tokio::test(start_paused = true)]
async fn least_connections_draws_among_equals_by_weight() {
    for weights in [&[5, 0, 2, 1][..], &[1, 1, 1]] {
        let pool = Pool::new(Strategy::LeastConnections, weights);
        let chances = |left_out: usize| -> Vec<_> {
            let chance = |(index, weight): (usize, &u32)| match index == left_out {
                true => 0.0,
                false => f64::from(*weight),
            };
            weights.iter().enumerate().map(chance).collect()
        };
        assert_drawn(&pool.counts(20_000).await, &chances(9), "all");
        // One that is busy leaves nothing to its neighbour that others have not too.
        let busy = pool.endpoints[0].enter();
        assert_drawn(&pool.counts(20_000).await, &chances(0), "one is busy");
        drop(busy);
        assert_drawn(&pool.counts(20_000).await, &chances(9), "none is busy");
    }
}

#[tokio::test(start_paused = true)]
async fn round_robin_and_weighted_leave_nothing_to_chance() {
    for (strategy, shares) in [
        (Strategy::RoundRobin, [1, 1, 0, 1]),
        (Strategy::Weighted, [3, 1, 0, 4]),
    ] {
        let pool = Pool::new(strategy, &[3, 1, 0, 4]);
        let cycle = shares.iter().sum::<u64>();
        let counts = pool.counts(100 * cycle as usize).await;
        assert_eq!(counts, shares.map(|share| 100 * share));
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_are_drawn_the_lighter_one_is_picked() {
    const COUNT: usize = 10;
    let pool = Pool::new(Strategy::P2cEwma, &[1; COUNT]);
    pool.warm_up().await;
    assert_drawn(&pool.counts(20_000).await, &[1.0; COUNT], "equals");
    // With `k` exchanges at the k-th it is picked if it is one of two and the other is not below it: the first of
    // ten in 9 of 45 pairs, the last in none.
    let mut held = Vec::new();
    for (index, endpoint) in pool.endpoints.iter().enumerate() {
        held.extend((0..index).map(|_| endpoint.enter()));
    }
    let chances: Vec<_> = (0..COUNT).rev().map(|pairs| pairs as f64).collect();
    assert_drawn(&pool.counts(20_000).await, &chances, "k in flight");
}

#[tokio::test(start_paused = true)]
async fn of_two_that_are_drawn_by_weight_the_one_with_more_weight_is_lighter() {
    let pool = Pool::new(Strategy::P2cEwma, &[5, 0, 2, 1]);
    pool.warm_up().await;
    // Drawn without putting back, so that the pair without the first has 2/8 * 1/6 + 1/8 * 2/7.
    let second = 2.0 / 8.0 / 6.0 + 1.0 / 8.0 * 2.0 / 7.0;
    let chances = [1.0 - second, 0.0, second, 0.0];
    assert_drawn(&pool.counts(20_000).await, &chances, "by weight");
    // With five exchanges it is the last: the one of weight 2 wins every pair that it is in.
    let busy: Vec<_> = (0..5).map(|_| pool.endpoints[0].enter()).collect();
    let without = 5.0 / 8.0 / 3.0 + 1.0 / 8.0 * 5.0 / 7.0;
    let chances = [0.0, 0.0, 1.0 - without, without];
    assert_drawn(&pool.counts(20_000).await, &chances, "by weight, one busy");
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn a_member_of_which_nothing_is_known_gets_one_request_until_it_answers() {
    let pool = Pool::new(Strategy::P2cEwma, &[1, 1]);
    pool.endpoints[0].enter().connected();
    let busy: Vec<_> = (0..100).map(|_| pool.endpoints[0].enter()).collect();
    let (first, place) = pool.pick().await;
    assert_eq!(first, 1);
    // `connected` has told of it: it is known, and free.
    assert_eq!(pool.pick().await.0, 1);
    drop((place, busy));
    let pool = Pool::new(Strategy::P2cEwma, &[1, 1]);
    pool.endpoints[0].enter().connected();
    let _waits = pool.endpoints[1].enter();
    assert_eq!(pool.counts(100).await, [100, 0]);
}

/// Where it has been told to be.
struct Keyed(u64);

impl Balanced for Keyed {
    fn hash_of(&self, on: &HashOn) -> Option<u64> {
        (*on == HashOn::Path).then_some(self.0)
    }
}

#[tokio::test]
async fn a_key_stays_where_it_is_while_others_come_and_go() {
    const KEYS: u64 = 2_000;
    fastrand::seed(7);
    let endpoints: Vec<_> = (0..5)
        .map(|index| Endpoint::new(format!("s{index}")))
        .collect();
    let members = |indices: &[usize]| -> Vec<_> {
        let member = |index: &usize| {
            let index = *index;
            Member {
                endpoint: Arc::clone(&endpoints[index]),
                weight: 1,
                service: service_fn(move |_: Placed<Keyed>| ready(Ok::<_, BoxError>(index))),
            }
        };
        indices.iter().map(member).collect()
    };
    let balance = Balance::new(
        Strategy::ConsistentHash(HashOn::Path),
        members(&[0, 1, 2, 3]),
    );
    let all = async || {
        let mut picks = Vec::new();
        for key in 0..KEYS {
            let key = Keyed(key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            picks.push(balance.clone().oneshot(key).await.unwrap());
        }
        picks
    };
    let moved = |before: &[usize], after: &[usize], own: &dyn Fn(usize, usize) -> bool| {
        let pairs = before.iter().zip(after);
        let others = pairs.filter(|(a, b)| a != b && !own(**a, **b));
        others.count()
    };
    let before = all().await;
    assert_eq!(before, all().await);
    let mut counts = [0; 4];
    before.iter().for_each(|index| counts[*index] += 1);
    assert_drawn(&counts, &[1.0; 4], "keys");
    // Closed: its own go, all others stay.
    endpoints[2].set(Trouble::Unhealthy, "down");
    assert_eq!(moved(&before, &all().await, &|a, _| a == 2), 0);
    endpoints[2].clear(Trouble::Unhealthy);
    assert_eq!(before, all().await, "and come back");
    // Gone, and another one come: nearly all others stay, of four less than one in a hundred moves.
    balance.set_members(members(&[0, 1, 3]));
    let less = all().await;
    assert!(moved(&before, &less, &|a, _| a == 2) <= 20);
    balance.set_members(members(&[0, 1, 2, 3, 4]));
    assert!(moved(&before, &all().await, &|_, b| b == 4) <= 20);
}

#[tokio::test]
async fn a_request_without_a_key_goes_by_its_client_and_without_one_anywhere() {
    use a3s_layers::peer::{Client, Peer, TrustedProxies};
    fastrand::seed(7);
    let member = |index: usize| Member {
        endpoint: Endpoint::new(format!("s{index}")),
        weight: 1,
        service: service_fn(move |_: Placed<Request<()>>| ready(Ok::<_, BoxError>(index))),
    };
    let on = "header:x-tenant".parse().unwrap();
    let balance = Balance::new(Strategy::ConsistentHash(on), (0..5).map(member).collect());
    let ask = async |tenant: Option<&str>, ip: Option<&str>| {
        let mut request = Request::new(());
        if let Some(tenant) = tenant {
            request
                .headers_mut()
                .insert("x-tenant", tenant.parse().unwrap());
        }
        if let Some(ip) = ip {
            let address = format!("{ip}:4711").parse().unwrap();
            let peer = Arc::new(Peer::new(address, 80, false, &TrustedProxies::default()));
            let client = Client::of(peer, request.headers());
            request.extensions_mut().insert(client);
        }
        balance.clone().oneshot(request).await.unwrap()
    };
    let mut by_client = [0; 5];
    let mut by_tenant = [0; 5];
    for number in 0..100 {
        let ip = format!("192.0.2.{number}");
        let there = ask(None, Some(&ip)).await;
        by_client[there] += 1;
        assert_eq!(
            ask(Some(""), Some(&ip)).await,
            there,
            "an empty value is none"
        );
        let tenant = ask(Some("a"), Some(&ip)).await;
        by_tenant[tenant] += 1;
    }
    assert_drawn(&by_client, &[1.0; 5], "clients");
    assert!(by_tenant.contains(&100));
    let mut anywhere = [0; 5];
    for _ in 0..1000 {
        anywhere[ask(None, None).await] += 1;
    }
    assert_drawn(&anywhere, &[1.0; 5], "nobody");
}

#[tokio::test(start_paused = true)]
async fn the_share_of_a_new_member_grows_with_the_time() {
    const SLOW_START: Duration = Duration::from_secs(60);
    const PICKS: usize = 20_000;
    for strategy in [
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastConnections,
        Strategy::Random,
        Strategy::P2cEwma,
    ] {
        let name = format!("{strategy:?}");
        let rules = Rules {
            slow_start: SLOW_START,
            ..Rules::from(strategy)
        };
        // All are new at once: none is to the balance, which had nobody.
        let pool = Pool::new(rules, &[1, 1, 1]);
        pool.warm_up().await;
        let share = async |what: &str, warmth: f64| {
            pool.warm_up().await;
            let counts = pool.counts(PICKS).await;
            // It takes its turn as often as it is warm. Five standard deviations of a binomial count, which that of a
            // round is not above.
            let chance = warmth / (2.0 + warmth);
            let deviation = (PICKS as f64 * chance * (1.0 - chance)).sqrt();
            let off = (counts[2] as f64 - PICKS as f64 * chance).abs();
            assert!(off <= 5.0 * deviation, "{name}, {what}: {counts:?}");
        };
        share("at the start", 1.0).await;
        pool.set(0..2, &[1, 1, 1]);
        pool.set(0..3, &[1, 1, 1]);
        share("new", 0.1).await;
        sleep(SLOW_START / 2).await;
        share("after half the time", 0.5).await;
        pool.set(0..3, &[1, 1, 1]);
        share("the same members again", 0.5).await;
        sleep(SLOW_START / 2).await;
        share("after all of it", 1.0).await;
        for trouble in [Trouble::Unhealthy, Trouble::Ejected] {
            pool.endpoints[2].set(trouble, "");
            assert_eq!(pool.counts(100).await[2], 0, "{name}");
            pool.endpoints[2].clear(trouble);
            share("back", 0.1).await;
            pool.endpoints[2].clear(trouble);
            sleep(SLOW_START).await;
            share("well again", 1.0).await;
        }
        // Nobody waits for the one that is left to be warm, nor for one of many.
        pool.endpoints[0].set(Trouble::Unhealthy, "");
        pool.endpoints[1].set(Trouble::Unhealthy, "");
        pool.endpoints[2].begin();
        assert_eq!(pool.counts(100).await, [0, 0, 100], "{name}");
        for endpoint in &pool.endpoints {
            endpoint.clear(Trouble::Unhealthy);
            endpoint.begin();
        }
        let counts = pool.counts(3_000).await;
        assert!(
            counts.iter().all(|count| *count > 800),
            "{name}: {counts:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn keys_do_not_wait_for_a_slow_start() {
    let rules = Rules {
        slow_start: Duration::from_secs(60),
        ..Rules::from(Strategy::ConsistentHash(HashOn::ClientIp))
    };
    let pool = Pool::new(rules, &[1, 1]);
    pool.endpoints[1].begin();
    assert_drawn(&pool.counts(2_000).await, &[1.0, 1.0], "keys");
}

/// What a server does with a request.
#[derive(Clone, Copy)]
enum Does {
    Answer(Duration),
    /// Answers 503.
    Refuse(Duration),
    Fail,
    Hang,
}

type Answer = Response<a3s_layers::observe::ObservedBody<Body, InFlight>>;
type Live = Balance<BoxCloneSyncService<Placed<Request<Body>>, Answer, BoxError>>;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Servers that do what they are told, and change their minds with the time.
fn live(
    strategy: Strategy,
    weights: &[u32],
    does: impl Fn(usize, Duration) -> Does + Clone + Send + Sync + 'static,
) -> (Vec<Arc<Endpoint>>, Live) {
    fastrand::seed(7);
    let start = Instant::now();
    let endpoints: Vec<_> = (0..weights.len())
        .map(|index| Endpoint::new(index.to_string()))
        .collect();
    let member = |(index, weight): (usize, &u32)| {
        let does = does.clone();
        let service = service_fn(move |_: Request<Body>| {
            let does = does(index, start.elapsed());
            async move {
                match does {
                    Does::Answer(after) => sleep(after).await,
                    Does::Refuse(after) => {
                        sleep(after).await;
                        let mut response = Response::new(Body::empty());
                        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                        return Ok(response);
                    }
                    Does::Fail => return Err(BoxError::from("refused")),
                    Does::Hang => pending().await,
                }
                Ok(Response::new(Body::from("hello")))
            }
        });
        Member {
            endpoint: Arc::clone(&endpoints[index]),
            weight: *weight,
            service: BoxCloneSyncService::new(PlaceLayer::new().layer(service)),
        }
    };
    let members = weights.iter().enumerate().map(member).collect();
    let balance = Balance::new(strategy, members);
    (endpoints, balance)
}

fn ask(balance: &Live) -> impl Future<Output = Result<Answer, BoxError>> + Send + use<> {
    balance.clone().oneshot(Request::new(Body::empty()))
}

/// Clients that each wait for one answer before they ask again, and lose their patience after a second. The shares of
/// the servers in all that was asked.
async fn load(
    balance: &Live,
    endpoints: &[Arc<Endpoint>],
    clients: u64,
    length: Duration,
) -> Vec<f64> {
    let before: Vec<_> = endpoints.iter().map(|each| each.requests()).collect();
    let end = Instant::now() + length;
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let balance = balance.clone();
        tasks.spawn(async move {
            // No two are in step for ever.
            sleep(ms(client)).await;
            while Instant::now() < end {
                match timeout(ms(1_000), ask(&balance)).await {
                    Ok(Ok(answer)) => assert!(answer.into_body().collect().await.is_ok()),
                    // A client that is refused waits a little.
                    Ok(Err(_)) | Err(_) => sleep(ms(1)).await,
                }
            }
        });
    }
    tasks.join_all().await;
    let counts = endpoints.iter().zip(before);
    let counts: Vec<_> = counts
        .map(|(each, before)| each.requests() - before)
        .collect();
    assert!(endpoints.iter().all(|each| each.in_flight() == 0));
    let all = counts.iter().sum::<u64>() as f64;
    counts.into_iter().map(|count| count as f64 / all).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_keeps_a_third_of_a_round_and_a_few_per_cent_of_what_is_balanced_by_latency()
{
    let does = |index: usize, _| Does::Answer(ms(if index == 0 { 300 } else { 30 }));
    let length = Duration::from_secs(60);
    let (endpoints, balance) = live(Strategy::RoundRobin, &[1; 3], does);
    let shares = load(&balance, &endpoints, 10, length).await;
    assert!((shares[0] - 1.0 / 3.0).abs() < 0.01, "{shares:?}");
    let (endpoints, balance) = live(Strategy::P2cEwma, &[1; 3], does);
    let shares = load(&balance, &endpoints, 10, length).await;
    assert!(shares[0] < 0.03, "{shares:?}");
    // It is tried now and then.
    assert!(endpoints[0].requests() > 3);
    assert_eq!(endpoints[0].ewma(), Some(ms(300)));
    // The other two are equals: each has at least 45 of a hundred.
    assert!(shares[1..].iter().all(|share| *share > 0.45), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_slow_is_soon_as_good_as_others() {
    let slow_until = Duration::from_secs(30);
    let does = move |index: usize, now: Duration| {
        let is_slow = index == 0 && now < slow_until;
        Does::Answer(ms(if is_slow { 800 } else { 30 }))
    };
    let (endpoints, balance) = live(Strategy::P2cEwma, &[1; 3], does);
    let shares = load(&balance, &endpoints, 10, slow_until).await;
    assert!(shares[0] < 0.01, "{shares:?}");
    // What is left of a slow second after a minute is little: then it has its third again.
    load(&balance, &endpoints, 10, Duration::from_secs(60)).await;
    let shares = load(&balance, &endpoints, 10, Duration::from_secs(10)).await;
    assert!((shares[0] - 1.0 / 3.0).abs() < 0.05, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_back_is_not_judged_by_how_it_was() {
    let ill_until = Duration::from_secs(5);
    let does = move |index: usize, now: Duration| match index == 0 && now < ill_until {
        true => Does::Fail,
        false => Does::Answer(ms(30)),
    };
    for trouble in Trouble::ALL {
        let (endpoints, balance) = live(Strategy::P2cEwma, &[1; 3], does);
        load(&balance, &endpoints, 10, ms(1_000)).await;
        endpoints[0].set(trouble, "");
        load(&balance, &endpoints, 10, ms(4_000)).await;
        // What its failures count as is nothing that was measured.
        assert_eq!(endpoints[0].ewma(), None);
        endpoints[0].clear(trouble);
        let shares = load(&balance, &endpoints, 10, ms(10_000)).await;
        assert!(
            (shares[0] - 1.0 / 3.0).abs() < 0.05,
            "{trouble:?} {shares:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_fail_or_hang_are_not_taken_for_fast_ones() {
    let good = Does::Answer(ms(40));
    for (what, bad, most) in [
        ("refuses connections", Does::Fail, 0.02),
        ("hangs", Does::Hang, 0.02),
        // What it answers counts as slower than it was, and not as a failure of the server: that takes its time.
        ("answers 503 at once", Does::Refuse(ms(0)), 0.15),
    ] {
        let bad_from = Duration::from_secs(5);
        let does = move |index: usize, now: Duration| match index == 0 && now >= bad_from {
            true => bad,
            false => good,
        };
        let (endpoints, balance) = live(Strategy::P2cEwma, &[1; 3], does);
        load(&balance, &endpoints, 10, bad_from).await;
        let shares = load(&balance, &endpoints, 10, Duration::from_secs(60)).await;
        assert!(shares[0] < most, "{what}: {shares:?}");
        // From its first request on.
        let (endpoints, balance) = live(Strategy::P2cEwma, &[1; 3], move |index, _| {
            if index == 0 { bad } else { good }
        });
        let shares = load(&balance, &endpoints, 10, Duration::from_secs(60)).await;
        assert!(shares[0] < most, "{what}, always: {shares:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn under_load_servers_have_exchanges_by_their_weights() {
    let (endpoints, balance) = live(Strategy::P2cEwma, &[3, 2, 1], |_, _| Does::Answer(ms(100)));
    let shares = load(&balance, &endpoints, 60, Duration::from_secs(20)).await;
    // No chance stands behind it but the draws, and no law gives its spread: a sixth of the whole is told from a
    // third and from a half.
    for (share, weight) in shares.iter().zip([3.0, 2.0, 1.0]) {
        assert!((share - weight / 6.0).abs() < 0.05, "{shares:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_to_the_first_byte_is_that_of_the_server() {
    use a3s_layers::endpoint::AwaitedBody;
    let endpoint = Endpoint::new("a");
    let ask = async |request: Request<Body>, awaited: Option<Duration>, length: Duration| {
        let service = PlaceLayer::new().layer(service_fn(move |_: Request<Body>| async move {
            sleep(length).await;
            let mut response = Response::new(Body::from("hello"));
            if let Some(awaited) = awaited {
                response.extensions_mut().insert(AwaitedBody(awaited));
            }
            Ok::<_, BoxError>(response)
        }));
        let place = endpoint.enter();
        let answer = service.oneshot(Placed { request, place }).await.unwrap();
        // What comes after the head says nothing of it.
        sleep(Duration::from_secs(5)).await;
        answer.into_body().collect().await.unwrap();
    };
    assert_eq!(endpoint.ewma(), None);
    ask(Request::new(Body::empty()), None, ms(10)).await;
    assert_eq!(endpoint.ewma(), Some(ms(10)));
    // The client took a minute for its body.
    let upload = || Request::new(Body::from("hello"));
    ask(upload(), Some(ms(60_000)), ms(60_020)).await;
    assert_eq!(endpoint.ewma(), Some(ms(20)));
    // Of a client that goes away nobody knows how long the answer would have taken.
    let place = endpoint.enter();
    let service = PlaceLayer::new().layer(service_fn(|_: Request<Body>| {
        pending::<Result<Response<Body>, BoxError>>()
    }));
    let request = upload();
    let sent = service.clone().oneshot(Placed { request, place });
    assert!(timeout(ms(30_000), sent).await.is_err());
    assert_eq!(endpoint.ewma(), Some(ms(20)));
    let (request, place) = (Request::new(Body::empty()), endpoint.enter());
    let sent = service.oneshot(Placed { request, place });
    assert!(timeout(ms(30_000), sent).await.is_err());
    assert_eq!(endpoint.ewma(), Some(ms(20)));
}
