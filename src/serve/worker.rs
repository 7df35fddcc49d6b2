//! The threads of the data plane: one for each core, each with a runtime of its own.
//!
//! A connection lives and dies on its worker, and so do the upstream connections that serve it. Nothing on
//! a request's path crosses threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// All workers. They end when this is dropped.
#[derive(Debug)]
pub struct Workers {
    workers: Box<[Worker]>,
    next: AtomicUsize,
    /// Dropping it is the word to stop.
    _running: watch::Sender<()>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    _thread: JoinHandle<()>,
}

/// How many workers suit this machine: the cores that this process may use.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Workers {
    /// Starts `count` workers. Each runs `prepare` with its number first, inside its runtime.
    pub fn start(
        count: usize,
        prepare: impl Fn(usize) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (running, _) = watch::channel(());
        let workers = (0..count.max(1))
            .map(|index| Worker::start(index, prepare.clone(), running.subscribe()))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            workers,
            next: AtomicUsize::new(0),
            _running: running,
        })
    }

    /// Runs a task on one of the workers, each in turn.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        self.workers[index].runtime.spawn(task);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Runs a task on one of them, by its number.
    pub fn spawn_at(&self, index: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.workers[index % self.workers.len()].runtime.spawn(task);
    }

    /// Runs a connection on the worker that has the fewest.
    pub fn spawn_connection(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self
            .workers
            .iter()
            .min_by_key(|worker| worker.connections.load(Ordering::Relaxed))
        else {
            return;
        };
        let load = Load::take(&worker.connections);
        worker.runtime.spawn(async move {
            let _load = load;
            task.await;
        });
    }
}

impl Worker {
    fn start(
        index: usize,
        prepare: impl Fn(usize) + Send + 'static,
        mut running: watch::Receiver<()>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                runtime.block_on(async {
                    prepare(index);
                    // An error is what there is to wait for: the sender is gone.
                    while running.changed().await.is_ok() {}
                });
            })?;
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            _thread: thread,
        })
    }
}

/// One connection on a worker's count.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
