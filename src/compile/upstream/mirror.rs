//! `mirror { }`: copies for another service.

use super::{Services, Stack};
use crate::config::MirrorConfig;
use crate::stack::UpstreamService;
use a3s_layers::mirror::{MirrorCounts, MirrorLayer};
use std::sync::Arc;
use tower::Layer;
use tower::util::BoxCloneSyncService;

/// Puts the mirror around a service. What was counted `before` is counted on. None where there is no such service.
pub(super) fn around(
    service: UpstreamService,
    config: &MirrorConfig,
    others: &Services,
    before: Option<Arc<MirrorCounts>>,
) -> Option<(UpstreamService, Arc<MirrorCounts>)> {
    let Stack::Http(shadow) = &others.get(&*config.service)?.stack else {
        return None;
    };
    let layer = MirrorLayer::new(shadow.clone())
        .percentage(config.percentage)
        .max_body(config.max_body)
        .max_in_flight(config.max_in_flight as usize)
        .timeout(config.timeout)
        .omit(config.omit_headers.iter().cloned())
        .continuing(before.unwrap_or_default());
    let counts = Arc::clone(layer.counts());
    Some((BoxCloneSyncService::new(layer.layer(service)), counts))
}
