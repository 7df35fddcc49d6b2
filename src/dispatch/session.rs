//! Finds the service of a session of datagrams.

use super::table::Table;
use crate::rule::Facts;
use crate::stack::udp::{Dropped, Session, SessionService};
use a3s_layers::balance::Cluster;
use a3s_layers::connection::HasPeer;
use a3s_layers::endpoint::Endpoint;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

/// What a route of sessions leads to.
#[derive(Clone)]
pub struct Servers {
    /// Serves a session.
    pub service: SessionService,
    /// The servers that it may have, the better ones first: those of the service, and those of its failover.
    pub clusters: Arc<[Arc<dyn Cluster>]>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").finish_non_exhaustive()
    }
}

impl Servers {
    /// Whether a session may stay with a server: it is one of them, and none of the better ones takes sessions.
    fn keep(&self, endpoint: &Arc<Endpoint>) -> bool {
        for cluster in &*self.clusters {
            if cluster.has(endpoint) {
                return true;
            }
            if cluster.takes(&[]) {
                return false;
            }
        }
        false
    }
}

/// Serves each session by the best route of the table.
#[derive(Debug, Clone)]
pub struct SessionDispatcher {
    pub(super) table: Arc<Table<Servers>>,
}

impl SessionDispatcher {
    /// Serves by this table.
    pub fn new(table: Arc<Table<Servers>>) -> Self {
        Self { table }
    }

    /// Whether the session of a client may go on with a server.
    pub fn keeps(&self, client: IpAddr, endpoint: &Arc<Endpoint>) -> bool {
        let route = self.table.find(&Facts::of_connection(client, None, &[]));
        route.is_some_and(|route| route.service.keep(endpoint))
    }
}

impl Service<Session> for SessionDispatcher {
    type Response = ();
    type Error = Infallible;
    type Future = SessionFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, session: Session) -> Self::Future {
        let facts = Facts::of_connection(session.peer_ip(), None, &[]);
        let inner = match self.table.find(&facts) {
            Some(route) => Some(route.service.service.clone().oneshot(session)),
            None => {
                session.flow.refuse(Dropped::NoRoute);
                None
            }
        };
        SessionFuture { inner }
    }
}

pin_project! {
    /// The future of [`SessionDispatcher`].
    pub struct SessionFuture {
        #[pin]
        inner: Option<Oneshot<SessionService, Session>>,
    }
}

impl Future for SessionFuture {
    type Output = Result<(), Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
