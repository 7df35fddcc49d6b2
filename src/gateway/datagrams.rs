//! What takes the datagrams of an entrypoint.

use super::entrypoint::Replaced;
use crate::compile::{CompiledEntrypoint, Serves};
use crate::serve::udp::{self, UdpHandling, UdpListener};
use crate::serve::worker::Workers;
use crate::stack::drain::Drain;
use crate::stack::udp::Traffic;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// A socket on each worker.
#[derive(Debug)]
pub(super) struct Datagrams {
    handling: Arc<ArcSwap<UdpHandling>>,
    traffic: Arc<Traffic>,
    /// Bound, and not read from yet.
    listener: Option<UdpListener>,
    /// To drop it is the word to stop.
    stop: Option<watch::Sender<()>>,
    /// Each socket that is read from has the other end.
    running: Option<mpsc::Receiver<()>>,
}

impl Datagrams {
    pub(super) fn new(
        listener: UdpListener,
        compiled: CompiledEntrypoint,
        drain: &Arc<Drain>,
    ) -> Self {
        Self {
            handling: Arc::new(ArcSwap::from_pointee(handling(compiled, drain))),
            traffic: Arc::new(Traffic::new(listener.count())),
            listener: Some(listener),
            stop: None,
            running: None,
        }
    }

    /// Starts to receive; false where it does already.
    pub(super) fn open(&mut self, workers: &Workers) -> bool {
        let Some(listener) = self.listener.take() else {
            return false;
        };
        let (stop, stopped) = watch::channel(());
        let (running, until) = mpsc::channel(1);
        let sockets = listener.into_sockets().into_iter();
        for (index, (socket, traffic)) in sockets.zip(self.traffic.workers()).enumerate() {
            let (handling, traffic) = (Arc::clone(&self.handling), Arc::clone(traffic));
            let (stopped, running) = (stopped.clone(), running.clone());
            workers.spawn_at(index, async move {
                udp::receive(socket, handling, traffic, stopped).await;
                drop(running);
            });
        }
        (self.stop, self.running) = (Some(stop), Some(until));
        true
    }

    /// Returns what served until now.
    pub(super) fn become_(
        &mut self,
        compiled: CompiledEntrypoint,
        drain: &Arc<Drain>,
    ) -> [Replaced; 2] {
        let before = self.handling.swap(Arc::new(handling(compiled, drain)));
        [before, Arc::new(())]
    }

    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Begins no session any more. Those that there are go on.
    pub(super) fn stop(&mut self) {
        (self.listener, self.stop) = (None, None);
    }

    /// Waits until the sockets are closed, which they are once the last session has ended.
    pub(super) async fn ended(&mut self) {
        if let Some(running) = &mut self.running {
            // Nothing is ever sent: the senders go.
            let _ = running.recv().await;
        }
    }
}

fn handling(compiled: CompiledEntrypoint, drain: &Arc<Drain>) -> UdpHandling {
    let Serves::Udp {
        service,
        belongs,
        session_timeout,
        max_sessions,
        ..
    } = compiled.serves
    else {
        unreachable!("connections have sockets of their own");
    };
    UdpHandling {
        service,
        belongs,
        drain: Arc::clone(drain),
        session_timeout,
        max_sessions,
    }
}
