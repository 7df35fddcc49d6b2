//! TCP: for each connection of a client one to a server, and the bytes between them.
//!
//! What is balanced is the dialling: a server that cannot be reached has cost the client nothing yet, and the next
//! one is dialled.

use super::connect::Origin;
use super::copy::{Copied, copy};
use super::servers::{Server, Servers};
use crate::stack::drain::{Phase, Ticket};
use crate::stack::{Connection, Socket};
use a3s_layers::balance::{Balanced, HashOn};
use a3s_layers::endpoint::{InFlight, Placed};
use a3s_layers::error::{BoxError, Chain, Failure};
use a3s_layers::tried::Tried;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Service, ServiceExt};

/// A connection may be idle for as long as its peers like. Whether they are still there is asked after this time: one
/// that has vanished without a word is gone some ten minutes later, as Linux is set up.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a peer may take nothing of what there is for it, whether it has vanished or does not read: the kernel then
/// breaks off (`TCP_USER_TIMEOUT`, RFC 5482). Long, since a client may well pause.
const STANDSTILL: Duration = Duration::from_secs(10 * 60);

/// Asks for a connection to a server, to another one each time.
#[derive(Debug, Clone)]
pub struct Dial {
    client: IpAddr,
    tried: Tried,
}

impl Dial {
    /// For a client at this address.
    pub fn new(client: IpAddr) -> Self {
        Self {
            client,
            tried: Tried::new(),
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
        let mut in_flight = placed.place;
        Box::pin(async move {
            match origin.connect().await {
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

/// Serves each connection by one that `S` dials. Always ready.
///
/// Half-closes are passed on. A connection that breaks off, that nobody can be dialled for, or that is cut off by the
/// end of the drain is reset on both sides: nobody takes that for the end of what was to be said.
#[derive(Debug, Clone)]
pub struct TcpForward<S> {
    service: Arc<str>,
    balance: S,
    servers: Arc<Servers>,
}

impl<S> TcpForward<S> {
    /// Dials by `balance`, which picks among `servers`, for the service that the log calls `service`.
    pub fn new(service: Arc<str>, balance: S, servers: Arc<Servers>) -> Self {
        Self {
            service,
            balance,
            servers,
        }
    }
}

impl<S> Service<Connection> for TcpForward<S>
where
    S: Service<Dial, Response = Dialled, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let Self {
            service,
            balance,
            servers,
        } = self.clone();
        Box::pin(async move {
            let peer = connection.peer.address();
            // Each that takes traffic is dialled once.
            let takes_traffic = |server: &&Server| server.weight > 0;
            let tries = servers.list().iter().filter(takes_traffic).count();
            match serve(balance, tries, connection).await {
                Ok(copied) => tracing::debug!(%service, %peer, ?copied, "a connection has ended"),
                Err(error) => {
                    let (reason, error) = (Failure::of(&*error).reason(), Chain(&*error));
                    tracing::debug!(%service, %peer, reason, %error, "a connection has failed");
                }
            }
            Ok(())
        })
    }
}

async fn serve<S>(servers: S, tries: usize, connection: Connection) -> Result<Copied, BoxError>
where
    S: Service<Dial, Response = Dialled, Error = BoxError> + Clone,
{
    let Connection {
        io,
        peer,
        mut ticket,
    } = connection;
    watch(&io);
    let mut client = Unfinished::new(io);
    let dial = dial(servers, Dial::new(peer.address().ip()), tries);
    let Dialled { io, _in_flight } = unless_over(&mut ticket, dial).await?;
    watch(&io);
    let mut server = Unfinished::new(io);
    let copied = unless_over(&mut ticket, copy(&mut client.io, &mut server.io)).await?;
    client.finish();
    server.finish();
    Ok(copied)
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

async fn dial<S>(servers: S, dial: Dial, tries: usize) -> Result<Dialled, BoxError>
where
    S: Service<Dial, Response = Dialled, Error = BoxError> + Clone,
{
    for _ in 1..tries {
        match servers.clone().oneshot(dial.clone()).await {
            Err(error) if !is_nobody(&error) => {
                tracing::debug!(%error, "dialling the next server");
            }
            dialled => return dialled,
        }
    }
    servers.oneshot(dial).await
}

/// Whether nobody has been dialled, and there is nobody to be.
fn is_nobody(error: &BoxError) -> bool {
    let failure = Failure::of(&**error);
    matches!(failure, Failure::Unavailable | Failure::Overloaded)
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
