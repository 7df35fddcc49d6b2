//! Running a gateway until it is told to end.

use super::log::Log;
use super::validate::read;
use super::{Exit, complain};
use a3s_gateway::config::{GatewayConfig, Source};
use a3s_gateway::{Error, Gateway, Result};
use std::pin::pin;

pub(super) fn serve(source: &Source, log: Log) -> Exit {
    let loaded = match read(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    loaded.diagnostics.print();
    match loaded.config {
        Some(config) => run(config, log, || ()),
        None => Exit::Failed,
    }
}

/// Runs `config` on the runtime of the control plane; requests have their own threads.
pub(super) fn run(config: GatewayConfig, mut log: Log, ready: impl FnOnce()) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Failed;
        }
    };
    let last = log.last();
    let result = runtime.block_on(start_to_end(config, log, ready));
    // A file that is being read must not hold up the end.
    runtime.shutdown_background();
    drop(last);
    match result {
        Ok(()) => Exit::Done,
        // With the lines of the file that they are about, as `validate` prints them.
        Err(Error::Config(refused)) => {
            refused.diagnostics().print();
            Exit::Failed
        }
        Err(error) => {
            complain(&error);
            Exit::Failed
        }
    }
}

async fn start_to_end(config: GatewayConfig, log: Log, ready: impl FnOnce()) -> Result<()> {
    log.heed(&config.log);
    let gateway = Gateway::new(config)?;
    tokio::spawn(log.follow(gateway.watch_config()));
    let mut ended = pin!(gateway.wait_for_shutdown());
    // Signals are heard first: whoever sees that it listens may send one at once.
    tokio::select! {
        biased;
        () = &mut ended => return Ok(()),
        started = gateway.start() => started?,
    }
    ready();
    ended.await;
    Ok(())
}
