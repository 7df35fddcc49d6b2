//! Where requests have secrets, as far as the configuration and common names tell.

use crate::config::{GatewayConfig, MiddlewareConfig};
use crate::stack::redaction::Redaction;
use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};

/// Parameters of queries that are credentials, as a rule.
pub(super) const PARAMETERS: [&str; 23] = [
    "access_token",
    "api_key",
    "apikey",
    "api-key",
    "assertion",
    "auth",
    "client_secret",
    "code",
    "id_token",
    "jwt",
    "key",
    "pass",
    "passwd",
    "password",
    "pwd",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
];

/// Headers that are.
pub(super) const HEADERS: [HeaderName; 6] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    SET_COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
];

/// What the access log and traces hide of requests.
pub(super) fn of_requests(config: &GatewayConfig) -> Redaction {
    let fields = config.access_log.as_ref().map(|log| &log.fields);
    let is_shown = |name: &str| {
        let mut shown = fields.iter().flat_map(|fields| &fields.reveal);
        shown.any(|listed| listed.eq_ignore_ascii_case(name))
    };
    let asked = fields.iter().flat_map(|fields| &fields.redact);
    let asked = asked.map(String::as_str);
    let (parameters, headers) = read_by_middlewares(config);
    let parameters = PARAMETERS.into_iter().chain(parameters);
    let parameters = parameters.chain(asked.clone());
    let headers = HEADERS.into_iter().chain(headers);
    let headers = headers.chain(asked.filter_map(|name| name.parse().ok()));
    Redaction::new(
        parameters.filter(|name| !is_shown(name)),
        headers.filter(|name: &HeaderName| !is_shown(name.as_str())),
    )
}

/// Where middlewares look for credentials: parameters and headers.
pub(super) fn read_by_middlewares(config: &GatewayConfig) -> (Vec<&str>, Vec<HeaderName>) {
    let (mut parameters, mut headers) = (Vec::new(), Vec::new());
    for middleware in config.middlewares.values() {
        let (query, header) = match middleware {
            MiddlewareConfig::ApiKey(keys) => (&keys.query, &keys.header),
            MiddlewareConfig::Jwt(tokens) => (&tokens.query, &tokens.header),
            _ => continue,
        };
        parameters.extend(query.as_deref());
        headers.push(header.clone());
    }
    (parameters, headers)
}

/// What `headers` middlewares set on requests: their values are shown nowhere.
pub(super) fn set_by_middlewares(config: &GatewayConfig) -> impl Iterator<Item = HeaderName> {
    let middlewares = config.middlewares.values();
    let of_headers = middlewares.filter_map(|middleware| match middleware {
        MiddlewareConfig::Headers(headers) => Some(headers.secret_names()),
        _ => None,
    });
    of_headers.flatten()
}
