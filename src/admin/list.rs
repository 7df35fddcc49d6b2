//! Lists of which a part is asked for: `?search=api&offset=50&limit=25`.

use crate::rule::query_value;
use crate::stack::Response;
use a3s_layers::reject::{Shape, reject};
use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

/// The header that says how many there are of which a part is shown.
const TOTAL: &str = "x-total-count";

/// What is asked for of a list; all of it unless the query says otherwise.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Part {
    /// Only what has this text somewhere, in small letters.
    search: String,
    offset: usize,
    limit: Option<usize>,
}

impl Part {
    fn of(query: &str) -> Option<Self> {
        let number = |key| match query_value(query, key) {
            Some(text) => text.parse().map(Some),
            None => Ok(None),
        };
        Some(Self {
            search: query_value(query, "search")
                .unwrap_or_default()
                .to_lowercase(),
            offset: number("offset").ok()?.unwrap_or_default(),
            limit: number("limit").ok()?,
        })
    }

    /// Whether not all is asked for, however long it is.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether one of these texts has what is looked for.
    pub(super) fn has<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        self.search.is_empty()
            || (texts.into_iter()).any(|text| text.to_lowercase().contains(&self.search))
    }

    /// That part of `all` which is asked for; `is_wanted` looks for the text in one, and only what is shown is made.
    pub(super) fn list<T>(
        &self,
        all: impl IntoIterator<Item = T>,
        is_wanted: impl Fn(&T) -> bool,
        show: impl FnMut(T) -> Value,
    ) -> Response {
        let found: Vec<T> = all.into_iter().filter(is_wanted).collect();
        let total = found.len();
        let limit = self.limit.unwrap_or(usize::MAX);
        let shown = found.into_iter().skip(self.offset).take(limit);
        let mut headers = HeaderMap::new();
        headers.insert(TOTAL, HeaderValue::from(total));
        (headers, Json(shown.map(show).collect::<Value>())).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Part {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        Self::of(parts.uri.query().unwrap_or_default()).ok_or_else(|| {
            let message = "`offset` and `limit` must be numbers";
            reject(StatusCode::BAD_REQUEST, message, Shape::Json)
        })
    }
}

/// One of a list, or 404.
pub(super) fn one(found: Option<Value>, message: &'static str) -> Response {
    match found {
        Some(value) => Json(value).into_response(),
        None => reject(StatusCode::NOT_FOUND, message, Shape::Json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_from_the_query() {
        let part = |search: &str, offset, limit| {
            let search = search.to_owned();
            Some(Part {
                search,
                offset,
                limit,
            })
        };
        for (query, expected) in [
            ("", part("", 0, None)),
            ("search=A%20b", part("a b", 0, None)),
            ("offset=5&limit=10&x=y", part("", 5, Some(10))),
            ("limit=0", part("", 0, Some(0))),
            ("limit=-1", None),
            ("offset=", None),
            ("offset=99999999999999999999999", None),
        ] {
            assert_eq!(Part::of(query), expected, "{query}");
        }
    }
}
