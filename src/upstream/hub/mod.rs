//! Channels over one WebSocket: whoever has a connection subscribes to channels by their names, and publishes to them.
//!
//! A publisher walks over the subscribers of a channel and puts its message into the outbox of each: one copy of the
//! bytes, shared by all. An outbox is locked for as long as it takes to put something in or take something out, never
//! while a client is written to, so that a client that does not read holds up nobody. What waits for it is bounded:
//! past that it is dropped from the channel, and is told when it reads on.
//!
//! A client that reads is not dropped because its connection has had no turn yet: who publishes a burst waits for that,
//! which takes as long as the gateway does, and not as long as the client.

mod channel;
mod command;
mod handshake;
mod limits;
mod outbox;
mod session;

#[cfg(test)]
mod tests;

pub use limits::HubLimits;

use arc_swap::ArcSwap;
use channel::{Channel, Channels};
use limits::Held;
use outbox::{Full, Outbox, Pushed};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Channels, and the connections that share them.
#[derive(Debug)]
pub struct Hub {
    limits: ArcSwap<HubLimits>,
    channels: Channels,
    /// Bytes of the messages that wait for somebody.
    waiting: Arc<AtomicUsize>,
    connections: AtomicUsize,
    subscriptions: AtomicUsize,
    published: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
}

/// What goes on in a [`Hub`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubCounts {
    /// Connections that are open.
    pub connections: usize,
    /// Channels that somebody has subscribed to.
    pub channels: usize,
    /// Subscriptions, each of a connection to a channel.
    pub subscriptions: usize,
    /// Bytes of the messages that wait for somebody.
    pub buffered_bytes: usize,
    /// Messages that were published so far.
    pub published: u64,
    /// Messages that were written to subscribers so far.
    pub delivered: u64,
    /// Subscriptions that ended because their client read too slowly.
    pub dropped: u64,
}

impl Hub {
    /// A hub with nobody in it.
    pub fn new(limits: HubLimits) -> Self {
        Self {
            limits: ArcSwap::from_pointee(limits),
            channels: Channels::default(),
            waiting: Arc::default(),
            connections: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Goes on within other limits. Nobody loses what they have; how long a message may be is settled when a
    /// connection is made.
    pub fn set_limits(&self, limits: HubLimits) {
        if **self.limits.load() != limits {
            self.limits.store(Arc::new(limits));
        }
    }

    /// What goes on.
    pub fn counts(&self) -> HubCounts {
        HubCounts {
            connections: self.connections.load(Ordering::Relaxed),
            channels: self.channels.count(),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            buffered_bytes: self.waiting.load(Ordering::Relaxed),
            published: self.published.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// A place for one more connection; none where it is full.
    fn enter(self: &Arc<Self>) -> Option<Member> {
        let max = self.limits.load().max_connections;
        let more = |open: usize| (open < max).then_some(open + 1);
        let order = Ordering::Relaxed;
        self.connections.fetch_update(order, order, more).ok()?;
        Some(Member {
            hub: Arc::clone(self),
            outbox: Arc::default(),
        })
    }

    /// Sends `frame` to whoever has subscribed to `channel`. Returns how many that are; those are added to `behind` that
    /// are to be waited for before more is published.
    fn publish(&self, channel: &str, frame: &str, behind: &mut Vec<Arc<Outbox>>) -> usize {
        self.published.fetch_add(1, Ordering::Relaxed);
        let Some(channel) = self.channels.find(channel) else {
            return 0;
        };
        let Some(message) = Held::hold(frame, &self.waiting) else {
            return 0;
        };
        let full = self.full();
        let mut dropped = Vec::new();
        let mut state = lock(&channel.state);
        let all = state.subscribers.len();
        for (key, subscriber) in &state.subscribers {
            match subscriber.outbox.push(subscriber.slot, &message, &full) {
                Pushed::Waits => {}
                Pushed::Behind => behind.push(Arc::clone(&subscriber.outbox)),
                Pushed::Dropped => dropped.push(key),
            }
        }
        for key in &dropped {
            state.subscribers.remove(*key);
        }
        let is_empty = state.subscribers.is_empty();
        drop(state);
        if !dropped.is_empty() {
            let count = dropped.len();
            self.subscriptions.fetch_sub(count, Ordering::Relaxed);
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            tracing::debug!(channel = %channel.name, count, "slow readers are dropped");
        }
        if is_empty {
            self.channels.forget(&channel);
        }
        all - dropped.len()
    }

    /// When a subscriber has too much waiting.
    fn full(&self) -> Full {
        let limits = self.limits.load();
        let connections = self.connections.load(Ordering::Relaxed).max(1);
        let is_short = self.waiting.load(Ordering::Relaxed) > limits.max_buffered;
        Full {
            messages: limits.channel_buffer,
            bytes: is_short.then_some(limits.max_buffered / connections),
        }
    }
}

/// A connection's part in a [`Hub`], which ends when it is dropped.
#[derive(Debug)]
struct Member {
    hub: Arc<Hub>,
    outbox: Arc<Outbox>,
}

/// The connection is subscribed to as many channels as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TooMany {
    max: usize,
}

impl Member {
    /// Subscribes to a channel. Whoever is subscribed already stays so.
    fn subscribe(&self, name: &str) -> Result<(), TooMany> {
        let max = self.hub.limits.load().max_channels;
        if !self.outbox.has_room(name, max) {
            return Err(TooMany { max });
        }
        if self.hub.channels.join(name, &self.outbox) {
            self.hub.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Is sent nothing of the channel any more, not even what waits.
    fn unsubscribe(&self, name: &str) {
        if let Some(channel) = self.outbox.channel(name) {
            self.leave(&channel);
            self.outbox.discard(name);
        }
    }

    /// Nothing comes any more beside what waits.
    fn end_subscriptions(&self) {
        for channel in self.outbox.channels() {
            self.leave(&channel);
        }
    }

    /// Gives up what waits, too.
    fn retire(&self) {
        self.end_subscriptions();
        self.outbox.clear();
    }

    fn leave(&self, channel: &Arc<Channel>) {
        let mut state = lock(&channel.state);
        // Under its lock: whoever publishes might end the subscription, and another have the key.
        let Some(key) = self.outbox.leave(&channel.name) else {
            return;
        };
        state.subscribers.remove(key);
        let is_empty = state.subscribers.is_empty();
        drop(state);
        self.hub.subscriptions.fetch_sub(1, Ordering::Relaxed);
        if is_empty {
            self.hub.channels.forget(channel);
        }
    }

    /// What is to be written next.
    fn next(&self) -> Option<Utf8Bytes> {
        let (next, is_message) = self.outbox.pop()?;
        if is_message {
            self.hub.delivered.fetch_add(1, Ordering::Relaxed);
        }
        Some(next)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.retire();
        self.hub.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
