//! `respond { }`: a fixed answer.

use crate::compile::CompileError;
use crate::config::RespondConfig;
use crate::stack::{Request, Response, UpstreamService};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, service_fn};

pub(super) fn respond(name: &str, config: &RespondConfig) -> Result<UpstreamService, CompileError> {
    let invalid = |what: &str| CompileError::Invalid(format!("service `{name}`: {what}"));
    let status = StatusCode::from_u16(config.status).map_err(|_| invalid("no such status"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let name: HeaderName = name.parse().map_err(|_| invalid("not a header name"))?;
        let value: HeaderValue = value.parse().map_err(|_| invalid("not a header value"))?;
        headers.append(name, value);
    }
    let body = Bytes::from(config.body.clone());
    Ok(BoxCloneSyncService::new(service_fn(move |_: Request| {
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        std::future::ready(Ok::<_, BoxError>(response))
    })))
}
