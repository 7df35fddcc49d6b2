//! One client's WebSocket: its frames are commands, and what is in its outbox is written to it.
//!
//! While an answer to a command waits to be written, nothing more is read: whoever asks and does not listen is not
//! asked what else it wants.

use super::command::{Command, Refused};
use super::outbox::Outbox;
use super::{Member, TooMany};
use crate::stack::drain::Phase;
use futures_util::{Sink, StreamExt};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

/// A client that has been silent for so long is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_secs(30);

/// A client that has been silent for so long has gone.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// How long the last words may take, and the client's answer to them.
const FAREWELL: Duration = Duration::from_secs(5);

/// How much of what a client sends after the last words is read and thrown away. A socket closed with bytes unread
/// would reset, and the words be lost.
const LINGER_BYTES: u64 = 16 << 20;

/// Read at a time, where a frame is not longer.
const READ_BUFFER: usize = 4 << 10;

/// Messages are written together up to so many bytes.
const WRITE_BUFFER: usize = 16 << 10;

/// Frames of control, and the heads of messages.
const WRITE_MARGIN: usize = 1 << 10;

/// What a client may have done until others on its worker have their turn: frames, and messages to subscribers.
const FRAMES_AT_A_TIME: usize = 64;
const DELIVERIES_AT_A_TIME: usize = 1024;

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With this close frame.
    Close(CloseCode, &'static str),
    /// As above, and nothing that the client sends can be understood any more.
    Broken(CloseCode, &'static str),
    /// The client has sent its close frame.
    ByClient,
    /// The connection is gone.
    Lost,
}

impl End {
    fn of(error: &Error) -> Self {
        use tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
        match error {
            Error::Capacity(_) => Self::Broken(CloseCode::Size, "the message is too long"),
            Error::Utf8(_) => Self::Broken(CloseCode::Invalid, "the text is not UTF-8"),
            Error::Protocol(ResetWithoutClosingHandshake) => Self::Lost,
            Error::Protocol(_) => Self::Broken(CloseCode::Protocol, ""),
            _ => Self::Lost,
        }
    }
}

/// Serves a client until it goes, or must: from the phase of closing on it is to end. False where the client broke off.
pub(super) async fn serve<S>(
    member: Member,
    stream: S,
    mut phase: impl FnMut(&mut Context<'_>) -> Phase,
) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let max_message = member.hub.limits.load().max_message;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + max_message + WRITE_MARGIN)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config));
    let now = Instant::now();
    let mut session = Session {
        socket: socket.await,
        member,
        answer: None,
        asks: false,
        is_unflushed: false,
        is_flushing: false,
        heard: now,
        timer: Box::pin(tokio::time::sleep_until(now + ASK_AFTER)),
        is_leaving: false,
        is_stuck: false,
        behind: Vec::new(),
    };
    let end = std::future::poll_fn(|cx| session.poll(phase(cx), cx)).await;
    tracing::debug!(?end, "a connection to a hub ends");
    let Session { socket, member, .. } = session;
    // It is a connection still, but nothing is for it any more.
    member.retire();
    // Who does not listen to the last words has gone all the same.
    let _ = tokio::time::timeout(FAREWELL, farewell(socket, end)).await;
    end != End::Lost
}

struct Session<S> {
    socket: WebSocketStream<S>,
    member: Member,
    /// The answer to a command.
    answer: Option<Utf8Bytes>,
    /// A ping is to be written.
    asks: bool,
    is_unflushed: bool,
    is_flushing: bool,
    /// When the client last said something.
    heard: Instant,
    timer: Pin<Box<Sleep>>,
    /// It has been told to end, and is subscribed to nothing any more.
    is_leaving: bool,
    /// The client takes nothing more for now.
    is_stuck: bool,
    /// Those who are to have their turn before this client's next frame.
    behind: Vec<Arc<Outbox>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn poll(&mut self, phase: Phase, cx: &mut Context<'_>) -> Poll<End> {
        if phase > Phase::Open && !self.is_leaving {
            self.is_leaving = true;
            self.member.end_subscriptions();
        }
        let (mut frames, mut deliveries) = (0, 0);
        loop {
            let written = self.poll_write(cx);
            if written.is_pending() != self.is_stuck {
                self.is_stuck = written.is_pending();
                self.member.outbox.set_stuck(self.is_stuck);
            }
            if let Poll::Ready(Err(error)) = written {
                return Poll::Ready(End::of(&error));
            }
            // What waits is written before the last words, but not forever.
            if self.is_leaving && (written.is_ready() || phase > Phase::Closing) {
                let end = End::Close(CloseCode::Away, "the gateway goes away");
                return Poll::Ready(end);
            }
            let before = frames;
            while self.answer.is_none() && !self.waits_for_others(cx) {
                if frames > FRAMES_AT_A_TIME || deliveries > DELIVERIES_AT_A_TIME {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match self.socket.poll_next_unpin(cx) {
                    Poll::Pending => break,
                    Poll::Ready(None) => return Poll::Ready(End::Lost),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(End::of(&error)),
                    Poll::Ready(Some(Ok(frame))) => {
                        frames += 1;
                        self.heard = Instant::now();
                        match self.heed(&frame) {
                            Ok(delivered) => deliveries += delivered,
                            Err(end) => return Poll::Ready(end),
                        }
                    }
                }
            }
            if frames == before {
                match self.poll_silence(cx) {
                    Poll::Ready(Some(end)) => return Poll::Ready(end),
                    Poll::Ready(None) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
    }

    /// Does what a frame says. Returns how many subscribers it reached.
    fn heed(&mut self, frame: &Message) -> Result<usize, End> {
        match frame {
            Message::Text(text) => return Ok(self.obey(text)),
            Message::Binary(_) => {
                let why = "messages are text";
                return Err(End::Close(CloseCode::Unsupported, why));
            }
            Message::Close(_) => return Err(End::ByClient),
            // The pong is made, and is to be written.
            Message::Ping(_) => self.is_unflushed = true,
            Message::Pong(_) | Message::Frame(_) => {}
        }
        Ok(0)
    }

    fn obey(&mut self, text: &str) -> usize {
        let done = Command::parse(text).and_then(|command| {
            match command {
                Command::Publish(channel) => {
                    return Ok(self.member.hub.publish(channel, text, &mut self.behind));
                }
                Command::Ping => self.answer = Some(Utf8Bytes::from_static("_pong")),
                Command::Unsubscribe(channel) => self.member.unsubscribe(channel),
                // It would be the first to be dropped again.
                Command::Subscribe(_) if self.is_leaving => {}
                Command::Subscribe(channel) => {
                    let subscribed = self.member.subscribe(channel);
                    subscribed.map_err(|TooMany { max }| Refused::TooMany {
                        channel: channel.to_owned(),
                        max,
                    })?;
                }
            }
            Ok(0)
        });
        done.unwrap_or_else(|refused| {
            self.answer = Some(format!("_error:{refused}").into());
            0
        })
    }

    fn waits_for_others(&mut self, cx: &Context<'_>) -> bool {
        while let Some(outbox) = self.behind.last() {
            if outbox.is_behind(cx) {
                return true;
            }
            self.behind.pop();
        }
        false
    }

    /// Writes what there is; ready when nothing is left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            // Nothing is taken out of the outbox that the client does not take yet.
            if self.is_flushing {
                ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
                self.is_flushing = false;
            }
            ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            if let Some(next) = self.next() {
                self.is_unflushed = true;
                Pin::new(&mut self.socket).start_send(next)?;
            } else if self.is_unflushed {
                (self.is_unflushed, self.is_flushing) = (false, true);
            } else if !self.member.outbox.wake_when_filled(cx) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn next(&mut self) -> Option<Message> {
        if let Some(answer) = self.answer.take() {
            return Some(Message::Text(answer));
        }
        if std::mem::take(&mut self.asks) {
            return Some(Message::Ping(Bytes::new()));
        }
        self.member.next().map(Message::Text)
    }

    /// Ready with an end when the client has been silent for too long, and with none when it is to be asked.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let silence = self.heard.elapsed();
            if silence >= GONE_AFTER {
                let end = End::Close(CloseCode::Policy, "no answer to a ping");
                return Poll::Ready(Some(end));
            }
            if silence >= ASK_AFTER {
                self.timer.as_mut().reset(self.heard + GONE_AFTER);
                self.asks = true;
                return Poll::Ready(None);
            }
            self.timer.as_mut().reset(self.heard + ASK_AFTER);
        }
    }
}

/// Says the last words, and waits for the client's.
async fn farewell<S>(mut socket: WebSocketStream<S>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (frame, is_broken) = match end {
        End::Close(code, reason) => (Some((code, reason)), false),
        End::Broken(code, reason) => (Some((code, reason)), true),
        End::ByClient => (None, false),
        End::Lost => return,
    };
    if let Some((code, reason)) = frame {
        let reason = Utf8Bytes::from_static(reason);
        let close = Message::Close(Some(CloseFrame { code, reason }));
        if Pin::new(&mut socket).start_send(close).is_err() {
            return;
        }
    }
    let flush = std::future::poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx));
    if flush.await.is_err() {
        return;
    }
    if !is_broken {
        // To the client's close frame, which may be behind other things.
        while let Some(Ok(_)) = socket.next().await {}
        let _ = socket.get_mut().shutdown().await;
        return;
    }
    let stream = socket.get_mut();
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(LINGER_BYTES);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}
