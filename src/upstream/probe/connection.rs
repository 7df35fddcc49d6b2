//! A connection that questions are asked on.

use super::fault::Fault;
use super::tasks::Tasks;
use crate::stack::Socket;
use crate::stack::conduct::Conduct;
use crate::upstream::connect::Origin;
use crate::upstream::watched::{BeforeHead, Watched};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};

/// The largest head of an answer.
const MAX_HEAD: usize = 16 << 10;

/// An open connection. It is closed when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    before_head: BeforeHead,
    _tasks: Tasks,
}

#[derive(Debug)]
enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Opens one; over HTTP/2 where the server speaks it, or where that is needed.
    pub(super) async fn open(origin: &Origin, needs_h2: bool) -> Result<Self, Fault> {
        let (io, speaks_h2) = origin.connect_http(None).await?;
        if needs_h2 && !speaks_h2 && matches!(io.inner(), Socket::Tls(_)) {
            return Err(Fault::NoHttp2);
        }
        let io = io.into_inner();
        let tasks = Tasks::default();
        let before_head = BeforeHead::new();
        let spawner = tasks.spawner();
        let sender = if speaks_h2 || needs_h2 {
            let (sender, connection) = http2::Builder::new(spawner.clone())
                .timer(TokioTimer::new())
                .max_header_list_size(MAX_HEAD as u32)
                .handshake(TokioIo::new(Watched::new(io, Conduct::of_server())))
                .await?;
            spawner.execute(async move {
                let _ = connection.await;
            });
            Sender::H2(sender)
        } else {
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_HEAD)
                .handshake(TokioIo::new(Watched::new(io, before_head.clone())))
                .await?;
            spawner.execute(async move {
                let _ = connection.await;
            });
            Sender::H1(sender)
        };
        Ok(Self {
            sender,
            before_head,
            _tasks: tasks,
        })
    }

    /// The version that is spoken on it.
    pub(super) fn version(&self) -> Version {
        match &self.sender {
            Sender::H1(_) => Version::HTTP_11,
            Sender::H2(_) => Version::HTTP_2,
        }
    }

    /// Whether it has not ended, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        match &self.sender {
            Sender::H1(sender) => !sender.is_closed(),
            Sender::H2(sender) => !sender.is_closed(),
        }
    }

    /// Sends a request, and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                self.before_head.begin();
                let answer = sender.send_request(request).await?;
                self.before_head.end();
                Ok(answer)
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}
