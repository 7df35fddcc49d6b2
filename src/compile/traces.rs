//! `tracing { }`: who makes spans, and what sends them.

use super::{CompileError, Kept};
use crate::config::{GatewayConfig, TracingConfig};
use crate::telemetry::traces::{Exporter, Tracer};
use std::sync::Arc;

/// What makes spans. While its words stay the same, it does: what waits to be sent goes on waiting.
#[derive(Debug, Clone, Default)]
pub struct Tracing {
    config: Option<TracingConfig>,
    pub(super) tracer: Option<Arc<Tracer>>,
}

/// The exporter is a new one, which somebody has to run.
pub(super) fn tracing(
    config: &GatewayConfig,
    kept: &Kept,
) -> Result<(Tracing, Option<Exporter>), CompileError> {
    if kept.tracing.config == config.tracing {
        return Ok((kept.tracing.clone(), None));
    }
    let Some(written) = &config.tracing else {
        return Ok((Tracing::default(), None));
    };
    let (tracer, exporter) =
        make(written, kept).map_err(|source| CompileError::Tracing { source })?;
    let tracing = Tracing {
        config: Some(written.clone()),
        tracer: Some(Arc::new(tracer)),
    };
    Ok((tracing, Some(exporter)))
}

#[cfg(feature = "otlp")]
fn make(config: &TracingConfig, kept: &Kept) -> Result<(Tracer, Exporter), tower::BoxError> {
    use super::client::client;
    use crate::config::{HttpUrl, OtlpProtocol};
    use crate::telemetry::traces::{Collector, Protocol, Resource};
    use a3s_layers::trace_context::Sampler;
    use http::uri::PathAndQuery;
    use http::{HeaderMap, HeaderName, HeaderValue};

    let url = &config.otlp_endpoint;
    let (url, protocol) = match (config.protocol, url.path_and_query()) {
        // HTTP/2 from the first byte on, where TLS does not agree on it.
        (OtlpProtocol::Grpc, _) if !url.is_https() => {
            let authority = url.server().authority();
            let url: HttpUrl = format!("h2c://{authority}").parse()?;
            (url, Protocol::Grpc)
        }
        (OtlpProtocol::Grpc, _) => (url.clone(), Protocol::Grpc),
        (OtlpProtocol::Http, "/") => {
            let path = PathAndQuery::from_static("/v1/traces");
            (url.clone(), Protocol::Http(path))
        }
        (OtlpProtocol::Http, path) => (url.clone(), Protocol::Http(path.parse()?)),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let mut value = HeaderValue::from_str(value.expose())?;
        value.set_sensitive(true);
        headers.insert(name.parse::<HeaderName>()?, value);
    }
    let client = client(&url, &config.tls, config.timeout)?;
    let collector = Collector::new(client, protocol, headers, config.timeout);
    let resource = Resource {
        service_name: config.service_name.clone(),
    };
    let counts = Arc::clone(kept.metrics.spans());
    let (queue, exporter) = Exporter::new(collector, resource, config.queue, counts);
    Ok((Tracer::new(Sampler::ratio(config.sample), queue), exporter))
}

#[cfg(not(feature = "otlp"))]
fn make(_: &TracingConfig, _: &Kept) -> Result<(Tracer, Exporter), tower::BoxError> {
    Err("this gateway was built without the feature `otlp`".into())
}
