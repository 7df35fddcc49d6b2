//! UDP: for each session of a client a socket that is connected to a server, and the answers that come back on it.
//!
//! What is balanced is the session. That it has a socket says nothing of the server: whether it is there is known when it
//! answers, or when somebody says that it is not (ICMP). Then the session ends, the server is blamed, and the next
//! datagram of the client begins a session that is balanced anew.

use super::connect::Origin;
use super::tcp::Dial;
use crate::stack::udp::{Dropped, Flow, Session, Upstream, is_fatal};
use a3s_layers::balance::Cluster;
use a3s_layers::endpoint::{Endpoint, InFlight, Placed};
use a3s_layers::error::{BoxError, Chain, Failure};
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::net::UdpSocket;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// The longest datagram there is: 65,507 bytes over IPv4, and 20 more over IPv6.
const MAX_DATAGRAM: usize = 1 << 16;

/// What is read of one server at once, before others have their turn.
const BATCH: usize = 32;

thread_local! {
    /// An answer on its way through this worker.
    static ANSWER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_DATAGRAM].into());
}

/// A socket that is connected to a server, which counts the session until it ends.
#[derive(Debug)]
pub struct UdpDialled {
    socket: UdpSocket,
    origin: Arc<Origin>,
    endpoint: Arc<Endpoint>,
    /// Looked at where something changes, and not for each datagram.
    place: Mutex<Option<InFlight>>,
    has_answered: AtomicBool,
}

impl Upstream for UdpDialled {
    fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn answered(&self) {
        if self.has_answered.load(Ordering::Relaxed) {
            return;
        }
        self.has_answered.store(true, Ordering::Relaxed);
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = &mut *place {
            place.connected();
            place.judge_again();
        }
    }

    fn fail(&self, error: &io::Error) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = place.take() {
            tracing::debug!(server = self.endpoint.id(), %error, "a session has failed");
            // Where a name has addresses of both families, nobody may listen at the one that was taken.
            self.origin.turn();
            place.fail(Failure::Connect);
        }
    }
}

/// Opens sockets to one server. Always ready.
#[derive(Debug, Clone)]
pub struct UdpDialler {
    origin: Arc<Origin>,
}

impl UdpDialler {
    /// Dials `origin`.
    pub fn new(origin: Arc<Origin>) -> Self {
        Self { origin }
    }
}

impl Service<Placed<Dial>> for UdpDialler {
    type Response = UdpDialled;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<UdpDialled, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, placed: Placed<Dial>) -> Self::Future {
        let origin = Arc::clone(&self.origin);
        let place = placed.place;
        Box::pin(async move {
            match origin.connect_udp().await {
                Ok(socket) => Ok(UdpDialled {
                    socket,
                    endpoint: Arc::clone(place.endpoint()),
                    place: Mutex::new(Some(place)),
                    has_answered: AtomicBool::new(false),
                    origin,
                }),
                Err(error) => {
                    place.fail(error.failure());
                    Err(error.into())
                }
            }
        })
    }
}

/// Whatever opens sockets to a service.
pub type UdpDialService = BoxCloneSyncService<Dial, UdpDialled, BoxError>;

/// What opens sockets to a service, and who its servers are: the better ones first.
#[derive(Clone)]
pub struct UdpServers {
    /// Opens a socket to one of them.
    pub dial: UdpDialService,
    /// Its own, and those of its failover.
    pub clusters: Vec<Arc<dyn Cluster>>,
}

impl fmt::Debug for UdpServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpServers").finish_non_exhaustive()
    }
}

/// Serves each session by a server that is dialled, for as long as that can be reached. Always ready.
#[derive(Debug, Clone)]
pub struct UdpForward {
    service: Arc<str>,
    servers: UdpDialService,
}

impl UdpForward {
    /// Dials `servers`, which are those of the service that the log calls `service`.
    pub fn new(service: Arc<str>, servers: UdpDialService) -> Self {
        Self { service, servers }
    }
}

impl Service<Session> for UdpForward {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, session: Session) -> Self::Future {
        let Self { service, servers } = self.clone();
        let flow = session.flow;
        Box::pin(async move {
            let client = flow.client();
            match servers.oneshot(Dial::new(client.ip())).await {
                Ok(dialled) => {
                    let dialled = Arc::new(dialled);
                    flow.connect(Arc::clone(&dialled) as Arc<dyn Upstream>);
                    bring_back(&dialled, &flow).await;
                }
                Err(error) => {
                    let (reason, error) = (Failure::of(&*error).reason(), Chain(&*error));
                    tracing::debug!(%service, %client, reason, %error, "a session has no server");
                    flow.refuse(Dropped::NoServer);
                }
            }
            Ok(())
        })
    }
}

/// Brings the answers of a server to its client, until it cannot be reached.
async fn bring_back(server: &UdpDialled, flow: &Flow) {
    loop {
        // Only the end of the runtime is an error.
        if server.socket.readable().await.is_err() {
            return;
        }
        for _ in 0..BATCH {
            match ANSWER.with_borrow_mut(|buffer| receive(server, flow, buffer)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_fatal(&error) => return server.fail(&error),
                // Something was wrong with a datagram, and that is told once.
                Err(error) => tracing::debug!(%error, "an answer has been lost"),
            }
        }
    }
}

fn receive(server: &UdpDialled, flow: &Flow, buffer: &mut [u8]) -> io::Result<()> {
    let length = server.socket.try_recv(buffer)?;
    server.answered();
    flow.answer(&buffer[..length]);
    Ok(())
}
