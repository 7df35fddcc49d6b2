//! `type = "forward-auth"`.

use super::Made;
use crate::compile::client::client;
use crate::config::{DecisionCacheConfig, ForwardAuthConfig};
use crate::stack::erase;
use a3s_layers::auth::forward_auth::{Cache, Credential, ForwardAuthLayer, Part};
use tower::BoxError;

pub(super) fn layer(config: &ForwardAuthConfig) -> Result<Made, BoxError> {
    let url = &config.forward_auth_url;
    let client = client(url, &config.tls, config.timeout)?;
    let mut layer = ForwardAuthLayer::new(client, url.path_and_query().parse()?)
        .response_headers(config.forward_auth_response_headers.iter().cloned())
        .called(&url.to_string())
        .trust_forward_header(config.trust_forward_header)
        .timeout(config.timeout)
        .max_in_flight(usize::try_from(config.max_in_flight).unwrap_or(usize::MAX))
        .max_answer_body(config.max_answer_body);
    if !config.request_headers.is_empty() {
        layer = layer.request_headers(config.request_headers.iter().cloned());
    }
    if let Some(config) = &config.cache {
        layer = layer.cache(cache(config)?);
    }
    Ok(erase(layer).into())
}

fn cache(config: &DecisionCacheConfig) -> Result<Cache, BoxError> {
    let credential: Credential = config.key.parse()?;
    let parts: Result<Vec<Part>, _> = config.parts.iter().map(|part| part.parse()).collect();
    Ok(Cache::new(credential, config.ttl)
        .max_entries(usize::try_from(config.max_entries).unwrap_or(usize::MAX))
        .parts(parts?))
}
