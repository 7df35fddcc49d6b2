//! The servers of a pool, for those who watch them: how they are is asked, shown and counted.

use super::connect::Origin;
use a3s_layers::endpoint::Endpoint;
use std::sync::Arc;
use tokio::sync::watch;

/// One server: how it stands, and the way to it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name, how it stands, and its counts.
    pub endpoint: Arc<Endpoint>,
    /// How it is connected to.
    pub origin: Arc<Origin>,
    /// Its share of the traffic; 0 takes no new requests.
    pub weight: u16,
}

/// The servers of a pool, which may change while it runs.
#[derive(Debug)]
pub struct Servers(watch::Sender<Arc<[Server]>>);

impl Servers {
    /// None yet.
    pub fn new() -> Self {
        Self(watch::channel(Vec::new().into()).0)
    }

    /// Those that there are now, in their order.
    pub fn list(&self) -> Arc<[Server]> {
        Arc::clone(&self.0.borrow())
    }

    /// Tells of these from now on.
    pub fn set(&self, servers: Vec<Server>) {
        self.0.send_replace(servers.into());
    }

    /// Tells of each change.
    pub fn watch(&self) -> watch::Receiver<Arc<[Server]>> {
        self.0.subscribe()
    }
}

impl Default for Servers {
    fn default() -> Self {
        Self::new()
    }
}
