//! A rehearsal has no effect on what it goes through, and says what there would be.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::balance::{Balance, HashOn, Member, Strategy};
use a3s_layers::circuit_breaker::{CircuitBreakerLayer, CircuitState};
use a3s_layers::endpoint::{Endpoint, PlaceLayer, Seated, Trouble};
use a3s_layers::in_flight::InFlightLayer;
use a3s_layers::journal::Journal;
use a3s_layers::key::KeySource;
use a3s_layers::rate_limit::{Limit, Policy, local::RateLimitLayer};
use a3s_layers::rehearsal::{Choice, MAX_NOTES, Note};
use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

fn rehearsal() -> (Journal, Request<Body>) {
    let journal = Journal::rehearsal();
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(journal.clone());
    (journal, request)
}

fn would(journal: &Journal) -> Vec<String> {
    let notes = journal.notes().into_iter();
    notes
        .filter_map(|(_, note)| match note {
            Note::Would(what) => Some(what.into_string()),
            _ => None,
        })
        .collect()
}

async fn status<S>(service: &S, request: Request<Body>) -> StatusCode
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    service.clone().oneshot(request).await.unwrap().status()
}

fn answers(
    status: StatusCode,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |_: Request<Body>| {
        // Whoever keeps its body has not ended.
        let mut response = Response::new(Body::from("body"));
        *response.status_mut() = status;
        std::future::ready(Ok(response))
    })
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_looked_at_and_not_taken_from() {
    let limit = Limit::new(1.0, Duration::from_secs(60)).unwrap();
    let limit = limit.with_burst(2).unwrap();
    let layer = RateLimitLayer::new(Policy::new(limit), KeySource::Global).key_name("global");
    let service = layer.layer(answers(StatusCode::OK));
    for (rehearsed, left) in [
        (200, "then 1 are left"),
        (200, "then 0 are left"),
        (429, "too many"),
    ] {
        for _ in 0..3 {
            let (journal, request) = rehearsal();
            assert_eq!(status(&service, request).await, rehearsed);
            let said = would(&journal).concat();
            assert!(
                said.ends_with(left) && said.contains("by global (2 at once"),
                "{said}"
            );
        }
        assert_eq!(
            status(&service, Request::new(Body::empty())).await,
            rehearsed
        );
    }
    // A second that nobody has taken comes back.
    tokio::time::advance(Duration::from_secs(60)).await;
    let (_, request) = rehearsal();
    assert_eq!(status(&service, request).await, 200);
    assert_eq!(status(&service, Request::new(Body::empty())).await, 200);
    assert_eq!(status(&service, Request::new(Body::empty())).await, 429);
}

#[tokio::test]
async fn places_are_counted_and_not_taken() {
    let service = InFlightLayer::new(1).layer(answers(StatusCode::OK));
    let (journal, request) = rehearsal();
    let kept = service.clone().oneshot(request).await.unwrap();
    assert!(would(&journal)[0].contains("of which 0 are taken"));
    let real = service.clone().oneshot(Request::new(Body::empty())).await;
    let real = real.unwrap();
    assert_eq!(
        (kept.status(), real.status()),
        (StatusCode::OK, StatusCode::OK)
    );
    let (journal, request) = rehearsal();
    assert_eq!(status(&service, request).await, 503);
    assert!(would(&journal)[0].contains("of which 1 are taken"));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_counts_no_rehearsal() {
    let layer = CircuitBreakerLayer::new().failure_threshold(1);
    let (service, handle) = (
        layer.layer(answers(StatusCode::BAD_GATEWAY)),
        layer.handle(),
    );
    for (state, rehearsed, said) in [
        (CircuitState::Closed, 502, "the circuit is closed"),
        (CircuitState::Open, 503, "the circuit is open"),
        (CircuitState::HalfOpen, 502, "the circuit is half-open"),
    ] {
        for _ in 0..3 {
            assert_eq!(handle.state(), state);
            let (journal, request) = rehearsal();
            assert_eq!(status(&service, request).await, rehearsed, "{state:?}");
            assert!(would(&journal)[0].ends_with(said), "{:?}", would(&journal));
        }
        match state {
            CircuitState::Closed => drop(status(&service, Request::new(Body::empty())).await),
            CircuitState::Open => tokio::time::advance(Duration::from_secs(30)).await,
            CircuitState::HalfOpen => {}
        }
    }
}

fn balance(
    strategy: Strategy,
    weights: &[u32],
) -> (Vec<Arc<Endpoint>>, Balance<Seated<PlainServer>>) {
    let member = |(index, weight): (usize, &u32)| Member {
        endpoint: Endpoint::new(index.to_string()),
        weight: *weight,
        service: PlaceLayer::new().layer(PlainServer),
    };
    let members: Vec<_> = weights.iter().enumerate().map(member).collect();
    let endpoints = members.iter().map(|it| Arc::clone(&it.endpoint)).collect();
    (endpoints, Balance::new(strategy, members))
}

#[derive(Debug, Clone)]
struct PlainServer;

impl Service<Request<Body>> for PlainServer {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Err("it fails".into()))
    }
}

fn choices(journal: &Journal) -> Vec<Choice> {
    let notes = journal.notes().into_iter();
    let mut lists = notes.filter_map(|(_, note)| match note {
        Note::Servers(list) => Some(list.iter().map(|each| each.choice).collect()),
        _ => None,
    });
    lists.next().unwrap()
}

#[tokio::test]
async fn a_balance_says_who_may_be_picked_and_moves_nothing() {
    let (endpoints, balance) = balance(Strategy::RoundRobin, &[1, 1, 0, 1]);
    endpoints[3].set(Trouble::Unhealthy, "status 500");
    for _ in 0..5 {
        let (journal, request) = rehearsal();
        assert!(balance.clone().oneshot(request).await.is_err());
        let expected = [
            Choice::Possible,
            Choice::Possible,
            Choice::Weightless,
            Choice::Troubled,
        ];
        assert_eq!(choices(&journal), expected);
        for endpoint in &endpoints {
            let counts = (
                endpoint.requests(),
                endpoint.failures(),
                endpoint.in_flight(),
            );
            assert_eq!(counts, (0, 0, 0));
            assert_eq!(endpoint.ewma(), None);
        }
    }
    // The first turn is still the first.
    let _ = balance.clone().oneshot(Request::new(Body::empty())).await;
    assert_eq!((endpoints[0].requests(), endpoints[0].failures()), (1, 1));

    endpoints[0].set_max_in_flight(Some(0));
    endpoints[1].set(Trouble::Drained, "by hand");
    let (journal, request) = rehearsal();
    assert!(balance.oneshot(request).await.is_err());
    assert_eq!(choices(&journal)[..2], [Choice::Full, Choice::Troubled]);
}

#[tokio::test]
async fn by_its_hash_a_request_belongs_to_the_server_that_it_comes_to() {
    let on = HashOn::Header(HeaderName::from_static("x-user"));
    let (endpoints, balance) = balance(Strategy::ConsistentHash(on), &[1, 1, 1]);
    for user in ["ada", "bob", "eve", "dan"] {
        let value = user.parse::<http::HeaderValue>().unwrap();
        let (journal, mut request) = rehearsal();
        request.headers_mut().insert("x-user", value.clone());
        let _ = balance.clone().oneshot(request).await;
        let choices = choices(&journal);
        let certain = choices.iter().position(|choice| *choice == Choice::Certain);
        let others = choices.iter().filter(|choice| **choice == Choice::Passed);
        assert_eq!(others.count(), 2);
        let before = endpoints[certain.unwrap()].requests();
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert("x-user", value);
        let _ = balance.clone().oneshot(request).await;
        assert_eq!(endpoints[certain.unwrap()].requests(), before + 1);
    }
}

#[test]
fn notes_are_bounded_and_nobody_elses() {
    let journal = Journal::rehearsal();
    for _ in 0..2 * MAX_NOTES {
        journal.would("waits");
    }
    assert_eq!(journal.notes().len(), MAX_NOTES);
    let journal = Journal::new();
    journal.would("waits");
    assert!(journal.notes().is_empty() && !journal.is_rehearsal());
}

#[cfg(feature = "basic-auth")]
#[tokio::test]
async fn passwords_are_checked_one_at_a_time_and_in_nobodys_way() {
    use a3s_layers::auth::basic_auth::{BasicAuthLayer, Users};
    let mut users = Users::new();
    // Of "U*U", from the test vectors of crypt_blowfish, and slow enough for others to come meanwhile.
    let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    users.add_hash("ada", hash).unwrap();
    let layer = BasicAuthLayer::new(users).max_hashing(1, 0);
    let service = layer.layer(service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let with_password = |mut request: Request<Body>| {
        let value = HeaderValue::from_static("Basic YWRhOndyb25n");
        request.headers_mut().insert("authorization", value);
        request
    };
    let rehearsals: Vec<_> = (0..20).map(|_| rehearsal()).collect();
    let mut asked = tokio::task::JoinSet::new();
    for (_, request) in &rehearsals {
        let mut copy = Request::new(Body::empty());
        copy.extensions_mut().clone_from(request.extensions());
        asked.spawn(service.clone().oneshot(with_password(copy)));
    }
    // Somebody real, who would have no place if they took it.
    let real = with_password(Request::new(Body::empty()));
    assert_eq!(status(&service, real).await, StatusCode::UNAUTHORIZED);
    while let Some(answer) = asked.join_next().await {
        let answer = answer.unwrap().unwrap().status();
        assert!([StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE].contains(&answer));
    }
    let unchecked = rehearsals
        .iter()
        .filter(|(journal, _)| !would(journal).is_empty());
    assert!(unchecked.count() > 0);
}
