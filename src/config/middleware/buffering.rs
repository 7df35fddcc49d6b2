//! `type = "buffering"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reads the whole body of a request before a server is asked, and that of a response before it goes to the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BufferingConfig {
    /// The most bytes of a request's body; 0 lets requests stream.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_request_body: usize,
    /// The most bytes of a response's body; 0 lets responses stream.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
    pub max_response_body: usize,
    /// The most bytes of all bodies that are held at a time.
    #[serde(with = "size")]
    #[schemars(with = "schema::Size")]
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
        let bodies = [
            ("max_request_body", self.max_request_body),
            ("max_response_body", self.max_response_body),
        ];
        let (key, largest) = match bodies {
            [request, response] if request.1 >= response.1 => request,
            [_, response] => response,
        };
        if largest == 0 {
            let message =
                "`max_request_body` and `max_response_body` are both 0: nothing would be buffered";
            place.choice("max_request_body", message);
        } else if largest <= GIB && self.max_memory < largest && place.is_whole() {
            let [body, memory] = [largest, self.max_memory].map(size::format);
            let message = format!(
                "`{key}` ({body}) is more than `max_memory` ({memory}): one body alone could need more"
            );
            let is_usual = self.max_memory == BufferingConfig::default().max_memory;
            place.choice(if is_usual { key } else { "max_memory" }, message);
        }
    }
}
