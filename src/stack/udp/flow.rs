//! The datagrams of one client, both ways: shared by the loop that receives them and by the session that brings the
//! answers back. They run on one worker, and nothing here is locked for a datagram.

use super::socket::ClientSocket;
use super::traffic::{Dropped, WorkerTraffic};
use a3s_layers::endpoint::Endpoint;
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// Nobody has said why.
const NOT_REFUSED: u8 = u8::MAX;

/// A socket that is connected to a server, at its place there.
pub trait Upstream: Debug + Send + Sync {
    /// The socket.
    fn socket(&self) -> &UdpSocket;

    /// The server.
    fn endpoint(&self) -> &Arc<Endpoint>;

    /// The server has answered.
    fn answered(&self);

    /// The server cannot be reached: that ends the session.
    fn fail(&self, error: &io::Error);
}

/// What goes between a client and its server.
#[derive(Debug)]
pub struct Flow {
    socket: Arc<ClientSocket>,
    traffic: Arc<WorkerTraffic>,
    client: SocketAddr,
    /// The client as the socket has it: an IPv4 client of an IPv6 socket is mapped.
    from: SocketAddr,
    /// Which of our addresses it asks.
    asked: Option<IpAddr>,
    upstream: OnceLock<Arc<dyn Upstream>>,
    /// Why it has none.
    refused: AtomicU8,
    began: Instant,
    /// Nanoseconds from the beginning to the last datagram of either side.
    moved: AtomicU64,
    /// Whether that was the server's.
    is_answered: AtomicBool,
}

/// What became of a datagram on its way to the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// It went, or was lost as datagrams may be; the session goes on.
    Done,
    /// The server cannot be reached, or is not well: the session is over, and the datagram has not gone.
    Nowhere,
}

impl Flow {
    /// The flow of a client whose datagrams come `from` there to that address of `socket`.
    pub fn new(
        socket: &Arc<ClientSocket>,
        traffic: &Arc<WorkerTraffic>,
        from: SocketAddr,
        asked: Option<IpAddr>,
    ) -> Self {
        Self {
            socket: Arc::clone(socket),
            traffic: Arc::clone(traffic),
            client: SocketAddr::new(from.ip().to_canonical(), from.port()),
            from,
            asked,
            upstream: OnceLock::new(),
            refused: AtomicU8::new(NOT_REFUSED),
            began: Instant::now(),
            moved: AtomicU64::new(0),
            is_answered: AtomicBool::new(false),
        }
    }

    /// The client, IPv4 where it came as IPv4-mapped IPv6.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// The server, once there is one.
    pub fn upstream(&self) -> Option<&Arc<dyn Upstream>> {
        self.upstream.get()
    }

    /// From now on datagrams go there. Said once.
    pub fn connect(&self, upstream: Arc<dyn Upstream>) {
        let is_new = self.upstream.set(upstream).is_ok();
        debug_assert!(is_new, "a session has one server");
    }

    /// There will be no session.
    pub fn refuse(&self, why: Dropped) {
        self.refused.store(why as u8, Ordering::Relaxed);
    }

    /// Why there will be none, if somebody has said so.
    pub fn refused(&self) -> Option<Dropped> {
        Dropped::from_number(self.refused.load(Ordering::Relaxed))
    }

    /// Sends a datagram of the client to the server.
    pub fn send(&self, datagram: &[u8]) -> Sent {
        let Some(upstream) = self.upstream.get() else {
            self.traffic.dropped(Dropped::NoServer);
            return Sent::Done;
        };
        if !upstream.endpoint().is_available() {
            return Sent::Nowhere;
        }
        self.touch(false);
        // Past tokio, which knows nothing of a new socket until its reactor has run; it does not block either way.
        let sent = rustix::net::send(upstream.socket(), datagram, SendFlags::DONTWAIT);
        match sent.map_err(io::Error::from) {
            Ok(_) => {}
            Err(error) if is_fatal(&error) => {
                upstream.fail(&error);
                return Sent::Nowhere;
            }
            Err(error) => self.traffic.dropped(lost(&error)),
        }
        Sent::Done
    }

    /// Sends an answer of the server to the client.
    pub fn answer(&self, datagram: &[u8]) {
        self.touch(true);
        match self.socket.try_send(datagram, self.from, self.asked) {
            Ok(()) => self.traffic.answered(datagram.len()),
            Err(error) => self.traffic.dropped(lost(&error)),
        }
    }

    fn touch(&self, is_answer: bool) {
        let moved = self.began.elapsed().as_nanos() as u64;
        self.moved.store(moved, Ordering::Relaxed);
        self.is_answered.store(is_answer, Ordering::Relaxed);
    }

    /// When the last datagram of either side passed.
    pub fn moved(&self) -> Instant {
        self.began + Duration::from_nanos(self.moved.load(Ordering::Relaxed))
    }

    /// Whether the server had the last word.
    pub fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }
}

/// Whether an error says that the other side of a connected socket cannot be reached (an ICMP message, or no route),
/// and not only that this datagram went lost.
pub fn is_fatal(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, NotConnected, PermissionDenied,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | NotConnected
            | PermissionDenied
    )
}

fn lost(error: &io::Error) -> Dropped {
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN | Errno::NOBUFS) => Dropped::Busy,
        Some(Errno::MSGSIZE) => Dropped::TooLong,
        _ => Dropped::Failed,
    }
}
