//! TLS with clients: its end, before connections are served.

mod certificates;
mod peek;
mod told;

pub use certificates::Certificates;
pub use peek::Peek;

use crate::serve::before::Before;
use crate::stack::asked::Asked;
use crate::stack::drain::{Phase, Refusal, Shaken, Ticket};
use crate::stack::{Connection, Raw, Socket};
use a3s_layers::peer::TlsSession;
use arc_swap::ArcSwap;
use bytes::{Buf, BytesMut};
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{ProtocolVersion, ServerConfig};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

/// The longest ClientHello that is read: one that offers every post-quantum key share there is has a tenth of this.
const MAX_HELLO: usize = 64 * 1024;

/// What is agreed on with clients, by the name that they ask for.
#[derive(Debug)]
pub struct Terms {
    /// In the order of what is asked of them.
    agreed: Box<[ArcSwap<Agreed>]>,
    asked: Arc<Asked>,
    certificates: Arc<Certificates>,
    sni_strict: bool,
    handshake_timeout: Duration,
}

/// What is agreed on with clients of whom the same is asked.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// Certificates, versions and protocols.
    pub config: Arc<ServerConfig>,
    /// What is asked of them: the [`ClientAuth::id`](crate::stack::client_auth::ClientAuth::id), or 0.
    pub asked: u64,
}

/// Ends the encryption of connections.
impl Before for Arc<Terms> {
    async fn admit(self, connection: Connection) -> Option<Connection> {
        let peer = connection.peer.address();
        let accepted = self.accept(connection).await;
        accepted
            .inspect_err(|error| tracing::debug!(%peer, %error, "a TLS handshake has failed"))
            .ok()
    }
}

/// Tells a client that asks for a name that nobody has (RFC 6066, 3): the alert `unrecognized_name`.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

impl Terms {
    /// Agrees on `agreed`, each with those of whom `asked` says so. With `sni_strict` a client is refused whose name no
    /// certificate is for; a handshake may take so long.
    pub fn new(
        agreed: Vec<Agreed>,
        asked: Arc<Asked>,
        certificates: Arc<Certificates>,
        sni_strict: bool,
        handshake_timeout: Duration,
    ) -> Self {
        Self {
            agreed: agreed.into_iter().map(ArcSwap::from_pointee).collect(),
            asked,
            certificates,
            sni_strict,
            handshake_timeout,
        }
    }

    /// What is asked of clients.
    pub fn asked(&self) -> &Arc<Asked> {
        &self.asked
    }

    /// Who we are.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Agrees on something else with those of whom something else is asked from now on.
    pub fn agree(&self, place: usize, agreed: Agreed) {
        if let Some(there) = self.agreed.get(place) {
            let asked = agreed.asked;
            there.store(Arc::new(agreed));
            self.asked.set(place, asked);
        }
    }

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
        let (stream, asked) = shaken.inspect_err(|_| {
            ticket.count(Refusal::Handshake);
            ticket.count_handshake(Shaken::Not);
        })?;
        let session = session(stream.get_ref().1, asked);
        ticket.count_handshake(match session.version {
            "TLSv1.3" => Shaken::V1_3,
            _ => Shaken::V1_2,
        });
        let peer = Arc::new(peer.encrypted(session));
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
    ) -> io::Result<(TlsStream<Raw>, u64)> {
        let accepted = hello(&mut raw, ahead).await?;
        let Some(agreed) = self.agreed_with(accepted.client_hello().server_name()) else {
            // Whoever does not take a few bytes at once does not get them.
            let _ = raw.write_all(&UNRECOGNIZED_NAME).await;
            return Err(io::Error::other("no certificate is for this name"));
        };
        let start = StartHandshake::from_parts(accepted, raw);
        let stream = start.into_stream(Arc::clone(&agreed.config)).await?;
        Ok((stream, agreed.asked))
    }

    fn agreed_with(&self, name: Option<&str>) -> Option<Arc<Agreed>> {
        if self.sni_strict && !self.certificates.has(name) {
            return None;
        }
        let agreed = self.agreed.get(self.asked.place(name))?;
        Some(agreed.load_full())
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
fn session(connection: &rustls::ServerConnection, asked: u64) -> TlsSession {
    let client = connection.peer_certificates();
    TlsSession {
        server_name: connection.server_name().map(Into::into),
        asked,
        client: client.and_then(|chain| chain.first()).and_then(told::told),
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
