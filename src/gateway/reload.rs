//! From one configuration to the next. Starting is going on from none.
//!
//! 1. check: every problem is told
//! 2. test: what the configuration expects of itself, by another that is compiled for it alone
//! 3. compile: pure
//! 4. look up the names of servers that are new; what cannot be looked up is no reason to refuse
//! 5. bind what is new, and listen once all of it is bound; where that fails, what was bound is dropped
//! 6. swap: one store for each entrypoint
//! 7. retire what is no more
//!
//! Nothing before the swap can be noticed from outside, and nothing after it can fail.

use super::Shared;
use super::entrypoint::{Bound, Entrypoint, Replaced, bind, end, listen};
use super::explain::stand_ins;
use super::prove::prove;
use crate::admin::{
    self, Change, EntrypointHandle, InOneLine, MiddlewareHandle, PoolHandle, Problem,
    ServiceHandle, Snapshot, State,
};
use crate::compile::{self, Compiled, Kept};
use crate::config::{
    Address, ConfigError, Diagnostic, Diagnostics, GatewayConfig, MiddlewareConfig, Protocol,
};
use crate::dispatch::explain::Explainer;
use crate::error::{Error, Result};
use crate::health::Health;
use crate::resolve::{Follower, Prepared, Resolver};
use crate::serve::listener::Bind;
use crate::serve::worker::Workers;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::Present;
use crate::upstream::Servers;
use crate::upstream::probe::Check;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;

/// How much longer than the timeout of the shutdown those may take that a reload removed, under a longer one.
const GRACE: Duration = Duration::from_secs(1);

/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How long the collector may take for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// How long the admin API may take for its last answer.
const LAST_ANSWER: Duration = Duration::from_millis(100);

/// What runs.
#[derive(Debug)]
pub(super) struct Running {
    entrypoints: Vec<Entrypoint>,
    /// Entrypoints that are no more, whose connections are about to end.
    retiring: JoinSet<()>,
    services: compile::Services,
    middlewares: compile::Middlewares,
    tls: compile::AllTls,
    tracing: compile::Tracing,
    /// What sends spans: that of the running configuration, and those that still have some of before.
    exporters: JoinSet<()>,
    /// What follows the names of servers.
    resolver: Resolver,
    health: Health,
    shutdown_timeout: Duration,
    workers: Arc<Workers>,
}

impl Running {
    pub(super) fn new(workers: Workers) -> Self {
        Self {
            entrypoints: Vec::new(),
            retiring: JoinSet::new(),
            services: compile::Services::default(),
            middlewares: compile::Middlewares::default(),
            tls: compile::AllTls::default(),
            tracing: compile::Tracing::default(),
            exporters: JoinSet::new(),
            resolver: Resolver::default(),
            health: Health::new(),
            shutdown_timeout: Duration::ZERO,
            workers: Arc::new(workers),
        }
    }

    pub(super) fn local_address(&self, name: &str) -> Option<Bind> {
        let entrypoints = &mut self.entrypoints.iter();
        let entrypoint = entrypoints.find(|entrypoint| &*entrypoint.name == name)?;
        Some(entrypoint.local.clone())
    }

    /// The sockets that are open, by the key under which a new configuration finds them again.
    fn sockets(&self) -> Vec<Key> {
        let key = |each: &Entrypoint| Key::of(&each.name, &each.address, each.protocol);
        self.entrypoints.iter().map(key).collect()
    }
}

/// What makes two entrypoints one: the address. Where the system chooses the port, the name as well.
/// A port of UDP is another one than that of TCP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(Address, bool, Option<Arc<str>>);

impl Key {
    pub(super) fn of(name: &Arc<str>, address: &Address, protocol: Protocol) -> Self {
        let is_chosen = match address {
            Address::Socket(address) => address.port() == 0,
            Address::Host { port, .. } => *port == 0,
            Address::Unix(_) => false,
        };
        let is_udp = protocol == Protocol::Udp;
        let name = is_chosen.then(|| Arc::clone(name));
        Self(address.clone(), is_udp, name)
    }
}

/// Step 1: every problem that can be seen without the world outside.
///
/// Returns what is probably not meant.
pub(super) fn check(
    config: &GatewayConfig,
    types: &compile::CustomTypes,
) -> Result<Vec<Diagnostic>> {
    let types: Vec<&str> = types.keys().map(String::as_str).collect();
    let diagnostics = config.check_errors(&types);
    let warnings = diagnostics.warnings().cloned().collect();
    or_refused(diagnostics)?;
    Ok(warnings)
}

/// Step 2: what the configuration expects of itself, from a beginning of its own: nothing that runs has a say in it.
///
/// Returns what fails and may.
fn test(config: &GatewayConfig, apart: &Kept) -> Result<Vec<Diagnostic>> {
    if config.tests.is_empty() {
        return Ok(Vec::new());
    }
    let explainer = compile::compile(config, apart)?.explainer;
    let failed = prove(config, &explainer);
    for warning in failed.warnings() {
        tracing::warn!("{warning}");
    }
    let warnings = failed.warnings().cloned().collect();
    or_refused(failed)?;
    Ok(warnings)
}

/// Refuses a configuration with errors.
pub(super) fn or_refused(diagnostics: Diagnostics) -> Result<()> {
    match diagnostics.has_errors() {
        true => Err(ConfigError::from(diagnostics).into()),
        false => Ok(()),
    }
}

/// Why a configuration does not run, one by one.
fn problems(error: &Error) -> Vec<Problem> {
    let world = |line: &str| Problem::World {
        message: line.to_owned(),
    };
    match error {
        Error::Config(error) => (error.diagnostics().iter())
            .map(|diagnostic| Problem::Written(Box::new(diagnostic.clone())))
            .collect(),
        error => error.to_string().lines().map(world).collect(),
    }
}

/// Step 5.
fn bind_new(compiled: &Compiled, sockets: &[Key], workers: usize) -> Result<HashMap<Key, Bound>> {
    let mut bound = HashMap::new();
    for compiled in &compiled.entrypoints {
        let (name, address, protocol) = (&compiled.name, &compiled.address, compiled.protocol);
        let key = Key::of(name, address, protocol);
        if !sockets.contains(&key) {
            bound.insert(key, bind(name, address, protocol, workers)?);
        }
    }
    // A client that finds an open port must never find it closed again because another was in use.
    for compiled in &compiled.entrypoints {
        let (name, address) = (&compiled.name, &compiled.address);
        if let Some(bound) = bound.get(&Key::of(name, address, compiled.protocol)) {
            listen(name, address, bound)?;
        }
    }
    Ok(bound)
}

/// What reads files and asks the system runs off the runtime's threads.
async fn off_thread<T: Send + 'static>(
    run: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => result,
        Err(panicked) => Err(panicked.into()),
    }
}

/// Whoever goes by what the names of servers stand for.
fn followers(services: &compile::Services) -> Vec<Follower> {
    let pools = services.values().flat_map(compile::Service::pools);
    let of_pool = |pool: &Arc<compile::Pool>| {
        let names: BTreeSet<Arc<str>> = pool.names().map(Arc::from).collect();
        let pool = Arc::clone(pool);
        names.into_iter().map(move |name| {
            let (pool, of) = (Arc::clone(&pool), Arc::clone(&name));
            let tell = Arc::new(move |addresses: &[_]| pool.set_addresses(&of, addresses));
            Follower { name, tell }
        })
    };
    pools.flat_map(of_pool).collect()
}

impl Shared {
    /// Runs `config`, and notes how that went.
    pub(super) async fn reload(&self, config: GatewayConfig) -> Result<()> {
        if self.live.state() != State::Running {
            return Err(Error::State("not running"));
        }
        match self.apply(config).await {
            Ok(changes) => {
                tracing::info!(changes = %InOneLine(&changes), "reloaded");
                self.live.reloaded(changes);
                Ok(())
            }
            Err(error) => {
                self.refuse(&error);
                Err(error)
            }
        }
    }

    /// Notes a configuration that does not run; the one that does stays.
    pub(super) fn refuse(&self, error: &Error) {
        let problems = problems(error);
        for problem in &problems {
            tracing::error!("{problem}");
        }
        tracing::error!("the new configuration is refused, the running one stays");
        self.live.refused(problems);
    }

    /// What says what becomes of requests, by a configuration that is not to run.
    pub(super) fn rehearse(&self, config: &GatewayConfig) -> Result<Arc<Explainer>> {
        Ok(compile::compile(config, &self.apart(config))?.explainer)
    }

    /// What a configuration is compiled with that is only to be rehearsed: nothing of what runs.
    fn apart(&self, config: &GatewayConfig) -> Kept {
        Kept {
            addresses: stand_ins(config),
            metrics: Arc::new(Metrics::new(1)),
            ..self.kept(None)
        }
    }

    pub(super) fn kept(&self, running: Option<&Running>) -> Kept {
        Kept {
            metrics: Arc::clone(&self.metrics),
            signals: Arc::clone(&self.signals),
            admin: admin::routed(&self.live),
            admin_listener: admin::listener(&self.live),
            services: running.map_or_else(Default::default, |running| running.services.clone()),
            addresses: running
                .map_or_else(Default::default, |running| running.resolver.addresses()),
            middlewares: running
                .map_or_else(Default::default, |running| running.middlewares.clone()),
            tls: running.map_or_else(Default::default, |running| running.tls.clone()),
            tracing: running.map_or_else(Default::default, |running| running.tracing.clone()),
            types: Arc::clone(&self.types),
        }
    }

    /// Runs `config`; tells what is another thing than before. The first one is noted as the start.
    pub(super) async fn apply(&self, config: GatewayConfig) -> Result<Vec<Change>> {
        let mut running = self.running.lock().await;
        let Some(running) = running.as_mut() else {
            return Err(Error::State("not running"));
        };
        let end_series = |_: &Error| {
            // To compile it has begun the series of what will not run.
            self.end_series(&self.live.snapshot().config);
        };
        let kept = self.kept(Some(running));
        let apart = self.apart(&config);
        let compiled = off_thread(move || {
            let mut warnings = check(&config, &kept.types)?;
            warnings.extend(test(&config, &apart)?);
            let compiled = compile::compile(&config, &kept)?;
            Ok((config, compiled, warnings))
        });
        let (config, compiled, warnings) = compiled.await.inspect_err(end_series)?;
        let names = followers(&compiled.services);
        let names = names.into_iter().map(|each| each.name).collect();
        let names = running.resolver.prepare(&config.dns, names).await;
        let (sockets, workers) = (running.sockets(), running.workers.count());
        let bound = off_thread(move || {
            let bound = bind_new(&compiled, &sockets, workers)?;
            Ok((compiled, bound))
        });
        let (compiled, bound) = bound.await.inspect_err(end_series)?;
        let changes = admin::changes(&self.live.snapshot().config, &config);
        // Before anybody can ask for them.
        self.live.warn(warnings);
        if self.live.state() == State::Created {
            self.live.started(changes.clone());
        }
        self.swap(running, config, compiled, names, bound);
        Ok(changes)
    }

    /// Steps 6 and 7.
    fn swap(
        &self,
        running: &mut Running,
        config: GatewayConfig,
        compiled: Compiled,
        names: Prepared,
        mut bound: HashMap<Key, Bound>,
    ) {
        let mut old: HashMap<Key, Entrypoint> = running
            .sockets()
            .into_iter()
            .zip(std::mem::take(&mut running.entrypoints))
            .collect();
        let mut going_on = Vec::new();
        let mut parted_with = Vec::new();
        for compiled in compiled.entrypoints {
            let key = Key::of(&compiled.name, &compiled.address, compiled.protocol);
            if let Some(mut entrypoint) = old.remove(&key) {
                entrypoint.name = Arc::clone(&compiled.name);
                if let Some(drain) = entrypoint.go_over(compiled.protocol) {
                    parted_with.push((Arc::clone(&compiled.name), drain));
                }
                going_on.push((running.entrypoints.len(), compiled));
                running.entrypoints.push(entrypoint);
            } else if let Some(bound) = bound.remove(&key) {
                let entrypoint = Entrypoint::new(bound, compiled);
                running.entrypoints.push(entrypoint);
            }
        }
        let before = (
            std::mem::replace(&mut running.services, compiled.services),
            std::mem::replace(&mut running.middlewares, compiled.middlewares),
        );
        running.tls = compiled.tls;
        let explainer = compiled.explainer;
        if let Some(log) = &compiled.signals.access_log
            && let Err(error) = log.sink().start()
        {
            tracing::error!(%error, "the access log has no thread to write it: its lines are lost");
        }
        running.tracing = compiled.tracing;
        if let Some(exporter) = compiled.exporter {
            running.exporters.spawn(exporter.run());
        }
        self.signals.store(compiled.signals);
        running.tls.values().for_each(compile::Tls::start_upkeep);
        // Before the first request is sent to them: all at once, for a pool may have many names.
        let addresses = names.addresses();
        for pool in running.services.values().flat_map(compile::Service::pools) {
            pool.set_all_addresses(&addresses);
        }
        running.resolver.follow(names, followers(&running.services));
        running
            .services
            .values()
            .for_each(compile::Service::take_effect);
        running
            .middlewares
            .values()
            .for_each(compile::Middleware::start_upkeep);
        // What is known of a server is known to its endpoint before a request can come to it.
        running.health.watch(asked(&running.services));
        running.shutdown_timeout = Duration::from_secs(config.shutdown_timeout_secs);
        self.end_series(&config);
        // Shown before the first request can come: the admin API judges by it who may ask.
        let snapshot = snapshot(config, running, explainer);
        let config = Arc::clone(&snapshot.config);
        self.live.show(snapshot);
        self.live.set_state(State::Running);
        let mut tables = Vec::new();
        for (index, compiled) in going_on {
            tables.extend(running.entrypoints[index].become_(compiled));
        }
        for entrypoint in &mut running.entrypoints {
            entrypoint.open(&running.workers);
        }
        tracing::info!(
            entrypoints = config.entrypoints.len(),
            routers = config.routers.len(),
            services = config.services.len(),
            middlewares = config.middlewares.len(),
            "the configuration is running"
        );
        // Those that have ended since.
        while running.retiring.try_join_next().is_some() {}
        while running.exporters.try_join_next().is_some() {}
        for (_, entrypoint) in old {
            tracing::info!(entrypoint = %entrypoint.name, address = %entrypoint.local, "closing");
            let retire = entrypoint.retire(running.shutdown_timeout);
            running.retiring.spawn(retire);
        }
        for (name, drain) in parted_with {
            let timeout = running.shutdown_timeout;
            running
                .retiring
                .spawn(async move { end(&name, &drain, timeout).await });
        }
        discard(tables, before);
    }

    /// Leaves the metrics of `config` alone.
    fn end_series(&self, config: &GatewayConfig) {
        self.metrics.retain(&HasSeries(config));
    }

    pub(super) async fn shutdown(&self) {
        let mut running = self.running.lock().await;
        let Some(stopping) = running.as_mut() else {
            return;
        };
        self.live.set_state(State::Draining);
        let timeout = stopping.shutdown_timeout;
        let (admin, serving): (Vec<_>, Vec<_>) = std::mem::take(&mut stopping.entrypoints)
            .into_iter()
            .partition(|entrypoint| &*entrypoint.name == compile::ADMIN_ENTRYPOINT);
        for entrypoint in serving {
            tracing::info!(entrypoint = %entrypoint.name, "draining");
            stopping.retiring.spawn(entrypoint.retire(timeout));
        }
        let retired = async { while stopping.retiring.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(timeout + GRACE, retired).await;
        // With the last request the last spans have been made.
        // Whoever holds its tracer keeps the exporter waiting for more; its last lines are waited for below.
        let before = self.signals.swap(Arc::default());
        let lines = before.access_log.as_ref().map(|log| Arc::clone(log.sink()));
        drop(before);
        stopping.tracing = compile::Tracing::default();
        let exported = async { while stopping.exporters.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_SPANS, exported).await.is_err() {
            stopping.exporters.shutdown().await;
        }
        // The last to go: whoever asks how it is gets an answer to the end.
        for entrypoint in admin {
            entrypoint.retire(LAST_ANSWER.min(timeout)).await;
        }
        *running = None;
        if let Some(lines) = lines {
            // A pipe that nobody reads must not hold up the end.
            let _ = tokio::time::timeout(LAST_LINES, lines.finish()).await;
        }
        self.live.set_state(State::Stopped);
        tracing::info!("stopped");
    }
}

/// What of a configuration has series.
struct HasSeries<'c>(&'c GatewayConfig);

impl Present for HasSeries<'_> {
    fn has_entrypoint(&self, name: &str) -> bool {
        self.0.entrypoints.contains_key(name)
    }

    fn has_router(&self, name: &str, service: &str) -> bool {
        let router = self.0.routers.get(name);
        router.is_some_and(|router| router.service == service)
    }

    fn has_service(&self, name: &str) -> bool {
        self.0.services.contains_key(name) || name == crate::config::ADMIN_SERVICE
    }

    fn has_middleware(&self, name: &str, kind: &str) -> bool {
        let middleware = self.0.middlewares.get(name);
        // Who judges connections makes nothing of requests.
        let judges = |each: &MiddlewareConfig| !matches!(each, MiddlewareConfig::TcpFilter(_));
        middleware.is_some_and(|middleware| middleware.kind() == kind && judges(middleware))
    }
}

/// The servers of each pool, and how they are asked whether they are well.
fn asked(services: &compile::Services) -> impl Iterator<Item = (Arc<Servers>, Option<Arc<Check>>)> {
    services.values().flat_map(|service| {
        let check = service.health_check();
        let pools = service.servers();
        pools.map(move |(_, servers)| (Arc::clone(servers), check.cloned()))
    })
}

fn snapshot(config: GatewayConfig, running: &Running, explainer: Arc<Explainer>) -> Snapshot {
    for stage in &explainer.stages {
        if let Some(Bind::Tcp(local) | Bind::Udp(local)) = running.local_address(&stage.name) {
            stage.port.store(local.port(), Ordering::Relaxed);
        }
    }
    let entrypoints = running
        .entrypoints
        .iter()
        .map(|entrypoint| EntrypointHandle {
            name: Arc::clone(&entrypoint.name),
            protocol: entrypoint.protocol,
            address: entrypoint.local.to_string(),
            drain: Arc::clone(&entrypoint.drain),
            traffic: entrypoint.traffic().cloned(),
            certificates: (running.tls.get(&entrypoint.name))
                .map(|tls| Arc::clone(tls.certificates())),
        });
    let services = config.services.keys().filter_map(|name| {
        let (name, service) = running.services.get_key_value(name.as_str())?;
        let pools = service.servers().map(|(revision, servers)| PoolHandle {
            revision: revision.cloned(),
            servers: Arc::clone(servers),
        });
        Some(ServiceHandle {
            name: Arc::clone(name),
            pools: pools.collect(),
            mirror: service.mirror().cloned(),
            failover: service.failover().cloned(),
            hub: service.hub().cloned(),
            connections: service.connections().cloned(),
        })
    });
    let middlewares = config.middlewares.keys().filter_map(|name| {
        let middleware = running.middlewares.get(name.as_str())?;
        Some(MiddlewareHandle {
            signals: Arc::clone(middleware.signals()),
            state: middleware.state().cloned(),
        })
    });
    Snapshot {
        middlewares: middlewares.collect(),
        entrypoints: entrypoints.collect(),
        services: services.collect(),
        explainer,
        config: Arc::new(config),
    }
}

/// Drops what served until now, once no worker reads it: freeing ten thousand routes is not a thing to be
/// done between two requests.
fn discard(tables: Vec<Replaced>, before: (compile::Services, compile::Middlewares)) {
    const PATIENCE: Duration = Duration::from_millis(10);
    tokio::spawn(async move {
        while tables.iter().any(|table| Arc::strong_count(table) > 1) {
            tokio::time::sleep(PATIENCE).await;
        }
        tokio::task::spawn_blocking(move || drop((tables, before)));
    });
}
