//! Services and their servers: how each stands, and draining one by hand.

use super::list::{Part, one};
use super::live::{Live, ServiceHandle, Snapshot};
use super::views::Name;
use crate::config::{GatewayConfig, ServiceConfig};
use crate::stack::{Request, Response};
use crate::upstream::hub::Hub;
use crate::upstream::{ConnectionCounts, Server};
use a3s_layers::endpoint::{Endpoint, Trouble};
use a3s_layers::error::Failure;
use a3s_layers::mirror::MirrorCounts;
use a3s_layers::peer::client_ip;
use a3s_layers::reject::{Shape, reject};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Of};
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// All that is said to a server is shorter.
const MAX_BODY: usize = 1024;

const WISHES: &str = r#"the body must be {"state": "drain"} or {"state": "up"}"#;

/// What somebody wants of a server.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    state: Wanted,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Drain,
    Up,
}

type Names = Result<Path<(String, String)>, PathRejection>;

pub(super) async fn services(Of(live): Of<Arc<Live>>, part: Part) -> Response {
    let snapshot = live.snapshot();
    let is_wanted = |service: &&ServiceHandle| {
        part.has([&*service.name])
            || (service.servers().iter()).any(|server| part.has([server.endpoint.id()]))
    };
    part.list(&snapshot.services, is_wanted, |service| {
        show_service(&live, &snapshot, service)
    })
}

pub(super) async fn service(Of(live): Of<Arc<Live>>, name: Name) -> Response {
    let snapshot = live.snapshot();
    let mut all = snapshot.services.iter();
    let found = name.ok().and_then(|Path(name)| {
        let service = all.find(|each| *each.name == *name)?;
        Some(show_service(&live, &snapshot, service))
    });
    one(found, "no such service")
}

fn show_service(live: &Live, snapshot: &Snapshot, service: &ServiceHandle) -> Value {
    let config = snapshot.config.services.get(&*service.name);
    let mut shown = Map::new();
    shown.insert("name".to_owned(), json!(service.name));
    let (key, value) = pools(service, config);
    shown.insert(key.to_owned(), value);
    if let Some(is_panic) = panics(service, config) {
        shown.insert("panic".to_owned(), json!(is_panic));
    }
    if let Some(course) = &service.failover {
        let other = config.and_then(|config| config.failover.as_ref());
        let failover = json!({
            "service": other.map(|other| &other.service),
            "active": course.is_active(),
            "requests": course.requests(),
        });
        shown.insert("failover".to_owned(), failover);
    }
    if service.connections.is_none() {
        let totals = live.metrics().service_totals(&service.name);
        shown.extend(super::views::exchanges(&totals));
    }
    if let Some(counts) = &service.mirror {
        shown.insert("mirror".to_owned(), mirror(counts));
    }
    if let Some(hub) = &service.hub {
        shown.insert("websocket_hub".to_owned(), websocket_hub(hub));
    }
    if let Some(counts) = &service.connections {
        shown.insert("connections".to_owned(), connections(counts));
    }
    Value::Object(shown)
}

/// Whether a pool of it has so few servers that are well that it asks them all, as its balance does; none where no
/// threshold is set.
fn panics(service: &ServiceHandle, config: Option<&ServiceConfig>) -> Option<bool> {
    let balancer = config?.load_balancer.as_ref()?;
    let threshold = usize::from(balancer.panic_threshold_percent);
    let mut pools = service.pools.iter();
    (threshold > 0).then(|| {
        pools.any(|pool| {
            let servers = pool.servers.list();
            let weighted = servers.iter().filter(|server| server.weight > 0);
            let (mut all, mut available) = (0, 0);
            for server in weighted {
                all += 1;
                available += usize::from(server.endpoint.is_available());
            }
            available * 100 < threshold * all
        })
    })
}

fn connections(counts: &ConnectionCounts) -> Value {
    let ended = counts.ended();
    let ended: Map<_, _> = ended
        .map(|(end, count)| (end.as_str().to_owned(), json!(count)))
        .collect();
    json!({
        "open": counts.open(),
        "opened": counts.opened(),
        "ended": ended,
        "received_bytes": counts.received(),
        "sent_bytes": counts.sent(),
    })
}

fn mirror(counts: &MirrorCounts) -> Value {
    let told = counts.told();
    json!({
        "in_flight": told.in_flight,
        "answered": told.answered,
        "failed": told.failed,
        "dropped": {
            "full": told.dropped_full,
            "too_large": told.dropped_too_large,
            "incomplete": told.dropped_incomplete,
        },
    })
}

fn websocket_hub(hub: &Hub) -> Value {
    let counts = hub.counts();
    json!({
        "connections": counts.connections,
        "channels": counts.channels,
        "subscriptions": counts.subscriptions,
        "buffered_bytes": counts.buffered_bytes,
        "published": counts.published,
        "delivered": counts.delivered,
        "dropped": counts.dropped,
    })
}

/// The servers of a service, by revision if it has revisions.
fn pools(service: &ServiceHandle, config: Option<&ServiceConfig>) -> (&'static str, Value) {
    let is_split = service.pools.iter().any(|pool| pool.revision.is_some());
    if !is_split {
        return ("servers", service.servers().iter().map(view).collect());
    }
    let revisions = service.pools.iter().map(|pool| {
        let servers: Value = pool.servers.list().iter().map(view).collect();
        let mut known = config.iter().flat_map(|config| &config.revisions);
        let known = known.find(|each| pool.revision.as_deref() == Some(&*each.name));
        json!({
            "name": pool.revision,
            "traffic_percent": known.map(|each| each.traffic_percent),
            "servers": servers,
        })
    });
    ("revisions", revisions.collect())
}

fn view(
    Server {
        endpoint, weight, ..
    }: &Server,
) -> Value {
    let standing = endpoint.standing();
    let why: Map<_, _> = (standing.troubles.iter())
        .map(|(trouble, why)| (trouble.as_str().to_owned(), json!(why)))
        .collect();
    json!({
        "url": endpoint.id(),
        "weight": weight,
        "state": standing.as_str(),
        "why": why,
        "since": seconds(standing.since),
        "in_flight": endpoint.in_flight(),
        "requests": endpoint.requests(),
        "failures": endpoint.failures(),
        "ejections": endpoint.ejections(),
        "ejected_until": endpoint.ejected_until().map(seconds),
        "last_failure": endpoint.last_failure().map(|failure| json!({
            "at": seconds(failure.at),
            "reason": failure.reason,
        })),
        "last_probe": endpoint.last_probe().map(|probe| json!({
            "at": seconds(probe.at),
            "fault": probe.fault,
        })),
        "ewma_ms": endpoint.ewma().map(|ewma| ewma.as_micros() as f64 / 1e3),
    })
}

/// Since 1970.
fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What a server may be called in the path of a page, where its URL would have to be encoded: its host and port, or the
/// path of its socket.
fn short(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest,
        None => url.strip_prefix("unix:").unwrap_or(url),
    }
}

/// A server of a service, and the revision that it is of.
struct Named {
    revision: Option<Arc<str>>,
    server: Server,
}

/// The servers that the path of a page names, by their URL or in short; never none. Each revision may have one.
fn find(live: &Live, names: Names) -> Result<Vec<Named>, (StatusCode, &'static str)> {
    let Ok(Path((service, name))) = names else {
        return Err((StatusCode::BAD_REQUEST, "the path is not UTF-8"));
    };
    let snapshot = live.snapshot();
    let mut services = snapshot.services.iter();
    let service = services.find(|each| *each.name == *service);
    let service = service.ok_or((StatusCode::NOT_FOUND, "no such service"))?;
    let mut named = Vec::new();
    for pool in &service.pools {
        for server in pool.servers.list().iter() {
            let url = server.endpoint.id();
            if url == name || short(url) == name {
                named.push(Named {
                    revision: pool.revision.clone(),
                    server: server.clone(),
                });
            }
        }
    }
    match named.is_empty() {
        true => Err((StatusCode::NOT_FOUND, "no such server")),
        false => Ok(named),
    }
}

fn show(servers: &[Named]) -> Response {
    let views = servers.iter().map(|Named { revision, server }| {
        let mut view = view(server);
        if let Some(revision) = revision {
            view["revision"] = json!(revision);
        }
        view
    });
    Json(views.collect::<Value>()).into_response()
}

fn refuse((status, message): (StatusCode, &'static str)) -> Response {
    reject(status, message, Shape::Json)
}

pub(super) async fn server(Of(live): Of<Arc<Live>>, names: Names) -> Response {
    match find(&live, names) {
        Ok(servers) => show(&servers),
        Err(refusal) => refuse(refusal),
    }
}

/// Behind a router, which may stand open to the world, nothing is changed.
pub(super) async fn not_here() -> Response {
    let message = "servers are drained on the admin API's own listener only";
    refuse((StatusCode::FORBIDDEN, message))
}

/// Drains a server, or has it up again.
pub(super) async fn steer(Of(live): Of<Arc<Live>>, names: Names, request: Request) -> Response {
    match steered(&live, names, request).await {
        Ok(servers) => show(&servers),
        Err(refusal) => refuse(refusal),
    }
}

async fn steered(
    live: &Live,
    names: Names,
    request: Request,
) -> Result<Vec<Named>, (StatusCode, &'static str)> {
    if !asks_for_token(&live.snapshot().config) {
        let message = "servers are drained with a token only: set `admin.token`";
        return Err((StatusCode::FORBIDDEN, message));
    }
    if !is_json(request.headers()) {
        let message = "the content type must be application/json";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let client = client_ip(&request).map_or_else(|| "nowhere".to_owned(), |ip| ip.to_string());
    let body = axum::body::to_bytes(request.into_body(), MAX_BODY).await;
    let body = body.map_err(|error| {
        let failure = Failure::of_request_body(&error);
        (failure.status(), failure.message())
    })?;
    let wish: Wish =
        serde_json::from_slice(&body).map_err(|_| (StatusCode::BAD_REQUEST, WISHES))?;
    let servers = find(live, names)?;
    for Named { server, .. } in &servers {
        wish.come_true(&server.endpoint, &client);
    }
    Ok(servers)
}

impl Wish {
    fn come_true(self, endpoint: &Endpoint, client: &str) {
        let server = endpoint.id();
        match self.state {
            Wanted::Drain if endpoint.has(Trouble::Drained) => {}
            Wanted::Drain => {
                endpoint.set(Trouble::Drained, format!("by hand, from {client}"));
                tracing::info!(server, client, "a server is drained by hand");
            }
            Wanted::Up => {
                if endpoint.clear(Trouble::Drained) {
                    tracing::info!(server, client, "a server is no longer drained");
                }
            }
        }
    }
}

/// Whoever comes here has shown the token, if there is one.
fn asks_for_token(config: &GatewayConfig) -> bool {
    let admin = config.admin.as_ref();
    admin.is_some_and(|admin| admin.token.is_some())
}

/// A web page can send this type to nobody who has not allowed it.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    value.is_some_and(|value| {
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}
