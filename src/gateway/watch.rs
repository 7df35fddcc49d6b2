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
    let mut is_first = true;
    while let Some(Fragment { loaded, .. }) = fragments.recv().await {
        let running = Arc::clone(&shared.live.snapshot().config);
        // With their places, which are not known of a configuration that is handed over.
        let warnings = || loaded.diagnostics.warnings().cloned().collect();
        let is_running = loaded.config.as_ref() == Some(&*running);
        if is_running {
            shared.live.warn_with_places(warnings());
        }
        // The files as they were at the start, or a moment later: nobody asked for what changed in that moment.
        if std::mem::take(&mut is_first) && !running.providers.file.watch {
            continue;
        }
        // Those of the configuration that runs have been told.
        for warning in loaded.diagnostics.warnings().filter(|_| !is_running) {
            tracing::warn!("{warning}");
        }
        match loaded.config {
            Some(_) if is_running => {
                // It may be the way back from one that was refused.
                if shared.live.last_reload().is_some_and(|last| !last.success) {
                    tracing::info!("the configuration is again the one that runs");
                    shared.live.reloaded(Vec::new());
                }
            }
            // How it went is noted and logged there.
            Some(config) => {
                let warnings = warnings();
                if shared.reload(config).await.is_ok() {
                    shared.live.warn_with_places(warnings);
                }
            }
            None => shared.refuse(&ConfigError::from(loaded.diagnostics).into()),
        }
    }
}
