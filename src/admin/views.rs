//! The answers of the admin API.

use super::list::{Part, one};
use super::live::{EntrypointHandle, Live, PoolHandle, Reload, ServiceHandle, Snapshot, State};
use super::scrape::form_of;
use crate::config::Redactor;
use crate::config::{self, RouterConfig, ServiceConfig};
use crate::rule::Protocol;
use crate::stack::Response;
use crate::stack::drain::Drain;
use crate::stack::udp::Traffic;
use crate::telemetry::metrics::Totals;
use crate::upstream::Server;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Of};
use axum::response::IntoResponse;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the path of a page names.
pub(super) type Name = Result<Path<String>, PathRejection>;

/// How the gateway is.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// `healthy`; `degraded`: the configuration that was last read does not run, or a service has no server that
    /// takes requests; `draining`: it is about to end.
    pub status: &'static str,
    /// Seconds since it was made.
    pub uptime_secs: u64,
    /// The version of this program.
    pub version: &'static str,
    /// Each service.
    pub services: BTreeMap<String, ServiceHealth>,
    /// How the last change of the configuration ended.
    pub last_reload: Option<Reload>,
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ServiceHealth {
    /// Its servers; none where it has a fixed answer.
    pub servers: usize,
    /// Those that take new requests: nothing is wrong with them, and their weight, or the share of their revision, is
    /// not 0.
    pub available: usize,
}

impl ServiceHealth {
    fn of(service: &ServiceHandle, config: Option<&ServiceConfig>) -> Self {
        let revisions = config.map_or(&[][..], |config| &config.revisions);
        let has_share = |pool: &PoolHandle| {
            let mut revisions = revisions.iter();
            let name = pool.revision.as_deref();
            !revisions.any(|each| name == Some(&*each.name) && each.traffic_percent == 0)
        };
        let takes_new = |server: &&Server| server.weight > 0 && server.endpoint.takes_new();
        let mut health = Self {
            servers: 0,
            available: 0,
        };
        for pool in &service.pools {
            let servers = pool.servers.list();
            health.servers += servers.len();
            if has_share(pool) {
                health.available += servers.iter().filter(takes_new).count();
            }
        }
        health
    }
}

impl Live {
    /// How the gateway is.
    pub fn health(&self) -> Health {
        let last_reload = self.last_reload();
        let is_stale = last_reload.as_ref().is_some_and(|last| !last.success);
        let snapshot = self.snapshot();
        let mut services = BTreeMap::new();
        let mut lacks_servers = false;
        for service in &snapshot.services {
            let health = ServiceHealth::of(service, snapshot.config.services.get(&*service.name));
            lacks_servers |= health.available == 0 && !service.pools.is_empty();
            services.insert(service.name.to_string(), health);
        }
        let status = match self.state() {
            State::Draining | State::Stopped => "draining",
            _ if is_stale || lacks_servers => "degraded",
            _ => "healthy",
        };
        Health {
            status,
            uptime_secs: self.uptime_secs(),
            version: env!("CARGO_PKG_VERSION"),
            services,
            last_reload: last_reload.map(|reload| (*reload).clone()),
        }
    }
}

pub(super) async fn health(Of(live): Of<Arc<Live>>) -> Json<Health> {
    Json(live.health())
}

pub(super) async fn ready(Of(live): Of<Arc<Live>>) -> impl IntoResponse {
    match live.state() {
        State::Running => (StatusCode::OK, Json(json!({ "ready": true }))),
        _ => {
            let no = Json(json!({ "ready": false }));
            (StatusCode::SERVICE_UNAVAILABLE, no)
        }
    }
}

pub(super) async fn live(Of(live): Of<Arc<Live>>) -> Json<Value> {
    Json(json!({ "live": true, "state": live.state() }))
}

pub(super) async fn metrics(Of(live): Of<Arc<Live>>, headers: HeaderMap) -> impl IntoResponse {
    let form = form_of(&headers);
    (
        [(CONTENT_TYPE, form.content_type()), (VARY, "accept")],
        live.metrics_text(form),
    )
}

pub(super) async fn config(Of(live): Of<Arc<Live>>) -> impl IntoResponse {
    let snapshot = live.snapshot();
    let secrets = &snapshot.explainer.secrets;
    Json(snapshot.config.without_secrets(Redactor {
        url: &|url| secrets.of_url(url),
        header: &|name, value| secrets.of_header(name, value),
    }))
}

pub(super) async fn entrypoints(Of(live): Of<Arc<Live>>, part: Part) -> Response {
    let snapshot = live.snapshot();
    let is_wanted = |each: &&EntrypointHandle| part.has([&*each.name, &*each.address]);
    part.list(&snapshot.entrypoints, is_wanted, |each| {
        show_entrypoint(&live, each)
    })
}

pub(super) async fn entrypoint(Of(live): Of<Arc<Live>>, name: Name) -> Response {
    let snapshot = live.snapshot();
    let mut all = snapshot.entrypoints.iter();
    let found = name.ok().and_then(|Path(name)| {
        let found = all.find(|each| *each.name == *name)?;
        Some(show_entrypoint(&live, found))
    });
    one(found, "no such entrypoint")
}

fn show_entrypoint(live: &Live, entrypoint: &EntrypointHandle) -> Value {
    let mut shown = json!({
        "name": entrypoint.name,
        "protocol": entrypoint.protocol,
        "address": entrypoint.address,
        "tls": entrypoint.certificates.is_some(),
    });
    if entrypoint.protocol == config::Protocol::Http {
        let totals = live.metrics().entrypoint_totals(&entrypoint.name);
        add(&mut shown, exchanges(&totals));
    }
    let open = entrypoint.drain.open();
    match &entrypoint.traffic {
        None => {
            shown["open_connections"] = open.into();
            shown["refused_connections"] = refused(&entrypoint.drain);
        }
        Some(traffic) => shown["udp"] = datagrams(open, traffic),
    }
    shown
}

fn refused(drain: &Drain) -> Value {
    let counts = drain.refused();
    counts
        .map(|(why, count)| (why.as_str().to_owned(), Value::from(count)))
        .collect()
}

fn datagrams(open: usize, traffic: &Traffic) -> Value {
    let (from_clients, bytes_from_clients) = traffic.from_clients();
    let (to_clients, bytes_to_clients) = traffic.to_clients();
    let dropped = traffic.dropped();
    let dropped = dropped.map(|(why, count)| (why.as_str().to_owned(), Value::from(count)));
    json!({
        "open_sessions": open,
        "sessions": traffic.begun(),
        "evicted": traffic.evicted(),
        "datagrams_from_clients": from_clients,
        "bytes_from_clients": bytes_from_clients,
        "datagrams_to_clients": to_clients,
        "bytes_to_clients": bytes_to_clients,
        "dropped": dropped.collect::<Value>(),
    })
}

pub(super) async fn routers(Of(live): Of<Arc<Live>>, part: Part) -> Response {
    let snapshot = live.snapshot();
    let is_wanted = |(name, router): &(&String, &RouterConfig)| {
        let texts = [&**name, router.rule.as_str(), &*router.service];
        part.has((texts.into_iter()).chain(router.middlewares.iter().map(String::as_str)))
    };
    part.list(&snapshot.config.routers, is_wanted, |(name, router)| {
        show_router(&live, &snapshot, name, router)
    })
}

pub(super) async fn router(Of(live): Of<Arc<Live>>, name: Name) -> Response {
    let snapshot = live.snapshot();
    let found = name.ok().and_then(|Path(name)| {
        let router = snapshot.config.routers.get(&name)?;
        Some(show_router(&live, &snapshot, &name, router))
    });
    one(found, "no such router")
}

fn show_router(live: &Live, snapshot: &Snapshot, name: &str, router: &RouterConfig) -> Value {
    let config = &snapshot.config;
    let protocol = config.protocol_of(router).unwrap_or(Protocol::Http);
    let mut shown = json!({
        "name": name,
        "rule": router.rule.as_str(),
        "priority": router.rank(protocol),
        "service": router.service,
        "entrypoints": router.entrypoints,
        "middlewares": router.middlewares,
    });
    if protocol == Protocol::Http {
        let totals = live.metrics().router_totals(name, &router.service);
        add(&mut shown, exchanges(&totals));
    }
    shown
}

/// More of what is an object.
fn add(shown: &mut Value, more: impl IntoIterator<Item = (String, Value)>) {
    if let Some(shown) = shown.as_object_mut() {
        shown.extend(more);
    }
}

pub(super) async fn reloads(Of(live): Of<Arc<Live>>) -> Json<Value> {
    Json(live.history().shown())
}

pub(super) async fn warnings(Of(live): Of<Arc<Live>>) -> Json<Value> {
    Json(json!(*live.warnings()))
}

/// What is shown of the exchanges of an entrypoint, a router or a service.
pub(super) fn exchanges(totals: &Totals) -> [(String, Value); 3] {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter();
    let by_class = classes.zip(totals.by_class);
    let requests: Map<_, _> = std::iter::once(("total", totals.requests))
        .chain(by_class)
        .map(|(class, count)| (class.to_owned(), Value::from(count)))
        .collect();
    let [p50, p90, p99] = totals
        .latency
        .map(|time| time.map(|time| time.as_micros() as f64 / 1e3));
    let latency = json!({ "p50": p50, "p90": p90, "p99": p99 });
    [
        ("requests".to_owned(), requests.into()),
        ("in_flight".to_owned(), totals.in_flight.into()),
        ("latency_ms".to_owned(), latency),
    ]
}
