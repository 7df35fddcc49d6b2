//! A layer of connections that looks at how they begin, and takes nothing of it.

use super::unless_over;
use crate::stack::drain::Refusal;
use crate::stack::hello::{ClientHello, Heard, HelloReader};
use crate::stack::{Connection, Socket};
use bytes::BytesMut;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tower::{Layer, Service};

/// What is read at once: a usual hello.
const CHUNK: usize = 2048;

/// Notes on a connection what its client says of itself in TLS. One that says something else goes on as it is, as soon
/// as that is known; one that has said too little of either after a time is refused.
#[derive(Debug, Clone)]
pub struct PeekLayer {
    timeout: Duration,
}

impl PeekLayer {
    /// Waits for so long.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<S> Layer<S> for PeekLayer {
    type Service = Peek<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Peek {
            inner,
            timeout: self.timeout,
        }
    }
}

/// The service made by [`PeekLayer`]. Always ready, as connections' services are.
#[derive(Debug, Clone)]
pub struct Peek<S> {
    inner: S,
    timeout: Duration,
}

impl<S> Service<Connection> for Peek<S>
where
    S: Service<Connection, Response = (), Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut connection: Connection) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let timeout = self.timeout;
        Box::pin(async move {
            // Boxed, so that a connection at work is not as large as one at its beginning.
            let looked = Box::pin(peek(&mut connection, timeout)).await;
            if let Err(error) = looked {
                let peer = connection.peer.address();
                tracing::debug!(%peer, %error, "a connection is refused: it has not begun");
                connection.refuse_for(Refusal::Handshake);
                return Ok(());
            }
            let served = inner.call(connection);
            // It may hold the routes of a configuration that is no more when the connection ends.
            drop(inner);
            served.await
        })
    }
}

async fn peek(connection: &mut Connection, timeout: Duration) -> io::Result<()> {
    let Connection {
        io, ahead, ticket, ..
    } = connection;
    let look = tokio::time::timeout(timeout, look(io, ahead));
    let hello = unless_over(ticket, look)
        .await
        .ok_or(io::ErrorKind::ConnectionAborted)?
        .map_err(|_| io::ErrorKind::TimedOut)??;
    connection.hello = hello.map(Box::new);
    Ok(())
}

/// Reads until it is known how a connection begins.
async fn look(io: &mut Socket, ahead: &mut BytesMut) -> io::Result<Option<ClientHello>> {
    let mut reader = HelloReader::default();
    loop {
        match reader.read(ahead) {
            Heard::Hello(hello) => return Ok(Some(hello)),
            Heard::Other => return Ok(None),
            Heard::More => {}
        }
        // Nothing is allocated for a client that is silent.
        io.readable().await?;
        ahead.reserve(CHUNK);
        if io.read_buf(ahead).await? == 0 {
            // All that it had to say is no hello.
            return Ok(None);
        }
    }
}
