//! Signals: an operator's words to the process.

use super::Gateway;
use tokio::signal::unix::{SignalKind, signal};

/// Acts on signals until the gateway has ended.
pub(super) async fn run(gateway: &Gateway) {
    let listen = || {
        Ok::<_, std::io::Error>((
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::user_defined1())?,
        ))
    };
    let (mut terminate, mut interrupt, mut hangup, mut rotated) = match listen() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot listen to signals");
            return std::future::pending().await;
        }
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: reading the configuration again");
                gateway.reread().await;
            }
            _ = rotated.recv() => gateway.reopen_access_log(),
        }
    }
    tracing::info!("shutting down; a second signal ends at once");
    tokio::select! {
        () = gateway.shutdown() => {}
        _ = terminate.recv() => tracing::warn!("ended by a second signal"),
        _ = interrupt.recv() => tracing::warn!("ended by a second signal"),
    }
}
