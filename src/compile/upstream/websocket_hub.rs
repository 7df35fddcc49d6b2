//! `websocket_hub { }`: channels that WebSockets share.

use crate::config::WebsocketHubConfig;
use crate::stack::{Request, UpstreamService};
use crate::upstream::hub::{Hub, HubLimits};
use a3s_layers::journal::Journal;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, service_fn};

/// The hub of a service, and the limits that it is to have once the configuration takes effect. The one that was there
/// `before` goes on, with everybody in it.
pub(super) fn hub(config: &WebsocketHubConfig, before: Option<&Arc<Hub>>) -> (Arc<Hub>, HubLimits) {
    let limits = HubLimits {
        max_channels: config.max_channels as usize,
        channel_buffer: config.channel_buffer as usize,
        max_message: config.max_message,
        max_connections: config.max_connections as usize,
        max_buffered: config.max_buffered,
    };
    let before = before.map(Arc::clone);
    (before.unwrap_or_else(|| Arc::new(Hub::new(limits))), limits)
}

pub(super) fn stack(hub: &Arc<Hub>) -> UpstreamService {
    let hub = Arc::clone(hub);
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        if let Some(journal) = Journal::rehearsed(&request) {
            journal.would("makes the client a member of its channels, if it asks for a WebSocket");
        }
        std::future::ready(Ok::<_, BoxError>(hub.answer(&request)))
    }))
}
