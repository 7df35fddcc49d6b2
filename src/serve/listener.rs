//! A listening socket, and the loop that accepts from it.

use super::worker::Workers;
use crate::stack::drain::{Drain, Refusal};
use crate::stack::{Connection, ConnectionService, Socket};
use a3s_layers::peer::{Peer, TrustedProxies};
use arc_swap::ArcSwap;
use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, SockAddr, SockRef, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tower::ServiceExt;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;

/// The pause after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP address; `[::]` takes IPv4 as well.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
    /// A UDP address, for datagrams; `[::]` takes IPv4 as well.
    Udp(SocketAddr),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) | Self::Udp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    local: Bind,
    file: Option<SocketFile>,
}

/// The file of a Unix socket, which goes with it.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A failure is found by the next bind.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds, and takes no connections yet: see [`Listener::listen`].
    ///
    /// TCP sockets have `SO_REUSEPORT`, so that a new process can take over from an old one without a gap.
    /// A Unix socket that nobody listens on any more is replaced; one in use is an error.
    pub fn bind(bind: &Bind) -> io::Result<Self> {
        match bind {
            Bind::Tcp(address) => Self::bind_tcp(*address),
            Bind::Udp(_) => Err(io::ErrorKind::Unsupported.into()),
            Bind::Unix(path) => {
                if is_left_over(path) {
                    std::fs::remove_file(path)?;
                }
                let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.bind(&SockAddr::unix(path)?)?;
                let file = SocketFile(path.clone());
                Self::new(socket, bind.clone(), Some(file))
            }
        }
    }

    fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = match socket2::Socket::new(Domain::for_address(address), Type::STREAM, None) {
            // A machine without IPv6: "all addresses" are those of IPv4.
            Err(error)
                if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
                    && address.is_ipv6()
                    && address.ip().is_unspecified() =>
            {
                return Self::bind_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into());
            }
            socket => socket?,
        };
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // What is accepted inherits it.
        socket.set_tcp_nodelay(true)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        let is_shared = is_taken(address);
        socket.bind(&address.into())?;
        if is_shared {
            tracing::warn!(%address, "somebody else listens here too, and gets a part of the clients");
        }
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Self::new(socket, Bind::Tcp(local), None)
    }

    fn new(socket: socket2::Socket, local: Bind, file: Option<SocketFile>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            fd: socket.into(),
            local,
            file,
        })
    }

    /// From here on the kernel takes connections.
    pub fn listen(&self) -> io::Result<()> {
        Ok(rustix::net::listen(&self.fd, BACKLOG)?)
    }

    /// Where it listens, with the port that the kernel chose.
    pub fn local(&self) -> &Bind {
        &self.local
    }
}

/// What is done with the connections of a listener. It can be swapped while the listener runs; connections
/// that are open keep what they began with.
#[derive(Debug, Clone)]
pub struct Handling {
    /// Serves a connection.
    pub service: ConnectionService,
    /// The connections that are open.
    pub drain: Arc<Drain>,
    /// How many connections may be open at a time.
    pub max_connections: Option<usize>,
    /// What becomes of those past it.
    pub past_max: PastMax,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: TrustedProxies,
}

/// What becomes of a connection past the most that may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastMax {
    /// Accepting pauses, and the client waits in the kernel's queue.
    Waits,
    /// It is reset.
    Reset,
}

impl Handling {
    fn is_full(&self) -> bool {
        let max = self.max_connections;
        max.is_some_and(|max| self.drain.open() >= max)
    }
}

/// Accepts until told to stop, and hands connections to the workers. What the kernel has already taken
/// when the word comes is served too.
pub async fn accept(
    listener: Listener,
    handling: Arc<ArcSwap<Handling>>,
    workers: Arc<Workers>,
    stop: Arc<Notify>,
) {
    let Listener { fd, local, file } = listener;
    #[expect(
        deprecated,
        reason = "sound for an `OwnedFd`, which nobody else can close; what replaces it is unsafe"
    )]
    let fd = match AsyncFd::new(fd) {
        Ok(fd) => fd,
        Err(error) => {
            tracing::error!(%error, ?local, "the listener cannot be watched");
            return;
        }
    };
    let accepting = async {
        loop {
            // The limit may be another one by the time that a connection ends.
            let must_wait = || {
                let handling = handling.load();
                handling.past_max == PastMax::Waits && handling.is_full()
            };
            let drain = Arc::clone(&handling.load().drain);
            drain.wait_while(must_wait).await;
            let mut ready = match fd.readable().await {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, ?local, "the listener failed");
                    return;
                }
            };
            match accept_one(fd.get_ref()) {
                Ok((fd, peer)) => start(fd, peer, &local, &handling, &workers),
                Err(error) => match error {
                    Errno::AGAIN => ready.clear_ready(),
                    // The client went away between the kernel's accept and ours.
                    Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM => {}
                    error => {
                        tracing::warn!(%error, ?local, open = drain.open(), "cannot accept: backing off");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                },
            }
        }
    };
    tokio::select! {
        () = stop.notified() => {}
        () = accepting => {}
    }
    // Before the socket, so that nobody comes between the last accept and the end, and while it still says that
    // the path is ours.
    drop(file);
    while let Ok((fd, peer)) = accept_one(fd.get_ref()) {
        start(fd, peer, &local, &handling, &workers);
    }
}

/// Whether an address is listened on already. With `SO_REUSEPORT` the kernel does not say.
fn is_taken(address: SocketAddr) -> bool {
    let bind = || {
        let probe = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        probe.set_reuse_address(true)?;
        probe.bind(&address.into())
    };
    address.port() != 0 && bind().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Whether a path is a socket that nobody listens on. A file of another kind refuses connections as well.
fn is_left_over(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn accept_one(fd: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, peer) = rustix::net::acceptfrom_with(fd, flags)?;
    Ok((stream, peer.and_then(|peer| peer.try_into().ok())))
}

fn start(
    fd: OwnedFd,
    peer: Option<SocketAddr>,
    local: &Bind,
    handling: &ArcSwap<Handling>,
    workers: &Workers,
) {
    let handling = handling.load_full();
    if handling.past_max == PastMax::Reset && handling.is_full() {
        tracing::debug!(?peer, ?local, "a connection is refused: there are too many");
        handling.drain.count(Refusal::Full);
        // A socket that knows no such option is closed as any other.
        let _ = SockRef::from(&fd).set_linger(Some(Duration::ZERO));
        return;
    }
    let ticket = handling.drain.enter();
    // A client on a Unix socket is on this machine.
    let peer = peer.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
    let (local_port, is_unix) = match local {
        Bind::Tcp(address) | Bind::Udp(address) => (address.port(), false),
        Bind::Unix(_) => (80, true),
    };
    // Of all the addresses that there are, the one that this connection came to.
    let at = match local {
        Bind::Tcp(address) if address.ip().is_unspecified() => {
            let name = rustix::net::getsockname(&fd).ok();
            name.and_then(|name| SocketAddr::try_from(name).ok())
        }
        Bind::Tcp(address) => Some(*address),
        Bind::Unix(_) | Bind::Udp(_) => None,
    };
    workers.spawn_connection(async move {
        let io = match open(fd, is_unix) {
            Ok(io) => io,
            Err(error) => {
                tracing::debug!(%error, "a connection ended before it was served");
                return;
            }
        };
        let peer = Peer::new(peer, local_port, false, &handling.trusted_proxies);
        let peer = Arc::new(match at {
            Some(local) => peer.at(local),
            None => peer,
        });
        let service = handling.service.clone();
        drop(handling);
        let connection = Connection {
            io,
            ahead: BytesMut::new(),
            hello: None,
            peer,
            ticket,
        };
        // Its error type has no value.
        let _ = service.oneshot(connection).await;
    });
}

fn open(fd: OwnedFd, is_unix: bool) -> io::Result<Socket> {
    if is_unix {
        return Ok(UnixStream::from_std(fd.into())?.into());
    }
    Ok(TcpStream::from_std(fd.into())?.into())
}
