//! Polling a connection to its end, with an eye on the drain.

use crate::stack::drain::{Phase, Ticket};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// Polls connections with an eye on the drain.
pub(super) struct Drive<'a> {
    pub(super) ticket: &'a mut Ticket,
    pub(super) closing: &'a AtomicBool,
}

/// How driving a connection ended.
pub(super) enum Ended<T> {
    Closed(T),
    /// It is alive, and has nothing to do.
    Resting,
    /// The drain is over.
    CutOff,
}

impl Drive<'_> {
    /// Polls a connection to its end, and tells it once to shut down when the drain has come to `last_call`.
    pub(super) async fn run<C: Future>(
        &mut self,
        connection: Pin<&mut C>,
        last_call: Phase,
        shut_down: impl Fn(Pin<&mut C>),
    ) -> Ended<C::Output> {
        self.run_unless(connection, last_call, shut_down, || false)
            .await
    }

    /// The same, until the connection rests.
    pub(super) async fn run_unless<C: Future>(
        &mut self,
        mut connection: Pin<&mut C>,
        last_call: Phase,
        shut_down: impl Fn(Pin<&mut C>),
        is_resting: impl Fn() -> bool,
    ) -> Ended<C::Output> {
        let mut is_told = false;
        std::future::poll_fn(|cx| {
            let phase = self.ticket.poll_phase(cx);
            if phase == Phase::Over {
                return Poll::Ready(Ended::CutOff);
            }
            if phase > Phase::Open {
                self.closing.store(true, Ordering::Relaxed);
            }
            let mut polled = connection.as_mut().poll(cx);
            if polled.is_pending() && phase >= last_call && !is_told {
                // Not before: what has come by now is read, and answered.
                is_told = true;
                shut_down(connection.as_mut());
                polled = connection.as_mut().poll(cx);
            }
            match polled {
                Poll::Ready(output) => Poll::Ready(Ended::Closed(output)),
                Poll::Pending if is_resting() => Poll::Ready(Ended::Resting),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
