//! The answers of the admin API.

use super::live::{Live, Reload, State};
use crate::rule::Protocol;
use crate::upstream::Server;
use axum::Json;
use axum::extract::State as Of;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How the gateway is.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// `healthy`; `degraded`: the configuration that was last read does not run; `draining`: it is about to end.
    pub status: &'static str,
    /// Seconds since it was made.
    pub uptime_secs: u64,
    /// The version of this program.
    pub version: &'static str,
    /// Servers of each service.
    pub services: BTreeMap<String, usize>,
    /// How the last change of the configuration ended.
    pub last_reload: Option<Reload>,
}

impl Live {
    /// How the gateway is.
    pub fn health(&self) -> Health {
        let last_reload = self.last_reload();
        let status = match (self.state(), &last_reload) {
            (State::Draining | State::Stopped, _) => "draining",
            (_, Some(reload)) if !reload.success => "degraded",
            _ => "healthy",
        };
        let services = self.snapshot();
        Health {
            status,
            uptime_secs: self.uptime_secs(),
            version: env!("CARGO_PKG_VERSION"),
            services: services
                .services
                .iter()
                .map(|service| (service.name.to_string(), service.servers().len()))
                .collect(),
            last_reload: last_reload.map(|reload| (*reload).clone()),
        }
    }

    /// All metrics in OpenMetrics text.
    pub fn metrics_text(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(self))));
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

#[derive(Debug)]
struct Scrape(Arc<Live>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.metrics().encode(&mut encoder)?;
        let snapshot = self.0.snapshot();
        let mut family = encoder.encode_descriptor(
            "gateway_open_connections",
            "Open connections by entrypoint",
            None,
            MetricType::Gauge,
        )?;
        for entrypoint in &snapshot.entrypoints {
            let labels = [("entrypoint", &*entrypoint.name)];
            let metric = family.encode_family(&labels)?;
            ConstGauge::new(entrypoint.drain.open() as i64).encode(metric)?;
        }
        let mut family = encoder.encode_descriptor(
            "gateway_service_server_in_flight",
            "Exchanges under way by server",
            None,
            MetricType::Gauge,
        )?;
        for service in &snapshot.services {
            for Server { endpoint, .. } in service.servers() {
                let labels = [("service", &*service.name), ("server", endpoint.id())];
                let metric = family.encode_family(&labels)?;
                ConstGauge::new(endpoint.in_flight() as i64).encode(metric)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "gateway_service_server_requests",
            "Requests sent by server",
            None,
            MetricType::Counter,
        )?;
        for service in &snapshot.services {
            for Server { endpoint, .. } in service.servers() {
                let labels = [("service", &*service.name), ("server", endpoint.id())];
                let metric = family.encode_family(&labels)?;
                ConstCounter::new(endpoint.requests()).encode(metric)?;
            }
        }
        Ok(())
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

pub(super) async fn metrics(Of(live): Of<Arc<Live>>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], live.metrics_text())
}

pub(super) async fn config(Of(live): Of<Arc<Live>>) -> impl IntoResponse {
    Json(live.snapshot().config.as_ref().clone())
}

pub(super) async fn entrypoints(Of(live): Of<Arc<Live>>) -> Json<Value> {
    let snapshot = live.snapshot();
    let list = snapshot.entrypoints.iter().map(|entrypoint| {
        json!({
            "name": entrypoint.name,
            "protocol": entrypoint.protocol,
            "address": entrypoint.address,
            "open_connections": entrypoint.drain.open(),
        })
    });
    Json(list.collect())
}

pub(super) async fn routers(Of(live): Of<Arc<Live>>) -> Json<Value> {
    let snapshot = live.snapshot();
    let config = &snapshot.config;
    let list = config.routers.iter().map(|(name, router)| {
        let protocol = config.protocol_of(router).unwrap_or(Protocol::Http);
        json!({
            "name": name,
            "rule": router.rule.as_str(),
            "priority": router.rank(protocol),
            "service": router.service,
            "entrypoints": router.entrypoints,
            "middlewares": router.middlewares,
            "responses": responses(live.metrics().router_responses(name)),
        })
    });
    Json(list.collect())
}

pub(super) async fn services(Of(live): Of<Arc<Live>>) -> Json<Value> {
    let snapshot = live.snapshot();
    let list = snapshot.services.iter().map(|service| {
        let servers = service.servers();
        let servers = servers.iter().map(|Server { endpoint, .. }| {
            json!({
                "url": endpoint.id(),
                "in_flight": endpoint.in_flight(),
                "requests": endpoint.requests(),
                "failures": endpoint.failures(),
            })
        });
        json!({
            "name": service.name,
            "servers": servers.collect::<Value>(),
            "responses": responses(live.metrics().service_responses(&service.name)),
        })
    });
    Json(list.collect())
}

pub(super) async fn middlewares(Of(live): Of<Arc<Live>>) -> Json<Value> {
    let snapshot = live.snapshot();
    let config = &snapshot.config;
    let list = config.middlewares.iter().map(|(name, middleware)| {
        let uses = |list: &[String]| list.contains(name);
        let routers = config.routers.iter();
        let entrypoints = config.entrypoints.iter();
        json!({
            "name": name,
            "type": middleware.kind(),
            "routers": routers.filter(|(_, each)| uses(&each.middlewares)).map(|(name, _)| name).collect::<Vec<_>>(),
            "entrypoints": entrypoints.filter(|(_, each)| uses(&each.middlewares)).map(|(name, _)| name).collect::<Vec<_>>(),
        })
    });
    Json(list.collect())
}

fn responses(counts: [u64; 5]) -> Value {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let counts = classes.iter().zip(counts);
    counts
        .map(|(class, count)| ((*class).to_owned(), Value::from(count)))
        .collect()
}
