//! From the swap on: what has been compiled and bound takes the place of what ran. Nothing of this can fail.

use super::{Key, Running, followers};
use crate::admin::{
    EntrypointHandle, MiddlewareHandle, PoolHandle, ServiceHandle, Snapshot, State,
};
use crate::compile::{self, Compiled};
use crate::config::{GatewayConfig, MiddlewareConfig};
use crate::dispatch::explain::Explainer;
use crate::gateway::Shared;
use crate::gateway::entrypoint::{Bound, Entrypoint, Replaced, end};
use crate::resolve::Prepared;
use crate::serve::listener::Bind;
use crate::telemetry::metrics::Present;
use crate::upstream::Servers;
use crate::upstream::probe::Check;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Shared {
    /// Steps 6 and 7.
    pub(super) fn swap(
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
    pub(super) fn end_series(&self, config: &GatewayConfig) {
        self.metrics.retain(&HasSeries(config));
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
