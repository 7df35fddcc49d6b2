//! TCP: for each connection of a client one to a server, and the bytes between them.
//!
//! What is balanced is the dialling: a server that cannot be reached has cost the client nothing yet, and the next
//! one is dialled.

use super::connect::Origin;
use super::copy::{Ahead, Watch, copy, is_idle};
use super::counts::{ConnectionCounts, Counted, End};
use crate::stack::drain::{Phase, Ticket};
use crate::stack::proxy_header::Addresses;
use crate::stack::{Connection, Socket};
use a3s_layers::balance::{Balanced, HashOn};
use a3s_layers::endpoint::{InFlight, Placed};
use a3s_layers::error::{BoxError, Chain, Failure};
use a3s_layers::failover::FailoverCourse;
use a3s_layers::peer::Peer;
use a3s_layers::tried::Tried;
use bytes::BytesMut;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// Whether silent peers are still there is asked after this time: one that has vanished without a word is gone some
/// ten minutes later, as Linux is set up.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a peer may take nothing of what there is for it, whether it has vanished or does not read: the kernel then
/// breaks off (`TCP_USER_TIMEOUT`, RFC 5482). Long, since a client may well pause.
const STANDSTILL: Duration = Duration::from_secs(10 * 60);

/// Asks for a connection to a server, to another one each time.
#[derive(Debug, Clone)]
pub struct Dial {
    client: IpAddr,
    owner: Option<Addresses>,
    tried: Tried,
}

impl Dial {
    /// For a client at this address.
    pub fn new(client: IpAddr) -> Self {
        Self {
            client,
            owner: None,
            tried: Tried::new(),
        }
    }

    /// For this peer, of whom the server may be told.
    fn of(peer: &Peer) -> Self {
        let owner = Addresses {
            source: peer.address(),
            destination: peer.local(),
        };
        Self {
            owner: Some(owner),
            ..Self::new(peer.address().ip())
        }
    }
}

impl Balanced for Dial {
    fn tried(&self) -> Option<&Tried> {
        Some(&self.tried)
    }

    fn hash_of(&self, on: &HashOn) -> Option<u64> {
        (*on == HashOn::ClientIp).then(|| HashOn::hash_of_ip(self.client))
    }
}

/// A connection to a server, which counts it until it ends.
#[derive(Debug)]
pub struct Dialled {
    io: Socket,
    _in_flight: InFlight,
}

/// Opens connections to one server. Always ready.
#[derive(Debug, Clone)]
pub struct Dialler {
    origin: Arc<Origin>,
}

impl Dialler {
    /// Dials `origin`.
    pub fn new(origin: Arc<Origin>) -> Self {
        Self { origin }
    }
}

impl Service<Placed<Dial>> for Dialler {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, placed: Placed<Dial>) -> Self::Future {
        let origin = Arc::clone(&self.origin);
        let (owner, mut in_flight) = (placed.request.owner, placed.place);
        Box::pin(async move {
            match origin.connect(owner.as_ref()).await {
                Ok(io) => {
                    in_flight.connected();
                    Ok(Dialled {
                        io,
                        _in_flight: in_flight,
                    })
                }
                Err(error) => {
                    in_flight.fail(error.failure());
                    Err(error.into())
                }
            }
        })
    }
}

/// Whatever opens connections to a service.
pub type DialService = BoxCloneSyncService<Dial, Dialled, BoxError>;

type Dialling<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Has a balance dial one server after the other, each once, until one is there. Always ready.
#[derive(Debug, Clone)]
pub struct DialEach<S> {
    balance: S,
}

impl<S> DialEach<S> {
    /// Dials the servers of `balance`.
    pub fn new(balance: S) -> Self {
        Self { balance }
    }
}

impl<S> Service<Dial> for DialEach<S>
where
    S: Service<Dial, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Dialling<S::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        let balance = self.balance.clone();
        Box::pin(async move {
            loop {
                match balance.clone().oneshot(dial.clone()).await {
                    Err(error) if dial.tried.has_others() && !is_nobody(&error) => {
                        tracing::debug!(%error, "dialling the next server");
                    }
                    dialled => return dialled,
                }
            }
        })
    }
}

/// Whether nobody has been dialled, and there is nobody to be.
fn is_nobody(error: &BoxError) -> bool {
    let failure = Failure::of(&**error);
    matches!(failure, Failure::Unavailable | Failure::Overloaded)
}

/// Dials a secondary service where nobody of the primary is there. Always ready.
#[derive(Debug)]
pub struct DialFailover<T> {
    primary: BoxCloneSyncService<Dial, T, BoxError>,
    secondary: BoxCloneSyncService<Dial, T, BoxError>,
    name: Arc<str>,
    course: Arc<FailoverCourse>,
}

impl<T> Clone for DialFailover<T> {
    fn clone(&self) -> Self {
        Self {
            primary: self.primary.clone(),
            secondary: self.secondary.clone(),
            name: Arc::clone(&self.name),
            course: Arc::clone(&self.course),
        }
    }
}

impl<T> DialFailover<T> {
    /// Dials `primary`, which the log calls `name`, and then `secondary`. What becomes of it is told in `course`.
    pub fn new(
        primary: BoxCloneSyncService<Dial, T, BoxError>,
        secondary: BoxCloneSyncService<Dial, T, BoxError>,
        name: Arc<str>,
        course: Arc<FailoverCourse>,
    ) -> Self {
        Self {
            primary,
            secondary,
            name,
            course,
        }
    }
}

impl<T: Send + 'static> Service<Dial> for DialFailover<T> {
    type Response = T;
    type Error = BoxError;
    type Future = Dialling<T>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        let Self {
            primary,
            secondary,
            name,
            course,
        } = self.clone();
        Box::pin(async move {
            let was_active = course.is_active();
            let error = match primary.oneshot(dial.clone()).await {
                Ok(dialled) => {
                    if was_active {
                        course.come_back(&name);
                    }
                    return Ok(dialled);
                }
                Err(error) => error,
            };
            tracing::debug!(error = %Chain(&*error), "dialling the secondary");
            course.go_over(&name, Failure::of(&*error) != Failure::Overloaded);
            match secondary.oneshot(dial).await {
                Err(nobody) if is_nobody(&nobody) => Err(error),
                dialled => dialled,
            }
        })
    }
}

/// Serves each connection by one that is dialled. Always ready.
///
/// Half-closes are passed on. A connection that breaks off, that nobody can be dialled for, on which nothing goes for
/// too long, or that is cut off by the end of the drain is reset on both sides: nobody takes that for the end of what
/// was to be said.
#[derive(Debug, Clone)]
pub struct TcpForward {
    way: Arc<Way>,
}

/// Where connections go, and what is kept to on the way.
#[derive(Debug)]
pub struct Way {
    /// The router, for the log.
    pub router: Arc<str>,
    /// The service, for the log.
    pub service: Arc<str>,
    /// Opens connections to the service.
    pub servers: DialService,
    /// How long nothing may go in either direction.
    pub idle: Duration,
    /// What becomes of the connections.
    pub counts: Arc<ConnectionCounts>,
}

impl TcpForward {
    /// Serves on this way.
    pub fn new(way: Way) -> Self {
        Self { way: Arc::new(way) }
    }
}

impl Service<Connection> for TcpForward {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let way = Arc::clone(&self.way);
        Box::pin(async move {
            let (servers, idle) = (way.servers.clone(), way.idle);
            let mut course = Course {
                counted: way.counts.begin(),
                way,
                peer: connection.peer.address(),
                began: Instant::now(),
                error: None,
            };
            if let Err((end, error)) = serve(servers, idle, connection, &course.counted).await {
                course.counted.end_as(end);
                course.error = Some(error);
            }
            Ok(())
        })
    }
}

/// Tells the log of the end.
struct Course {
    way: Arc<Way>,
    counted: Counted,
    peer: SocketAddr,
    began: Instant,
    error: Option<BoxError>,
}

impl Drop for Course {
    fn drop(&mut self) {
        let error = self.error.as_deref();
        tracing::debug!(
            router = %self.way.router,
            service = %self.way.service,
            peer = %self.peer,
            received = self.counted.received(),
            sent = self.counted.sent(),
            seconds = self.began.elapsed().as_secs_f64(),
            end = self.counted.end().as_str(),
            reason = error.map(|error| Failure::of(error).reason()),
            error = error.map(|error| tracing::field::display(Chain(error))),
            "a connection has ended"
        );
    }
}

async fn serve(
    servers: DialService,
    idle: Duration,
    connection: Connection,
    counted: &Counted,
) -> Result<(), (End, BoxError)> {
    let Connection {
        io,
        ahead,
        peer,
        mut ticket,
        ..
    } = connection;
    let ahead = Ahead {
        of_client: ahead,
        of_server: BytesMut::new(),
    };
    watch(&io);
    let mut client = Unfinished::new(io);
    let dialled = servers.oneshot(Dial::of(&peer));
    let Dialled { io, _in_flight } = unless_over(&mut ticket, dialled)
        .await
        .map_err(|error| (end_of(&error, End::Unserved), error))?;
    watch(&io);
    let mut server = Unfinished::new(io);
    let moved = |received, sent| counted.moved(received, sent);
    let watch = Watch {
        idle: Some(idle),
        moved: Some(&moved),
    };
    let copying = copy(&mut client.io, &mut server.io, ahead, watch);
    unless_over(&mut ticket, copying)
        .await
        .map_err(|error| (end_of(&error, End::Broken), error))?;
    client.finish();
    server.finish();
    Ok(())
}

/// How a connection has ended that did so with an error.
fn end_of(error: &BoxError, otherwise: End) -> End {
    let is_still = error.downcast_ref().is_some_and(is_idle);
    match error.is::<CutOff>() {
        true => End::CutOff,
        false if is_still => End::Idle,
        false => otherwise,
    }
}

/// Has the kernel watch for a peer that is no longer there.
fn watch(io: &Socket) {
    io.ask_if_silent(SILENCE);
    io.give_up_after(STANDSTILL);
}

/// A socket that is reset when it is dropped before all that was to be said on it was said.
struct Unfinished {
    io: Socket,
    is_finished: bool,
}

impl Unfinished {
    fn new(io: Socket) -> Self {
        Self {
            io,
            is_finished: false,
        }
    }

    fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            self.io.reset_on_drop();
        }
    }
}

/// The drain was over first.
#[derive(Debug, thiserror::Error)]
#[error("cut off")]
struct CutOff;

async fn unless_over<T, E: Into<BoxError>>(
    ticket: &mut Ticket,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    let mut future = pin!(future);
    poll_fn(|cx| match ticket.poll_phase(cx) {
        Phase::Over => Poll::Ready(Err(CutOff.into())),
        _ => future.as_mut().poll(cx).map_err(Into::into),
    })
    .await
}
