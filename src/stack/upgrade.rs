//! Exchanges that go on in another protocol (RFC 9110, 7.8): what asks for it, and what becomes of the connection.
//!
//! A request that asks carries an [`Upgrade`]. Who grants it answers with [`switch`]: the body of that answer is what
//! goes on, waits for the client's stream, and ends when that ends, so that whoever watches bodies watches it too.

use super::drain::Notice;
use super::{Response, Socket};
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::observe::Traffic;
use a3s_layers::peer::Peer;
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// What a request asks to go on in: an extension of it, by the server that has read it.
#[derive(Debug, Clone)]
pub struct Upgrade {
    protocol: HeaderValue,
    accept: Option<HeaderValue>,
}

impl Upgrade {
    /// Asks for `protocol`: one name, and perhaps a version.
    pub fn new(protocol: HeaderValue) -> Self {
        Self {
            protocol,
            accept: None,
        }
    }

    /// To a server that has to show that it has understood, with this `Sec-WebSocket-Accept`: nobody behind us looks.
    pub fn accepted_with(mut self, accept: HeaderValue) -> Self {
        self.accept = Some(accept);
        self
    }

    /// Whether an answer is one that its asker can do something with: it shows what it has to if it is a yes, and is no
    /// success that is none.
    pub fn understands(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let shown = headers.get(SEC_WEBSOCKET_ACCEPT);
        match status {
            _ if self.accept.is_none() => true,
            StatusCode::SWITCHING_PROTOCOLS => shown == self.accept.as_ref(),
            status => !status.is_success(),
        }
    }

    /// The protocol, as `Upgrade` has it.
    pub fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    /// Whether that is `protocol`.
    pub fn is(&self, protocol: &str) -> bool {
        let asked = self.protocol.as_bytes();
        asked.eq_ignore_ascii_case(protocol.as_bytes())
    }
}

/// A client that has been told that its connection goes on in another protocol.
#[derive(Debug)]
pub struct Upgraded {
    /// The connection, or the stream within one.
    pub io: ClientStream,
    /// Who that is.
    pub peer: Arc<Peer>,
    /// Tells when to take leave. What goes on is dropped at the end of the drain.
    pub notice: Notice,
}

/// Answers that the connection goes on in another protocol, with `goes_on`, and how it ended.
///
/// The server that has put the [`Upgrade`] on the request says in the answer which protocol that is.
pub fn switch<F>(goes_on: impl FnOnce(Upgraded) -> F + Send + 'static) -> Response
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (client, waits) = oneshot::channel();
    let goes_on = async move {
        match waits.await {
            Ok(client) => goes_on(client).await,
            Err(gone) => Err(UpstreamError::new(Failure::RequestBody, gone).into()),
        }
    };
    let mut response = Response::new(Body::new(GoingOn(Some(Box::pin(goes_on)))));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let traffic = Traffic::new();
    response.extensions_mut().insert(traffic.clone());
    let client = Arc::new(Mutex::new(Some(client)));
    response
        .extensions_mut()
        .insert(Handover { client, traffic });
    response
}

/// The body of an answer by [`switch`].
struct GoingOn(Option<Running>);

type Running = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

impl http_body::Body for GoingOn {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(goes_on) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let ended = ready!(goes_on.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(ended.err().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// Where the client is handed over to what goes on: an extension of an answer by [`switch`].
#[derive(Debug, Clone)]
pub struct Handover {
    /// Extensions can be cloned, and there is one client.
    client: Arc<Mutex<Option<oneshot::Sender<Upgraded>>>>,
    traffic: Traffic,
}

impl Handover {
    /// Hands a client over: its stream, what was read of it `ahead`, who it is, and the word that it should end.
    pub fn hand_over(
        &self,
        stream: impl Into<AnyStream>,
        ahead: Bytes,
        peer: Arc<Peer>,
        notice: Notice,
    ) {
        let client = self
            .client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let io = ClientStream {
            stream: stream.into(),
            ahead,
            traffic: self.traffic.clone(),
        };
        if let Some(client) = client {
            // Who does not wait for it has ended.
            let _ = client.send(Upgraded { io, peer, notice });
        }
    }
}

/// A client's bytes after its protocol was switched, all of them counted.
#[derive(Debug)]
pub struct ClientStream {
    stream: AnyStream,
    /// What was read already.
    ahead: Bytes,
    traffic: Traffic,
}

/// What may carry them.
#[derive(Debug)]
pub enum AnyStream {
    /// A connection of its own.
    Socket(Socket),
    /// A part of one.
    Part(Part),
}

impl From<Socket> for AnyStream {
    fn from(socket: Socket) -> Self {
        Self::Socket(socket)
    }
}

/// A stream within a connection.
pub struct Part(
    /// Never locked: it makes of what one thread may have what two may look at.
    Mutex<Box<dyn Stream>>,
);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Part {
    /// Whatever it is.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Mutex::new(Box::new(stream)))
    }

    fn stream(&mut self) -> Pin<&mut Box<dyn Stream>> {
        Pin::new(self.0.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Part> for AnyStream {
    fn from(part: Part) -> Self {
        Self::Part(part)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Part").finish_non_exhaustive()
    }
}

impl ClientStream {
    /// Waits until the client has broken off, whether or not there is something to read. A half-close is not told, nor
    /// what becomes of a stream within a connection: that is found when it is read or written.
    pub async fn broken(&self) -> io::Error {
        match &self.stream {
            AnyStream::Socket(socket) => socket.broken().await,
            AnyStream::Part(_) => pending().await,
        }
    }

    /// Sees to it that the client cannot take what was said for all that was to be said, if it is dropped now; as far
    /// as that is possible.
    pub fn reset_on_drop(&self) {
        if let AnyStream::Socket(socket) = &self.stream {
            socket.reset_on_drop();
        }
    }

    /// Bytes that have gone each way so far.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

macro_rules! on_stream {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            AnyStream::Socket(socket) => {
                let $inner = Pin::new(socket);
                $call
            }
            AnyStream::Part(part) => {
                let $inner = part.stream();
                $call
            }
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(on_stream!(&mut this.stream, stream => stream.poll_read(cx, buf)))?;
        } else {
            let taken = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..taken]);
            this.ahead.advance(taken);
            if this.ahead.is_empty() {
                // It may be a small part of much that is kept.
                this.ahead = Bytes::new();
            }
        }
        let read = buf.filled().len() - before;
        this.traffic.count_received(read as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(on_stream!(&mut self.stream, stream => stream.poll_write(cx, buf)))?;
        self.traffic.count_sent(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(&mut self.stream, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(&mut self.stream, stream => stream.poll_shutdown(cx))
    }
}

/// What was read in two places, one after the other.
pub fn joined(first: Bytes, second: BytesMut) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second.freeze(),
        (_, true) => first,
        (false, false) => [&first[..], &second[..]].concat().into(),
    }
}
