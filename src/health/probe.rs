//! One server, asked in one way, for everybody who wants to know.

use super::lock;
use super::task::Task;
use super::verdict::Verdict;
use crate::upstream::probe::{Check, Fault, Prober};
use crate::upstream::{Origin, Server};
use a3s_layers::endpoint::{Endpoint, Trouble};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How many probes are begun at a time, in the whole process: a thousand servers are not connected to at once.
static TURNS: Semaphore = Semaphore::const_new(64);

/// How long a probe may keep others waiting. One that takes longer goes on, but no longer counts: servers that hang
/// must not delay the news of those that do not.
const PATIENCE: Duration = Duration::from_millis(250);

/// Asks, until it is dropped.
#[derive(Debug)]
pub(super) struct Probe {
    asked: Arc<Asked>,
    _task: Task,
}

#[derive(Debug)]
struct Asked {
    check: Arc<Check>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    verdict: Verdict,
    /// What was wrong last, while it is unhealthy.
    fault: Option<Fault>,
    /// The way to it, as it was told last.
    origin: Arc<Origin>,
    /// Who is told.
    endpoints: Vec<Arc<Endpoint>>,
}

impl Probe {
    /// Begins to ask a server, and tells nobody yet.
    pub(super) fn begin(origin: &Arc<Origin>, check: &Arc<Check>) -> Self {
        let asked = Arc::new(Asked {
            check: Arc::clone(check),
            known: Mutex::new(Known {
                verdict: Verdict::default(),
                fault: None,
                origin: Arc::clone(origin),
                endpoints: Vec::new(),
            }),
        });
        Self {
            _task: Task::spawn(run(Arc::clone(&asked))),
            asked,
        }
    }

    /// Tells the endpoint of `server` what is known, and whatever will be. Before the first answer it is left as it
    /// is: it may be unhealthy by an earlier check.
    pub(super) fn join(&self, server: &Server) {
        let known = &mut *lock(&self.asked.known);
        known.origin = Arc::clone(&server.origin);
        known.endpoints.push(Arc::clone(&server.endpoint));
        match (known.verdict.is_healthy(), &known.fault) {
            (Some(true), _) => drop(server.endpoint.clear(Trouble::Unhealthy)),
            (Some(false), Some(fault)) => {
                server.endpoint.set(Trouble::Unhealthy, fault.to_string());
            }
            _ => {}
        }
    }

    /// Tells an endpoint no more. Returns whether somebody else is still told.
    pub(super) fn leave(&self, endpoint: &Arc<Endpoint>) -> bool {
        let endpoints = &mut lock(&self.asked.known).endpoints;
        let is_it = |each: &Arc<Endpoint>| Arc::ptr_eq(each, endpoint);
        if let Some(index) = endpoints.iter().position(is_it) {
            endpoints.swap_remove(index);
        }
        !endpoints.is_empty()
    }
}

/// Asks at once, and then at intervals.
async fn run(asked: Arc<Asked>) {
    let mut prober = Prober::new(Arc::clone(&asked.check));
    loop {
        let begun = Instant::now();
        // Between two probes there is only what is kept.
        let answer = Box::pin(ask(&mut prober, &asked)).await;
        asked.note(answer);
        let next = begun + asked.check.interval.mul_f64(jitter());
        tokio::time::sleep_until(next).await;
    }
}

/// A tenth more or less, so that servers are not asked in step.
fn jitter() -> f64 {
    0.9 + 0.2 * fastrand::f64()
}

/// Asks in its turn, first come, first served.
async fn ask(prober: &mut Prober, asked: &Asked) -> Result<(), Fault> {
    let turn = TURNS.acquire().await;
    let origin = Arc::clone(&lock(&asked.known).origin);
    let mut answer = Box::pin(prober.ask(&origin));
    let quick = tokio::time::timeout(PATIENCE, &mut answer).await;
    drop(turn);
    match quick {
        Ok(answer) => answer,
        Err(_) => answer.await,
    }
}

impl Asked {
    fn note(&self, answer: Result<(), Fault>) {
        let (unhealthy, healthy) = (self.check.unhealthy_threshold, self.check.healthy_threshold);
        let known = &mut *lock(&self.known);
        let change = known.verdict.note(answer.is_ok(), unhealthy, healthy);
        // They all have one name.
        let server = known.endpoints.first().map_or("", |endpoint| endpoint.id());
        for endpoint in &known.endpoints {
            let fault = answer.as_ref().err();
            endpoint.probed(fault.map(|fault| fault.to_string().into()));
        }
        match answer {
            Ok(()) => {
                if change.turned {
                    known.fault = None;
                    let cleared = known.each(|endpoint| endpoint.clear(Trouble::Unhealthy));
                    if cleared > 0 {
                        tracing::info!(server, "healthy again");
                    }
                }
                // It was gone and is back: that it failed requests meanwhile says nothing of what it does now. Where it
                // answered all along, to be asked says less than requests did.
                if change.recovered {
                    known.each(|endpoint| endpoint.clear(Trouble::Ejected));
                }
            }
            Err(fault) if known.verdict.is_healthy() == Some(false) => {
                if change.turned {
                    tracing::warn!(server, reason = %fault, "unhealthy");
                }
                if known.fault.as_ref() != Some(&fault) {
                    let why = fault.to_string();
                    known.fault = Some(fault);
                    known.each(|endpoint| {
                        endpoint.set(Trouble::Unhealthy, &*why);
                        true
                    });
                }
            }
            Err(fault) => tracing::debug!(server, reason = %fault, "a bad answer"),
        }
    }
}

impl Known {
    /// Does this to each endpoint; counts those for which it says so.
    fn each(&self, mut what: impl FnMut(&Endpoint) -> bool) -> usize {
        self.endpoints.iter().filter(|each| what(each)).count()
    }
}
