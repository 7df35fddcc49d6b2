//! The fields of a line of the access log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A field of a line of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogField {
    /// When the request came, in RFC 3339.
    Timestamp,
    /// The client's address.
    ClientIp,
    /// The method.
    Method,
    /// The host that was asked for.
    Host,
    /// The target, as the client sent it.
    Path,
    /// The version of HTTP.
    Protocol,
    /// The status; 499 where the client went away before there was one.
    Status,
    /// Bytes of the request's body that were read.
    RequestBytes,
    /// Bytes of the answer's body.
    ResponseBytes,
    /// Milliseconds from the request to the end of its answer.
    DurationMs,
    /// Milliseconds from the last try at a server to the head of its answer.
    UpstreamDurationMs,
    /// The entrypoint.
    Entrypoint,
    /// The router.
    Router,
    /// The service.
    Service,
    /// The server that was asked last.
    Backend,
    /// Tries at servers after the first one.
    Retries,
    /// Why it ended as it did.
    Reason,
    /// What the client calls itself.
    UserAgent,
    /// The ID that `request-id` gave it.
    RequestId,
    /// The trace that it belongs to.
    TraceId,
    /// The version of TLS.
    TlsVersion,
}

impl LogField {
    /// Each of them, in the order in which they are written.
    pub const ALL: [Self; 21] = [
        Self::Timestamp,
        Self::ClientIp,
        Self::Method,
        Self::Host,
        Self::Path,
        Self::Protocol,
        Self::Status,
        Self::RequestBytes,
        Self::ResponseBytes,
        Self::DurationMs,
        Self::UpstreamDurationMs,
        Self::Entrypoint,
        Self::Router,
        Self::Service,
        Self::Backend,
        Self::Retries,
        Self::Reason,
        Self::UserAgent,
        Self::RequestId,
        Self::TraceId,
        Self::TlsVersion,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::ClientIp => "client_ip",
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::RequestBytes => "request_bytes",
            Self::ResponseBytes => "response_bytes",
            Self::DurationMs => "duration_ms",
            Self::UpstreamDurationMs => "upstream_duration_ms",
            Self::Entrypoint => "entrypoint",
            Self::Router => "router",
            Self::Service => "service",
            Self::Backend => "backend",
            Self::Retries => "retries",
            Self::Reason => "reason",
            Self::UserAgent => "user_agent",
            Self::RequestId => "request_id",
            Self::TraceId => "trace_id",
            Self::TlsVersion => "tls_version",
        }
    }

    /// Its bit in a set of them.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }
}
