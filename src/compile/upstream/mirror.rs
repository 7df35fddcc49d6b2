//! `mirror { }`: copies for another service.

use super::{Services, Stack};
use crate::compile::CompileError;
use crate::config::MirrorConfig;
use a3s_layers::mirror::{MirrorCounts, MirrorLayer};
use std::sync::Arc;
use tower::Layer;
use tower::util::BoxCloneSyncService;

/// Puts the mirror around a service. What was counted `before` is counted on.
pub(super) fn around(
    name: &str,
    stack: Stack,
    config: &MirrorConfig,
    others: &Services,
    before: Option<Arc<MirrorCounts>>,
) -> Result<(Stack, Arc<MirrorCounts>), CompileError> {
    let shadow = others.get(&*config.service).map(|other| &other.stack);
    let (Stack::Http(service), Some(Stack::Http(shadow))) = (stack, shadow) else {
        let other = &config.service;
        let text = format!("service `{name}`: it and `{other}` must be of HTTP");
        return Err(CompileError::Invalid(text));
    };
    let layer = MirrorLayer::new(shadow.clone())
        .percentage(config.percentage)
        .max_body(config.max_body)
        .max_in_flight(config.max_in_flight as usize)
        .timeout(config.timeout)
        .omit(config.omit_headers.iter().cloned())
        .continuing(before.unwrap_or_default());
    let counts = Arc::clone(layer.counts());
    let stack = BoxCloneSyncService::new(layer.layer(service));
    Ok((Stack::Http(stack), counts))
}
