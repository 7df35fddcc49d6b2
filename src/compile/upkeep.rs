//! What is to be done beside requests: reading a file again, fetching keys, forgetting old clients.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use tokio::task::JoinSet;

/// It runs on the control plane's runtime, until what it is for is dropped.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that are not begun while the configuration is only a candidate, and end when this is dropped.
pub(super) struct Upkeep(Mutex<State>);

struct State {
    waiting: Vec<Task>,
    running: JoinSet<()>,
}

impl Upkeep {
    pub(super) fn new(tasks: Vec<Task>) -> Self {
        Self(Mutex::new(State {
            waiting: tasks,
            running: JoinSet::new(),
        }))
    }

    pub(super) fn start(&self) {
        let State { waiting, running } =
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for task in waiting.drain(..) {
            running.spawn(task);
        }
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}
