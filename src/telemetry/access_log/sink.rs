//! Lines on their way: each worker has a buffer of its own, and one thread writes them all.
//!
//! A request only appends to its worker's buffer. The first line in a while wakes the thread, which waits a moment for
//! more, takes the buffers away, and leaves empty ones; so however many lines there are, it is woken some 50 times a
//! second. Where it cannot write as fast as lines come, buffers grow to their bound, and then lines are dropped.

use super::output::{Output, Target};
use crate::stack::shard::Sharded;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;
use tokio::sync::watch;

/// What each worker's buffer holds at most, but for the last line.
const BOUND: usize = 4 << 20;

/// What is enough to be written at once.
const PLENTY: usize = BOUND / 4;

/// How long lines wait for more.
const LINGER: Duration = Duration::from_millis(20);

/// What an empty buffer may keep.
const KEPT: usize = 1 << 20;

/// What has become of lines. It outlives every configuration.
#[derive(Debug, Default)]
pub struct LogCounts {
    dropped: AtomicU64,
    write_errors: AtomicU64,
}

impl LogCounts {
    /// Lines that were not written: there were too many, or writing failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How often writing failed.
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }
}

/// Takes lines, and writes them to one [`Target`]. When it is dropped, what it has taken is written before its thread
/// ends.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    queue: Arc<Queue>,
    /// Ends with the thread.
    finished: OnceLock<watch::Receiver<()>>,
}

#[derive(Debug)]
struct Queue {
    buffers: Sharded<Buffer>,
    /// Whether the thread knows that there are lines.
    is_awake: AtomicBool,
    reopens: AtomicBool,
    ends: AtomicBool,
    /// Whether it was told that there is no room for lines.
    is_full: AtomicBool,
    thread: OnceLock<Thread>,
    counts: Arc<LogCounts>,
}

/// One worker's. Nobody else wants it but the thread, for as long as it takes to swap it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Buffer(Mutex<Vec<u8>>);

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// For this target. Nothing is opened before it is [started](Self::start).
    pub fn new(target: Target, counts: Arc<LogCounts>) -> Self {
        Self {
            target,
            queue: Arc::new(Queue {
                buffers: Sharded::new(),
                is_awake: AtomicBool::new(false),
                reopens: AtomicBool::new(false),
                ends: AtomicBool::new(false),
                is_full: AtomicBool::new(false),
                thread: OnceLock::new(),
                counts,
            }),
            finished: OnceLock::new(),
        }
    }

    /// Where lines go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Starts to write, if it has not begun.
    ///
    /// # Errors
    /// The system has no thread for it: lines are dropped once the buffers are full.
    pub fn start(&self) -> io::Result<()> {
        if self.queue.thread.get().is_some() {
            return Ok(());
        }
        let (ends, finished) = watch::channel(());
        let (queue, output) = (Arc::clone(&self.queue), Output::new(self.target.clone()));
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                queue.write_to(output);
                drop(ends);
            })?;
        let _ = self.finished.set(finished);
        let _ = self.queue.thread.set(thread.thread().clone());
        self.queue.wake();
        Ok(())
    }

    /// Takes the line that `write` appends.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = &*self.queue;
        let mut buffer = queue.buffers.own().lock();
        let before = buffer.len();
        if before >= BOUND {
            drop(buffer);
            queue.counts.dropped.fetch_add(1, Ordering::Relaxed);
            if !queue.is_full.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "lines of the access log are lost: they are not taken as fast as they come"
                );
            }
            return;
        }
        write(&mut buffer);
        let is_plenty = before < PLENTY && buffer.len() >= PLENTY;
        drop(buffer);
        // Whoever says that it is awake has yet to take this buffer: the lock says so.
        let sleeps = || !queue.is_awake.swap(true, Ordering::AcqRel);
        if is_plenty || (!queue.is_awake.load(Ordering::Relaxed) && sleeps()) {
            queue.wake();
        }
    }

    /// Opens the target anew, once what is there is written.
    pub fn reopen(&self) {
        self.queue.reopens.store(true, Ordering::Release);
        self.queue.wake();
    }

    /// Takes no more lines, and waits until those that it has are written.
    pub async fn finish(&self) {
        self.queue.end();
        if let Some(finished) = self.finished.get() {
            // Its error is the end that is waited for.
            let _ = finished.clone().changed().await;
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl Queue {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn end(&self) {
        self.ends.store(true, Ordering::Release);
        self.wake();
    }

    fn write_to(&self, mut output: Output) {
        let mut lines = Vec::new();
        loop {
            let is_called = || {
                self.is_awake.load(Ordering::Acquire)
                    || self.reopens.load(Ordering::Acquire)
                    || self.ends.load(Ordering::Acquire)
            };
            while !is_called() {
                thread::park();
            }
            if !self.ends.load(Ordering::Acquire) && !self.reopens.load(Ordering::Acquire) {
                thread::park_timeout(LINGER);
            }
            // Asked before the buffers are taken: what was appended before that is then among them.
            let ends = self.ends.load(Ordering::Acquire);
            let reopens = self.reopens.swap(false, Ordering::AcqRel);
            self.is_awake.store(false, Ordering::Release);
            let mut has_room = true;
            for buffer in self.buffers.iter() {
                std::mem::swap(&mut *buffer.lock(), &mut lines);
                has_room &= lines.len() < BOUND / 2;
                if !lines.is_empty() {
                    self.write(&mut output, &lines);
                }
                lines.clear();
                lines.shrink_to(KEPT);
            }
            if has_room && self.is_full.swap(false, Ordering::Relaxed) {
                let lost = self.counts.dropped();
                tracing::info!(lost, "there is room for lines of the access log again");
            }
            if reopens {
                output.reopen();
            }
            if ends {
                return;
            }
        }
    }

    fn write(&self, output: &mut Output, lines: &[u8]) {
        let may_wait = || !self.ends.load(Ordering::Acquire);
        let (lost, has_failed) = output.write(lines, may_wait);
        self.counts.dropped.fetch_add(lost, Ordering::Relaxed);
        let failed = u64::from(has_failed);
        self.counts
            .write_errors
            .fetch_add(failed, Ordering::Relaxed);
    }
}
