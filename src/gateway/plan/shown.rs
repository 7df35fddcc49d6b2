//! What runs elsewhere, as its admin API shows it: without secrets, and with names of files that are perhaps not here.

use crate::config::{GatewayConfig, HeadersConfig, MiddlewareConfig, Secret, UpstreamTlsConfig};

/// Both configurations in a form that can be compiled without a secret and without a file: whatever needs one has a
/// stand-in, which is the same in both where the two are written alike, and another one where they are not. So the
/// compiled ones have in common what they would have in common if it were all there.
pub(super) fn stand_ins(
    before: &GatewayConfig,
    after: &GatewayConfig,
) -> (GatewayConfig, GatewayConfig) {
    let (mut old, mut new) = (bare(before), bare(after));
    for (name, config) in &mut new.middlewares {
        if !is_self_contained(config) {
            let is_same = before.middlewares.get(name) == Some(config);
            *config = stand_in(is_same);
        }
    }
    for config in old.middlewares.values_mut() {
        if !is_self_contained(config) {
            *config = stand_in(true);
        }
    }
    for (name, service) in &mut new.services {
        let other = old.services.get_mut(name);
        let other = other.and_then(|other| other.load_balancer.as_mut());
        match (other, &mut service.load_balancer) {
            (Some(old), Some(new)) => {
                let is_same = files(&old.tls) == files(&new.tls);
                forget_files(&mut new.tls);
                if !is_same {
                    new.tls.server_name = Some("other-files.invalid".to_owned());
                }
            }
            (_, Some(new)) => forget_files(&mut new.tls),
            _ => {}
        }
    }
    let balancers = old.services.values_mut();
    let balancers = balancers.filter_map(|service| service.load_balancer.as_mut());
    balancers.for_each(|balancer| forget_files(&mut balancer.tls));
    (old, new)
}

/// Without what is compared as it is written, and not as it is compiled.
fn bare(config: &GatewayConfig) -> GatewayConfig {
    let mut config = GatewayConfig {
        access_log: None,
        tracing: None,
        ..config.clone()
    };
    let entrypoints = config.entrypoints.values_mut();
    entrypoints.for_each(|entrypoint| entrypoint.tls = None);
    let tls = config.routers.values_mut();
    let tls = tls.filter_map(|router| router.tls.as_mut());
    tls.for_each(|tls| tls.client_auth = None);
    config
}

/// Whether a middleware needs neither a file nor a secret that has to be of some form, nor a program that knows it.
fn is_self_contained(config: &MiddlewareConfig) -> bool {
    !matches!(
        config,
        MiddlewareConfig::ApiKey(_)
            | MiddlewareConfig::BasicAuth(_)
            | MiddlewareConfig::Custom(_)
            | MiddlewareConfig::ForwardAuth(_)
            | MiddlewareConfig::Jwt(_)
            | MiddlewareConfig::RateLimitRedis(_)
    )
}

fn stand_in(is_same: bool) -> MiddlewareConfig {
    let mut config = HeadersConfig::default();
    if !is_same {
        let (name, value) = ("X-Other".to_owned(), Secret::from("other"));
        config.request_headers.insert(name, value);
    }
    config.into()
}

fn files(tls: &UpstreamTlsConfig) -> [&Option<std::path::PathBuf>; 3] {
    [&tls.ca_file, &tls.cert_file, &tls.key_file]
}

fn forget_files(tls: &mut UpstreamTlsConfig) {
    (tls.ca_file, tls.cert_file, tls.key_file) = (None, None, None);
}
