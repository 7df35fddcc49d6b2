//! Running a gateway until it is told to end.

use super::Exit;
use super::validate::read;
use a3s_gateway::Gateway;
use a3s_gateway::config::{GatewayConfig, Source};
use std::pin::pin;

pub(super) fn serve(source: &Source) -> Exit {
    let loaded = match read(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    loaded.diagnostics.print();
    match loaded.config {
        Some(config) => run(config, |_| ()),
        None => Exit::Failed,
    }
}

/// Runs `config` on the runtime of the control plane; requests have their own threads.
pub(super) fn run(config: GatewayConfig, ready: impl FnOnce(&Gateway)) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed;
        }
    };
    let result = runtime.block_on(async {
        let gateway = Gateway::new(config)?;
        // Signals are heard from the beginning: one that comes early must neither be missed nor kill.
        let mut ended = pin!(gateway.wait_for_shutdown());
        tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            started = gateway.start() => started?,
        }
        ready(&gateway);
        ended.await;
        Ok::<_, a3s_gateway::Error>(())
    });
    // A file that is being read must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("error: {error}");
            Exit::Failed
        }
    }
}
