//! Where the pages of errors are: a path and query with `{status}` and `{url}` in it.

use super::{STAND_IN, ValueError, parsed};
use a3s_layers::error_pages::PageQuery;
use serde::{Deserializer, Serializer};

fn parse(text: &str) -> Result<PageQuery, ValueError> {
    if text == STAND_IN {
        return Ok(PageQuery::default());
    }
    text.parse().map_err(|error| {
        ValueError::new(format!("`{text}`: {error}")).help("write it like \"/{status}.html\"")
    })
}

pub(crate) fn serialize<S: Serializer>(
    value: &PageQuery,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PageQuery, D::Error> {
    parsed(deserializer, "a path such as \"/{status}.html\"", parse)
}
