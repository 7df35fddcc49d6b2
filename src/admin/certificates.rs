//! Who the entrypoints say that they are, and until when.

use super::Live;
use crate::stack::identity::{Identity, SOON};
use axum::Json;
use axum::extract::State as Of;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

pub(super) async fn certificates(Of(live): Of<Arc<Live>>) -> Json<Value> {
    let snapshot = live.snapshot();
    let mut list = Vec::new();
    for entrypoint in &snapshot.entrypoints {
        let certificates = entrypoint.certificates.iter().flat_map(|all| all.list());
        for (index, identity) in certificates.enumerate() {
            list.push(json!({
                "entrypoint": entrypoint.name,
                "names": *identity.names,
                "default": index == 0,
                "not_after": identity.not_after.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
                "state": state(&identity),
            }));
        }
    }
    Json(Value::Array(list))
}

fn state(identity: &Identity) -> &'static str {
    match identity.left() {
        None => "expired",
        Some(left) if left < SOON => "ending",
        Some(_) => "valid",
    }
}
