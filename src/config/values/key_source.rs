//! What requests are counted by: `client-ip`, `header:X`, `claim:X`, `path`, `global`.

use super::{STAND_IN, ValueError, parsed};
use a3s_layers::key::KeySource;
use serde::{Deserializer, Serializer};

fn parse(text: &str) -> Result<KeySource, ValueError> {
    if text == STAND_IN {
        return Ok(KeySource::Global);
    }
    text.parse().map_err(|_| {
        ValueError::new(format!("requests are not counted by `{text}`"))
            .help("write `client-ip`, `header:NAME`, `claim:NAME`, `path` or `global`")
    })
}

pub(crate) fn serialize<S: Serializer>(
    value: &KeySource,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<KeySource, D::Error> {
    parsed(deserializer, "a key such as \"client-ip\"", parse)
}
