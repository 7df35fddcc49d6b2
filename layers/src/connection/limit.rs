//! Refuses connections past a number at a time, or past a rate.
//!
//! tower's concurrency limit lets callers wait; here whoever comes too late is sent away.

use super::rate::Rate;
use super::{AdmitFuture, HasPeer};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

/// How many connections are let in. What is `None` is not limited.
///
/// A peer is one IPv4 address, or one IPv6 network of 64 bits, which is what a customer is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// At a time, from all peers together.
    pub max: Option<usize>,
    /// At a time, from each peer.
    pub max_per_ip: Option<usize>,
    /// New ones from each peer. Those that are refused do not count.
    pub rate: Option<ConnectionRate>,
}

/// So many new connections in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRate {
    /// In a second, in the long run.
    pub per_second: NonZeroU32,
    /// At once, by a peer that has not come for a while.
    pub burst: NonZeroU32,
}

/// Refuses connections past its limits, of all services together that it is applied to. See the [module](super)
/// for an example.
///
/// A connection counts until the future of the service below has ended, or is dropped. Memory: a count for each
/// peer that has connections, if their number is limited; 1 MiB, if their rate is.
#[derive(Debug, Clone)]
pub struct LimitLayer {
    state: Arc<State>,
}

impl LimitLayer {
    /// Counts from nothing.
    pub fn new(limits: ConnectionLimits) -> Self {
        let semaphore = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self {
            state: Arc::new(State {
                all: limits.max.map(semaphore),
                max_per_ip: limits.max_per_ip,
                by_ip: Mutex::default(),
                rate: limits.rate.map(Rate::new),
            }),
        }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limit {
            inner,
            state: Arc::clone(&self.state),
        }
    }
}

/// The service made by [`LimitLayer`].
#[derive(Debug, Clone)]
pub struct Limit<S> {
    inner: S,
    state: Arc<State>,
}

impl<S, C> Service<C> for Limit<S>
where
    S: Service<C, Response: Default>,
    C: HasPeer,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AdmitFuture<S::Future, Permit>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, connection: C) -> Self::Future {
        let peer = peer_of(connection.peer_ip());
        match self.state.admit(peer) {
            Ok(permit) => AdmitFuture::admit(self.inner.call(connection), permit),
            Err(limit) => {
                tracing::debug!(%peer, limit, "a connection is refused");
                AdmitFuture::refuse(connection)
            }
        }
    }
}

/// A connection's place, which is free again when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_peer: Option<OfPeer>,
}

#[derive(Debug)]
struct State {
    all: Option<Arc<Semaphore>>,
    max_per_ip: Option<usize>,
    /// Open connections of those who have any.
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    rate: Option<Rate>,
}

impl State {
    /// A place for one more connection of `peer`, or the limit that it would be past.
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Permit, &'static str> {
        let of_all = match &self.all {
            Some(all) => Some(Arc::clone(all).try_acquire_owned().map_err(|_| "max")?),
            None => None,
        };
        let of_peer = match self.max_per_ip {
            Some(max) => Some(self.enter(peer, max).ok_or("max_per_ip")?),
            None => None,
        };
        // The last to be asked, because what it gives is not given back.
        if self.rate.as_ref().is_some_and(|rate| !rate.take(peer)) {
            return Err("rate");
        }
        Ok(Permit {
            _of_all: of_all,
            _of_peer: of_peer,
        })
    }

    fn enter(self: &Arc<Self>, peer: IpAddr, max: usize) -> Option<OfPeer> {
        let mut by_ip = self.by_ip.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_ip.get(&peer).copied().unwrap_or(0);
        (open < max).then(|| {
            by_ip.insert(peer, open + 1);
            OfPeer {
                peer,
                state: Arc::clone(self),
            }
        })
    }
}

/// One connection on a peer's count.
#[derive(Debug)]
struct OfPeer {
    peer: IpAddr,
    state: Arc<State>,
}

impl Drop for OfPeer {
    fn drop(&mut self) {
        let by_ip = &self.state.by_ip;
        let mut by_ip = by_ip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = by_ip.entry(self.peer) {
            match open.get_mut() {
                1 => drop(open.remove()),
                more => *more -= 1,
            }
        }
        // A map does not shrink by itself: what a flood has made it is given back.
        if by_ip.capacity() > 1024 && by_ip.len() < by_ip.capacity() / 8 {
            let twice = by_ip.len() * 2;
            by_ip.shrink_to(twice);
        }
    }
}

/// Whoever has an IPv6 address has the 64 bits behind the network's, too.
fn peer_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (!0 << 64)).into(),
        v4 => v4,
    }
}
