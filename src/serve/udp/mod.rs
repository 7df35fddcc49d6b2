//! Entrypoints of datagrams: each worker receives what the kernel gives it, and has a table of its own sessions.
//!
//! A datagram costs a look-up and a `send`; there is no lock, no channel and no queue, but those of the sockets. What
//! does not go at once is dropped, as any router on its way would do, and counted.
//!
//! A client that is new costs a session: a socket to the server, and a task that brings the answers back. There are only
//! so many; for one more, the one that has been idle for longest ends, of those on the worker. An address can be forged,
//! and the limit and the timeout are all that there is against that: answers go to whoever seems to have asked, and to
//! nobody else.

mod socket;
mod table;

pub use socket::UdpListener;

use crate::stack::drain::{Drain, Phase};
use crate::stack::udp::{
    Arrived, ClientSocket, Dropped, Flow, Sent, Session, SessionService, WorkerTraffic,
};
use a3s_layers::endpoint::Endpoint;
use arc_swap::ArcSwap;
use std::fmt;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;
use table::{Id, Sessions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt;

/// The longest datagram there is: 65,507 bytes over IPv4, and 20 more over IPv6.
const MAX_DATAGRAM: usize = 1 << 16;

/// What is received at once, before others on the worker have their turn.
const BATCH: usize = 64;

/// How often sessions are looked at that may have been idle for too long: so much later they may end.
const LOOK: Duration = Duration::from_secs(1);

/// How often while the entrypoint is ending.
const LOOK_ENDING: Duration = Duration::from_millis(50);

/// How long a session may be idle while the entrypoint is ending, if its client has an answer.
const IDLE_ENDING: Duration = Duration::from_secs(1);

/// And if it has none: as long as the resolvers of most systems wait for one.
const UNANSWERED_ENDING: Duration = Duration::from_secs(5);

/// The pause after a socket failed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What is done with the datagrams of an entrypoint. It can be swapped while it receives.
pub struct UdpHandling {
    /// Serves a session.
    pub service: SessionService,
    /// Whether the session of a client may go on with the server that it has.
    pub belongs: Belongs,
    /// The sessions that are open.
    pub drain: Arc<Drain>,
    /// How long a session may be idle.
    pub session_timeout: Duration,
    /// How many there may be.
    pub max_sessions: usize,
}

/// Whether the session of a client may go on with the server that it has.
pub type Belongs = Arc<dyn Fn(IpAddr, &Arc<Endpoint>) -> bool + Send + Sync>;

impl fmt::Debug for UdpHandling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpHandling")
            .field("session_timeout", &self.session_timeout)
            .field("max_sessions", &self.max_sessions)
            .finish_non_exhaustive()
    }
}

/// Receives on one of an entrypoint's sockets until told to stop, and then for as long as a session is left that is
/// not idle. Dropping the sender of `stop` is the word.
pub async fn receive(
    socket: UdpSocket,
    handling: Arc<ArcSwap<UdpHandling>>,
    traffic: Arc<WorkerTraffic>,
    mut stop: watch::Receiver<()>,
) {
    let socket = match ClientSocket::new(socket) {
        Ok(socket) => Arc::new(socket),
        Err(error) => {
            tracing::error!(%error, "a socket of datagrams cannot be read from");
            return;
        }
    };
    let mut receiver = Receiver {
        socket: Arc::clone(&socket),
        traffic,
        now: handling.load_full(),
        epoch: 0,
        sessions: Sessions::default(),
        tasks: JoinSet::new(),
        is_ending: false,
    };
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut look = pin!(tokio::time::sleep(receiver.pause()));
    loop {
        tokio::select! {
            // Its error is the word.
            _ = stop.changed(), if !receiver.is_ending => {
                receiver.is_ending = true;
                look.as_mut().reset(Instant::now());
            }
            Some(ended) = receiver.tasks.join_next() => {
                // One that was ended by us has left the table before.
                if let Ok(id) = ended {
                    receiver.sessions.ended(id);
                }
            }
            () = look.as_mut() => {
                receiver.follow(&handling);
                receiver.look();
                look.as_mut().reset(Instant::now() + receiver.pause());
                if receiver.is_over() {
                    return;
                }
            }
            ready = socket.readable() => {
                receiver.follow(&handling);
                let received = ready.and_then(|()| receiver.batch(&mut buffer));
                match received {
                    Ok(Received::All) => {}
                    Ok(Received::Some) => tokio::task::yield_now().await,
                    Err(error) => {
                        tracing::warn!(%error, "a socket of datagrams failed: backing off");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
            }
        }
    }
}

enum Received {
    /// Everything that there was.
    All,
    /// There may be more.
    Some,
}

/// One worker's part of an entrypoint.
struct Receiver {
    socket: Arc<ClientSocket>,
    traffic: Arc<WorkerTraffic>,
    now: Arc<UdpHandling>,
    /// Counts configurations.
    epoch: u64,
    sessions: Sessions,
    tasks: JoinSet<Id>,
    is_ending: bool,
}

impl Receiver {
    /// Goes by the configuration that there is now.
    fn follow(&mut self, handling: &ArcSwap<UdpHandling>) {
        let now = handling.load();
        if !Arc::ptr_eq(&now, &self.now) {
            self.now = Arc::clone(&now);
            self.epoch += 1;
        }
    }

    fn pause(&self) -> Duration {
        match self.is_ending {
            true => LOOK_ENDING,
            false => LOOK.min(self.now.session_timeout / 8),
        }
    }

    fn is_over(&self) -> bool {
        let is_idle = self.sessions.len() == 0;
        self.is_ending && (is_idle || self.now.drain.phase() == Phase::Over)
    }

    fn batch(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        for _ in 0..BATCH {
            match self.socket.try_receive(buffer) {
                Ok(arrived) => {
                    let datagram = &buffer[..arrived.length.min(buffer.len())];
                    self.datagram(arrived, datagram);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received::All);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Received::Some)
    }

    fn datagram(&mut self, arrived: Arrived, datagram: &[u8]) {
        self.traffic.came(datagram.len());
        if let Some(index) = self.sessions.find(&(arrived.from, arrived.to)) {
            if self.pass_on(index, datagram) == Sent::Done {
                return;
            }
            self.sessions.remove(index);
        }
        match self.is_ending {
            true => self.traffic.dropped(Dropped::Ending),
            false => self.begin(arrived, datagram),
        }
    }

    /// Sends a datagram on a session, unless that is to begin anew.
    fn pass_on(&mut self, index: usize, datagram: &[u8]) -> Sent {
        let Some(entry) = self.sessions.get_mut(index) else {
            return Sent::Nowhere;
        };
        if entry.epoch != self.epoch {
            entry.epoch = self.epoch;
            if !belongs(&self.now, &entry.flow) {
                return Sent::Nowhere;
            }
        }
        match entry.is_over() {
            true => Sent::Nowhere,
            false => entry.flow.send(datagram),
        }
    }

    fn begin(&mut self, arrived: Arrived, datagram: &[u8]) {
        let Arrived { from, to, .. } = arrived;
        let flow = Arc::new(Flow::new(&self.socket, &self.traffic, from, to));
        let session = Session {
            flow: Arc::clone(&flow),
        };
        let mut running = Box::pin(self.now.service.clone().oneshot(session));
        // A server is there at once, or there is none: nothing is waited for, and nobody's place is taken for one who
        // is refused.
        let polled = running
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            let why = flow.refused().unwrap_or(Dropped::NoServer);
            self.traffic.dropped(why);
            return;
        }
        self.make_room();
        self.traffic.begun.fetch_add(1, Ordering::Relaxed);
        let (ticket, epoch) = (self.now.drain.enter(), self.epoch);
        let tasks = &mut self.tasks;
        let start = |id| {
            tasks.spawn(async move {
                // Its error type has no value.
                let _ = running.await;
                id
            })
        };
        let sessions = &mut self.sessions;
        let index = sessions.add((from, to), Arc::clone(&flow), epoch, ticket, start);
        if flow.send(datagram) == Sent::Nowhere {
            self.traffic.dropped(Dropped::NoServer);
            self.sessions.remove(index);
        }
    }

    /// Ends those that have been idle for longest, as long as there is no place for one more.
    fn make_room(&mut self) {
        while self.now.drain.open() >= self.now.max_sessions {
            // Where all are on other workers, those make room with their next client.
            let Some(index) = self.sessions.idlest() else {
                return;
            };
            self.sessions.remove(index);
            self.traffic.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends those that have been idle for too long. Each is looked at once in a timeout at least, and ends as well if
    /// its server is not one of its service any more.
    fn look(&mut self) {
        if self.is_ending {
            return self.look_ending();
        }
        let Some(since) = Instant::now().checked_sub(self.now.session_timeout) else {
            return;
        };
        while let Some((index, has_moved)) = self.sessions.look(since) {
            let goes_on = has_moved
                && (self.sessions.get_mut(index))
                    .is_some_and(|entry| !entry.is_over() && belongs(&self.now, &entry.flow));
            if !goes_on {
                self.sessions.remove(index);
            }
        }
    }

    fn look_ending(&mut self) {
        let now = Instant::now();
        for index in self.sessions.indices() {
            let is_idle = self.sessions.get_mut(index).is_some_and(|entry| {
                let may = match entry.flow.is_answered() {
                    true => IDLE_ENDING,
                    false => UNANSWERED_ENDING,
                };
                let idle = now.saturating_duration_since(entry.flow.moved());
                idle >= may.min(self.now.session_timeout)
            });
            if is_idle {
                self.sessions.remove(index);
            }
        }
    }
}

fn belongs(handling: &UdpHandling, flow: &Flow) -> bool {
    let client = flow.client().ip();
    flow.upstream()
        .is_some_and(|upstream| (handling.belongs)(client, upstream.endpoint()))
}
