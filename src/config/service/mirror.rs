//! `mirror { }`.

use crate::config::values::size;
use serde::{Deserialize, Serialize};

/// Another service that gets copies of the requests, and whose answers nobody sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorConfig {
    /// The other service.
    pub service: String,
    /// How many of a hundred requests are copied.
    #[serde(default = "hundred")]
    pub percentage: u8,
    /// The longest body that is copied; a request with a longer one is not.
    #[serde(default = "mebibyte", with = "size")]
    pub max_body: usize,
}

fn hundred() -> u8 {
    100
}

fn mebibyte() -> usize {
    1 << 20
}
