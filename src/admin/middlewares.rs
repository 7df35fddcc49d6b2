//! Middlewares, and who names them.

use super::Live;
use super::list::{Part, one};
use super::views::Name;
use crate::config::{GatewayConfig, MiddlewareConfig};
use crate::stack::Response;
use axum::extract::{Path, State as Of};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// How many of those who name one are shown in a list of which a part is asked for.
const FEW: usize = 20;

/// Who names a middleware.
#[derive(Debug, Default)]
struct Uses<'c> {
    routers: Vec<&'c str>,
    entrypoints: Vec<&'c str>,
    chains: Vec<&'c str>,
}

/// The uses of each of `config`, found in one go.
fn uses(config: &GatewayConfig) -> HashMap<&str, Uses<'_>> {
    let mut all: HashMap<&str, Uses<'_>> = HashMap::new();
    for (name, router) in &config.routers {
        for each in &router.middlewares {
            all.entry(each).or_default().routers.push(name);
        }
    }
    for (name, entrypoint) in &config.entrypoints {
        for each in &entrypoint.middlewares {
            all.entry(each).or_default().entrypoints.push(name);
        }
    }
    for (name, middleware) in &config.middlewares {
        if let MiddlewareConfig::Chain(chain) = middleware {
            for each in &chain.middlewares {
                all.entry(each).or_default().chains.push(name);
            }
        }
    }
    all
}

fn show(name: &str, middleware: &MiddlewareConfig, uses: Option<&Uses<'_>>, most: usize) -> Value {
    let none = Uses::default();
    let uses = uses.unwrap_or(&none);
    let few = |names: &[&str]| json!(names.iter().take(most).collect::<Vec<_>>());
    json!({
        "name": name,
        "type": middleware.kind(),
        "routers": few(&uses.routers),
        "entrypoints": few(&uses.entrypoints),
        "chains": few(&uses.chains),
        "uses": uses.routers.len() + uses.entrypoints.len() + uses.chains.len(),
    })
}

pub(super) async fn middlewares(Of(live): Of<Arc<Live>>, part: Part) -> Response {
    let snapshot = live.snapshot();
    let uses = uses(&snapshot.config);
    let most = if part.is_limited() { FEW } else { usize::MAX };
    let is_wanted = |(name, each): &(&String, &MiddlewareConfig)| part.has([&**name, each.kind()]);
    part.list(&snapshot.config.middlewares, is_wanted, |(name, each)| {
        show(name, each, uses.get(&**name), most)
    })
}

pub(super) async fn middleware(Of(live): Of<Arc<Live>>, name: Name) -> Response {
    let snapshot = live.snapshot();
    let found = name.ok().and_then(|Path(name)| {
        let middleware = snapshot.config.middlewares.get(&name)?;
        let uses = uses(&snapshot.config);
        let mut shown = show(&name, middleware, uses.get(&*name), usize::MAX);
        shown["settings"] = json!(middleware);
        Some(shown)
    });
    one(found, "no such middleware")
}
