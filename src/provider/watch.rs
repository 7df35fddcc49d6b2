//! Watches the directories that a configuration is read from.

use crate::config::Loaded;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Links of links are followed this far; the kernel gives up at 40.
const MAX_LINKS: usize = 40;

/// A watcher, and a signal that something happened.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
}

impl Watch {
    pub(super) fn new() -> notify::Result<Watch> {
        // One signal waiting is enough: what changed is found by reading.
        let (signal, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // To read a file is an event too: answering it with a read would never end.
            let read = event.is_ok_and(|event| match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
                EventKind::Access(_) => true,
                _ => false,
            });
            if !read {
                // Full is as good as sent.
                let _ = signal.try_send(());
            }
        })?;
        Ok(Watch {
            watcher,
            directories: BTreeSet::new(),
            events,
        })
    }

    /// Watches what `loaded` was read from, and nothing else. Each directory is watched anew, for it may be another one
    /// of the same name by now.
    pub(super) fn follow(&mut self, loaded: &Loaded) {
        for directory in std::mem::take(&mut self.directories) {
            // One that is gone has lost its watch already.
            let _ = self.watcher.unwatch(&directory);
        }
        for directory in directories(loaded) {
            match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory);
                }
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "not watched, only polled");
                }
            }
        }
    }

    /// Waits until something happens.
    pub(super) async fn changed(&mut self) {
        if self.events.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// The directories in which a change may change the configuration.
fn directories(loaded: &Loaded) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in loaded.files.iter().chain(&loaded.directories) {
        let mut path = path.clone();
        for _ in 0..MAX_LINKS {
            found.extend(existing_parent(&path));
            let Ok(target) = std::fs::read_link(&path) else {
                break;
            };
            path = path.parent().unwrap_or(Path::new("")).join(target);
        }
        // A link may also stand in the middle of the path.
        let real = std::fs::canonicalize(&path).ok();
        found.extend(real.as_deref().and_then(existing_parent));
    }
    for directory in &loaded.directories {
        found.extend(Some(directory.clone()).filter(|directory| directory.is_dir()));
    }
    found
}

/// The nearest directory above `path` that is there.
fn existing_parent(path: &Path) -> Option<PathBuf> {
    let parents = path
        .ancestors()
        .skip(1)
        .map(|parent| match parent.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => parent.to_owned(),
        });
    parents.into_iter().find(|parent| parent.is_dir())
}
