//! Ending connections without losing a request.
//!
//! It has two steps. At first HTTP/2 connections are told to open no new streams, and HTTP/1 responses carry
//! `Connection: close`: a client that keeps asking is told in an answer, which cannot be missed. Later idle
//! HTTP/1 connections are closed too: whoever was about to use one has had the time to.
//!
//! A connection registers its waker once and then reads one atomic at each poll.

use slab::Slab;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
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
    refused: [AtomicU64; Refusal::ALL.len()],
    shaken: [AtomicU64; Shaken::ALL.len()],
    changed: Notify,
}

/// Why a connection is refused before it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many as there may be.
    Full,
    /// Its peer is not allowed, or there are too many of it.
    Filtered,
    /// What was to come first did not come: in time, or in a form that can be read.
    Handshake,
    /// No router takes it.
    NoRouter,
}

impl Refusal {
    /// Every reason, in their order.
    pub const ALL: [Self; 4] = [Self::Full, Self::Filtered, Self::Handshake, Self::NoRouter];

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Filtered => "filtered",
            Self::Handshake => "handshake",
            Self::NoRouter => "no_router",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shaken {
    /// With TLS 1.2.
    V1_2,
    /// With TLS 1.3.
    V1_3,
    /// Without an agreement.
    Not,
}

impl Shaken {
    /// Each of them, in their order.
    pub const ALL: [Self; 3] = [Self::V1_2, Self::V1_3, Self::Not];

    /// The version as it is shown.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_2 => "TLSv1.2",
            Self::V1_3 => "TLSv1.3",
            Self::Not => "none",
        }
    }
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
        for (_, waker) in self.wakers().iter() {
            waker.wake_by_ref();
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Slab<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Connections that were refused, and why.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let counts = self
            .refused
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Refusal::ALL.into_iter().zip(counts)
    }

    /// TLS handshakes, by how they ended.
    pub fn shaken(&self) -> impl Iterator<Item = (Shaken, u64)> {
        let counts = self
            .shaken
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Shaken::ALL.into_iter().zip(counts)
    }

    /// Counts a connection that is refused.
    pub fn count(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes part, from now until the ticket is dropped.
    pub fn enter(self: &Arc<Self>) -> Ticket {
        self.open.fetch_add(1, Ordering::AcqRel);
        Ticket {
            notice: Notice {
                drain: Arc::clone(self),
                waker: None,
            },
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
    notice: Notice,
}

impl Ticket {
    /// The phase now. The task is woken when it changes.
    pub fn poll_phase(&mut self, cx: &Context<'_>) -> Phase {
        self.notice.poll_phase(cx)
    }

    /// Counts its connection as refused.
    pub fn count(&self, why: Refusal) {
        self.notice.drain.count(why);
    }

    /// Counts its TLS handshake.
    pub fn count_handshake(&self, how: Shaken) {
        self.notice.drain.shaken[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until `phase` is reached, or a later one.
    pub async fn reaches(&mut self, phase: Phase) {
        self.notice.reaches(phase).await;
    }

    /// Hears the word, too, and does not count.
    pub fn notice(&self) -> Notice {
        self.notice.clone()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.notice.drain.open.fetch_sub(1, Ordering::AcqRel);
        self.notice.drain.ask_again();
    }
}

/// Hears the word that connections should end: for a task that is a part of one, and not counted beside it.
#[derive(Debug)]
pub struct Notice {
    drain: Arc<Drain>,
    waker: Option<usize>,
}

impl Notice {
    /// The phase now. The task that asks first is woken when it changes.
    pub fn poll_phase(&mut self, cx: &Context<'_>) -> Phase {
        if self.waker.is_none() {
            self.waker = Some(self.drain.wakers().insert(cx.waker().clone()));
        }
        self.drain.phase()
    }

    /// Waits until `phase` is reached, or a later one.
    pub async fn reaches(&mut self, phase: Phase) {
        poll_fn(|cx| match self.poll_phase(cx) >= phase {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl Clone for Notice {
    /// For another task.
    fn clone(&self) -> Self {
        Self {
            drain: Arc::clone(&self.drain),
            waker: None,
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if let Some(key) = self.waker {
            self.drain.wakers().try_remove(key);
        }
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
