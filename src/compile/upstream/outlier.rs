//! Passive health of a pool, once it is in effect.

use crate::config::OutlierConfig;
use crate::upstream::Server;
use a3s_layers::outlier::{Outlier, OutlierSettings};
use std::sync::Arc;

/// The detector of a pool, and what it is to do. The pools of one service after the other have the same, as long as
/// one of the servers stays: what is ejected is counted over all of them.
#[derive(Debug)]
pub(super) struct Watch {
    outlier: Arc<Outlier>,
    settings: OutlierSettings,
}

impl Watch {
    /// For a pool that begins with these servers, which the log calls `name`.
    pub(super) fn new(name: &str, config: &OutlierConfig, servers: &[Server]) -> Self {
        let known = Outlier::of(servers.iter().map(|server| &server.endpoint));
        Self {
            outlier: known.unwrap_or_else(|| Outlier::new(name)),
            settings: OutlierSettings {
                consecutive_errors: config.consecutive_errors,
                window: config.window,
                ejection: config.ejection,
                max_ejection: config.max_ejection,
                max_ejected_percent: config.max_ejected_percent,
            },
        }
    }

    /// These servers, and no others, are the pool from now on.
    pub(super) fn servers(&self, servers: &[Server]) {
        let member = |server: &Server| (Arc::clone(&server.endpoint), u32::from(server.weight));
        let members = servers.iter().map(member);
        self.outlier.watch(self.settings.clone(), members);
    }
}
