//! Which request is sent again, and when.

use super::budget::Budget;
use super::{MAX_BACKOFF, Retries, RetryOn, Settings};
use crate::discard::{self, Discard};
use crate::error::Failure;
use crate::journal::Journal;
use crate::reject::Refused;
use crate::replay::{Replay, copy, is_plain};
use crate::tried::Tried;
use axum::body::Body;
use http::{Request, Response};
use http_body::Body as _;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;
use tower::retry::Policy;
use tower::retry::budget::Budget as _;

/// What [`tower::retry`] asks whether to send a request again.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    shared: Arc<Shared>,
    /// Retries of one request: the policy is cloned for each.
    retries: u32,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    budget: Arc<Budget>,
}

impl RetryPolicy {
    pub(super) fn new(settings: Settings, budget: Arc<Budget>) -> Self {
        Self {
            shared: Arc::new(Shared { settings, budget }),
            retries: 0,
        }
    }

    fn may_repeat(&self, request: &Request<Body>) -> bool {
        let settings = &self.shared.settings;
        settings.max_retries > 0
            && (request.method().is_idempotent() || settings.non_idempotent)
            && is_plain(request)
    }

    /// Makes a request ready to be copied.
    pub(super) fn prepare(&self, request: &mut Request<Body>) {
        let may = self.may_repeat(request);
        if let Some(journal) = Journal::rehearsed(request) {
            self.tell(may, &journal);
            return;
        }
        if !may {
            return;
        }
        self.shared.budget.deposit();
        // A retry further up may have put its own there.
        request.extensions_mut().get_or_insert_with(Tried::new);
        request.extensions_mut().remove::<Replay>();
        if !request.body().is_end_stream() {
            let body = std::mem::take(request.body_mut());
            let replay = Replay::new(body, self.shared.settings.max_replay_bytes);
            *request.body_mut() = replay.body();
            request.extensions_mut().insert(replay);
        }
    }

    fn tell(&self, may: bool, journal: &Journal) {
        let settings = &self.shared.settings;
        journal.would(match may {
            true => format!(
                "sends it again where it fails, {} times at most",
                settings.max_retries
            ),
            false => "never sends it again: it may not be sent twice".to_owned(),
        });
    }

    fn wants<B>(&self, response: &Response<B>) -> bool {
        let extensions = response.extensions();
        let wanted = match extensions.get::<Failure>() {
            Some(Failure::Connect | Failure::ConnectTimeout) => RetryOn::Connect,
            Some(Failure::Reset) => RetryOn::Reset,
            Some(Failure::ResponseTimeout) => RetryOn::Timeout,
            Some(_) => return false,
            None if extensions.get::<Refused>().is_some() => return false,
            None => RetryOn::Status(response.status()),
        };
        self.shared.settings.on.contains(&wanted)
    }

    /// A random time up to that of the back-off.
    fn pause(&self) -> Duration {
        let doublings = (self.retries - 1).min(16);
        let base = self.shared.settings.backoff;
        let most = base.saturating_mul(1 << doublings).min(MAX_BACKOFF);
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(fastrand::u64(0..=micros))
    }
}

impl<E> Policy<Request<Body>, Response<Body>, E> for RetryPolicy {
    type Future = Pause;

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if !self.may_repeat(request) || Journal::rehearsed(request).is_some() {
            return None;
        }
        let replay = request.extensions().get::<Replay>();
        Some(copy(request, replay.map_or_else(Body::empty, Replay::body)))
    }

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<Body>, E>,
    ) -> Option<Pause> {
        let response = result.as_mut().ok()?;
        let replay = request.extensions().get::<Replay>();
        let may = self.retries < self.shared.settings.max_retries
            && self.wants(response)
            && replay.is_none_or(Replay::is_whole)
            && self.shared.budget.withdraw();
        if !may {
            if self.retries > 0 {
                let retries = Retries(self.retries);
                response.extensions_mut().insert(retries);
            }
            return None;
        }
        self.retries += 1;
        request.extensions_mut().insert(Retries(self.retries));
        let journal = request.extensions().get::<Journal>();
        if let Some(journal) = journal {
            journal.retry();
        }
        tracing::debug!(
            retry = self.retries,
            service = journal.and_then(Journal::service),
            server = (journal.and_then(Journal::endpoint).as_ref()).map(|server| server.id()),
            trace_id = journal
                .and_then(Journal::trace_id)
                .map(tracing::field::display),
            status = response.status().as_u16(),
            reason = response
                .extensions()
                .get()
                .map(|failure: &Failure| failure.reason()),
            "a request is sent again"
        );
        let pause = Some(self.pause()).filter(|pause| !pause.is_zero());
        Some(Pause {
            sleep: pause.map(tokio::time::sleep),
            discarded: Discard::new(std::mem::take(response.body_mut()), discard::ENOUGH),
        })
    }
}

pin_project! {
    /// The time between two tries. What came of the last answer is read meanwhile: an HTTP/1 connection is free only
    /// when its answer has ended.
    #[derive(Debug)]
    pub struct Pause {
        #[pin]
        sleep: Option<Sleep>,
        discarded: Discard,
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let _ = this.discarded.poll(cx);
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Ready(()),
        }
    }
}
