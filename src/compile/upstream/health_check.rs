//! How the servers of a service are asked whether they are well.

use super::origin::tls_settings;
use crate::compile::CompileError;
use crate::config::{
    FinalStatuses, HealthCheckConfig, HealthCheckKind, LoadBalancerConfig, Scheme, ServiceConfig,
};
use crate::upstream::probe::{Check, Fields, Kind};
use http::HeaderValue;
use std::str::FromStr;
use std::sync::Arc;

pub(super) fn health_check(
    name: &str,
    service: &ServiceConfig,
    balancer: &LoadBalancerConfig,
) -> Result<Option<Arc<Check>>, CompileError> {
    let Some(config) = &balancer.health_check else {
        return Ok(None);
    };
    let kind = match config.kind(service.protocol()) {
        HealthCheckKind::Http => Kind::Http {
            path: read(name, config.path.as_deref().unwrap_or("/"))?,
            statuses: config.status.iter().map(FinalStatuses::range).collect(),
            fields: fields(name, config)?,
        },
        HealthCheckKind::Grpc => Kind::Grpc {
            service: config.path.clone().unwrap_or_default(),
            fields: fields(name, config)?,
        },
        HealthCheckKind::Tcp => Kind::Tcp,
    };
    let has_tls = (service.servers()).any(|server| server.url.scheme() == Scheme::Https);
    let server_name = balancer.tls.server_name.clone();
    Ok(Some(Arc::new(Check {
        kind,
        port: config.port,
        interval: config.interval,
        timeout: config.timeout,
        unhealthy_threshold: config.unhealthy_threshold,
        healthy_threshold: config.healthy_threshold,
        tls: has_tls.then(|| (tls_settings(&balancer.tls), server_name)),
    })))
}

fn fields(name: &str, config: &HealthCheckConfig) -> Result<Fields, CompileError> {
    let field = |(field, value): (&String, &crate::config::Secret)| {
        let mut value: HeaderValue = read(name, value.expose().trim())?;
        // It may be a credential.
        value.set_sensitive(true);
        Ok((read(name, field)?, value))
    };
    let host = config.host.as_deref().map(|host| read(name, host));
    Ok(Fields {
        host: host.transpose()?,
        headers: (config.headers.iter().map(field)).collect::<Result<_, CompileError>>()?,
    })
}

/// Reads what the configuration's check has let pass.
fn read<T: FromStr>(name: &str, text: &str) -> Result<T, CompileError> {
    let invalid = || CompileError::Invalid(format!("service `{name}`: an unusable health check"));
    text.parse().map_err(|_| invalid())
}
