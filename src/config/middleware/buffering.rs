//! `type = "buffering"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::values::size;
use serde::{Deserialize, Serialize};

/// Reads the whole body of a request before a server is asked, and that of a response before it goes to the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BufferingConfig {
    /// The most bytes of a request's body; 0 lets requests stream.
    #[serde(with = "size")]
    pub max_request_body: usize,
    /// The most bytes of a response's body; 0 lets responses stream.
    #[serde(with = "size")]
    pub max_response_body: usize,
    /// The most bytes of all bodies that are held at a time.
    #[serde(with = "size")]
    pub max_memory: usize,
}

impl Default for BufferingConfig {
    fn default() -> BufferingConfig {
        BufferingConfig {
            max_request_body: 1 << 20,
            max_response_body: 1 << 20,
            max_memory: 64 << 20,
        }
    }
}

impl Settings for BufferingConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        const GIB: usize = 1 << 30;
        place.size("max_request_body", self.max_request_body, 0, GIB);
        place.size("max_response_body", self.max_response_body, 0, GIB);
        place.size("max_memory", self.max_memory, 64 << 10, 1024 * GIB);
        let largest = self.max_request_body.max(self.max_response_body);
        if largest == 0 {
            let message =
                "`max_request_body` and `max_response_body` are both 0: nothing would be buffered";
            place.choice("max_request_body", message);
        } else if self.max_memory < largest && place.is_whole() {
            place.choice("max_memory", "one body alone could need more");
        }
    }
}
