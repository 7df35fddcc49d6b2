//! Datagrams: the session of a client, and what carries it.

mod flow;
mod socket;
mod traffic;

pub use flow::{Flow, Sent, Upstream, is_fatal};
pub use socket::{Arrived, ClientSocket};
pub use traffic::{Dropped, Traffic, WorkerTraffic};

use a3s_layers::connection::HasPeer;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use tower::util::{BoxCloneSyncService, BoxCloneSyncServiceLayer};

/// A client's datagrams, from the first one until it has been silent for long enough.
///
/// The service of a session gives its [`Flow`] somebody to send to, and brings the answers back for as long as its
/// future runs. What the client sends does not go through it: the flow is shared with whoever receives.
#[derive(Debug)]
pub struct Session {
    /// What goes both ways.
    pub flow: Arc<Flow>,
}

impl HasPeer for Session {
    fn peer_ip(&self) -> IpAddr {
        self.flow.client().ip()
    }

    fn refuse(self) {
        self.flow.refuse(Dropped::NotAllowed);
    }
}

/// What an entrypoint does with a session, to its end.
pub type SessionService = BoxCloneSyncService<Session, (), Infallible>;

/// A middleware, ready to be put on any [`SessionService`].
pub type SessionLayer = BoxCloneSyncServiceLayer<SessionService, Session, (), Infallible>;
