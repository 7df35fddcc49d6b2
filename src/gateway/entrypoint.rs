//! A listener that runs.

use super::datagrams::Datagrams;
use crate::compile::{CompiledEntrypoint, Serves};
use crate::config::{Address, Protocol};
use crate::dispatch::RequestDispatcher;
use crate::dispatch::table::Table;
use crate::error::{Error, Result};
use crate::serve::http_server::HttpServer;
use crate::serve::listener::{self, Bind, Handling, Listener, PastMax};
use crate::serve::udp::UdpListener;
use crate::serve::worker::Workers;
use crate::stack::Doorkeeper;
use crate::stack::drain::{Drain, Phase};
use crate::stack::udp::Traffic;
use crate::telemetry::SignalsLayer;
use arc_swap::ArcSwap;
use axum::body::Body;
use std::any::Any;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceBuilder};

/// How long an idle client may stay once its connection is to end: time enough to send what it was about to.
const LAST_CALL: Duration = Duration::from_secs(1);

/// An entrypoint with its socket. It stops, at once, when dropped.
#[derive(Debug)]
pub(super) struct Entrypoint {
    pub(super) name: Arc<str>,
    pub(super) address: Address,
    pub(super) protocol: Protocol,
    pub(super) local: Bind,
    pub(super) drain: Arc<Drain>,
    takes: Takes,
}

#[derive(Debug)]
enum Takes {
    Connections(Connections),
    Datagrams(Datagrams),
}

/// A socket that is bound, and has no clients yet.
#[derive(Debug)]
pub(super) enum Bound {
    Connections(Listener),
    Datagrams(UdpListener),
}

/// What takes connections.
#[derive(Debug)]
struct Connections {
    /// The routes of requests, to be swapped while connections look into them.
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

/// Binds the socket of an entrypoint, and does not listen yet. Datagrams have one for each of the workers.
pub(super) fn bind(
    name: &str,
    address: &Address,
    protocol: Protocol,
    workers: usize,
) -> Result<Bound> {
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
    let bound = match (protocol, bind) {
        (Protocol::Udp, Bind::Tcp(address)) => {
            UdpListener::bind(address, workers).map(Bound::Datagrams)
        }
        (_, bind) => Listener::bind(&bind).map(Bound::Connections),
    };
    bound.map_err(failed)
}

/// Listens on what was bound. Datagrams come without that.
pub(super) fn listen(name: &str, address: &Address, bound: &Bound) -> Result<()> {
    let failed = |source| failed(name, address, source);
    match bound {
        Bound::Connections(listener) => listener.listen().map_err(failed),
        Bound::Datagrams(_) => Ok(()),
    }
}

fn failed(name: &str, address: &Address, source: std::io::Error) -> Error {
    Error::Bind {
        entrypoint: name.to_owned(),
        address: address.clone(),
        source,
    }
}

impl Entrypoint {
    /// An entrypoint that takes nothing yet.
    pub(super) fn new(bound: Bound, compiled: CompiledEntrypoint) -> Self {
        let name = Arc::clone(&compiled.name);
        let address = compiled.address.clone();
        let protocol = compiled.protocol;
        let drain = Arc::default();
        let local = match &bound {
            Bound::Connections(listener) => listener.local().clone(),
            Bound::Datagrams(listener) => Bind::Udp(listener.local()),
        };
        Self {
            takes: match bound {
                Bound::Connections(listener) => {
                    Takes::Connections(Connections::new(listener, compiled, &drain))
                }
                Bound::Datagrams(listener) => {
                    Takes::Datagrams(Datagrams::new(listener, compiled, &drain))
                }
            },
            name,
            address,
            protocol,
            local,
            drain,
        }
    }

    /// Starts to take what comes, where it does not yet.
    pub(super) fn open(&mut self, workers: &Arc<Workers>) {
        let has_opened = match &mut self.takes {
            Takes::Connections(connections) => connections.open(workers),
            Takes::Datagrams(datagrams) => datagrams.open(workers),
        };
        if has_opened {
            tracing::info!(entrypoint = %self.name, address = %self.local, "listening");
        }
    }

    /// Goes over to `protocol`, if it is another one. The connections that spoke the one until now are parted with:
    /// they are to end, once new ones speak the other.
    pub(super) fn go_over(&mut self, protocol: Protocol) -> Option<Arc<Drain>> {
        let until_now = std::mem::replace(&mut self.protocol, protocol);
        (until_now != protocol).then(|| std::mem::take(&mut self.drain))
    }

    /// Goes on as `compiled`, with the same socket. Returns what served until now.
    pub(super) fn become_(&mut self, compiled: CompiledEntrypoint) -> [Replaced; 2] {
        let protocol = self.protocol;
        match &mut self.takes {
            Takes::Connections(connections) => connections.become_(compiled, protocol, &self.drain),
            Takes::Datagrams(datagrams) => datagrams.become_(compiled, &self.drain),
        }
    }

    /// What went through, where that is datagrams.
    pub(super) fn traffic(&self) -> Option<&Arc<Traffic>> {
        match &self.takes {
            Takes::Connections(_) => None,
            Takes::Datagrams(datagrams) => Some(datagrams.traffic()),
        }
    }

    /// Takes nothing new any more, and lets what there is end within `timeout`. Connections that the kernel has already
    /// taken are among that.
    pub(super) async fn retire(mut self, timeout: Duration) {
        match &mut self.takes {
            // Clients are told once the socket is closed: who comes back must not come back to it.
            Takes::Connections(connections) => connections.stop().await,
            // The answers come from that socket.
            Takes::Datagrams(datagrams) => datagrams.stop(),
        }
        end(&self.name, &self.drain, timeout).await;
        if let Takes::Datagrams(datagrams) = &mut self.takes {
            datagrams.ended().await;
        }
    }
}

impl Connections {
    fn new(listener: Listener, compiled: CompiledEntrypoint, drain: &Arc<Drain>) -> Self {
        let table = Arc::new(ArcSwap::default());
        let (handling, routes) = handling(compiled, &table, drain);
        table.store(routes);
        Self {
            handling: Arc::new(ArcSwap::from_pointee(handling)),
            table,
            stop: Arc::default(),
            accepting: Accepting::NotYet(listener),
        }
    }

    /// Starts to accept; false where it does already.
    fn open(&mut self, workers: &Arc<Workers>) -> bool {
        let (running, until) = oneshot::channel();
        match std::mem::replace(&mut self.accepting, Accepting::Until(until)) {
            Accepting::NotYet(listener) => {
                let accept = listener::accept(
                    listener,
                    Arc::clone(&self.handling),
                    Arc::clone(workers),
                    Arc::clone(&self.stop),
                );
                workers.spawn(async move {
                    accept.await;
                    drop(running);
                });
                true
            }
            before => {
                self.accepting = before;
                false
            }
        }
    }

    /// Returns what served until now.
    fn become_(
        &mut self,
        compiled: CompiledEntrypoint,
        protocol: Protocol,
        drain: &Arc<Drain>,
    ) -> [Replaced; 2] {
        let (handling, routes) = handling(compiled, &self.table, drain);
        let handling = self.handling.swap(Arc::new(handling));
        // Those who wait for a place may find that there are more.
        drain.ask_again();
        // An entrypoint that goes over to TCP has connections of HTTP until those have ended, by the routes of then.
        match protocol {
            Protocol::Http => [handling, self.table.swap(routes)],
            _ => [handling, Arc::new(())],
        }
    }

    /// Accepts no more, once this is over.
    async fn stop(&mut self) {
        self.stop.notify_one();
        if let Accepting::Until(ended) = std::mem::replace(&mut self.accepting, Accepting::Over) {
            // Its error is the end that is waited for.
            let _ = ended.await;
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// Lets connections end within `timeout`.
pub(super) async fn end(entrypoint: &str, drain: &Drain, timeout: Duration) {
    // Whoever waits for a place among them need not.
    drain.ask_again();
    drain.advance(Phase::Closing);
    let last_call = LAST_CALL.min(timeout);
    let ended = tokio::time::timeout(last_call, drain.wait_empty());
    if ended.await.is_err() {
        drain.advance(Phase::ClosingIdle);
        let ended = tokio::time::timeout(timeout - last_call, drain.wait_empty());
        if ended.await.is_err() {
            let open = drain.open();
            tracing::warn!(%entrypoint, open, "connections are cut off");
        }
    }
    drain.advance(Phase::Over);
    // What is cut off has an end to be told.
    let _ = tokio::time::timeout(LAST_CALL, drain.wait_empty()).await;
}

impl Drop for Entrypoint {
    fn drop(&mut self) {
        self.drain.advance(Phase::Over);
    }
}

/// A table, or more, that served until now.
pub(super) type Replaced = Arc<dyn Any + Send + Sync>;

/// What is done with connections, and the routes of requests that are to stand in `table` then. Those of connections
/// are a part of what is done with them.
fn handling(
    compiled: CompiledEntrypoint,
    table: &Arc<ArcSwap<Table>>,
    drain: &Arc<Drain>,
) -> (Handling, Arc<Table>) {
    let (service, past_max, routes) = match compiled.serves {
        Serves::Http {
            limits,
            rejects_encoded_slash,
            table: routes,
            tls,
            first,
        } => {
            let dispatcher = RequestDispatcher::new(Arc::clone(table))
                .rejecting_encoded_slash(rejects_encoded_slash);
            let server = match compiled.signals {
                Some(signals) => {
                    let doorkeeper: Arc<dyn Doorkeeper> = signals.clone();
                    let signals = SignalsLayer::new(signals);
                    let service = ServiceBuilder::new()
                        .map_response(|response: http::Response<_>| response.map(Body::new))
                        .layer(signals)
                        .service(dispatcher);
                    BoxCloneSyncService::new(HttpServer::new(limits, service, Some(doorkeeper)))
                }
                None => BoxCloneSyncService::new(HttpServer::new(limits, dispatcher, None)),
            };
            let server = tls.iter().fold(server, |server, tls| tls.layer(server));
            let service = match first {
                Some(connections) => connections.service(Some(server)),
                None => server,
            };
            (service, PastMax::Waits, routes)
        }
        // Its address is another one, though it may read the same.
        Serves::Udp { .. } => unreachable!("datagrams have sockets of their own"),
        Serves::Tcp(connections) => (connections.service(None), PastMax::Reset, Arc::default()),
    };
    let admission = compiled.admission.iter().rev();
    let handling = Handling {
        service: admission.fold(service, |service, layer| layer.layer(service)),
        drain: Arc::clone(drain),
        max_connections: compiled.max_connections,
        past_max,
        trusted_proxies: compiled.trusted_proxies,
    };
    (handling, routes)
}
