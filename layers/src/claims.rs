//! What a verified token says of its bearer: an extension of the requests that a layer has let through.
//!
//! `auth::jwt` puts it there; handlers and other layers read it.
//!
//! ```
//! use a3s_layers::claims::Claims;
//! use http::Request;
//!
//! async fn handler(request: Request<()>) -> String {
//!     let claims = request.extensions().get::<Claims>();
//!     let user = claims.and_then(|claims| claims.text("sub"));
//!     format!("hello {}", user.as_deref().unwrap_or("stranger"))
//! }
//! # let token = serde_json::json!({ "sub": "ada", "realm_access": { "roles": ["admin"] } });
//! # let serde_json::Value::Object(token) = token else { panic!() };
//! # let mut request = Request::new(());
//! # request.extensions_mut().insert(Claims::new(token));
//! # assert_eq!(tokio_test::block_on(handler(request)), "hello ada");
//! ```

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The claims of a token whose signature, time and issuer have been checked. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Claims(Arc<Map<String, Value>>);

impl Claims {
    /// Says that these claims are true.
    pub fn new(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }

    /// All of them.
    pub fn map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The claim at `path`: its name, or the names that lead to it with dots between, as `realm_access.roles`.
    /// A name that has dots itself, as `https://example.com/role`, is found too, and before any path.
    pub fn get(&self, path: &str) -> Option<&Value> {
        find(&self.0, path)
    }

    /// The claim at `path` as text: a string, a number, or a truth value. Nothing else has one.
    pub fn text(&self, path: &str) -> Option<Cow<'_, str>> {
        scalar(self.get(path)?)
    }
}

/// Names no claim: they are somebody's personal data, and logs are no place for it.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

fn find<'v>(map: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(value) = map.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = map.get(&path[..dot])?.as_object()?;
        find(inner, &path[dot + 1..])
    })
}

/// A string, a number or a truth value as text.
pub(crate) fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_found_by_its_name_or_by_a_path() {
        let Value::Object(map) = json!({
            "sub": "ada",
            "level": 3,
            "admin": true,
            "none": null,
            "https://example.com/role": "editor",
            "a": { "b": { "c": "deep" }, "b.d": "dotted" },
            "a.b": { "e": "half" },
        }) else {
            unreachable!("an object")
        };
        let claims = Claims::new(map);
        for (path, expected) in [
            ("sub", Some("ada")),
            ("level", Some("3")),
            ("admin", Some("true")),
            ("none", None),
            ("https://example.com/role", Some("editor")),
            ("a.b.c", Some("deep")),
            ("a.b.d", Some("dotted")),
            ("a.b.e", Some("half")),
            ("a", None),
            ("a.b.x", None),
            ("sub.x", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(claims.text(path).as_deref(), expected, "{path}");
        }
        assert_eq!(format!("{claims:?}"), "Claims { .. }");
    }
}
