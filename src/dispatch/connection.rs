//! Finds the service of a connection.

use super::table::Table;
use crate::rule::Facts;
use crate::stack::{Connection, ConnectionService};
use a3s_layers::connection::HasPeer;
use arc_swap::ArcSwap;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

/// Serves each connection by the best route of the table; one that no route takes is refused.
#[derive(Debug, Clone)]
pub struct ConnectionDispatcher {
    table: Arc<ArcSwap<Table<ConnectionService>>>,
}

impl ConnectionDispatcher {
    /// Serves by whatever table is stored when a connection comes.
    pub fn new(table: Arc<ArcSwap<Table<ConnectionService>>>) -> Self {
        Self { table }
    }
}

impl Service<Connection> for ConnectionDispatcher {
    type Response = ();
    type Error = Infallible;
    type Future = ConnectionFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let table = self.table.load();
        let peer = connection.peer_ip();
        let inner = match table.find(&Facts::of_connection(peer, None, &[])) {
            Some(route) => Some(route.service.clone().oneshot(connection)),
            None => {
                tracing::debug!(%peer, "a connection is refused: no router takes it");
                connection.refuse();
                None
            }
        };
        ConnectionFuture { inner }
    }
}

pin_project! {
    /// The future of [`ConnectionDispatcher`].
    pub struct ConnectionFuture {
        #[pin]
        inner: Option<Oneshot<ConnectionService, Connection>>,
    }
}

impl Future for ConnectionFuture {
    type Output = Result<(), Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
