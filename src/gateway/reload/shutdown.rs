//! The end of what runs.

use crate::admin::State;
use crate::compile;
use crate::gateway::Shared;
use std::sync::Arc;
use std::time::Duration;

/// How much longer than the timeout of the shutdown those may take that a reload removed, under a longer one.
const GRACE: Duration = Duration::from_secs(1);

/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How long the collector may take for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// How long the admin API may take for its last answer.
const LAST_ANSWER: Duration = Duration::from_millis(100);

impl Shared {
    /// Listens no more, lets requests under way end, and tells the last of them.
    pub(in crate::gateway) async fn shutdown(&self) {
        let mut running = self.running.lock().await;
        let Some(stopping) = running.as_mut() else {
            return;
        };
        self.live.set_state(State::Draining);
        let timeout = stopping.shutdown_timeout;
        let (admin, serving): (Vec<_>, Vec<_>) = std::mem::take(&mut stopping.entrypoints)
            .into_iter()
            .partition(|entrypoint| &*entrypoint.name == compile::ADMIN_ENTRYPOINT);
        for entrypoint in serving {
            tracing::info!(entrypoint = %entrypoint.name, "draining");
            stopping.retiring.spawn(entrypoint.retire(timeout));
        }
        let retired = async { while stopping.retiring.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(timeout + GRACE, retired).await;
        // With the last request the last spans have been made.
        // Whoever holds its tracer keeps the exporter waiting for more; its last lines are waited for below.
        let before = self.signals.swap(Arc::default());
        let lines = before.access_log.as_ref().map(|log| Arc::clone(log.sink()));
        drop(before);
        stopping.tracing = compile::Tracing::default();
        let exported = async { while stopping.exporters.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_SPANS, exported).await.is_err() {
            stopping.exporters.shutdown().await;
        }
        // The last to go: whoever asks how it is gets an answer to the end.
        for entrypoint in admin {
            entrypoint.retire(LAST_ANSWER.min(timeout)).await;
        }
        *running = None;
        if let Some(lines) = lines {
            // A pipe that nobody reads must not hold up the end.
            let _ = tokio::time::timeout(LAST_LINES, lines.finish()).await;
        }
        self.live.set_state(State::Stopped);
        tracing::info!("stopped");
    }
}
