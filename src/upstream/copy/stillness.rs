//! How long nothing has gone.

use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// The time for which nothing goes. The timer is not set anew with each byte, but when it turns out that it has run
    /// out too early.
    pub(super) struct Stillness {
        limit: Option<Duration>,
        since: Instant,
        #[pin]
        timer: Sleep,
    }
}

impl Stillness {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let since = Instant::now();
        Self {
            limit,
            since,
            timer: sleep_until(since + limit.unwrap_or_default()),
        }
    }

    /// Something has gone.
    pub(super) fn put_off(self: Pin<&mut Self>) {
        if self.limit.is_some() {
            *self.project().since = Instant::now();
        }
    }

    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        loop {
            ready!(this.timer.as_mut().poll(cx));
            let until = *this.since + limit;
            if until <= this.timer.deadline() {
                return Poll::Ready(());
            }
            this.timer.as_mut().reset(until);
        }
    }
}
