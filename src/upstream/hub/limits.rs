//! What bounds a hub.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The limits of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubLimits {
    /// Channels that one connection may have subscribed to.
    pub max_channels: usize,
    /// Messages of a channel that may wait for a subscriber that does not take them; past it, that one is dropped from
    /// the channel.
    pub channel_buffer: usize,
    /// Bytes of a message, with the name of its channel; past it, the connection is closed.
    pub max_message: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// Bytes of the messages that may wait in the whole hub. Past it, whoever has more than an equal share of it
    /// waiting is dropped from the channel that has another message for it.
    pub max_buffered: usize,
}

/// What a message costs beside its bytes.
const OVERHEAD: usize = 128;

/// The bytes of a message, counted for as long as it waits for anybody.
pub(super) struct Held {
    frame: Box<str>,
    waiting: Arc<AtomicUsize>,
}

impl Held {
    /// A copy of `frame`: what was read is part of a larger buffer, which would be kept with it.
    pub(super) fn hold(frame: &str, waiting: &Arc<AtomicUsize>) -> Option<Utf8Bytes> {
        waiting.fetch_add(frame.len() + OVERHEAD, Ordering::Relaxed);
        let held = Self {
            frame: frame.into(),
            waiting: Arc::clone(waiting),
        };
        // It was text, and is.
        Bytes::from_owner(held).try_into().ok()
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.frame.as_bytes()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let cost = self.frame.len() + OVERHEAD;
        self.waiting.fetch_sub(cost, Ordering::Relaxed);
    }
}
