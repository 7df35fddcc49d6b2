//! `failover { }`: another service, where this one has nobody to answer, or answers badly.

use super::{Services, Stack};
use crate::compile::CompileError;
use crate::config::FailoverConfig;
use crate::upstream::tcp::DialFailover;
use crate::upstream::udp::UdpServers;
use a3s_layers::failover::{FailoverCourse, FailoverLayer};
use std::sync::Arc;
use tower::Layer;
use tower::util::BoxCloneSyncService;

pub(super) fn failover(
    name: &str,
    config: &FailoverConfig,
    primary: Stack,
    others: &Services,
    course: &Arc<FailoverCourse>,
) -> Result<Stack, CompileError> {
    let secondary = others.get(&*config.service).map(|other| &other.stack);
    let course = Arc::clone(course);
    Ok(match (primary, secondary) {
        (Stack::Http(primary), Some(Stack::Http(secondary))) => {
            let layer = FailoverLayer::new(secondary.clone())
                .name(name)
                .on_status(config.on_status.iter().map(|statuses| statuses.range()))
                .max_replay_bytes(config.max_replay_bytes)
                .continuing(course);
            Stack::Http(BoxCloneSyncService::new(layer.layer(primary)))
        }
        (Stack::Tcp(primary), Some(Stack::Tcp(secondary))) => {
            let dial = DialFailover::new(primary, secondary.clone(), name.into(), course);
            Stack::Tcp(BoxCloneSyncService::new(dial))
        }
        (Stack::Udp(primary), Some(Stack::Udp(secondary))) => {
            let dial = secondary.dial.clone();
            let dial = DialFailover::new(primary.dial, dial, name.into(), course);
            let mut clusters = primary.clusters;
            clusters.extend(secondary.clusters.iter().cloned());
            Stack::Udp(UdpServers {
                dial: BoxCloneSyncService::new(dial),
                clusters,
            })
        }
        _ => {
            let other = &config.service;
            let text = format!("service `{name}`: there is no `{other}` of its kind");
            return Err(CompileError::Invalid(text));
        }
    })
}
