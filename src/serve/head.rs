//! What is answered to a head before a service sees it.

use super::http_server::HttpLimits;
use super::walk::Walk;
use http::{HeaderMap, Method, StatusCode, Uri};

impl HttpLimits {
    /// What is answered to a request of HTTP/1.1 with this head by who reads it, and why; none where it passes. The
    /// same walks over it that walks over what comes from a socket.
    pub fn refuses(
        &self,
        method: &Method,
        target: &Uri,
        fields: &HeaderMap,
    ) -> Option<(StatusCode, &'static str)> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        for (name, value) in fields {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        let mut walk = Walk::default();
        let mut rest = &head[..];
        while !rest.is_empty() {
            match walk.step(rest, self.max_header_bytes) {
                Ok(step) if step.ends_head => break,
                Ok(step) => rest = &rest[step.taken..],
                Err(refusal) => return Some((refusal.status(), refusal.message())),
            }
        }
        too_many_fields(fields, self.max_headers)
    }
}

/// What is answered to more fields than there may be.
pub(super) fn too_many_fields(
    fields: &HeaderMap,
    max: usize,
) -> Option<(StatusCode, &'static str)> {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    (fields.len() > max).then_some((status, "the request has too many header fields"))
}
