//! `websocket_hub { }`.

use crate::config::schema;
use crate::config::values::size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Named channels over one WebSocket: clients subscribe to them, and publish to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebsocketHubConfig {
    /// Channels that a connection may be subscribed to at a time.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_channels: u32,
    /// Messages of a channel that may wait for a subscriber that does not take them; past it, that one is dropped from
    /// the channel, and told.
    #[schemars(range(min = 1, max = 65_536))]
    pub channel_buffer: u32,
    /// The longest message, with the name of its channel; past it, the connection is closed.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_message: usize,
    /// Connections at a time; one more is refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// Bytes of messages that may wait in all; past it, those are dropped from a channel who have more than an equal
    /// share of it waiting.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_buffered: usize,
}

impl Default for WebsocketHubConfig {
    fn default() -> WebsocketHubConfig {
        WebsocketHubConfig {
            max_channels: 64,
            channel_buffer: 256,
            max_message: 64 << 10,
            max_connections: 10_000,
            max_buffered: 64 << 20,
        }
    }
}
