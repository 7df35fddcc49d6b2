//! Pools whose servers change while they are asked.

use super::*;
use crate::upstream::probe::Kind;
use crate::upstream::{Origin, Scheme, Server, Target};
use a3s_layers::endpoint::{Endpoint, Trouble};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(10);

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Asks for a connection, once.
fn check(port: Option<u16>) -> Arc<Check> {
    Arc::new(Check {
        kind: Kind::Tcp,
        port,
        interval: Duration::from_secs(3_600),
        timeout: Duration::from_secs(3_600),
        unhealthy_threshold: 1,
        healthy_threshold: 1,
        tls: None,
    })
}

fn server(address: SocketAddr) -> Server {
    let target = Target::Addresses(vec![address]);
    let timeouts = (Duration::from_secs(60), Duration::from_secs(60));
    let origin = Origin::new(Scheme::Tcp, target, &address.to_string(), timeouts, None);
    Server {
        endpoint: Endpoint::new(format!("tcp://{address}")),
        origin: Arc::new(origin.unwrap()),
        weight: 1,
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let accepted = timeout(DEADLINE, listener.accept()).await;
    accepted.expect("a probe in time").unwrap().0
}

/// Nobody listens there, and nobody will: this end of a connection has the port.
async fn nowhere() -> (SocketAddr, (TcpStream, TcpStream)) {
    let (listener, address) = listen().await;
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap().0);
    (ours.local_addr().unwrap(), (ours, theirs))
}

fn is_unhealthy(server: &Server) -> bool {
    server.endpoint.has(Trouble::Unhealthy)
}

#[tokio::test]
async fn servers_that_come_are_asked_and_those_that_go_are_not() {
    let (one, at_one) = listen().await;
    let (two, at_two) = listen().await;
    let (gone, _held) = nowhere().await;
    let health = Health::new();
    let (pool, check) = (Arc::new(Servers::new()), check(None));
    let asked = || [(Arc::clone(&pool), Some(Arc::clone(&check)))];
    health.watch(asked());
    let first = server(at_one);
    pool.set(vec![first.clone()]);
    accept(&one).await;
    let sick = server(gone);
    pool.set(vec![first.clone(), sick.clone()]);
    eventually("it is asked", || is_unhealthy(&sick)).await;
    assert_eq!(
        &*sick.endpoint.standing().troubles[0].1,
        "connection refused"
    );
    // One goes; one comes under another handle, and hears at once what is known.
    let again = server(gone);
    let third = server(at_two);
    pool.set(vec![third.clone(), again.clone()]);
    accept(&two).await;
    eventually("it is told", || is_unhealthy(&again)).await;
    assert_eq!(lock(&health.0).probes(), 2);
    // A watch that changes nothing begins nothing anew.
    health.watch(asked());
    pool.set(vec![first, again.clone()]);
    accept(&one).await;
    assert!(is_unhealthy(&again));
    pool.set(Vec::new());
    eventually("nobody is asked", || lock(&health.0).probes() == 0).await;
}

#[tokio::test]
async fn a_pool_goes_over_to_another_check_or_to_none() {
    let (good, at_good) = listen().await;
    let (gone, _held) = nowhere().await;
    let health = Health::new();
    let pool = Arc::new(Servers::new());
    let server = server(gone);
    pool.set(vec![server.clone()]);
    health.watch([(Arc::clone(&pool), Some(check(None)))]);
    eventually("it is asked", || is_unhealthy(&server)).await;
    let elsewhere = check(Some(at_good.port()));
    health.watch([(Arc::clone(&pool), Some(elsewhere))]);
    accept(&good).await;
    eventually("it is asked elsewhere", || !is_unhealthy(&server)).await;
    health.watch([(Arc::clone(&pool), Some(check(None)))]);
    eventually("it is asked again", || is_unhealthy(&server)).await;
    // A pool that is gone leaves its servers as they are: who still knows them should.
    health.watch([]);
    assert!(is_unhealthy(&server));
    health.watch([(Arc::clone(&pool), Some(check(None)))]);
    eventually("it is asked again", || lock(&health.0).probes() == 1).await;
    health.watch([(Arc::clone(&pool), None)]);
    assert!(!is_unhealthy(&server));
    assert_eq!(lock(&health.0).probes(), 0);
}

#[tokio::test]
async fn nothing_goes_on_without_it() {
    let pool = Arc::new(Servers::new());
    let (listener, address) = listen().await;
    pool.set(vec![server(address)]);
    let health = Health::new();
    health.watch([(Arc::clone(&pool), Some(check(None)))]);
    accept(&listener).await;
    let pools = Arc::downgrade(&health.0);
    drop(health);
    eventually("all of it ends", || pools.strong_count() == 0).await;
    eventually("nobody holds the pool", || Arc::strong_count(&pool) == 1).await;
}
