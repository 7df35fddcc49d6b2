//! Acting on what a provider finds.

use super::{Gateway, Shared};
use crate::config::{ConfigError, Source};
use crate::provider::{FileProvider, Fragment, Reload};
use std::sync::Arc;
use tokio::sync::mpsc;

impl Gateway {
    /// Follows the files of a configuration, until the gateway is shut down.
    pub(super) async fn watch(&self, source: Source) -> Reload {
        let provider = FileProvider::new(source);
        let reload = provider.reload();
        let (out, fragments) = mpsc::channel(1);
        let mut tasks = self.tasks.lock().await;
        tasks.spawn(provider.run(out));
        tasks.spawn(follow(Arc::clone(&self.shared), fragments));
        reload
    }
}

async fn follow(shared: Arc<Shared>, mut fragments: mpsc::Receiver<Fragment>) {
    while let Some(Fragment { loaded, .. }) = fragments.recv().await {
        for warning in loaded.diagnostics.warnings() {
            tracing::warn!("{warning}");
        }
        match loaded.config {
            Some(config) if config == *shared.live.snapshot().config => {
                // It may be the way back from one that was refused.
                if shared.live.last_reload().is_some_and(|last| !last.success) {
                    tracing::info!("the configuration is again the one that runs");
                    shared.live.reloaded(Vec::new());
                }
            }
            // How it went is noted and logged there.
            Some(config) => drop(shared.reload(config).await),
            None => shared.refuse(&ConfigError::from(loaded.diagnostics).into()),
        }
    }
}
