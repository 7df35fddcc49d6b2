//! HTTP on one connection: hyper's parsers, our limits, and a service that answers.

use super::body::BodyTimeouts;
use super::door::Door;
use super::drive::{Drive, Ended};
use super::exchange::Exchange;
use super::exchanges::Exchanges;
use super::guard::{Guard, GuardLimits};
use super::patience::Streams;
use super::refusal::Refusal;
use super::upgrade::Switched;
use crate::stack::drain::{Phase, Ticket};
use crate::stack::upgrade;
use crate::stack::{Connection, Doorkeeper, Request, Response, Socket};
use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tower::Service;

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// HTTP/2 flow control towards clients: a stream may have this much on its way.
const H2_STREAM_WINDOW: u32 = 256 * 1024;

/// The connection has no limit of its own (RFC 9113, 6.9.1): uploads that a server does not read would hold up
/// the others of their client, which may be a proxy with many behind it. The number of streams is the limit.
const H2_CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// The parser's buffer is larger than any head that the guard lets through.
const MIN_BUFFER: usize = 64 * 1024;

/// The number of header fields for which the parser needs no memory of its own.
const PARSER_HEADERS: usize = 100;

/// The limits of one entrypoint's HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// For a head, from its first byte to its last; 408 after that.
    pub header_timeout: Duration,
    /// For a connection on which nothing moves, and for a body that stalls.
    pub idle_timeout: Duration,
    /// For a request's body, from its head to its end; 408 after that.
    pub request_timeout: Option<Duration>,
    /// Header fields; 431 past it.
    pub max_headers: usize,
    /// Bytes of request line and header; 414 or 431 past it.
    pub max_header_bytes: usize,
    /// Streams at a time on one HTTP/2 connection.
    pub h2_max_streams: u32,
    /// Streams that a client may reset soon after it has opened them, beyond half of those that it opens, given anew
    /// in 30 s; the connection ends past it.
    pub h2_max_resets: u32,
    /// Whether HTTP/2 in the clear is spoken.
    pub h2c: bool,
}

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) on each connection that it is called with.
#[derive(Debug, Clone)]
pub struct HttpServer<S> {
    service: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: HttpLimits,
    doorkeeper: Option<Arc<dyn Doorkeeper>>,
    h1: http1::Builder,
    h2: http2::Builder<Streams>,
}

impl<S> HttpServer<S> {
    /// Serves `service` within `limits`. What it refuses itself it tells the doorkeeper.
    pub fn new(limits: HttpLimits, service: S, doorkeeper: Option<Arc<dyn Doorkeeper>>) -> Self {
        let mut h1 = http1::Builder::new();
        // The guard has its own, which knows idle from slow and can answer.
        h1.header_read_timeout(None)
            .max_buf_size((2 * limits.max_header_bytes).max(MIN_BUFFER));
        if limits.max_headers != PARSER_HEADERS {
            h1.max_headers(limits.max_headers);
        }
        let mut h2 = http2::Builder::new(Streams::new(limits.idle_timeout));
        h2.timer(TokioTimer::new())
            .enable_connect_protocol()
            .adaptive_window(false)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_concurrent_streams(limits.h2_max_streams)
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
        Self {
            service,
            shared: Arc::new(Shared {
                limits,
                doorkeeper,
                h1,
                h2,
            }),
        }
    }
}

impl<S> Service<Connection> for HttpServer<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let Self { service, shared } = self.clone();
        Box::pin(async move {
            serve(connection, service, &shared).await;
            Ok(())
        })
    }
}

async fn serve<S>(connection: Connection, service: S, shared: &Shared)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Connection {
        mut io,
        mut ahead,
        peer,
        mut ticket,
        ..
    } = connection;
    let limits = &shared.limits;
    let alpn = peer.tls().and_then(|tls| tls.alpn.as_deref());
    let has_agreed = alpn.map(|protocol| protocol == b"h2");
    let mut patience = limits.header_timeout;
    let mut is_known = false;
    loop {
        let read = await_bytes(
            &mut io,
            std::mem::take(&mut ahead),
            &mut ticket,
            patience,
            is_known,
        );
        let Some(ahead) = read.await else {
            return;
        };
        let is_h2 = has_agreed.unwrap_or_else(|| !is_known && ahead.starts_with(H2_PREFACE));
        let exchanges = Arc::new(Exchanges::default());
        let closing = Arc::new(AtomicBool::new(false));
        let service = Exchange {
            service: service.clone(),
            door: Door {
                peer: Arc::clone(&peer),
                keeper: shared.doorkeeper.clone(),
            },
            notice: ticket.notice(),
            exchanges: Arc::clone(&exchanges),
            closing: Arc::clone(&closing),
            timeouts: BodyTimeouts {
                idle: limits.idle_timeout,
                whole: limits.request_timeout,
            },
            max_headers: limits.max_headers,
        };
        let guard_limits = GuardLimits {
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            max_header_bytes: limits.max_header_bytes,
            h2_max_resets: limits.h2_max_resets,
        };
        let guard = Guard::new(io, ahead, !is_h2, guard_limits, exchanges);
        let mut drive = Drive {
            ticket: &mut ticket,
            closing: &closing,
        };
        // Boxed, so that a connection at rest is not as large as one at work.
        if is_h2 {
            return Box::pin(serve_h2(guard, service, shared, &mut drive)).await;
        }
        match Box::pin(serve_h1(guard, service, shared, &mut drive)).await {
            After::Rest(rested) => io = rested,
            After::Switch(switched, io, ahead) => {
                let goes_on = switched.go_on(io, ahead, peer, ticket.notice());
                return Box::pin(goes_on).await;
            }
            After::Nothing => return,
        }
        is_known = true;
        patience = limits.idle_timeout;
    }
}

async fn serve_h2<S>(
    guard: Guard<Socket>,
    service: Exchange<S>,
    shared: &Shared,
    drive: &mut Drive<'_>,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    if !shared.limits.h2c && !service.door.peer.is_tls() {
        let refusal = Refusal::NotSpoken("HTTP/2 is not spoken here");
        let io = guard.into_io();
        return refusal.write_to(io, &service.door, Duration::ZERO).await;
    }
    let peer = service.door.peer.address();
    let connection = pin!(shared.h2.serve_connection(TokioIo::new(guard), service));
    let shut_down = |h2: Pin<&mut http2::Connection<_, _, _>>| h2.graceful_shutdown();
    if let Ended::Closed(Err(error)) = drive.run(connection, Phase::Closing, shut_down).await {
        tracing::debug!(%error, %peer, "an HTTP/2 connection ended");
    }
}

/// What is left of a connection when its parser has gone.
enum After {
    Nothing,
    /// It waits for another request.
    Rest(Socket),
    /// It goes on in another protocol; the bytes have been read already.
    Switch(Switched, Socket, Bytes),
}

/// Serves until the connection ends, rests, or goes on in another protocol: then the parser's buffers are freed.
async fn serve_h1<S>(
    guard: Guard<Socket>,
    service: Exchange<S>,
    shared: &Shared,
    drive: &mut Drive<'_>,
) -> After
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let exchanges = Arc::clone(&service.exchanges);
    let door = service.door.clone();
    let mut connection = shared.h1.serve_connection(TokioIo::new(guard), service);
    let shut_down = |h1: Pin<&mut http1::Connection<_, _>>| h1.graceful_shutdown();
    let running = drive.run_unless(
        Pin::new(&mut connection),
        Phase::ClosingIdle,
        shut_down,
        || exchanges.are_resting(),
    );
    let ended = match running.await {
        Ended::CutOff => return After::Nothing,
        Ended::Resting => return After::Rest(connection.into_parts().io.into_inner().into_io()),
        Ended::Closed(ended) => ended,
    };
    let parts = connection.into_parts();
    let guard = parts.io.into_inner();
    match (ended, exchanges.take_switched()) {
        (Ok(()), Some(switched)) => {
            let (io, ahead) = guard.into_parts();
            return After::Switch(switched, io, upgrade::joined(parts.read_buf, ahead));
        }
        (Ok(()), None) if guard.refusal().is_none() => {
            // Where an upgrade was asked for in vain, the parser leaves it to us to close.
            drop(guard.into_io());
            return After::Nothing;
        }
        (Ok(()), None) => {}
        (Err(error), _) => {
            tracing::debug!(%error, peer = %door.peer.address(), "an HTTP/1.1 connection ended");
            if guard.refusal().is_none() {
                door.parser_failed(&error, guard.head_took());
            }
        }
    }
    // Where the parser had seen nothing of the head, it takes the refusal for an ordinary end.
    if let Some(refusal) = guard.refusal() {
        let took = guard.head_took();
        refusal.write_to(guard.into_io(), &door, took).await;
    }
    After::Nothing
}

/// Waits for the client to say something, and reads it: at first until the protocol is known. `None`: the client
/// went away, said nothing for too long, or must go.
async fn await_bytes(
    io: &mut Socket,
    mut ahead: BytesMut,
    ticket: &mut Ticket,
    patience: Duration,
    is_known: bool,
) -> Option<BytesMut> {
    let read = async {
        loop {
            let common = ahead.len().min(H2_PREFACE.len());
            let is_whole = common == H2_PREFACE.len();
            if is_whole || ahead[..common] != H2_PREFACE[..common] || (is_known && common > 0) {
                return Some(ahead);
            }
            // Nothing is allocated for a client that is silent.
            io.readable().await.ok()?;
            // An ordinary head fits, and is then read in one piece.
            ahead.reserve(1024);
            match io.read_buf(&mut ahead).await {
                Ok(read) if read > 0 => {}
                _ => return None,
            }
        }
    };
    let mut read = pin!(tokio::time::timeout(patience, read));
    std::future::poll_fn(|cx| {
        let phase = ticket.poll_phase(cx);
        if phase == Phase::Over {
            return Poll::Ready(None);
        }
        match read.as_mut().poll(cx) {
            // It has said nothing, and now it is too late.
            Poll::Pending if phase == Phase::ClosingIdle => Poll::Ready(None),
            read => read.map(|read| read.ok().flatten()),
        }
    })
    .await
}
