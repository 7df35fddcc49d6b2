//! `connection` from outside: who is let in, and for how long he counts.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::connection::{
    AllowLayer, ConnectionLimits, ConnectionRate, HasPeer, Limit, LimitLayer,
};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service, ServiceExt, service_fn};

/// A connection that the test holds open by keeping the sender.
struct Held {
    peer: IpAddr,
    open: oneshot::Receiver<()>,
    /// Where it tells that it was refused.
    refused: Rc<RefCell<Vec<IpAddr>>>,
}

impl HasPeer for Held {
    fn peer_ip(&self) -> IpAddr {
        self.peer
    }

    fn refuse(self) {
        self.refused.borrow_mut().push(self.peer);
    }
}

/// How the service below ended.
#[derive(Debug, Default, PartialEq)]
enum Ended {
    Served,
    #[default]
    Refused,
}

/// Serves a connection for as long as the test holds it.
async fn serve(connection: Held) -> Result<Ended, Infallible> {
    let _ = connection.open.await;
    Ok(Ended::Served)
}

/// A client of a service of connections.
struct Peers<S> {
    service: S,
    refused: Rc<RefCell<Vec<IpAddr>>>,
}

type Serving<S> = Spawn<<S as Service<Held>>::Future>;

impl<S: Service<Held, Response = Ended, Error = Infallible>> Peers<S> {
    fn of(service: S) -> Self {
        let refused = Rc::default();
        Self { service, refused }
    }

    /// Connects; `None` where it was refused.
    fn connect(&mut self, peer: &str) -> Option<(oneshot::Sender<()>, Serving<S>)> {
        let (hold, open) = oneshot::channel();
        let connection = Held {
            peer: peer.parse().unwrap(),
            open,
            refused: Rc::clone(&self.refused),
        };
        let mut serving = task::spawn(self.service.call(connection));
        match serving.poll() {
            std::task::Poll::Pending => Some((hold, serving)),
            std::task::Poll::Ready(ended) => {
                assert_eq!(ended, Ok(Ended::Refused));
                let told = self.refused.borrow_mut().pop();
                assert_eq!(told, Some(peer.parse().unwrap()));
                None
            }
        }
    }
}

fn limited(
    layer: &LimitLayer,
) -> Peers<Limit<impl Service<Held, Response = Ended, Error = Infallible> + use<>>> {
    Peers::of(layer.layer(service_fn(serve)))
}

fn layer(max: Option<usize>, max_per_ip: Option<usize>, rate: Option<(u32, u32)>) -> LimitLayer {
    let rate = rate.map(|(per_second, burst)| ConnectionRate {
        per_second: NonZeroU32::new(per_second).unwrap(),
        burst: NonZeroU32::new(burst).unwrap(),
    });
    LimitLayer::new(ConnectionLimits {
        max,
        max_per_ip,
        rate,
    })
}

#[test]
fn a_connection_past_the_limit_is_refused_until_one_has_ended() {
    let mut peers = limited(&layer(Some(2), None, None));
    let (_hold, _first) = peers.connect("192.0.2.1").unwrap();
    let (end, mut second) = peers.connect("192.0.2.2").unwrap();
    assert!(peers.connect("192.0.2.3").is_none());

    drop(end);
    assert!(second.is_woken());
    assert_eq!(second.poll(), std::task::Poll::Ready(Ok(Ended::Served)));
    // The future is still there, but it has ended.
    let (_hold, third) = peers.connect("192.0.2.3").unwrap();
    assert!(peers.connect("192.0.2.1").is_none());

    drop(third);
    assert!(peers.connect("192.0.2.1").is_some());
}

#[tokio::test(start_paused = true)]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = layer(Some(2), Some(1), Some((1, 2)));
    let (mut one, mut two) = (limited(&layer), limited(&layer));
    let _first = one.connect("192.0.2.1").unwrap();
    assert!(two.connect("192.0.2.1").is_none(), "by peer");
    let second = two.connect("192.0.2.2").unwrap();
    assert!(one.connect("192.0.2.3").is_none(), "of all");
    drop(second);
    drop(one.connect("192.0.2.2").unwrap());
    assert!(two.connect("192.0.2.2").is_none(), "by rate");
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_an_address_of_ipv4_or_a_network_of_ipv6() {
    for (first, second, is_one) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ("::1", "127.0.0.1", false),
    ] {
        for layer in [
            layer(None, Some(1), None),
            layer(None, None, Some((1, 1))),
            layer(Some(9), Some(1), Some((1, 1))),
        ] {
            let mut peers = limited(&layer);
            let _open = peers.connect(first).unwrap();
            let second = peers.connect(second);
            assert_eq!(second.is_none(), is_one, "{first} {layer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_takes_no_place_and_no_share() {
    let mut peers = limited(&layer(Some(2), Some(1), Some((1, 2))));
    let first = peers.connect("192.0.2.1").unwrap();
    for _ in 0..10 {
        assert!(peers.connect("192.0.2.1").is_none());
    }
    let other = peers.connect("192.0.2.2").unwrap();
    drop((first, other));
    assert!(peers.connect("192.0.2.1").is_some(), "the second of two");
    assert!(peers.connect("192.0.2.1").is_none(), "the third");
    assert!(peers.connect("192.0.2.2").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_rate_refills() {
    let mut peers = limited(&layer(None, None, Some((2, 1))));
    assert!(peers.connect("192.0.2.1").is_some());
    assert!(peers.connect("192.0.2.1").is_none());
    tokio::time::advance(Duration::from_millis(500)).await;
    assert!(peers.connect("192.0.2.1").is_some());
    assert!(peers.connect("192.0.2.1").is_none());
}

#[test]
fn without_limits_everybody_is_let_in() {
    let mut peers = limited(&layer(None, None, None));
    let open: Vec<_> = (0..1000).map(|_| peers.connect("192.0.2.1")).collect();
    assert!(open.iter().all(Option::is_some));
    // More than the kernel could ever open is no limit, and no mistake.
    assert!(
        limited(&layer(Some(usize::MAX), Some(usize::MAX), None))
            .connect("::1")
            .is_some()
    );
}

#[test]
fn a_limit_of_none_at_a_time_refuses_everybody() {
    assert!(
        limited(&layer(Some(0), None, None))
            .connect("::1")
            .is_none()
    );
    assert!(
        limited(&layer(None, Some(0), None))
            .connect("::1")
            .is_none()
    );
}

#[test]
fn peers_of_the_allowed_networks_are_let_in() {
    for (allowed, peer, is_allowed) in [
        (&["192.0.2.0/24"][..], "192.0.2.255", true),
        (&["192.0.2.0/24"], "192.0.3.0", false),
        (&["192.0.2.0/24"], "::ffff:192.0.2.1", true),
        (&["192.0.2.0/24"], "2001:db8::1", false),
        (&["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", true),
        (&["10.0.0.0/8", "10.1.0.0/16"], "10.2.0.1", true),
        (&["::ffff:10.0.0.0/104"], "10.255.0.1", true),
        (&["::/0"], "192.0.2.1", false),
        (&["0.0.0.0/0"], "192.0.2.1", true),
        (&["0.0.0.0/0"], "::1", false),
        (&[], "192.0.2.1", false),
    ] {
        let layer = AllowLayer::new(allowed.iter().map(|network| network.parse().unwrap()));
        let mut peers = Peers::of(layer.layer(service_fn(serve)));
        let found = peers.connect(peer).is_some();
        assert_eq!(found, is_allowed, "{allowed:?} {peer}");
    }
}

#[tokio::test]
async fn a_tcp_connection_that_is_refused_is_reset() {
    let service = AllowLayer::new([]).layer(service_fn(|_: (TcpStream, SocketAddr)| async {
        Ok::<_, Infallible>(())
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let accepted = listener.accept().await.unwrap();
    service.oneshot(accepted).await.unwrap();
    let error = client.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
