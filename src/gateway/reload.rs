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
//! Nothing before the swap can be noticed from outside, and nothing after it can fail: what may fail is here, and the
//! rest in [`swap`].

mod shutdown;
mod swap;

use super::Shared;
use super::entrypoint::{Bound, Entrypoint, bind, listen};
use super::explain::stand_ins;
use super::prove::prove;
use crate::admin::{self, Change, InOneLine, Problem, State};
use crate::compile::{self, Compiled, Kept};
use crate::config::{Address, ConfigError, Diagnostic, Diagnostics, GatewayConfig, Protocol};
use crate::dispatch::explain::Explainer;
use crate::error::{Error, Result};
use crate::health::Health;
use crate::resolve::{Follower, Resolver};
use crate::serve::listener::Bind;
use crate::serve::worker::Workers;
use crate::telemetry::metrics::Metrics;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

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
}
