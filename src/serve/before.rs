//! What is done with connections before they are served: layers of a [`Service`] of connections.

use crate::stack::Connection;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// What is done with a connection before it is served.
pub trait Before: Clone + Send + Sync + 'static {
    /// The connection as it is to be served; none where it is refused.
    fn admit(self, connection: Connection) -> impl Future<Output = Option<Connection>> + Send;
}

/// Does something with connections before the service below gets those that are left.
#[derive(Debug, Clone)]
pub struct BeforeLayer<B> {
    before: B,
}

impl<B> BeforeLayer<B> {
    /// Does this.
    pub fn new(before: B) -> Self {
        Self { before }
    }
}

impl<S, B: Clone> Layer<S> for BeforeLayer<B> {
    type Service = BeforeService<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        BeforeService {
            inner,
            before: self.before.clone(),
        }
    }
}

/// The service made by [`BeforeLayer`]. Always ready, as connections' services are.
#[derive(Debug, Clone)]
pub struct BeforeService<S, B> {
    inner: S,
    before: B,
}

impl<S, B> Service<Connection> for BeforeService<S, B>
where
    S: Service<Connection, Response = (), Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Before,
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
        let before = self.before.clone();
        Box::pin(async move {
            // Boxed, so that a connection at work is not as large as one at its beginning.
            let Some(connection) = Box::pin(before.admit(connection)).await else {
                return Ok(());
            };
            let served = inner.call(connection);
            // It may hold the routes of a configuration that is no more when the connection ends.
            drop(inner);
            served.await
        })
    }
}
