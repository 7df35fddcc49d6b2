//! What requests are hashed on: `client-ip`, `header:X`, `cookie:X`, `path`.

use super::{STAND_IN, ValueError, parsed};
use a3s_layers::balance::HashOn;
use serde::{Deserializer, Serializer};

fn parse(text: &str) -> Result<HashOn, ValueError> {
    if text == STAND_IN {
        return Ok(HashOn::ClientIp);
    }
    text.parse().map_err(|_| {
        ValueError::new(format!("requests are not hashed on `{text}`"))
            .help("write `client-ip`, `header:NAME`, `cookie:NAME` or `path`")
    })
}

pub(crate) fn serialize<S: Serializer>(value: &HashOn, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashOn, D::Error> {
    parsed(deserializer, "what to hash, such as \"client-ip\"", parse)
}
