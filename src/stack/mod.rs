//! The shapes that flow through the house: one request, one response, one kind of service.

pub mod arrival;
pub mod asked;
pub mod client_auth;
pub(crate) mod conduct;
pub mod crypto;
pub mod drain;
mod frames;
pub mod hello;
pub mod identity;
mod log_field;
pub mod names;
mod next;
pub mod proxy_header;
pub mod reason;
pub mod redaction;
pub mod shard;
mod socket;
mod turned_away;
pub mod udp;
pub mod upgrade;
pub mod visible;

pub use log_field::LogField;
pub use next::Next;
pub use socket::{Raw, Socket};
pub use turned_away::{Doorkeeper, TurnedAway};

use a3s_layers::connection::HasPeer;
use a3s_layers::peer::Peer;
use axum::body::Body;
use bytes::BytesMut;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use tower::util::{BoxCloneSyncService, BoxCloneSyncServiceLayer};
use tower::{BoxError, Layer, Service, layer::layer_fn};

/// A request as every layer sees it.
pub type Request = http::Request<Body>;

/// A response as every layer sees it.
pub type Response = http::Response<Body>;

/// A service above the rescue: it always answers.
pub type HttpService = BoxCloneSyncService<Request, Response, Infallible>;

/// A service below the rescue: it answers or fails.
pub type UpstreamService = BoxCloneSyncService<Request, Response, BoxError>;

/// A middleware, ready to be put on any [`HttpService`].
pub type HttpLayer = BoxCloneSyncServiceLayer<Next, Request, Response, Infallible>;

/// A client's connection, as an entrypoint hands it on.
#[derive(Debug)]
pub struct Connection {
    /// The bytes.
    pub io: Socket,
    /// What was read of them to see what they are, and is to be read again before the rest.
    pub ahead: BytesMut,
    /// What the client says of itself in TLS, where that was looked for and found; it is ahead, too.
    pub hello: Option<Box<hello::ClientHello>>,
    /// The client's end.
    pub peer: Arc<Peer>,
    /// Tells it when to end, and the listener that it has.
    pub ticket: drain::Ticket,
}

impl HasPeer for Connection {
    fn peer_ip(&self) -> IpAddr {
        self.peer.address().ip()
    }

    fn refuse(self) {
        self.refuse_for(drain::Refusal::Filtered);
    }
}

impl Connection {
    /// Resets it, and counts it.
    pub fn refuse_for(self, why: drain::Refusal) {
        self.ticket.count(why);
        self.io.reset_on_drop();
    }
}

/// What an entrypoint does with a connection, to its end.
pub type ConnectionService = BoxCloneSyncService<Connection, (), Infallible>;

/// A middleware, ready to be put on any [`ConnectionService`].
pub type ConnectionLayer = BoxCloneSyncServiceLayer<ConnectionService, Connection, (), Infallible>;

/// Turns any layer whose service takes our request and answers with some body into an [`HttpLayer`].
pub fn erase<L, B>(layer: L) -> HttpLayer
where
    L: Layer<Next> + Clone + Send + Sync + 'static,
    L::Service: Service<Request, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as Service<Request>>::Future: Send,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    BoxCloneSyncServiceLayer::new(layer_fn(move |inner| {
        tower::util::MapResponse::new(layer.layer(inner), |response: http::Response<B>| {
            response.map(Body::new)
        })
    }))
}
