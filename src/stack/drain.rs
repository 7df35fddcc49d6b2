//! Ending connections without losing a request.
//!
//! It has two steps. At first HTTP/2 connections are told to open no new streams, and HTTP/1 responses carry
//! `Connection: close`: a client that keeps asking is told in an answer, which cannot be missed. Later idle
//! HTTP/1 connections are closed too: whoever was about to use one has had the time to.
//!
//! A connection registers its waker once and then reads one atomic at each poll.

use slab::Slab;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use tokio::sync::Notify;

/// How far the end of connections has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing is to end.
    Open,
    /// No new work; who is idle may still say one thing.
    Closing,
    /// Who is idle goes now.
    ClosingIdle,
    /// Everybody goes now.
    Over,
}

/// The connections of one listener, and the word that they should end.
#[derive(Debug, Default)]
pub struct Drain {
    phase: AtomicU8,
    wakers: Mutex<Slab<Waker>>,
    open: AtomicUsize,
    changed: Notify,
}

impl Drain {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Closing,
            2 => Phase::ClosingIdle,
            _ => Phase::Over,
        }
    }

    /// Goes to `phase` and wakes every connection to see it.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, waker) in wakers.iter() {
            waker.wake_by_ref();
        }
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Takes part, from now until the ticket is dropped.
    pub fn enter(self: &Arc<Self>) -> Ticket {
        self.open.fetch_add(1, Ordering::AcqRel);
        Ticket {
            drain: Arc::clone(self),
            waker: None,
        }
    }

    /// Waits until no connection is open.
    pub async fn wait_empty(&self) {
        self.wait_while(|| self.open() > 0).await;
    }

    /// Waits as long as `holds`, which is asked again when a connection ends and after [`Drain::ask_again`].
    pub async fn wait_while(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if !holds() {
                return;
            }
            changed.await;
        }
    }

    /// Something changed that someone may wait for.
    pub fn ask_again(&self) {
        self.changed.notify_waiters();
    }
}

/// One connection's part in a [`Drain`].
#[derive(Debug)]
pub struct Ticket {
    drain: Arc<Drain>,
    waker: Option<usize>,
}

impl Ticket {
    /// The phase now. The task is woken when it changes.
    pub fn poll_phase(&mut self, cx: &Context<'_>) -> Phase {
        if self.waker.is_none() {
            let mut wakers = self
                .drain
                .wakers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.waker = Some(wakers.insert(cx.waker().clone()));
        }
        self.drain.phase()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = self.waker {
            let mut wakers = self
                .drain
                .wakers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            wakers.try_remove(key);
        }
        self.drain.open.fetch_sub(1, Ordering::AcqRel);
        self.drain.ask_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_wakes_on_each_phase_and_counts_until_it_is_dropped() {
        let drain = Arc::new(Drain::default());
        let mut ticket = drain.enter();
        let mut poll = tokio_test::task::spawn(std::future::poll_fn(move |cx| {
            match ticket.poll_phase(cx) {
                Phase::ClosingIdle => std::task::Poll::Ready(()),
                _ => std::task::Poll::Pending,
            }
        }));
        assert!(poll.poll().is_pending());
        drain.advance(Phase::Closing);
        assert!(poll.is_woken());
        assert!(poll.poll().is_pending());
        drain.advance(Phase::ClosingIdle);
        assert!(poll.is_woken() && poll.poll().is_ready());
        assert_eq!(drain.open(), 1);
        drop(poll);
        drain.wait_empty().await;
    }
}
