//! Ends the streams of HTTP/2 whose client does not take what it has asked for.
//!
//! A client opens no window, or one too small, and pings from time to time: its connection is not still, yet its
//! answers wait in our memory. The parser asks a body for its next piece only when the last one is on its way, and
//! nobody tells whether it waits for the client or for the server. Here we see both: a body notes what it was asked
//! last, and the task of the stream looks at that when it has nothing more to do. It is one thread that does both.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What a stream waits for, as its body knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// For the body's next piece.
    ForServer,
    /// For the client to take the last one.
    ForClient,
}

thread_local! {
    static NOTED: Cell<Option<Waits>> = const { Cell::new(None) };
}

/// Notes what the stream whose body is asked now waits for.
pub(super) fn note(waits: Waits) {
    NOTED.set(Some(waits));
}

/// Runs the streams of a connection, each in a task.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    patience: Duration,
}

impl Streams {
    /// A stream is reset when its client has taken nothing for `patience`, at the latest after twice that time.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(Patient::new(stream, self.patience));
    }
}

pin_project_lite::pin_project! {
    /// A stream, and how long its client is waited for.
    struct Patient<F> {
        #[pin]
        stream: F,
        patience: Duration,
        waits_for_client: bool,
        moved: bool,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> Patient<F> {
    fn new(stream: F, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waits_for_client: false,
            moved: false,
            timer: None,
        }
    }
}

impl<F: Future<Output = ()>> Future for Patient<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        NOTED.set(None);
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(waits) = NOTED.take() {
            *this.moved = true;
            *this.waits_for_client = waits == Waits::ForClient;
        }
        if *this.waits_for_client && this.timer.is_none() {
            *this.moved = false;
            *this.timer = Some(Box::pin(tokio::time::sleep(*this.patience)));
        }
        // It looks at what has happened only when it fires: a piece that is taken costs no clock.
        while let Some(timer) = this.timer {
            ready!(timer.as_mut().poll(cx));
            if !*this.waits_for_client {
                *this.timer = None;
            } else if std::mem::take(this.moved) {
                timer.as_mut().reset(Instant::now() + *this.patience);
            } else {
                tracing::debug!("a client does not take the answer on an HTTP/2 stream");
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{sleep, timeout};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// How long a stream lives that notes this, again and again, after so long.
    async fn lives(waits: Option<Waits>, each: Duration) -> Option<Duration> {
        let began = Instant::now();
        let stream = async {
            loop {
                if let Some(waits) = waits {
                    note(waits);
                }
                sleep(each).await;
            }
        };
        let stream = Patient::new(stream, PATIENCE);
        let ended = timeout(100 * PATIENCE, stream).await;
        ended.is_ok().then(|| began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_takes_nothing_is_given_up() {
        let hour = Duration::from_secs(3600);
        assert_eq!(lives(Some(Waits::ForClient), hour).await, Some(PATIENCE));
        assert_eq!(lives(Some(Waits::ForServer), hour).await, None);
        assert_eq!(lives(None, hour).await, None);
        assert_eq!(lives(Some(Waits::ForClient), PATIENCE / 2).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_the_last_wait_that_counts() {
        let began = Instant::now();
        let stream = async {
            note(Waits::ForClient);
            sleep(PATIENCE / 2).await;
            note(Waits::ForServer);
            sleep(5 * PATIENCE).await;
            note(Waits::ForClient);
            sleep(100 * PATIENCE).await;
        };
        Patient::new(stream, PATIENCE).await;
        let lived = began.elapsed();
        assert!(lived > 6 * PATIENCE && lived < 8 * PATIENCE, "{lived:?}");
    }
}
