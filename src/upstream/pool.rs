//! Idle connections to the servers, kept by each thread for itself: no lock, no hand-over.
//!
//! A worker's requests use connections that this worker opened, last in first out, so that few stay warm
//! and the rest age. Which server a connection leads to is told by the id of its [`Origin`]; a server that
//! left the configuration takes its idle connections along at the next sweep.
//!
//! Where servers are told whose a connection is (the PROXY protocol), it is used again for that client only: for the
//! same address and port, which is the same connection on our other side, as a rule.

use super::connect::Origin;
use super::link::Link;
use crate::stack::proxy_header::Addresses;
use axum::body::Body;
use hyper::client::conn::http2;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Idle HTTP/1.1 connections that one worker keeps for one server, and connections of HTTP/2 that are each of a client.
const MAX_IDLE: usize = 256;

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

thread_local! {
    static POOLS: RefCell<HashMap<u64, Pool, BuildHasherDefault<IdHasher>>> = RefCell::default();
    static SWEEPS: Cell<u32> = const { Cell::new(0) };
}

/// The connections of one thread to one server.
struct Pool {
    origin: Weak<Origin>,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// Held by whoever opens an HTTP/2 connection, so that a burst opens one and not many.
    opening: Arc<tokio::sync::Mutex<()>>,
}

struct Idle {
    link: Link,
    since: u32,
}

/// An HTTP/2 connection, with as many requests at a time as its server allows.
struct Shared {
    sender: http2::SendRequest<Body>,
    streams: Arc<AtomicUsize>,
    max_streams: Arc<AtomicUsize>,
    since: u32,
    owner: Option<Box<Addresses>>,
}

impl Shared {
    fn has_room(&self) -> bool {
        self.streams.load(Ordering::Relaxed) < self.max_streams.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Relaxed) == 0
    }
}

/// One request's place on an HTTP/2 connection, until it is dropped.
pub(super) struct Stream(Arc<AtomicUsize>);

impl Stream {
    fn take(streams: &Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that can take a request.
pub(super) enum Sender {
    H1(Link),
    H2(http2::SendRequest<Body>, Stream),
}

/// A connection of this thread to `origin`, if one is open and free, and is of its owner where they have some.
pub(super) fn check_out(origin: &Arc<Origin>, owner: Option<&Addresses>) -> Option<Sender> {
    with_pool(origin, |pool| {
        if !pool.shared.is_empty() {
            pool.shared.retain(|shared| !shared.sender.is_closed());
            let is_fit =
                |shared: &&mut Shared| shared.has_room() && shared.owner.as_deref() == owner;
            if let Some(shared) = pool.shared.iter_mut().find(is_fit) {
                shared.since = SWEEPS.get();
                let stream = Stream::take(&shared.streams);
                return Some(Sender::H2(shared.sender.clone(), stream));
            }
        }
        let idle = match origin.has_owners() {
            false => pool.idle.pop(),
            true => {
                let mut idle = pool.idle.iter();
                let index = idle.rposition(|idle| idle.link.owner() == owner);
                index.map(|index| pool.idle.remove(index))
            }
        };
        let idle = idle?;
        origin.usage().wake();
        Some(Sender::H1(idle.link))
    })
}

/// Keeps a connection that is ready for its next request.
pub(super) fn check_in(origin: &Arc<Origin>, link: Link) {
    // What is closed here is dropped after the borrow has ended.
    let _closed = with_pool(origin, |pool| {
        let since = SWEEPS.get();
        let is_full = pool.idle.len() >= MAX_IDLE;
        if is_full && !origin.has_owners() {
            return Some(Idle { link, since });
        }
        // One is not as good as another: the client of the oldest may be gone.
        let oldest = is_full.then(|| pool.idle.remove(0));
        pool.idle.push(Idle { link, since });
        if oldest.is_none() {
            origin.usage().rest();
        }
        oldest
    });
}

/// Shares an HTTP/2 connection with every request of this thread, and takes the first place on it. How many
/// there are is kept in `max_streams`, as the server says.
pub(super) fn share(
    origin: &Arc<Origin>,
    sender: http2::SendRequest<Body>,
    max_streams: Arc<AtomicUsize>,
    owner: Option<Box<Addresses>>,
) -> Sender {
    with_pool(origin, |pool| {
        let streams = Arc::default();
        let stream = Stream::take(&streams);
        if owner.is_some() && pool.shared.len() >= MAX_IDLE {
            // Its task goes on as long as there are streams, and these are none.
            let idle = pool.shared.iter().position(Shared::is_idle);
            idle.map(|index| pool.shared.remove(index));
        }
        pool.shared.push(Shared {
            sender: sender.clone(),
            streams,
            max_streams,
            since: SWEEPS.get(),
            owner,
        });
        Sender::H2(sender, stream)
    })
}

/// The lock under which this thread opens an HTTP/2 connection to `origin`.
pub(super) fn opening(origin: &Arc<Origin>) -> Arc<tokio::sync::Mutex<()>> {
    with_pool(origin, |pool| Arc::clone(&pool.opening))
}

fn with_pool<T>(origin: &Arc<Origin>, f: impl FnOnce(&mut Pool) -> T) -> T {
    POOLS.with_borrow_mut(|pools| {
        f(pools.entry(origin.id()).or_insert_with(|| Pool {
            origin: Arc::downgrade(origin),
            idle: Vec::new(),
            shared: Vec::new(),
            opening: Arc::default(),
        }))
    })
}

/// Closes this thread's idle connections as they age, and those to servers that are gone. It runs for as
/// long as the thread's runtime.
pub async fn sweep_idle_connections() {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sweep();
    }
}

fn sweep() {
    let now = SWEEPS.get().wrapping_add(1);
    SWEEPS.set(now);
    // What is closed here is dropped after the borrow has ended: nothing that a drop wakes finds it taken.
    let mut closed = Vec::new();
    let mut unshared = Vec::new();
    POOLS.with_borrow_mut(|pools| {
        pools.retain(|_, pool| {
            let Some(origin) = pool.origin.upgrade() else {
                closed.append(&mut pool.idle);
                unshared.append(&mut pool.shared);
                return false;
            };
            let limit = origin.idle_timeout().as_secs();
            let before = pool.idle.len();
            // Last in, first out: the oldest stand first.
            let aged = pool
                .idle
                .iter()
                .take_while(|idle| u64::from(now.wrapping_sub(idle.since)) > limit)
                .count();
            closed.extend(pool.idle.drain(..aged));
            // Nobody else looks at them: a server that closed one is noticed here, or when it is next used.
            closed.extend(pool.idle.extract_if(.., |idle| {
                idle.link.settle();
                !idle.link.is_ready()
            }));
            for _ in pool.idle.len()..before {
                origin.usage().wake();
            }
            unshared.extend(pool.shared.extract_if(.., |shared| {
                let is_aged = u64::from(now.wrapping_sub(shared.since)) > limit;
                shared.sender.is_closed() || (is_aged && shared.is_idle())
            }));
            true
        });
    });
}

/// Ids count up: spreading their bits is hash enough.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
