//! What goes on between a client and a server whose connections were switched to another protocol: bytes, both ways.

use super::connect::Origin;
use super::copy::{Ahead, Watch, copy, is_idle};
use super::side::Side;
use crate::stack::Socket;
use crate::stack::drain::Phase;
use crate::stack::upgrade::Upgraded;
use a3s_layers::error::{BoxError, Failure, UpstreamError};
use a3s_layers::observe::Traffic;
use a3s_layers::peer::Peer;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A server that has switched.
pub(super) struct Tunnel {
    origin: Arc<Origin>,
    server: Side<Socket>,
    ahead: Bytes,
    idle_timeout: Duration,
    is_websocket: bool,
}

impl Tunnel {
    /// To the server of `origin`, of which these bytes were read already. It ends where nothing goes either way for
    /// the timeout.
    pub(super) fn new(
        origin: Arc<Origin>,
        server: Socket,
        ahead: Bytes,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            origin,
            server: Side::new(server),
            ahead,
            idle_timeout,
            is_websocket: false,
        }
    }

    /// Takes leave of both sides when connections are to end, in the words of a WebSocket. The client goes first: what
    /// it says to that is for the server, after all that it has said before. Only where it says nothing does the server
    /// hear of it from us.
    pub(super) fn of_websocket(mut self, is_websocket: bool) -> Self {
        self.is_websocket = is_websocket;
        self
    }

    /// Runs until both have said all that they had to say, or one has broken off.
    pub(super) async fn run(mut self, client: Upgraded) -> Result<(), BoxError> {
        let Upgraded { io, peer, notice } = client;
        let traffic = io.traffic().clone();
        let mut course = Course::new(self.origin, peer, traffic.clone());
        let mut client = Side::new(io);
        let ahead = Ahead {
            of_server: BytesMut::from(self.ahead),
            ..Ahead::default()
        };
        let server = &mut self.server;
        if self.is_websocket {
            server.take_leave(Phase::Closing, notice.clone(), false, &ahead.of_server);
            client.take_leave(Phase::ClosingIdle, notice, true, &[]);
        }
        let watch = Watch {
            idle: Some(self.idle_timeout),
            ..Watch::default()
        };
        let error = match copy(&mut client, server, ahead, watch).await {
            Err(error) if !is_idle(&error) => error,
            ended => {
                course.why = if ended.is_ok() { "ended" } else { "idle" };
                client.finish();
                server.finish();
                return Ok(());
            }
        };
        let (why, failure) = match client.has_broken() {
            true => ("the client broke off", Failure::RequestBody),
            false => ("the server broke off", Failure::Reset),
        };
        course.why = why;
        Err(UpstreamError::new(failure, error).into())
    }
}

/// Tells the log of the end.
struct Course {
    origin: Arc<Origin>,
    peer: Arc<Peer>,
    traffic: Traffic,
    began: Instant,
    why: &'static str,
}

impl Course {
    fn new(origin: Arc<Origin>, peer: Arc<Peer>, traffic: Traffic) -> Self {
        Self {
            origin,
            peer,
            traffic,
            began: Instant::now(),
            why: "cut off",
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        tracing::debug!(
            service = self.origin.service(),
            server = %self.origin.authority(),
            peer = %self.peer.address(),
            received = self.traffic.received(),
            sent = self.traffic.sent(),
            seconds = self.began.elapsed().as_secs_f64(),
            why = self.why,
            "a switched connection has ended"
        );
    }
}
