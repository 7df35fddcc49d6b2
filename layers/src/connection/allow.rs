//! Refuses connections by the address of their peer.

use super::{AdmitFuture, HasPeer};
use crate::networks::Networks;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Lets in the peers of some networks, and nobody else. See the [module](super) for an example.
#[derive(Debug, Clone)]
pub struct AllowLayer {
    allowed: Arc<Networks>,
}

impl AllowLayer {
    /// Lets in peers whose address is in one of these networks. IPv4-mapped IPv6 addresses and networks count as
    /// IPv4.
    pub fn new(allowed: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            allowed: Arc::new(Networks::new(allowed)),
        }
    }
}

impl AllowLayer {
    /// Whether a peer at this address is let in.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.allowed.contain(ip.to_canonical())
    }
}

impl<S> Layer<S> for AllowLayer {
    type Service = Allow<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Allow {
            inner,
            allowed: Arc::clone(&self.allowed),
        }
    }
}

/// The service made by [`AllowLayer`].
#[derive(Debug, Clone)]
pub struct Allow<S> {
    inner: S,
    allowed: Arc<Networks>,
}

impl<S, C> Service<C> for Allow<S>
where
    S: Service<C, Response: Default>,
    C: HasPeer,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AdmitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, connection: C) -> Self::Future {
        let ip = connection.peer_ip().to_canonical();
        if self.allowed.contain(ip) {
            return AdmitFuture::admit(self.inner.call(connection), ());
        }
        tracing::debug!(peer = %ip, "a connection is refused: the address is not allowed");
        AdmitFuture::refuse(connection)
    }
}
