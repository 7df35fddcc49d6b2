//! TCP: for each connection of a client one to a server, and the bytes between them.
//!
//! What is balanced is the dialling: a server that cannot be reached has cost the client nothing yet, and the next
//! one is dialled.

use super::connect::Origin;
use super::copy::copy;
use crate::stack::drain::{Phase, Ticket};
use crate::stack::{Connection, Socket};
use a3s_layers::endpoint::{Endpoint, InFlight};
use a3s_layers::error::{BoxError, Failure};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Service, ServiceExt};

/// Asks for a connection to a server.
#[derive(Debug, Clone, Copy)]
pub struct Dial;

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
    endpoint: Arc<Endpoint>,
}

impl Dialler {
    /// Dials `origin`, and counts at `endpoint`.
    pub fn new(origin: Arc<Origin>, endpoint: Arc<Endpoint>) -> Self {
        Self { origin, endpoint }
    }
}

impl Service<Dial> for Dialler {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Dial) -> Self::Future {
        let origin = Arc::clone(&self.origin);
        let in_flight = self.endpoint.enter();
        Box::pin(async move {
            match origin.connect().await {
                Ok(io) => Ok(Dialled {
                    io,
                    _in_flight: in_flight,
                }),
                Err(error) => {
                    in_flight.fail();
                    Err(error.into())
                }
            }
        })
    }
}

/// Serves each connection by one that `S` dials. Always ready.
///
/// Half-closes are passed on; whoever breaks off, or is cut off by the end of the drain, is passed on as a reset.
#[derive(Debug, Clone)]
pub struct TcpForward<S> {
    servers: S,
    tries: usize,
}

impl<S> TcpForward<S> {
    /// Dials `tries` times at most.
    pub fn new(servers: S, tries: usize) -> Self {
        Self { servers, tries }
    }
}

impl<S> Service<Connection> for TcpForward<S>
where
    S: Service<Dial, Response = Dialled, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = ();
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let Self { servers, tries } = self.clone();
        Box::pin(serve(servers, tries, connection))
    }
}

async fn serve<S>(servers: S, tries: usize, connection: Connection) -> Result<(), BoxError>
where
    S: Service<Dial, Response = Dialled, Error = BoxError> + Clone,
{
    let Connection {
        io: mut client,
        mut ticket,
        ..
    } = connection;
    let mut server = match unless_over(&mut ticket, dial(servers, tries)).await {
        Ok(server) => server,
        Err(error) => {
            client.reset();
            return Err(error);
        }
    };
    match unless_over(&mut ticket, copy(&mut client, &mut server.io)).await {
        Ok(copied) => {
            tracing::debug!(?copied, "a connection has ended");
            Ok(())
        }
        Err(error) => {
            client.reset();
            server.io.reset();
            Err(error)
        }
    }
}

async fn dial<S>(servers: S, tries: usize) -> Result<Dialled, BoxError>
where
    S: Service<Dial, Response = Dialled, Error = BoxError> + Clone,
{
    for _ in 1..tries {
        match servers.clone().oneshot(Dial).await {
            Err(error) if Failure::of(&*error) != Failure::Unavailable => {
                tracing::debug!(%error, "dialling the next server");
            }
            dialled => return dialled,
        }
    }
    servers.oneshot(Dial).await
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
