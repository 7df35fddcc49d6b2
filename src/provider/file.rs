//! The file provider: loads the configuration again when its files change.

use super::Fragment;
use super::watch::Watch;
use crate::config::{Loaded, Source, blocking, digest_now, load};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

/// How long nothing may have happened before the files are read.
const SETTLE: Duration = Duration::from_millis(100);
/// How long at most is waited for that.
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);
/// How often the files are compared where no event came: some file systems have none.
const POLL: Duration = Duration::from_secs(5);

/// Reads the configuration again at once, whether or not it changed: what SIGHUP does.
#[derive(Debug, Clone, Default)]
pub struct Reload(Arc<Notify>);

impl Reload {
    /// Asks for it. Several requests before it happens are one.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

/// Watches the files of a configuration.
#[derive(Debug)]
pub struct FileProvider {
    source: Source,
    reload: Reload,
    loaded: Option<Loaded>,
}

impl FileProvider {
    /// A provider whose first fragment is the configuration as it is.
    pub fn new(source: Source) -> FileProvider {
        FileProvider {
            source,
            reload: Reload::default(),
            loaded: None,
        }
    }

    /// A provider that sends nothing until something differs from `loaded`.
    pub fn after(source: Source, loaded: Loaded) -> FileProvider {
        FileProvider {
            loaded: Some(loaded),
            ..FileProvider::new(source)
        }
    }

    /// The trigger for SIGHUP.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Sends a fragment after each change, until nobody listens any more. `providers.file.watch = false` leaves only
    /// [`Reload`]; a configuration with errors leaves it as it was, and is read a second time if it goes on changing.
    pub async fn run(self, out: mpsc::Sender<Fragment>) {
        let FileProvider {
            source,
            reload,
            loaded,
        } = self;
        let fragment = |loaded: &Loaded| Fragment {
            provider: "file",
            loaded: loaded.clone(),
        };
        let mut watching = Watching::default();
        let mut loaded = match loaded {
            Some(loaded) => loaded,
            None => {
                let loaded = watching.read(&source).await;
                if out.send(fragment(&loaded)).await.is_err() {
                    return;
                }
                loaded
            }
        };
        loop {
            watching.follow(&loaded);
            // It was sent, and is large: what is needed of it from here on are its files.
            loaded.config = None;
            let forced = tokio::select! {
                () = reload.0.notified() => true,
                () = watching.changed(&loaded) => false,
                () = out.closed() => return,
            };
            let next = watching.read(&source).await;
            if !forced && next.digest == loaded.digest {
                continue;
            }
            loaded = next;
            if out.send(fragment(&loaded)).await.is_err() {
                return;
            }
        }
    }
}

async fn read(source: &Source) -> Loaded {
    let source = source.clone();
    blocking(move || load(&source)).await
}

/// Whether files are watched, and how.
struct Watching {
    on: bool,
    watch: Option<Watch>,
}

impl Default for Watching {
    fn default() -> Watching {
        Watching {
            on: true,
            watch: None,
        }
    }
}

impl Watching {
    fn follow(&mut self, loaded: &Loaded) {
        if let Some(config) = &loaded.config {
            self.on = config.providers.file.watch;
        }
        if !self.on {
            // Its threads end with it.
            self.watch = None;
            return;
        }
        if self.watch.is_none() {
            self.watch = Watch::new()
                .inspect_err(|error| tracing::warn!(%error, "files are not watched, only polled"))
                .ok();
        }
        if let Some(watch) = &mut self.watch {
            watch.follow(loaded);
        }
    }

    /// Reads; a second time where there are errors and it has changed meanwhile.
    async fn read(&mut self, source: &Source) -> Loaded {
        let loaded = read(source).await;
        if loaded.config.is_some() {
            return loaded;
        }
        // Somebody may be about to write the rest of it.
        self.settle().await;
        match digest(&loaded).await == loaded.digest {
            true => loaded,
            false => read(source).await,
        }
    }

    /// Waits until the files differ from what was loaded, and hold still.
    async fn changed(&mut self, loaded: &Loaded) {
        if !self.on {
            std::future::pending::<()>().await;
        }
        // The first tick is at once: something may have changed between the reading and the watching.
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = happened(&mut self.watch) => self.settle().await,
                _ = poll.tick() => {}
            }
            if digest(loaded).await != loaded.digest {
                self.settle().await;
                return;
            }
        }
    }

    async fn settle(&mut self) {
        let end = Instant::now() + SETTLE_AT_MOST;
        loop {
            let quiet = (Instant::now() + SETTLE).min(end);
            if quiet == end {
                sleep_until(end).await;
                return;
            }
            if timeout_at(quiet, happened(&mut self.watch)).await.is_err() {
                return;
            }
        }
    }
}

async fn happened(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn digest(loaded: &Loaded) -> u64 {
    let (files, directories): (Vec<PathBuf>, Vec<PathBuf>) =
        (loaded.files.clone(), loaded.directories.clone());
    blocking(move || digest_now(&files, &directories)).await
}

#[cfg(test)]
mod tests;
