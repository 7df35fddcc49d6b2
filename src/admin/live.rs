//! What the admin API shows: handles that the gateway hands over, and renews at each reload.

use super::reloads::{Change, History, Problem};
use super::turns::Turns;
use crate::config::{Code, Diagnostic, GatewayConfig, Protocol};
use crate::dispatch::explain::Explainer;
use crate::serve::tls::Certificates;
use crate::stack::drain::Drain;
use crate::stack::udp::Traffic;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{MiddlewareSignals, MiddlewareState};
use crate::upstream::hub::Hub;
use crate::upstream::{ConnectionCounts, Server, Servers};
use a3s_layers::failover::FailoverCourse;
use a3s_layers::mirror::MirrorCounts;
use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// How many warnings of a configuration are kept.
const MOST_WARNINGS: usize = 1000;

/// Where a gateway is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, not started.
    Created,
    /// Serving.
    Running,
    /// Listening no more; requests under way are finished.
    Draining,
    /// Over.
    Stopped,
}

/// The running gateway as the admin API sees it.
#[derive(Debug)]
pub struct Live {
    started: Instant,
    state: watch::Sender<State>,
    snapshot: ArcSwap<Snapshot>,
    config: watch::Sender<Arc<GatewayConfig>>,
    last_reload: ArcSwapOption<Reload>,
    /// When the running configuration took effect, in seconds since 1970.
    running_since: AtomicU64,
    history: History,
    warnings: ArcSwap<Vec<Diagnostic>>,
    metrics: Arc<Metrics>,
    /// Explanations, which may take long.
    pub(super) explanations: Turns,
}

/// The running configuration, and the handles of what it made.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// As it was read.
    pub config: Arc<GatewayConfig>,
    /// Its listeners.
    pub entrypoints: Vec<EntrypointHandle>,
    /// Its services.
    pub services: Vec<ServiceHandle>,
    /// What says what becomes of a request.
    pub explainer: Arc<Explainer>,
    /// Its middlewares.
    pub middlewares: Vec<MiddlewareHandle>,
}

/// A middleware.
#[derive(Debug)]
pub struct MiddlewareHandle {
    /// Its name, its type and what it made of requests.
    pub signals: Arc<MiddlewareSignals>,
    /// What it tells of its state, if it has some to show.
    pub state: Option<MiddlewareState>,
}

/// A listener.
#[derive(Debug)]
pub struct EntrypointHandle {
    /// The entrypoint's name.
    pub name: Arc<str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it listens, with the port that the system chose.
    pub address: String,
    /// Its connections, or its sessions.
    pub drain: Arc<Drain>,
    /// What went through, where that is datagrams.
    pub traffic: Option<Arc<Traffic>>,
    /// Who it is to clients, where they speak TLS.
    pub certificates: Option<Arc<Certificates>>,
}

/// A service.
#[derive(Debug)]
pub struct ServiceHandle {
    /// The service's name.
    pub name: Arc<str>,
    /// Its pools of servers: one, or one for each revision.
    pub pools: Vec<PoolHandle>,
    /// What has become of the copies for its mirror, if it has one.
    pub mirror: Option<Arc<MirrorCounts>>,
    /// How its failover goes, if it has one.
    pub failover: Option<Arc<FailoverCourse>>,
    /// The channels that its clients share, if it has any.
    pub hub: Option<Arc<Hub>>,
    /// What has become of its connections, if it is for those.
    pub connections: Option<Arc<ConnectionCounts>>,
}

/// A pool of servers.
#[derive(Debug)]
pub struct PoolHandle {
    /// The revision that it is of, if the service has revisions.
    pub revision: Option<Arc<str>>,
    /// Its servers.
    pub servers: Arc<Servers>,
}

impl ServiceHandle {
    /// All servers that it has now.
    pub fn servers(&self) -> Vec<Server> {
        let lists = self.pools.iter().map(|pool| pool.servers.list());
        lists.flat_map(|list| list.to_vec()).collect()
    }
}

/// How the last attempt to change the configuration ended.
#[derive(Debug, Clone, Serialize)]
pub struct Reload {
    /// Whether it took effect.
    pub success: bool,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Why not, one problem each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl Live {
    /// A gateway that is not started yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            started: Instant::now(),
            state: watch::channel(State::Created).0,
            snapshot: ArcSwap::default(),
            config: watch::channel(Arc::default()).0,
            last_reload: ArcSwapOption::default(),
            running_since: AtomicU64::new(0),
            history: History::default(),
            warnings: ArcSwap::default(),
            metrics,
            explanations: Turns::default(),
        }
    }

    /// Seconds since it was made.
    pub fn uptime_secs(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Goes on to `state`.
    pub fn set_state(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Waits for a state.
    pub async fn wait_for(&self, state: State) {
        // The sender is ours: it cannot be gone.
        let _ = self.state.subscribe().wait_for(|now| *now == state).await;
    }

    /// What runs.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Shows what runs from now on.
    pub fn show(&self, snapshot: Snapshot) {
        let config = Arc::clone(&snapshot.config);
        self.snapshot.store(Arc::new(snapshot));
        self.config.send_replace(config);
        self.running_since.store(now(), Ordering::Relaxed);
    }

    /// The configurations that run one after another; the empty one until the first does.
    pub fn configs(&self) -> watch::Receiver<Arc<GatewayConfig>> {
        self.config.subscribe()
    }

    /// When the running configuration took effect, in seconds since 1970; 0 where nothing runs yet.
    pub fn running_since(&self) -> u64 {
        self.running_since.load(Ordering::Relaxed)
    }

    /// Notes that it has started.
    pub fn started(&self, changes: Vec<Change>) {
        self.history.note(now(), Vec::new(), changes);
    }

    /// Notes that a reload took effect, and what it changed.
    pub fn reloaded(&self, changes: Vec<Change>) {
        self.note(Vec::new(), changes);
    }

    /// Notes that a reload was refused, and why.
    pub fn refused(&self, problems: Vec<Problem>) {
        self.note(problems, Vec::new());
    }

    fn note(&self, problems: Vec<Problem>, changes: Vec<Change>) {
        let reload = Reload {
            success: problems.is_empty(),
            at: now(),
            problems: problems.iter().map(Problem::to_string).collect(),
        };
        self.metrics.reloaded(reload.success);
        self.history.note(reload.at, problems, changes);
        self.last_reload.store(Some(Arc::new(reload)));
    }

    /// The last reloads, the newest first.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Shows these warnings of what runs; the first of them, where there are very many.
    pub fn warn(&self, mut warnings: Vec<Diagnostic>) {
        warnings.truncate(MOST_WARNINGS);
        self.warnings.store(Arc::new(warnings));
    }

    /// Shows these instead, which know where they stand; tests that have failed know that by themselves.
    pub fn warn_with_places(&self, mut warnings: Vec<Diagnostic>) {
        let of_tests = |each: &&Diagnostic| each.code == Code::FailedTestWarning;
        warnings.extend(self.warnings.load().iter().filter(of_tests).cloned());
        self.warn(warnings);
    }

    /// The warnings of what runs.
    pub(super) fn warnings(&self) -> Arc<Vec<Diagnostic>> {
        self.warnings.load_full()
    }

    /// How the last reload ended.
    pub fn last_reload(&self) -> Option<Arc<Reload>> {
        self.last_reload.load_full()
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
