//! TLS with clients: a layer of connections that ends the encryption.

mod identity;
mod peek;

pub use identity::{IdentityError, identity};
pub use peek::PeekLayer;

use crate::stack::drain::{Phase, Refusal, Ticket};
use crate::stack::{Connection, Raw, Socket};
use a3s_layers::peer::TlsSession;
use bytes::{Buf, BytesMut};
use rustls::server::{Accepted, AcceptedAlert, Acceptor, ClientHello};
use rustls::{ProtocolVersion, ServerConfig};
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::StartHandshake;
use tower::{Layer, Service};

/// The longest ClientHello that is read: one that offers every post-quantum key share there is has a tenth of this.
const MAX_HELLO: usize = 64 * 1024;

/// Ends the encryption of connections before they are served.
#[derive(Debug, Clone)]
pub struct TlsLayer {
    terms: Arc<Terms>,
}

/// What is agreed on with clients.
#[derive(Debug)]
pub struct Terms {
    /// Certificates, versions and protocols.
    pub config: Arc<ServerConfig>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl TlsLayer {
    /// Agrees with clients on these terms.
    pub fn new(terms: Arc<Terms>) -> Self {
        Self { terms }
    }
}

impl<S> Layer<S> for TlsLayer {
    type Service = Tls<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Tls {
            inner,
            terms: Arc::clone(&self.terms),
        }
    }
}

/// The service made by [`TlsLayer`]. Always ready, as connections' services are.
#[derive(Debug, Clone)]
pub struct Tls<S> {
    inner: S,
    terms: Arc<Terms>,
}

impl<S> Service<Connection> for Tls<S>
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

    fn call(&mut self, connection: Connection) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let terms = Arc::clone(&self.terms);
        Box::pin(async move {
            let peer = connection.peer.address();
            // Boxed, so that a connection at work is not as large as one at its beginning.
            match Box::pin(terms.accept(connection)).await {
                Ok(connection) => inner.call(connection).await,
                Err(error) => {
                    tracing::debug!(%peer, %error, "a TLS handshake has failed");
                    Ok(())
                }
            }
        })
    }
}

impl Terms {
    async fn accept(&self, connection: Connection) -> io::Result<Connection> {
        let Connection {
            io,
            ahead,
            peer,
            mut ticket,
            ..
        } = connection;
        let Socket::Plain(raw) = io else {
            return Err(io::Error::other("it is encrypted already"));
        };
        let shake = tokio::time::timeout(self.handshake_timeout, self.shake_hands(raw, ahead));
        let shaken = async {
            unless_over(&mut ticket, shake)
                .await
                .ok_or(io::ErrorKind::ConnectionAborted)?
                .map_err(|_| io::ErrorKind::TimedOut)?
        };
        let shaken: io::Result<_> = shaken.await;
        let stream = shaken.inspect_err(|_| ticket.count(Refusal::Handshake))?;
        let peer = Arc::new(peer.encrypted(session(stream.get_ref().1)));
        Ok(Connection {
            io: Socket::Tls(Box::new(stream.into())),
            ahead: BytesMut::new(),
            hello: None,
            peer,
            ticket,
        })
    }

    async fn shake_hands(
        &self,
        mut raw: Raw,
        ahead: BytesMut,
    ) -> io::Result<tokio_rustls::server::TlsStream<Raw>> {
        let accepted = hello(&mut raw, ahead).await?;
        let config = self.config_for(&accepted.client_hello());
        StartHandshake::from_parts(accepted, raw)
            .into_stream(config)
            .await
    }

    fn config_for(&self, _: &ClientHello<'_>) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Reads what a client begins with.
async fn hello(raw: &mut Raw, mut ahead: BytesMut) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    let mut taken = 0;
    loop {
        while ahead.has_remaining() {
            taken += acceptor.read_tls(&mut (&mut ahead).reader())?;
            match acceptor.accept() {
                Ok(Some(accepted)) if ahead.is_empty() => return Ok(accepted),
                Ok(Some(_)) => return Err(io::Error::other("more than a ClientHello")),
                Ok(None) if taken > MAX_HELLO => {
                    return Err(io::Error::other("the ClientHello does not end"));
                }
                Ok(None) => {}
                Err((error, alert)) => {
                    tell(raw, alert).await;
                    return Err(io::Error::other(error));
                }
            }
        }
        ahead.reserve(1024);
        if raw.read_buf(&mut ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Tells a client what was wrong, as far as it listens.
async fn tell(raw: &mut Raw, mut alert: AcceptedAlert) {
    let mut bytes = Vec::new();
    if alert.write_all(&mut bytes).is_ok() {
        // Whoever does not take a few bytes at once does not get them.
        let _ = raw.write_all(&bytes).await;
    }
}

/// What was said and agreed on.
fn session(connection: &rustls::ServerConnection) -> TlsSession {
    TlsSession {
        server_name: connection.server_name().map(Into::into),
        alpn: connection.alpn_protocol().map(Into::into),
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
    }
}

/// What `future` gives; none where the drain is over first.
async fn unless_over<T>(ticket: &mut Ticket, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match ticket.poll_phase(cx) {
        Phase::Over => Poll::Ready(None),
        _ => future.as_mut().poll(cx).map(Some),
    })
    .await
}
