//! `tracing { }`: traces, and where they are sent.

use super::values::duration;
use super::{HttpUrl, Secret, UpstreamTlsConfig};
use crate::config::schema;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Traces of requests, sent to a collector by OTLP; without the block there are none, and the headers of traces pass as
/// they came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracingConfig {
    /// The collector: `http://collector:4317` as a rule for `grpc`, `http://collector:4318` for `http`, to which
    /// `/v1/traces` is added where it has no path.
    pub otlp_endpoint: HttpUrl,
    /// How it is spoken to.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// The part of the requests whose traces are recorded, where whoever sent one has not decided, from 0 to 1.
    #[serde(default = "sample")]
    #[schemars(extend("minimum" = 0, "maximum" = 1))]
    pub sample: f64,
    /// The name of this gateway in traces.
    #[serde(default = "service_name")]
    pub service_name: String,
    /// Headers for the collector, as it asks for them to know us.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, Secret>,
    /// How long the collector may take to answer, before it is asked again.
    #[serde(default = "timeout", with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub timeout: Duration,
    /// How many spans may wait to be sent; those past them are lost, and counted.
    #[serde(default = "queue")]
    #[schemars(range(min = 100, max = 1_000_000))]
    pub queue: usize,
    /// TLS to the collector.
    #[serde(default)]
    pub tls: Box<UpstreamTlsConfig>,
}

/// A protocol of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protocol buffers over HTTP.
    Http,
}

impl TracingConfig {
    /// Traces for the collector at `otlp_endpoint`, and everything else as it is by default.
    pub fn new(otlp_endpoint: HttpUrl) -> TracingConfig {
        TracingConfig {
            otlp_endpoint,
            protocol: OtlpProtocol::default(),
            sample: sample(),
            service_name: service_name(),
            headers: IndexMap::new(),
            timeout: timeout(),
            queue: queue(),
            tls: Box::default(),
        }
    }
}

fn sample() -> f64 {
    0.1
}

fn service_name() -> String {
    "a3s-gateway".to_owned()
}

fn timeout() -> Duration {
    Duration::from_secs(10)
}

fn queue() -> usize {
    4_096
}
