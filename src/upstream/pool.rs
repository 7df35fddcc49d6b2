//! Idle connections to the servers, kept by each thread for itself: no lock, no hand-over.
//!
//! A worker's requests use connections that this worker opened, last in first out, so that few stay warm
//! and the rest age. Which server a connection leads to is told by the id of its [`Origin`]; a server that
//! left the configuration takes its idle connections along at the next sweep.

use super::connect::Origin;
use super::link::Link;
use axum::body::Body;
use hyper::client::conn::http2;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Idle HTTP/1.1 connections that one worker keeps for one server.
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

/// A connection of this thread to `origin`, if one is open and free.
pub(super) fn check_out(origin: &Arc<Origin>) -> Option<Sender> {
    with_pool(origin, |pool| {
        if !pool.shared.is_empty() {
            pool.shared.retain(|shared| !shared.sender.is_closed());
            if let Some(shared) = pool.shared.iter_mut().find(|shared| shared.has_room()) {
                shared.since = SWEEPS.get();
                let stream = Stream::take(&shared.streams);
                return Some(Sender::H2(shared.sender.clone(), stream));
            }
        }
        pool.idle.pop().map(|idle| Sender::H1(idle.link))
    })
}

/// Keeps a connection that is ready for its next request.
pub(super) fn check_in(origin: &Arc<Origin>, link: Link) {
    with_pool(origin, |pool| {
        if pool.idle.len() < MAX_IDLE {
            let since = SWEEPS.get();
            pool.idle.push(Idle { link, since });
        }
    });
}

/// Shares an HTTP/2 connection with every request of this thread, and takes the first place on it. How many
/// there are is kept in `max_streams`, as the server says.
pub(super) fn share(
    origin: &Arc<Origin>,
    sender: http2::SendRequest<Body>,
    max_streams: Arc<AtomicUsize>,
) -> Sender {
    with_pool(origin, |pool| {
        let streams = Arc::default();
        let stream = Stream::take(&streams);
        pool.shared.push(Shared {
            sender: sender.clone(),
            streams,
            max_streams,
            since: SWEEPS.get(),
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
