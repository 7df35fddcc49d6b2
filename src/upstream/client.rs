//! A client of one server: a Tower service over the pool of this thread.
//!
//! The pool is our own because hyper-util's shares connections between threads, behind a lock and a
//! spawned task for each request.

use super::body::{AnswerBody, Lease, ResponseBody, Upload};
use super::connect::Origin;
use super::link::{Link, Sending, Sent};
use super::pool::{self, Sender};
use super::upgrade;
use super::watched::Watched;
use crate::stack::Request;
use crate::stack::conduct::Conduct;
use crate::stack::proxy_header::Addresses;
use crate::stack::upgrade::Upgrade;
use a3s_layers::endpoint::{AwaitedBody, Endpoint};
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::journal::Journal;
use a3s_layers::rehearsal::{Head, Note, StandIn};
use axum::body::Body;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::Service;

/// HTTP/2 flow control: a stream may have this much on its way. It is what a client costs that asks and does not
/// read; enough for 2 Gbit/s to a server that is 1 ms away.
const H2_STREAM_WINDOW: u32 = 256 * 1024;

/// The connection has no limit of its own (RFC 9113, 6.9.1): it is shared, and clients that do not read what they
/// asked for would hold up everybody else.
const H2_CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Sends requests to one server. Always ready.
#[derive(Debug, Clone)]
pub struct Client {
    origin: Arc<Origin>,
    timeouts: Timeouts,
}

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request to the head of its response, connecting included.
    pub response: Duration,
    /// Between two frames of a response body.
    pub idle: Duration,
}

impl Client {
    /// A client of `origin`.
    pub fn new(origin: Arc<Origin>, timeouts: Timeouts) -> Self {
        Self { origin, timeouts }
    }
}

impl Service<Request> for Client {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if let Some(journal) = Journal::rehearsed(&request) {
            return Box::pin(ready(Ok(stand_in(&request, &journal))));
        }
        let Self { origin, timeouts } = self.clone();
        if let Some(upgrade) = request.extensions_mut().remove::<Upgrade>() {
            return Box::pin(upgrade::ask(origin, timeouts, request, upgrade));
        }
        // The request stands here, and not in the state of each function on its way: a future is moved whole.
        let (mut request, upload) = Upload::watch(request);
        Box::pin(async move {
            let send = pin!(send(&origin, &mut request));
            let sent = within(timeouts.response, upload.as_ref(), send).await;
            let failure = upload.as_ref().and_then(Upload::failure);
            let (mut head, lease) = match (sent, failure) {
                (Ok(answer), _) => answer,
                // Whatever the connection says of it, the client was the first to break off.
                (Err(error), Some(failure)) => {
                    return Err(UpstreamError::new(failure, error).into());
                }
                (Err(error), None) => return Err(error.into()),
            };
            if is_coded(&head) || head.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(UpstreamError::from(Failure::Reset).into());
            }
            if let Some(awaited) = upload.as_ref().map(Upload::awaited)
                && !awaited.is_zero()
            {
                head.extensions_mut().insert(AwaitedBody(awaited));
            }
            Ok(head.map(|incoming| {
                AnswerBody::Message(ResponseBody::new(incoming, lease, timeouts.idle, upload))
            }))
        })
    }
}

/// Sends nothing: notes what would be sent, and answers in place of the server.
fn stand_in(request: &Request, journal: &Journal) -> Response<AnswerBody> {
    let endpoint = journal.endpoint();
    let id = endpoint.as_deref().map(Endpoint::id).unwrap_or_default();
    journal.note(Note::Sent(id.into(), Head::of(request)));
    let mut response = Response::new(AnswerBody::GoesOn(Body::empty()));
    response.extensions_mut().insert(StandIn);
    response
}

/// Whether an answer is in a transfer coding that our request did not ask for, and no client can make sense of: all
/// that `TE` says is `trailers`. Nor has it asked for another protocol, but by way of [`upgrade`].
pub(super) fn is_coded<B>(response: &Response<B>) -> bool {
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    codings
        .next()
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
}

/// Waits for `send` as long as the server takes the request's body, and then for `timeout`.
async fn within<T>(
    timeout: Duration,
    upload: Option<&Upload>,
    mut send: Pin<&mut impl Future<Output = Result<T, UpstreamError>>>,
) -> Result<T, UpstreamError> {
    let mut left = timeout;
    while !left.is_zero() {
        if let Ok(result) = tokio::time::timeout(left, send.as_mut()).await {
            return result;
        }
        // Whoever sends a body is watched by its own timeout, and the server's begins at its end.
        left = match upload.map(|upload| (upload.ended(), upload)) {
            Some((Some(ended), _)) => timeout.saturating_sub(ended.elapsed()),
            Some((None, running)) if running.is_moving() => timeout,
            _ => Duration::ZERO,
        };
    }
    Err(Failure::ResponseTimeout.into())
}

type Answer = (Response<Incoming>, Lease);

/// Sends on a pooled connection, or on a new one. A pooled connection may turn out to have been closed by
/// the server: then the next is tried, if the request was not sent. One that was sent and may be sent again
/// goes on a new connection, so that a request that a server dies of is not shown to every connection there is.
async fn send(origin: &Arc<Origin>, request: &mut Request) -> Result<Answer, UpstreamError> {
    let mut was_sent = false;
    let owner = origin.owner_of(request);
    loop {
        let pooled = match was_sent {
            true => None,
            false => pool::check_out(origin, owner.as_deref()),
        };
        let (sender, is_used) = match pooled {
            Some(sender) => {
                origin.usage().reuse();
                (sender, true)
            }
            // Boxed, and HTTP/2 too: the common way must not carry the room that they take.
            None => (Box::pin(open(origin, owner.clone())).await?, false),
        };
        let copy = is_used.then(|| repeatable(request)).flatten();
        let sent = match sender {
            Sender::H1(link) => {
                let sent = send_h1(link, request).await;
                sent.map(|(response, link)| {
                    let origin = Arc::clone(origin);
                    (response, Lease::Link { origin, link })
                })
            }
            Sender::H2(sender, stream) => {
                let sent = Box::pin(send_h2(origin, sender, request)).await;
                sent.map(|response| (response, Lease::Stream { _stream: stream }))
            }
        };
        let mut failed = match sent {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        *request = match (failed.take_message(), copy) {
            (Some(unsent), _) if is_used => unsent,
            (None, Some(copy)) if was_closed(failed.error()) => {
                was_sent = true;
                *copy
            }
            _ => return Err(UpstreamError::new(Failure::Reset, failed.into_error())),
        };
    }
}

/// A copy of a request that may be sent twice: its method is idempotent (RFC 9110, 9.2.2) and it has no body.
fn repeatable(request: &Request) -> Option<Box<Request>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Box::new(Request::new(Body::empty()));
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Whether the server closed the connection without a word: as it may do with an idle one at any time.
fn was_closed(error: &hyper::Error) -> bool {
    use std::error::Error;
    error.is_incomplete_message()
        || error.is_closed()
        || error.is_canceled()
        || error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .is_some_and(|error| {
                matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
                )
            })
}

fn send_h1(link: Link, request: &mut Request) -> Sending<impl Future<Output = Sent>> {
    *request.version_mut() = Version::HTTP_11;
    frame_body(request);
    link.send(std::mem::take(request))
}

async fn send_h2(
    origin: &Origin,
    mut sender: http2::SendRequest<Body>,
    request: &mut Request,
) -> Result<Response<Incoming>, TrySendError<Request>> {
    to_h2(origin, request);
    sender.try_send_request(std::mem::take(request)).await
}

/// Says that a body of unknown length is chunked. The parser does so by itself for most methods, but takes a GET
/// or a HEAD for one without a body, and would drop it.
fn frame_body(request: &mut Request) {
    let is_doubtful = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_doubtful
        && !request.body().is_end_stream()
        && !request.headers().contains_key(CONTENT_LENGTH)
    {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

/// HTTP/2 has `:scheme` and `:authority` where HTTP/1.1 has `Host`.
fn to_h2(origin: &Origin, request: &mut Request) {
    let authority = match request.headers_mut().remove(HOST) {
        Some(host) => http::uri::Authority::try_from(host.as_bytes()).ok(),
        None => request.uri().authority().cloned(),
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(origin.uri_scheme());
    parts.authority = Some(authority.unwrap_or_else(|| origin.authority().clone()));
    parts.path_and_query = Some(match request.uri().path_and_query() {
        // `OPTIONS *` has no path of its own.
        Some(path) if request.method() != Method::OPTIONS || path.as_str() != "*" => path.clone(),
        _ => http::uri::PathAndQuery::from_static("/"),
    });
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}

/// Opens a connection and has this thread's runtime drive it.
async fn open(
    origin: &Arc<Origin>,
    owner: Option<Box<Addresses>>,
) -> Result<Sender, UpstreamError> {
    // One for all where it will be shared; each for itself where it will not, or where nobody knows yet.
    let is_shared = origin.speaks_h2() && !origin.has_owners();
    let lock = is_shared.then(|| pool::opening(origin));
    let _opening = match &lock {
        // To wait for somebody else to connect is to connect: those behind a server that is gone must not queue up.
        Some(lock) => match tokio::time::timeout(origin.connect_timeout(), lock.lock()).await {
            Ok(opening) => Some(opening),
            Err(_) => return Err(Failure::ConnectTimeout.into()),
        },
        None => None,
    };
    if lock.is_some()
        && let Some(sender) = pool::check_out(origin, None)
    {
        return Ok(sender);
    }
    let broken = |error| UpstreamError::new(Failure::Connect, error);
    let (io, speaks_h2) = origin.connect_http(owner.as_deref()).await?;
    let held = origin.usage().hold();
    if speaks_h2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .handshake(TokioIo::new(Watched::new(
                io.into_inner(),
                Conduct::of_server(),
            )))
            .await
            .map_err(broken)?;
        let max_streams = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let told = Arc::clone(&max_streams);
        tokio::spawn(async move {
            let _held = held;
            let mut connection = pin!(connection);
            let driven = std::future::poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                let max = connection.as_ref().get_ref().current_max_send_streams();
                told.store(max, Ordering::Relaxed);
                polled
            });
            if let Err(error) = driven.await {
                tracing::debug!(%error, "an upstream HTTP/2 connection ended");
            }
        });
        Ok(pool::share(origin, sender, max_streams, owner))
    } else {
        Ok(Sender::H1(
            Link::open(io, owner, held).await.map_err(broken)?,
        ))
    }
}

/// The value of `Host` for a server.
pub fn host_header(origin: &Origin) -> HeaderValue {
    HeaderValue::from_str(origin.authority().as_str())
        .expect("an authority is printable ASCII, as a header value may be")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn the_time_for_an_answer_begins_when_the_body_has_ended() {
        let timeout = Duration::from_millis(1000);
        for (body_ends, times_out) in [(None, 1000), (Some(0), 1000), (Some(700), 1700)] {
            let began = Instant::now();
            let body = if body_ends.is_some() { "body" } else { "" };
            let (request, upload) = Upload::watch(Request::new(Body::from(body)));
            let sends = async {
                sleep(Duration::from_millis(body_ends.unwrap_or_default())).await;
                drop(request);
                pending().await
            };
            let sent: Result<(), _> = within(timeout, upload.as_ref(), pin!(sends)).await;
            let failure = sent.map_err(|error| error.failure());
            assert_eq!(failure, Err(Failure::ResponseTimeout));
            assert_eq!(began.elapsed(), Duration::from_millis(times_out));
        }
    }
}
