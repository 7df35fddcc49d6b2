//! Which revision gets a request.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::balance::sticky::{Affinity, Token};
use a3s_layers::balance::{Balance, Balanced, Member, Strategy};
use a3s_layers::endpoint::{Endpoint, Placed, Trouble};
use a3s_layers::error::Failure;
use a3s_layers::split::{Revision, Shares, Split};
use a3s_layers::tried::Tried;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::{Strategy as _, *};
use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt, service_fn};

/// A request that says what it is asked.
#[derive(Clone, Default)]
struct Ask {
    tried: Option<Tried>,
    affinity: Option<Affinity>,
}

impl Balanced for Ask {
    fn tried(&self) -> Option<&Tried> {
        self.tried.as_ref()
    }

    fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_ref()
    }
}

impl Ask {
    /// Shows these tokens.
    fn showing(tokens: impl IntoIterator<Item = Token>) -> Self {
        let pairs = tokens.into_iter().map(|token| format!("sid={token};"));
        let line = HeaderValue::try_from(pairs.collect::<String>()).unwrap();
        let headers = HeaderMap::from_iter([(http::header::COOKIE, line)]);
        Self {
            affinity: Affinity::read(&headers, "sid"),
            tried: None,
        }
    }
}

/// The token of a server, or of a revision, by the letters of its name.
fn token(name: &str) -> Token {
    Token::new(
        name.bytes()
            .fold(0, |bits, byte| bits << 8 | u128::from(byte)),
    )
}

type Branch = Balance<BoxCloneSyncService<Placed<Ask>, String, BoxError>>;

/// Revisions `a`, `b`, `c`, ... whose servers are `a0`, `a1`, ..., and answer with their names.
struct Setup {
    split: Split<Branch>,
    shares: Arc<Shares>,
    endpoints: HashMap<String, Arc<Endpoint>>,
}

impl Setup {
    fn new(shares: &[u8]) -> Self {
        Self::with(shares, 2, false)
    }

    fn with(shares: &[u8], servers: usize, to_revision: bool) -> Self {
        let mut endpoints = HashMap::new();
        let mut revision = |letter: char| {
            let member = |number: usize| {
                let name = format!("{letter}{number}");
                let endpoint = Endpoint::new(name.clone());
                endpoints.insert(name.clone(), Arc::clone(&endpoint));
                Member {
                    endpoint,
                    weight: 1,
                    service: BoxCloneSyncService::new(service_fn(move |_: Placed<Ask>| {
                        ready(Ok(name.clone()))
                    })),
                }
            };
            let balance = Balance::new(Strategy::RoundRobin, (0..servers).map(member).collect());
            let balance = match to_revision {
                true => balance,
                false => balance.sticky(|endpoint| token(endpoint.id())),
            };
            Revision {
                name: letter.to_string().into(),
                cluster: Arc::new(balance.clone()),
                token: to_revision.then(|| token(&letter.to_string())),
                service: balance,
            }
        };
        let revisions = ('a'..).take(shares.len()).map(&mut revision).collect();
        let shares = Shares::new(shares);
        Self {
            split: Split::new(&shares, revisions),
            shares,
            endpoints,
        }
    }

    async fn ask(&self, ask: Ask) -> Result<String, Failure> {
        let answer = self.split.clone().oneshot(ask).await;
        answer.map_err(|error| Failure::of(&*error))
    }

    /// The revisions that answer so many requests.
    async fn turns(&self, count: usize) -> String {
        let mut turns = String::new();
        for _ in 0..count {
            turns.push_str(&self.ask(Ask::default()).await.unwrap()[..1]);
        }
        turns
    }

    fn set(&self, servers: &[&str], trouble: Trouble) {
        for name in servers {
            self.endpoints[*name].set(trouble, "a test");
        }
    }
}

fn counts(turns: &str) -> Vec<usize> {
    ["a", "b", "c", "d"]
        .map(|name| turns.matches(name).count())
        .into()
}

#[tokio::test]
async fn any_hundred_requests_are_split_as_the_shares_say() {
    for shares in [
        [90, 10, 0, 0],
        [33, 33, 34, 0],
        [1, 98, 1, 0],
        [25, 25, 25, 25],
    ] {
        let setup = Setup::new(&shares);
        let turns = setup.turns(350).await;
        let expected = shares.map(usize::from);
        for start in 0..250 {
            assert_eq!(counts(&turns[start..start + 100]), expected, "from {start}");
        }
    }
}

/// Shares of two to six revisions that sum up to 100.
fn shares() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0..=100u8, 1..6).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts.push(100);
        let mut before = 0;
        cuts.iter()
            .map(|cut| cut - std::mem::replace(&mut before, *cut))
            .collect()
    })
}

proptest! {
    /// In any requests in a row, the part of each revision is off by less than two.
    #[test]
    fn turns_are_smooth(shares in shares()) {
        let setup = Setup::with(&shares, 1, false);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let turns = runtime.block_on(setup.turns(200));
        for (letter, share) in ('a'..).zip(&shares) {
            let had: Vec<i64> = turns
                .chars()
                .scan(0, |had, turn| {
                    let before = *had;
                    *had += i64::from(turn == letter);
                    Some(before)
                })
                .collect();
            for from in 0..100 {
                for to in from..200 {
                    // In hundredths.
                    let off = (had[to] - had[from]) * 100 - (to - from) as i64 * i64::from(*share);
                    prop_assert!(off.abs() < 200, "{letter} of {shares:?} in {from}..{to}: {off}");
                }
            }
        }
    }
}

#[tokio::test]
async fn shares_are_moved_while_it_runs() {
    let setup = Setup::new(&[100, 0]);
    assert_eq!(counts(&setup.turns(100).await)[..2], [100, 0]);
    for percent in (0..=100).step_by(10) {
        setup.shares.set(&[100 - percent, percent]);
        let turns = setup.turns(100).await;
        let percent = usize::from(percent);
        assert_eq!(counts(&turns)[..2], [100 - percent, percent]);
    }
    // What does not fit is not looked at.
    setup.shares.set(&[50, 50, 50]);
    assert_eq!(setup.shares.get(), [50, 50]);
    assert_eq!(counts(&setup.turns(100).await)[..2], [50, 50]);
    setup.shares.set(&[7]);
    assert_eq!(setup.shares.get(), [7, 0]);
    assert_eq!(counts(&setup.turns(100).await)[..2], [100, 0]);
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    // A split is no layer: what is made many times of it is its clones.
    let Setup { split, .. } = Setup::new(&[50, 50]);
    let (mut one, mut two) = (split.clone(), split);
    let mut turns = String::new();
    for _ in 0..3 {
        turns.push_str(&one.call(Ask::default()).await.unwrap()[..1]);
        turns.push_str(&two.call(Ask::default()).await.unwrap()[..1]);
    }
    assert_eq!(turns, "ababab");
}

#[tokio::test]
async fn shares_are_exact_over_threads_that_ask_at_once() {
    let setup = Setup::new(&[70, 20, 10]);
    let counts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    counts(&runtime.unwrap().block_on(setup.turns(250)))
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let sum = |index| counts.iter().map(|each| each[index]).sum::<usize>();
    assert_eq!([sum(0), sum(1), sum(2)], [700, 200, 100]);
}

#[tokio::test]
async fn the_share_of_a_revision_without_servers_goes_to_the_others() {
    let setup = Setup::new(&[60, 30, 10, 0]);
    setup.set(&["a0"], Trouble::Unhealthy);
    assert_eq!(
        counts(&setup.turns(100).await),
        [60, 30, 10, 0],
        "one is left"
    );
    setup.set(&["a1"], Trouble::Drained);
    let turns = setup.turns(400).await;
    assert_eq!(counts(&turns), [0, 300, 100, 0], "as they share everything");
    setup.set(&["b0", "b1"], Trouble::Ejected);
    assert_eq!(counts(&setup.turns(10).await), [0, 0, 10, 0]);
    // One of 0 gets nothing even then.
    setup.set(&["c0", "c1"], Trouble::Ejected);
    assert_eq!(setup.ask(Ask::default()).await, Err(Failure::Unavailable));
    for endpoint in setup.endpoints.values() {
        for trouble in Trouble::ALL {
            endpoint.clear(trouble);
        }
    }
    assert_eq!(counts(&setup.turns(100).await), [60, 30, 10, 0]);
}

#[tokio::test]
async fn one_that_is_full_is_left_out_too() {
    let setup = Setup::with(&[50, 50], 1, false);
    setup.endpoints["a0"].set_max_in_flight(Some(1));
    let place = setup.endpoints["a0"].enter();
    assert_eq!(setup.turns(4).await, "bbbb");
    setup.endpoints["b0"].set_max_in_flight(Some(0));
    assert_eq!(setup.ask(Ask::default()).await, Err(Failure::Overloaded));
    drop(place);
    assert_eq!(setup.turns(4).await, "aaaa");
}

#[tokio::test]
async fn nobody_has_a_share() {
    for shares in [&[][..], &[0, 0]] {
        let setup = Setup::new(shares);
        assert_eq!(setup.ask(Ask::default()).await, Err(Failure::Unavailable));
    }
}

#[tokio::test]
async fn another_try_stays_in_its_revision_while_that_has_somebody_else() {
    let setup = Setup::new(&[50, 50, 0]);
    for _ in 0..4 {
        let again = Ask {
            tried: Some(Tried::new()),
            affinity: None,
        };
        let mut tries = Vec::new();
        for _ in 0..4 {
            tries.push(setup.ask(again.clone()).await.unwrap());
        }
        let revisions: String = tries.iter().map(|name| &name[..1]).collect();
        assert!(["aabb", "bbaa"].contains(&&*revisions), "{tries:?}");
        let mut different = tries.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 4, "{tries:?}");
        // All were tried: any of those with a share.
        assert!(!setup.ask(again).await.unwrap().starts_with('c'));
    }
}

#[tokio::test]
async fn another_try_takes_no_turn_of_the_others() {
    let setup = Setup::new(&[50, 50]);
    for expected in ["a", "b", "a", "b"] {
        let again = Ask {
            tried: Some(Tried::new()),
            affinity: None,
        };
        assert!(
            setup
                .ask(again.clone())
                .await
                .unwrap()
                .starts_with(expected)
        );
        assert!(setup.ask(again).await.unwrap().starts_with(expected));
    }
}

#[tokio::test]
async fn a_session_stays_at_its_server_whatever_the_shares() {
    let setup = Setup::new(&[100, 0]);
    for name in ["a0", "a1", "b0", "b1"] {
        for shares in [[100, 0], [0, 100], [50, 50]] {
            setup.shares.set(&shares);
            for _ in 0..3 {
                let answer = setup.ask(Ask::showing([token(name)])).await.unwrap();
                assert_eq!(answer, name);
            }
        }
    }
    // They take no turns.
    assert_eq!(setup.turns(4).await, "abab");
    // Of several tokens, the first that is somebody's in the order of the revisions.
    let several = Ask::showing([token("zz"), token("b1")]);
    assert_eq!(setup.ask(several).await.unwrap(), "b1");
    // One that is nobody's means nothing.
    for _ in 0..2 {
        let forged = Ask::showing([token("zz"), Token::new(0), Token::new(u128::MAX)]);
        assert!(setup.ask(forged).await.is_ok());
    }
}

#[tokio::test]
async fn a_session_whose_server_is_gone_stays_in_the_revision() {
    let setup = Setup::new(&[50, 50]);
    let ask = || setup.ask(Ask::showing([token("a0")]));
    setup.set(&["a0"], Trouble::Drained);
    assert_eq!(ask().await.unwrap(), "a0", "drained: it keeps what it has");
    setup.set(&["a0"], Trouble::Unhealthy);
    for _ in 0..4 {
        assert_eq!(ask().await.unwrap(), "a1");
    }
    // Without a share, the revision takes nothing new.
    setup.shares.set(&[0, 100]);
    assert!(ask().await.unwrap().starts_with('b'));
    setup.shares.set(&[50, 50]);
    setup.set(&["a1"], Trouble::Unhealthy);
    assert!(ask().await.unwrap().starts_with('b'), "nobody is left");
}

#[tokio::test]
async fn another_try_of_a_session_goes_elsewhere() {
    let setup = Setup::new(&[50, 50]);
    let again = Ask {
        tried: Some(Tried::new()),
        ..Ask::showing([token("b1")])
    };
    let mut tries = Vec::new();
    for _ in 0..4 {
        tries.push(setup.ask(again.clone()).await.unwrap());
    }
    assert_eq!(tries[..2], ["b1", "b0"]);
    assert!(
        tries[2..].iter().all(|name| name.starts_with('a')),
        "{tries:?}"
    );
}

#[tokio::test]
async fn a_session_can_be_kept_at_a_revision() {
    let setup = Setup::with(&[100, 0], 2, true);
    let ask = || setup.ask(Ask::showing([token("b")]));
    for shares in [[100, 0], [0, 100], [50, 50]] {
        setup.shares.set(&shares);
        let answers = [ask().await.unwrap(), ask().await.unwrap()];
        assert!(answers.contains(&"b0".to_owned()) && answers.contains(&"b1".to_owned()));
    }
    setup.set(&["b0"], Trouble::Unhealthy);
    assert_eq!(ask().await.unwrap(), "b1");
    setup.set(&["b1"], Trouble::Drained);
    assert!(ask().await.unwrap().starts_with('a'), "nobody is left");
}
