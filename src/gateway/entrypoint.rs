//! A listener that runs.

use crate::compile::CompiledEntrypoint;
use crate::config::Address;
use crate::dispatch::RequestDispatcher;
use crate::dispatch::table::Table;
use crate::error::{Error, Result};
use crate::serve::http_server::HttpServer;
use crate::serve::listener::{self, Bind, Handling, Listener, PastMax};
use crate::serve::worker::Workers;
use crate::stack::drain::{Drain, Phase};
use arc_swap::ArcSwap;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tower::Layer;
use tower::util::BoxCloneSyncService;

/// How long an idle client may stay once its connection is to end: time enough to send what it was about to.
const LAST_CALL: Duration = Duration::from_secs(1);

/// An entrypoint with its socket. It stops, at once, when dropped.
#[derive(Debug)]
pub(super) struct Entrypoint {
    pub(super) name: Arc<str>,
    pub(super) address: Address,
    pub(super) local: Bind,
    pub(super) drain: Arc<Drain>,
    table: Arc<ArcSwap<Table>>,
    handling: Arc<ArcSwap<Handling>>,
    stop: Arc<Notify>,
    accepting: Accepting,
}

/// How far the loop is that accepts.
#[derive(Debug)]
enum Accepting {
    /// Clients wait in the kernel's queue.
    NotYet(Listener),
    /// The sender is dropped when the loop has ended.
    Until(oneshot::Receiver<()>),
    Over,
}

/// Binds the socket of an entrypoint, and does not listen yet.
pub(super) fn bind(name: &str, address: &Address) -> Result<Listener> {
    let failed = |source| failed(name, address, source);
    let bind = match address {
        Address::Socket(address) => Bind::Tcp(*address),
        Address::Unix(path) => Bind::Unix(path.clone()),
        Address::Host { host, port } => {
            let mut found = (host.as_str(), *port).to_socket_addrs().map_err(failed)?;
            let none = || failed(std::io::ErrorKind::AddrNotAvailable.into());
            Bind::Tcp(found.next().ok_or_else(none)?)
        }
    };
    Listener::bind(&bind).map_err(failed)
}

/// Listens on what was bound.
pub(super) fn listen(name: &str, address: &Address, listener: &Listener) -> Result<()> {
    let failed = |source| failed(name, address, source);
    listener.listen().map_err(failed)
}

fn failed(name: &str, address: &Address, source: std::io::Error) -> Error {
    Error::Bind {
        entrypoint: name.to_owned(),
        address: address.clone(),
        source,
    }
}

impl Entrypoint {
    /// An entrypoint that does not accept yet.
    pub(super) fn new(listener: Listener, compiled: CompiledEntrypoint) -> Self {
        let name = Arc::clone(&compiled.name);
        let address = compiled.address.clone();
        let (table, make) = parts(compiled);
        let table = Arc::new(ArcSwap::from_pointee(table));
        Self {
            name,
            address,
            local: listener.local().clone(),
            drain: Arc::default(),
            handling: Arc::new(ArcSwap::from_pointee(make(&table))),
            table,
            stop: Arc::default(),
            accepting: Accepting::NotYet(listener),
        }
    }

    /// Starts to accept, where it does not yet.
    pub(super) fn open(&mut self, workers: &Arc<Workers>) {
        let (running, until) = oneshot::channel();
        match std::mem::replace(&mut self.accepting, Accepting::Until(until)) {
            Accepting::NotYet(listener) => {
                let accept = listener::accept(
                    listener,
                    Arc::clone(&self.handling),
                    Arc::clone(workers),
                    Arc::clone(&self.drain),
                    Arc::clone(&self.stop),
                );
                workers.spawn(async move {
                    accept.await;
                    drop(running);
                });
                tracing::info!(entrypoint = %self.name, address = %self.local, "listening");
            }
            before => self.accepting = before,
        }
    }

    /// Goes on as `compiled`, with the same socket. Returns the table that served until now.
    pub(super) fn become_(&mut self, compiled: CompiledEntrypoint) -> Arc<Table> {
        let (table, make) = parts(compiled);
        self.handling.store(Arc::new(make(&self.table)));
        // Those who wait for a place may find that there are more.
        self.drain.ask_again();
        self.table.swap(Arc::new(table))
    }

    /// Listens no more, and lets its connections end within `timeout`. Those that the kernel has already taken
    /// are among them.
    pub(super) async fn retire(mut self, timeout: Duration) {
        self.stop.notify_one();
        // Clients are told once the socket is closed: who comes back must not come back to it.
        if let Accepting::Until(ended) = std::mem::replace(&mut self.accepting, Accepting::Over) {
            // Its error is the end that is waited for.
            let _ = ended.await;
        }
        self.drain.advance(Phase::Closing);
        let last_call = LAST_CALL.min(timeout);
        let ended = tokio::time::timeout(last_call, self.drain.wait_empty());
        if ended.await.is_err() {
            self.drain.advance(Phase::ClosingIdle);
            let ended = tokio::time::timeout(timeout - last_call, self.drain.wait_empty());
            if ended.await.is_err() {
                let open = self.drain.open();
                tracing::warn!(entrypoint = %self.name, open, "connections are cut off");
            }
        }
        self.drain.advance(Phase::Over);
    }
}

impl Drop for Entrypoint {
    fn drop(&mut self) {
        self.stop.notify_one();
        self.drain.advance(Phase::Over);
    }
}

/// The table of an entrypoint, and the rest of it once the table has its place.
fn parts(compiled: CompiledEntrypoint) -> (Table, impl FnOnce(&Arc<ArcSwap<Table>>) -> Handling) {
    let CompiledEntrypoint {
        max_connections,
        admission,
        trusted_proxies,
        limits,
        rejects_encoded_slash,
        table,
        ..
    } = compiled;
    let make = move |table: &Arc<ArcSwap<Table>>| {
        let dispatcher = RequestDispatcher::new(Arc::clone(table))
            .rejecting_encoded_slash(rejects_encoded_slash);
        let server = BoxCloneSyncService::new(HttpServer::new(limits, dispatcher));
        let admission = admission.iter().rev();
        Handling {
            service: admission.fold(server, |service, layer| layer.layer(service)),
            max_connections,
            past_max: PastMax::Waits,
            trusted_proxies,
        }
    };
    (table, make)
}
