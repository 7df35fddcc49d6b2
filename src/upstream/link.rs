//! One HTTP/1.1 connection to a server, driven by the task of the request that uses it.
//!
//! A connection in a task of its own would cost each request two wake-ups and two trips through the scheduler.
//! Here whoever waits for an answer, or for the next piece of a body, polls the connection itself. The halves of
//! hyper's client tell each other of progress by wakers; as both are polled by one task, the answer's half is polled
//! with a waker that does nothing, and an idle connection is left with one too, so that no task is woken for another.

use super::usage::Held;
use super::watched::{BeforeHead, Watched};
use crate::stack::proxy_header::Addresses;
use crate::stack::{Request, Socket};
use axum::body::Body;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// What is read at a time of an answer that comes fast, and the longest head of one. It is what a client costs, a few
/// times, that asks and does not read.
pub(super) const MAX_BUFFER: usize = 128 * 1024;

/// A connection and the way to send on it.
pub(super) struct Link {
    sender: http1::SendRequest<Body>,
    connection: Option<Pin<Box<Connection>>>,
    before_head: BeforeHead,
    /// The client that it was opened for, where the server knows that.
    owner: Option<Box<Addresses>>,
    _held: Held,
}

/// What drives it.
pub(super) type Connection = http1::Connection<TokioIo<Watched<BeforeHead>>, Body>;

impl Link {
    pub(super) async fn open(
        io: TokioIo<Socket>,
        owner: Option<Box<Addresses>>,
        held: Held,
    ) -> hyper::Result<Self> {
        let before_head = BeforeHead::new();
        let io = Watched::new(io.into_inner(), before_head.clone());
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(io))
            .await?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
            before_head,
            owner,
            _held: held,
        })
    }

    /// Goes on with a connection that was driven elsewhere, if it has not ended.
    pub(super) fn go_on(
        sender: http1::SendRequest<Body>,
        connection: Option<Connection>,
        before_head: BeforeHead,
        owner: Option<Box<Addresses>>,
        held: Held,
    ) -> Self {
        Self {
            sender,
            connection: connection.map(Box::pin),
            before_head,
            owner,
            _held: held,
        }
    }

    /// The client that it was opened for, where the server knows that.
    pub(super) fn owner(&self) -> Option<&Addresses> {
        self.owner.as_deref()
    }

    /// Moves the connection on. It is let go when it has ended: then everybody who waits for it learns so.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = connection.as_mut().poll(cx)
        {
            if let Err(error) = ended {
                tracing::debug!(%error, "an upstream HTTP/1.1 connection ended");
            }
            self.connection = None;
        }
    }

    /// Moves the connection on as far as it goes by itself, and leaves it without anybody to wake.
    pub(super) fn settle(&mut self) {
        self.drive(&mut Context::from_waker(Waker::noop()));
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    /// Whether it waits for a request.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_closed() && self.sender.is_ready()
    }

    /// Waits until the connection can take a request; false where it ended instead.
    pub(super) async fn ready(&mut self) -> bool {
        std::future::poll_fn(|cx| {
            self.drive(cx);
            match self.is_closed() || self.is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        self.settle();
        self.is_ready()
    }

    /// Sends a request and waits for the head of its response.
    pub(super) fn send(mut self, request: Request) -> Sending<impl Future<Output = Sent>> {
        self.before_head.begin();
        Sending {
            answer: self.sender.try_send_request(request),
            link: Some(self),
        }
    }
}

/// What hyper's client says of a request.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request>>;

pin_project! {
    /// The future of [`Link::send`]: gives the connection back with the answer.
    pub(super) struct Sending<F> {
        #[pin]
        answer: F,
        link: Option<Link>,
    }
}

impl<F: Future<Output = Sent>> Future for Sending<F> {
    type Output = Result<(Response<Incoming>, Link), TrySendError<Request>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let link = this.link.as_mut().expect("polled after it was ready");
        link.drive(cx);
        let answer = ready!(this.answer.poll(&mut Context::from_waker(Waker::noop())));
        Poll::Ready(answer.map(|response| {
            let link = this.link.take().expect("it was there a line above");
            link.before_head.end();
            (response, link)
        }))
    }
}
