//! A request that asks to go on in another protocol: on a connection of its own, which may never come back, and once.

use super::body::{AnswerBody, Lease, ResponseBody};
use super::client::{Timeouts, is_coded};
use super::connect::Origin;
use super::link::{Connection, Link};
use super::tunnel::Tunnel;
use super::usage::Held;
use super::watched::{BeforeHead, Watched};
use crate::stack::proxy_header::Addresses;
use crate::stack::upgrade::{Upgrade, switch};
use crate::stack::{Request, Socket};
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use axum::body::Body;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

/// Asks the server of `origin`. What it answers is the answer, whether or not it grants what was asked.
pub(super) async fn ask(
    origin: Arc<Origin>,
    timeouts: Timeouts,
    request: Request,
    upgrade: Upgrade,
) -> Result<Response<AnswerBody>, BoxError> {
    let asked = tokio::time::timeout(timeouts.response, send(&origin, request)).await;
    let (answer, link) = asked.map_err(|_| UpstreamError::from(Failure::ResponseTimeout))??;
    if is_coded(&answer) {
        return Err(UpstreamError::from(Failure::Reset).into());
    }
    if !upgrade.understands(answer.status(), answer.headers()) {
        return Err(UpstreamError::from(Failure::Reset).into());
    }
    let (mut head, incoming) = answer.into_parts();
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        let lease = Lease::Link {
            origin,
            link: link.into_link(),
        };
        let body = ResponseBody::new(incoming, lease, timeouts.idle, None);
        return Ok(Response::from_parts(head, AnswerBody::Message(body)));
    }
    // Nobody can say what another protocol means (RFC 9110, 7.8).
    let mut granted = head.headers.get_all(UPGRADE).iter();
    let is_asked = |protocol: &[u8]| {
        let asked = upgrade.protocol().as_bytes();
        protocol.eq_ignore_ascii_case(asked)
    };
    let is_granted = granted.next().is_some_and(|one| is_asked(one.as_bytes()));
    if !is_granted || granted.next().is_some() {
        return Err(UpstreamError::from(Failure::Reset).into());
    }
    let (server, ahead, held) = link.into_stream().await?;
    let tunnel =
        Tunnel::new(origin, server, ahead, timeouts.idle).of_websocket(upgrade.is("websocket"));
    let goes_on = switch(|client| async move {
        let _held = held;
        tunnel.run(client).await
    });
    let (switched, body) = goes_on.into_parts();
    head.extensions.extend(switched.extensions);
    Ok(Response::from_parts(head, AnswerBody::GoesOn(body)))
}

/// A connection on which one request was sent.
struct Sent {
    sender: http1::SendRequest<Body>,
    connection: Connection,
    before_head: BeforeHead,
    ended: Option<hyper::Result<()>>,
    owner: Option<Box<Addresses>>,
    held: Held,
}

async fn send(
    origin: &Origin,
    mut request: Request,
) -> Result<(Response<Incoming>, Sent), UpstreamError> {
    *request.version_mut() = Version::HTTP_11;
    let owner = origin.owner_of(&request);
    let io = origin.connect_h1(owner.as_deref()).await?;
    let held = origin.usage().hold();
    let before_head = BeforeHead::new();
    let io = Watched::new(io.into_inner(), before_head.clone());
    let opened = http1::handshake(TokioIo::new(io)).await;
    let (mut sender, mut connection) =
        opened.map_err(|error| UpstreamError::new(Failure::Connect, error))?;
    let mut answer = pin!(sender.send_request(request));
    let mut ended = None;
    let answer = poll_fn(|cx| {
        drive(&mut connection, &mut ended, cx);
        answer.as_mut().poll(cx)
    });
    let answer = answer.await;
    let answer = answer.map_err(|error| UpstreamError::new(Failure::Reset, error))?;
    before_head.end();
    Ok((
        answer,
        Sent {
            sender,
            connection,
            before_head,
            owner,
            ended,
            held,
        },
    ))
}

/// Moves a connection on, to its end and no further: it is not shut down there.
fn drive(
    connection: &mut Connection,
    ended: &mut Option<hyper::Result<()>>,
    cx: &mut std::task::Context<'_>,
) {
    if ended.is_none()
        && let std::task::Poll::Ready(end) = connection.poll_without_shutdown(cx)
    {
        *ended = Some(end);
    }
}

impl Sent {
    /// The connection, as one on which an ordinary answer comes.
    fn into_link(self) -> Link {
        let connection = self.ended.is_none().then_some(self.connection);
        Link::go_on(
            self.sender,
            connection,
            self.before_head,
            self.owner,
            self.held,
        )
    }

    /// What is under it, and what was read of that already.
    async fn into_stream(mut self) -> Result<(Socket, Bytes, Held), UpstreamError> {
        let ended = poll_fn(|cx| {
            drive(&mut self.connection, &mut self.ended, cx);
            match self.ended.take() {
                Some(ended) => std::task::Poll::Ready(ended),
                None => std::task::Poll::Pending,
            }
        });
        // Whoever has read a 101 reads nothing more.
        ended
            .await
            .map_err(|error| UpstreamError::new(Failure::Reset, error))?;
        let parts = self.connection.into_parts();
        Ok((
            parts.io.into_inner().into_inner(),
            parts.read_buf,
            self.held,
        ))
    }
}
