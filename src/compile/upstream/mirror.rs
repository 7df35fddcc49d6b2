//! `mirror { }`: copies for another service.

use super::{Services, Stack};
use crate::compile::CompileError;
use crate::config::{GatewayConfig, MirrorConfig};
use a3s_layers::mirror::{MirrorCounts, MirrorLayer, UnmarkLayer};
use std::collections::HashSet;
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

/// The services that copies may come to: those of mirrors, and where their failovers lead.
pub(super) fn shadows(config: &GatewayConfig) -> HashSet<&str> {
    let mirrors = config
        .services
        .values()
        .filter_map(|each| each.mirror.as_ref());
    let mut open: Vec<&str> = mirrors.map(|mirror| &*mirror.service).collect();
    let mut found = HashSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name)
            && let Some(service) = config.services.get(name)
        {
            open.extend(service.failover.iter().map(|failover| &*failover.service));
        }
    }
    found
}

/// A service that believes the mark of a copy, because nobody else can set it.
pub(super) fn unmarked(stack: Stack) -> Stack {
    match stack {
        Stack::Http(service) => {
            Stack::Http(BoxCloneSyncService::new(UnmarkLayer::new().layer(service)))
        }
        other @ (Stack::Tcp(_) | Stack::Udp(_)) => other,
    }
}
