//! Sessions stay where they are.

#![cfg(feature = "sticky")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::balance::sticky::{Affinity, Cookie, KeepLayer, Key, SessionLayer, Sticky};
use a3s_layers::balance::{Balance, HashOn, Member, Rules, Strategy};
use a3s_layers::endpoint::{Endpoint, PlaceLayer, Placed, Trouble};
use a3s_layers::error::Failure;
use a3s_layers::observe::ObservedBody;
use a3s_layers::tried::Tried;
use axum::body::Body;
use http::header::SET_COOKIE;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Answer = Response<ObservedBody<Body, a3s_layers::endpoint::InFlight>>;
type Stack = BoxCloneSyncService<Placed<Request<Body>>, Answer, BoxError>;

const ALL: [Strategy; 6] = [
    Strategy::RoundRobin,
    Strategy::Weighted,
    Strategy::LeastConnections,
    Strategy::Random,
    Strategy::P2cEwma,
    Strategy::ConsistentHash(HashOn::ClientIp),
];

/// A pool of servers that say who they are in `x-server`, behind a cookie `sid`.
struct Pool {
    sticky: Sticky,
    key: Key,
    balance: Balance<Stack>,
    endpoints: Vec<Arc<Endpoint>>,
}

impl Pool {
    fn new(strategy: Strategy, names: &[&'static str]) -> Self {
        Self::with(strategy, names, Cookie::new("sid"), None)
    }

    fn with(
        strategy: Strategy,
        names: &[&'static str],
        cookie: Cookie,
        secret: Option<&str>,
    ) -> Self {
        let key = Key::new("backend", secret.map(str::as_bytes));
        let tokens = key.clone();
        let pool = Self {
            sticky: Sticky::new(cookie).unwrap(),
            key,
            balance: Balance::new(strategy, Vec::new()).sticky(move |it| tokens.server(it)),
            endpoints: names.iter().map(|name| Endpoint::new(*name)).collect(),
        };
        pool.set_members(&vec![1; names.len()]);
        pool
    }

    fn set_members(&self, weights: &[u32]) {
        let member = |(endpoint, weight): (&Arc<Endpoint>, &u32)| {
            let name = endpoint.id().to_owned();
            let answers = service_fn(move |request: Request<Body>| {
                let answer = Response::builder().header("x-server", &name);
                let answer = match request.uri().path() {
                    "/fail" => Err(BoxError::from("down")),
                    "/own" => Ok(answer
                        .header(SET_COOKIE, "own=1")
                        .body(Body::empty())
                        .unwrap()),
                    _ => Ok(answer.body(Body::empty()).unwrap()),
                };
                std::future::ready(answer)
            });
            let stack = ServiceBuilder::new()
                .layer(PlaceLayer::new())
                .layer(KeepLayer::new(&self.sticky, self.key.server(endpoint)))
                .service(answers);
            Member {
                endpoint: Arc::clone(endpoint),
                weight: *weight,
                service: BoxCloneSyncService::new(stack),
            }
        };
        let members = self.endpoints.iter().zip(weights).map(member);
        self.balance.set_members(members.collect());
    }

    async fn ask(&self, request: Request<Body>) -> Result<Answer, BoxError> {
        let service = SessionLayer::new(&self.sticky).layer(self.balance.clone());
        service.oneshot(request).await
    }

    /// Who answers a client with this cookie, and the cookie that it is given.
    async fn get(&self, cookie: &str) -> (String, Option<String>) {
        let request = Request::get("/").header("cookie", cookie);
        let answer = self
            .ask(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let text = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        (text("x-server").unwrap(), text("set-cookie"))
    }
}

/// What a browser says of a cookie that it was given.
fn shown(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap()
}

#[tokio::test]
async fn who_has_a_cookie_stays_and_is_given_no_other() {
    for strategy in ALL {
        let pool = Pool::new(strategy.clone(), &["a", "b", "c"]);
        for _ in 0..10 {
            let (server, cookie) = pool.get("").await;
            let cookie = cookie.unwrap();
            for _ in 0..10 {
                let again = pool.get(shown(&cookie)).await;
                assert_eq!(again, (server.clone(), None), "{strategy:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_answers_of_servers_keep_their_own_cookies() {
    let pool = Pool::new(Strategy::RoundRobin, &["a"]);
    let request = Request::get("/own").body(Body::empty()).unwrap();
    let answer = pool.ask(request).await.unwrap();
    let cookies = answer.headers().get_all(SET_COOKIE).iter();
    let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(cookies[0], "own=1");
    let token = pool.key.server(&pool.endpoints[0]);
    assert_eq!(cookies[1..], [format!("sid={token}; Path=/")]);
}

#[tokio::test]
async fn sessions_do_not_take_the_turns_of_others() {
    let pool = Pool::new(Strategy::RoundRobin, &["a", "b"]);
    let cookie = pool.get("").await.1.unwrap();
    let mut others = Vec::new();
    for _ in 0..4 {
        pool.get(shown(&cookie)).await;
        others.push(pool.get("").await.0);
    }
    assert_eq!(others, ["b", "a", "b", "a"]);
}

#[tokio::test]
async fn a_session_outlives_whoever_gave_it() {
    let names = ["a", "b", "c"];
    let cookie = Pool::new(Strategy::RoundRobin, &names)
        .get("")
        .await
        .1
        .unwrap();
    // Another process, or the same one after a reload, in whatever order the servers stand.
    for names in [["a", "b", "c"], ["c", "b", "a"]] {
        let pool = Pool::new(Strategy::Random, &names);
        assert_eq!(pool.get(shown(&cookie)).await, ("a".to_owned(), None));
        pool.set_members(&[1, 1, 1]);
        assert_eq!(pool.get(shown(&cookie)).await, ("a".to_owned(), None));
    }
}

#[tokio::test]
async fn a_server_that_takes_nothing_new_keeps_its_sessions() {
    for strategy in ALL {
        let pool = Pool::new(strategy.clone(), &["a", "b"]);
        let cookie = pool.key.server(&pool.endpoints[0]).to_string();
        let cookie = format!("sid={cookie}");
        let stays = async |why| {
            assert_eq!(pool.get(&cookie).await, ("a".to_owned(), None), "{why}");
            for _ in 0..4 {
                assert_eq!(pool.get("").await.0, "b", "{why}");
            }
        };
        pool.endpoints[0].set(Trouble::Drained, "by hand");
        stays("drained").await;
        pool.endpoints[0].clear(Trouble::Drained);
        pool.set_members(&[0, 1]);
        stays("weight 0").await;
        pool.endpoints[0].set(Trouble::Drained, "by hand");
        stays("both").await;
    }
}

#[tokio::test]
async fn a_session_goes_elsewhere_when_its_server_cannot_take_it() {
    for strategy in ALL {
        let pool = Pool::new(strategy.clone(), &["a", "b"]);
        let [a, b] = [0, 1].map(|index| pool.key.server(&pool.endpoints[index]));
        let cookie = format!("sid={a}");
        let moves = async |why| {
            let moved = ("b".to_owned(), Some(format!("sid={b}; Path=/")));
            assert_eq!(pool.get(&cookie).await, moved, "{why}");
        };
        for trouble in [Trouble::Unhealthy, Trouble::Ejected] {
            pool.endpoints[0].set(trouble, "a test");
            moves(trouble.as_str()).await;
            pool.endpoints[0].clear(trouble);
        }
        pool.endpoints[0].set_max_in_flight(Some(0));
        moves("full").await;
        pool.endpoints[0].set_max_in_flight(None);
        assert_eq!(pool.get(&cookie).await.0, "a", "it is back");
    }
    let pool = Pool::new(Strategy::RoundRobin, &["b"]);
    let gone = pool.key.server(&Endpoint::new("a"));
    let (server, cookie) = pool.get(&format!("sid={gone}")).await;
    assert!(server == "b" && cookie.is_some(), "gone");
}

#[tokio::test]
async fn another_try_goes_elsewhere_and_names_who_answered() {
    let pool = Pool::new(Strategy::RoundRobin, &["a", "b"]);
    let [a, b] = [0, 1].map(|index| pool.key.server(&pool.endpoints[index]));
    let tried = Tried::new();
    let ask = |path: &str| {
        let request = Request::get(path).header("cookie", format!("sid={a}"));
        let request = request.extension(tried.clone()).body(Body::empty());
        pool.ask(request.unwrap())
    };
    ask("/fail").await.err().unwrap();
    assert_eq!(tried.to_vec()[0].id(), "a");
    let answer = ask("/").await.unwrap();
    assert_eq!(answer.headers()["x-server"], "b");
    assert_eq!(answer.headers()[SET_COOKIE], format!("sid={b}; Path=/"));
    // All were tried: any of them.
    assert!(ask("/").await.is_ok());
    assert_eq!(tried.to_vec().len(), 2);
}

#[tokio::test]
async fn a_forged_cookie_is_no_cookie() {
    let pool = Pool::new(Strategy::RoundRobin, &["a", "b"]);
    let other = Key::new("another service", None).server(&pool.endpoints[0]);
    let secret = Key::new("backend", Some(b"secret")).server(&pool.endpoints[0]);
    let own = pool.key.server(&pool.endpoints[0]).to_string();
    for value in [
        "a",
        "0",
        "http://a",
        &other.to_string(),
        &secret.to_string(),
        &own.to_uppercase(),
        &own[1..],
        &format!("{own}0"),
        &"x".repeat(8_192),
    ] {
        let cookie = format!("sid={value}");
        let servers = [pool.get(&cookie).await, pool.get(&cookie).await];
        assert!(
            servers.iter().all(|(_, cookie)| cookie.is_some()),
            "{value}"
        );
        assert_ne!(servers[0].0, servers[1].0, "it is nobody's: {value}");
    }
}

#[tokio::test]
async fn a_secret_that_changes_ends_all_sessions() {
    let with = |secret| {
        Pool::with(
            Strategy::RoundRobin,
            &["a", "b"],
            Cookie::new("sid"),
            secret,
        )
    };
    let before = with(Some("one"));
    let cookie = before.get("").await.1.unwrap();
    assert_eq!(before.get(shown(&cookie)).await.1, None);
    assert!(with(Some("two")).get(shown(&cookie)).await.1.is_some());
    assert!(with(None).get(shown(&cookie)).await.1.is_some());
    assert_eq!(with(Some("one")).get(shown(&cookie)).await.1, None);
}

#[tokio::test]
async fn of_several_cookies_the_first_that_is_somebodys_counts() {
    let pool = Pool::new(Strategy::RoundRobin, &["a", "b", "c"]);
    let [a, b, c] = [0, 1, 2].map(|index| pool.key.server(&pool.endpoints[index]));
    let gone = pool.key.server(&Endpoint::new("gone"));
    let line = format!("sid=x; sid={gone}; sid={b}; sid={a}; sid={c}");
    assert_eq!(pool.get(&line).await, ("b".to_owned(), None));
    pool.endpoints[1].set(Trouble::Unhealthy, "a test");
    assert_eq!(pool.get(&line).await, ("a".to_owned(), None));
    let many = format!("{}sid={c}", format!("sid={gone}; ").repeat(4));
    assert!(
        pool.get(&many).await.1.is_some(),
        "no more than four are read"
    );
}

#[tokio::test]
async fn with_a_time_to_live_a_cookie_is_renewed() {
    let cookie = Cookie {
        ttl: Some(Duration::from_secs(3_600)),
        ..Cookie::new("sid")
    };
    let pool = Pool::with(Strategy::RoundRobin, &["a", "b"], cookie, None);
    let (server, cookie) = pool.get("").await;
    let cookie = cookie.unwrap();
    assert!(cookie.ends_with("; Path=/; Max-Age=3600"), "{cookie}");
    assert_eq!(pool.get(shown(&cookie)).await, (server.clone(), None));
    let (name, _) = shown(&cookie).split_once('.').unwrap();
    for old in [
        name.to_owned(),
        format!("{name}.0"),
        format!("{name}.1700000000"),
    ] {
        let (same, renewed) = pool.get(&old).await;
        assert_eq!(same, server, "{old}");
        assert_eq!(
            pool.get(shown(&renewed.unwrap())).await,
            (server.clone(), None)
        );
    }
    // A cookie from a time when there was no time, and the other way round.
    let lasting = Pool::new(Strategy::RoundRobin, &["a", "b"]);
    assert_eq!(lasting.get(shown(&cookie)).await, (server, None));
}

#[tokio::test]
async fn nobody_is_there() {
    let pool = Pool::new(Strategy::RoundRobin, &["a"]);
    let cookie = pool.get("").await.1.unwrap();
    pool.endpoints[0].set(Trouble::Unhealthy, "a test");
    let request = Request::get("/").header("cookie", shown(&cookie));
    let error = pool.ask(request.body(Body::empty()).unwrap()).await;
    assert_eq!(Failure::of(&*error.err().unwrap()), Failure::Unavailable);
}

#[tokio::test]
async fn where_all_are_believed_to_be_well_sessions_stay_too() {
    let key = Key::new("backend", None);
    let endpoints = ["a", "b"].map(Endpoint::new);
    let member = |endpoint: &Arc<Endpoint>| Member {
        endpoint: Arc::clone(endpoint),
        weight: 1,
        service: service_fn(|placed: Placed<Request<()>>| {
            let id = placed.place.endpoint().id().to_owned();
            std::future::ready(Ok::<_, BoxError>(id))
        }),
    };
    let tokens = key.clone();
    let members = endpoints.iter().map(member).collect();
    let rules = Rules {
        panic_threshold_percent: 60,
        ..Rules::default()
    };
    let balance = Balance::new(rules, members).sticky(move |endpoint| tokens.server(endpoint));
    let sticky = Sticky::new(Cookie::new("sid")).unwrap();
    let service = SessionLayer::new(&sticky).layer(balance);
    let cookie = format!("sid={}", key.server(&endpoints[1]));
    endpoints[1].set(Trouble::Unhealthy, "a test");
    for _ in 0..3 {
        let request = Request::get("/")
            .header("cookie", &cookie)
            .body(())
            .unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap(), "b");
    }
}

#[tokio::test]
async fn what_another_service_said_of_a_request_is_forgotten() {
    let sticky = Sticky::new(Cookie::new("sid")).unwrap();
    let service = SessionLayer::new(&sticky).layer(service_fn(async |request: Request<()>| {
        Ok::<_, BoxError>(request.extensions().get::<Affinity>().is_some())
    }));
    let mut request = Request::get("/")
        .header("cookie", format!("sid={:032}", 1))
        .body(())
        .unwrap();
    assert!(service.clone().oneshot(request.clone()).await.unwrap());
    let other = Affinity::read(request.headers(), "sid").unwrap();
    request.headers_mut().clear();
    request.extensions_mut().insert(other);
    assert!(!service.oneshot(request).await.unwrap());
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    // There is none: two that are made alike know each other's sessions.
    let pools = [0, 1].map(|_| Pool::new(Strategy::RoundRobin, &["a", "b"]));
    let (server, cookie) = pools[0].get("").await;
    assert_eq!(pools[1].get(shown(&cookie.unwrap())).await, (server, None));
}

#[test]
fn a_cookie_is_read_without_an_allocation() {
    let pool = Pool::new(Strategy::RoundRobin, &["a", "b"]);
    let token = pool.key.server(&pool.endpoints[0]);
    let line = format!("big={}; sid=\"{token}\"; a=b", "x".repeat(8_192));
    let request = Request::get("/").header("cookie", line).body(()).unwrap();
    let reading = allocation_counter::measure(|| {
        let affinity = Affinity::read(request.headers(), "sid");
        assert_eq!(affinity.unwrap().tokens().next(), Some(token));
    });
    assert_eq!(reading.count_total, 0);
    // The layers: one, for the extension that the balance reads.
    let answers =
        || service_fn(|_: Request<()>| std::future::ready(Ok::<_, BoxError>(Response::new(()))));
    let keep = KeepLayer::new(&pool.sticky, token).layer(answers());
    let keep = SessionLayer::new(&pool.sticky).layer(keep);
    assert_eq!(
        allocations(keep, &request),
        allocations(answers(), &request) + 1
    );
}

/// Allocations of the second request, which is given no cookie.
fn allocations<S>(mut service: S, request: &Request<()>) -> u64
where
    S: Service<Request<()>, Response = Response<()>, Error = BoxError>,
{
    let mut send = || {
        let mut request = request.clone();
        // As any request of a gateway, it has extensions.
        request.extensions_mut().insert("something");
        let asking = allocation_counter::measure(|| {
            let answer = tokio_test::block_on(service.call(request)).unwrap();
            assert!(!answer.headers().contains_key(SET_COOKIE));
        });
        asking.count_total
    };
    send();
    send()
}
