//! Looks at how connections begin, and takes nothing of it.

use super::unless_over;
use crate::serve::before::Before;
use crate::stack::drain::Refusal;
use crate::stack::hello::{ClientHello, Heard, HelloReader};
use crate::stack::{Connection, Socket};
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What is read at once: a usual hello.
const CHUNK: usize = 2048;

/// Notes on a connection what its client says of itself in TLS. One that says something else goes on as it is, as soon
/// as that is known; one that has said too little of either after a time is refused.
#[derive(Debug, Clone)]
pub struct Peek {
    timeout: Duration,
}

impl Peek {
    /// Waits for so long.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl Before for Peek {
    async fn admit(self, mut connection: Connection) -> Option<Connection> {
        match peek(&mut connection, self.timeout).await {
            Ok(()) => Some(connection),
            Err(error) => {
                let peer = connection.peer.address();
                tracing::debug!(%peer, %error, "a connection is refused: it has not begun");
                connection.refuse_for(Refusal::Handshake);
                None
            }
        }
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
