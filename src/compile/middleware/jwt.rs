//! `type = "jwt"`.

use super::Made;
use crate::compile::client::client;
use crate::compile::file::Followed;
use crate::compile::upkeep::Task;
use crate::config::{HttpUrl, JwtConfig};
use crate::stack::{Request, erase};
use a3s_layers::auth::jwt::{
    Algorithm, ClaimRule, FixedKeys, Jwks, JwksSettings, JwtLayer, KeySet, Keys,
};
use http::Uri;
use std::path::Path;
use tower::{BoxError, ServiceBuilder};

pub(super) fn layer(name: &str, config: &JwtConfig) -> Result<Made, BoxError> {
    let (keys, tasks) = keys(name, config)?;
    let mut layer = JwtLayer::new(keys)
        .algorithms(config.algorithms.iter().copied())
        .issuer(&config.issuer)
        .audience(&config.audience)
        .leeway(config.leeway)
        .require_exp(config.require_exp)
        .header(config.header.clone())
        .hide(config.hide)
        .realm(&config.realm);
    for (claim, accepted) in &config.required_claims {
        layer = layer.require(ClaimRule::new(claim, &accepted.0));
    }
    for (claim, header) in &config.claims_to_headers {
        layer = layer.claim_to_header(claim, header.clone());
    }
    if let Some(cookie) = &config.cookie {
        layer = layer.cookie(cookie);
    }
    if let Some(parameter) = &config.query {
        layer = layer.query(parameter);
    }
    let mut made = Made::from(erase(layer));
    made.tasks = tasks;
    Ok(made)
}

fn keys(name: &str, config: &JwtConfig) -> Result<(Keys, Vec<Task>), BoxError> {
    match (&config.value, &config.public_key_file, &config.jwks_url) {
        (Some(secret), None, None) => Ok((KeySet::secret(secret.expose())?.into(), Vec::new())),
        (None, Some(file), None) => {
            let (keys, task) = file_keys(name, file, &config.algorithms)?;
            Ok((keys.into(), vec![task]))
        }
        (None, None, Some(url)) => {
            let jwks = jwks(url, config)?;
            let task: Task = Box::pin(jwks.upkeep());
            Ok((jwks.into(), vec![task]))
        }
        _ => Err("needs one of `value`, `public_key_file` and `jwks_url`".into()),
    }
}

fn file_keys(
    name: &str,
    file: &Path,
    algorithms: &[Algorithm],
) -> Result<(FixedKeys, Task), BoxError> {
    let keys = FixedKeys::default();
    let replaced = keys.clone();
    let algorithms = algorithms.to_vec();
    let task = Followed::read(file)?.begin(&format!("middleware `{name}`"), move |text| {
        replaced.replace(JwtConfig::public_keys(text, &algorithms)?);
        Ok(())
    })?;
    Ok((keys, task))
}

fn jwks(url: &HttpUrl, config: &JwtConfig) -> Result<Jwks, BoxError> {
    let client = client(url, &config.tls, config.jwks_timeout)?;
    let target: Uri = url.path_and_query().parse()?;
    let client = ServiceBuilder::new()
        .map_request(move |mut request: Request| {
            *request.uri_mut() = target.clone();
            request
        })
        .service(client);
    let settings = JwksSettings {
        refresh: config.jwks_refresh,
        timeout: config.jwks_timeout,
    };
    let whole = format!("{}{}", url.server(), url.path_and_query());
    Ok(Jwks::new(client, whole.parse()?, settings))
}
