//! The way of spans to the collector: a bounded queue, and a task of its own that sends what is in it.

use super::SpanCounts;
use super::attributes::Attributes;
use super::collector::{Collector, Refusal};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// So many spans are sent at once, and more only where the last request brings them.
const MAX_BATCH: usize = 512;

/// How long the first one waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// How often spans are sent before they are given up.
const TRIES: u32 = 6;

/// The pause before they are sent again, which doubles.
const PAUSE: Duration = Duration::from_millis(250);

/// No pause is longer, whatever the collector says.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long may be tried again once nobody makes spans for it any more.
const LAST: Duration = Duration::from_secs(30);

/// What spans are of.
#[derive(Debug, Clone)]
pub struct Resource {
    /// `service.name`.
    pub service_name: String,
}

/// Where spans wait. Nobody waits to put some into it.
#[derive(Debug)]
pub struct Queue {
    waiting: Arc<Waiting>,
    sender: UnboundedSender<Vec<Span>>,
}

#[derive(Debug)]
struct Waiting {
    /// Spans in the queue and under way.
    spans: AtomicUsize,
    limit: usize,
    /// Whether there was no room for some since somebody looked.
    is_full: AtomicBool,
    counts: Arc<SpanCounts>,
}

impl Queue {
    pub(super) fn put(&self, spans: Vec<Span>) {
        let (waiting, count) = (&self.waiting, spans.len());
        let before = waiting.spans.fetch_add(count, Ordering::Relaxed);
        if before + count <= waiting.limit && self.sender.send(spans).is_ok() {
            return;
        }
        waiting.spans.fetch_sub(count, Ordering::Relaxed);
        waiting.counts.lose(count);
        // Told by the task that sends them: to log is not for a request to wait for.
        waiting.is_full.store(true, Ordering::Relaxed);
    }
}

/// Sends what is in a queue. It ends when the [`Queue`] is gone and all of it is sent, or given up.
#[derive(Debug)]
pub struct Exporter {
    receiver: UnboundedReceiver<Vec<Span>>,
    waiting: Arc<Waiting>,
    collector: Collector,
    resource: Resource,
    /// Whether it was told that the collector takes nothing.
    is_failing: bool,
    /// Whether it was told that there is no room.
    is_full: bool,
    /// Until when it is tried again, once the queue is gone.
    until: Option<Instant>,
    /// What was given up since.
    given_up: usize,
}

impl Exporter {
    /// To this collector, with a queue for so many spans.
    pub fn new(
        collector: Collector,
        resource: Resource,
        limit: usize,
        counts: Arc<SpanCounts>,
    ) -> (Queue, Self) {
        let (sender, receiver) = unbounded_channel();
        let waiting = Arc::new(Waiting {
            spans: AtomicUsize::new(0),
            limit,
            is_full: AtomicBool::new(false),
            counts,
        });
        let exporter = Self {
            receiver,
            waiting: Arc::clone(&waiting),
            collector,
            resource,
            is_failing: false,
            is_full: false,
            until: None,
            given_up: 0,
        };
        (Queue { waiting, sender }, exporter)
    }

    /// Does it.
    pub async fn run(mut self) {
        while let Some(mut batch) = self.receiver.recv().await {
            let gathered = Instant::now() + GATHER;
            while batch.len() < MAX_BATCH {
                match tokio::time::timeout_at(gathered, self.receiver.recv()).await {
                    Ok(Some(more)) => batch.extend(more),
                    Ok(None) | Err(_) => break,
                }
            }
            self.export(batch).await;
        }
    }

    async fn export(&mut self, batch: Vec<Span>) {
        let count = batch.len();
        if self.until.is_some_and(|until| until < Instant::now()) {
            self.give_up(count);
            return;
        }
        let message = self.collector.message(&self.resource.request(batch));
        let mut tries = 0;
        let sent = loop {
            self.look_for_room();
            let refusal = match self.collector.send(message.clone()).await {
                Ok(rejected) => break Ok(rejected.min(count)),
                Err(refusal) => refusal,
            };
            tries += 1;
            // The first failure may be that of a connection which has been idle for too long.
            if tries > 1 || !refusal.is_transient {
                self.fail(&refusal);
            }
            let pause = pause(tries, refusal.after);
            if !refusal.is_transient || tries == TRIES || self.is_late(pause) {
                break Err(());
            }
            tokio::time::sleep(pause).await;
        };
        match sent {
            Ok(rejected) => {
                self.waiting.spans.fetch_sub(count, Ordering::Relaxed);
                self.waiting.counts.export(count - rejected);
                self.waiting.counts.lose(rejected);
                self.succeed();
            }
            Err(()) => self.give_up(count),
        }
    }

    fn give_up(&mut self, count: usize) {
        self.waiting.spans.fetch_sub(count, Ordering::Relaxed);
        self.waiting.counts.lose(count);
        if self.receiver.is_closed() {
            self.given_up += count;
        }
    }

    /// Whether there is no time left for such a pause.
    fn is_late(&mut self, pause: Duration) -> bool {
        if !self.receiver.is_closed() {
            return false;
        }
        let now = Instant::now();
        now + pause > *self.until.get_or_insert(now + LAST)
    }

    fn fail(&mut self, refusal: &Refusal) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!("the collector takes no spans: {}", refusal.why);
        }
    }

    fn succeed(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            let lost = self.waiting.counts.dropped();
            tracing::info!(lost, "the collector takes spans again");
        }
        self.look_for_room();
    }

    fn look_for_room(&mut self) {
        let waiting = &self.waiting;
        let was_full = waiting.is_full.swap(false, Ordering::Relaxed);
        let has_room = waiting.spans.load(Ordering::Relaxed) <= waiting.limit / 2;
        let is_full = was_full || self.is_full && !has_room;
        if is_full == std::mem::replace(&mut self.is_full, is_full) {
            return;
        }
        match is_full {
            true => tracing::warn!(
                limit = waiting.limit,
                "spans are lost: too many wait for the collector"
            ),
            false => tracing::info!(
                lost = waiting.counts.dropped(),
                "there is room for spans again"
            ),
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.receiver.close();
        let left = self.waiting.spans.load(Ordering::Relaxed);
        self.waiting.counts.lose(left);
        let lost = left + self.given_up;
        if lost > 0 {
            tracing::warn!(
                spans = lost,
                "spans are lost: the collector has not taken them in time"
            );
        }
    }
}

/// With jitter, so that many gateways do not come back at one moment.
fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    let longest = PAUSE * 2_u32.pow(tries.min(TRIES) - 1);
    let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
    pause.max(asked.unwrap_or_default()).min(MAX_PAUSE)
}

impl Resource {
    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let version = env!("CARGO_PKG_VERSION");
        let attributes = Attributes::default()
            .text("service.name", &*self.service_name)
            .text("service.version", version);
        let scope = InstrumentationScope {
            name: "a3s-gateway".to_owned(),
            version: version.to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = ScopeSpans {
            scope: Some(scope),
            spans,
            ..ScopeSpans::default()
        };
        let resource = resource::v1::Resource {
            attributes: attributes.into_vec(),
            ..resource::v1::Resource::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![scope_spans],
                ..ResourceSpans::default()
            }],
        }
    }
}
