//! Finds the service of a connection.

use super::table::{Route, Table};
use crate::rule::Facts;
use crate::stack::drain::Refusal;
use crate::stack::hello::ClientHello;
use crate::stack::{Connection, ConnectionService};
use a3s_layers::connection::HasPeer;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

/// The routes of connections. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ConnectionTables {
    /// Of those that begin with TLS.
    pub tls: Arc<Table<ConnectionService>>,
    /// Of all others, and of those that begin with TLS and that no route above takes.
    pub any: Arc<Table<ConnectionService>>,
}

/// What is done with connections.
#[derive(Debug)]
pub struct ConnectionRoutes {
    /// By these routes.
    pub tables: ConnectionTables,
    /// What serves those that no route takes; none refuses them.
    pub rest: Option<ConnectionService>,
}

impl ConnectionTables {
    /// The best route of a client, by what it says of itself in TLS if it does.
    fn find(
        &self,
        client: IpAddr,
        hello: Option<&ClientHello>,
    ) -> Option<&Route<ConnectionService>> {
        let mut alpn = Vec::new();
        let sni = hello.map(|hello| {
            alpn.extend(hello.alpn());
            hello.server_name()
        });
        self.asked(client, sni, &alpn)
            .find_map(|(table, facts)| table.find(&facts))
    }

    /// The tables that are asked one after the other, each with what is known to it. `sni` is there where there is TLS.
    pub(super) fn asked<'f>(
        &self,
        client: IpAddr,
        sni: Option<Option<&'f str>>,
        alpn: &'f [&'f [u8]],
    ) -> impl Iterator<Item = (&Table<ConnectionService>, Facts<'f>)> {
        let tls = sni.map(|sni| (&*self.tls, Facts::of_connection(client, sni, alpn)));
        let any = (&*self.any, Facts::of_connection(client, None, &[]));
        tls.into_iter().chain([any])
    }
}

/// Serves each connection by the best route; one that no route takes goes to the rest, or is refused.
#[derive(Debug, Clone)]
pub struct ConnectionDispatcher {
    routes: Arc<ConnectionRoutes>,
}

impl ConnectionDispatcher {
    /// Serves by these routes. A connection is served by one for as long as it lasts, so there is nothing to be
    /// swapped in them: new ones come with a new dispatcher.
    pub fn new(routes: ConnectionRoutes) -> Self {
        Self {
            routes: Arc::new(routes),
        }
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
        let peer = connection.peer_ip();
        let route = self.routes.tables.find(peer, connection.hello.as_deref());
        let service = route.map(|route| &route.service);
        let inner = match service.or(self.routes.rest.as_ref()) {
            Some(service) => Some(service.clone().oneshot(connection)),
            None => {
                tracing::debug!(%peer, "a connection is refused: no router takes it");
                connection.refuse_for(Refusal::NoRouter);
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
