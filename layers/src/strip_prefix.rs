//! Takes a prefix off a request's path, so that an app need not know under which path it is served.
//!
//! ```
//! use a3s_layers::strip_prefix::StripPrefixLayer;
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(StripPrefixLayer::new(["/api"]))
//!     .service(service_fn(|request: Request<()>| async move {
//!         Ok::<_, std::convert::Infallible>(request.uri().to_string())
//!     }));
//! let request = Request::get("/api/users?page=2").body(()).unwrap();
//! assert_eq!(service.oneshot(request).await.unwrap(), "/users?page=2");
//! # });
//! ```

use crate::path::set_path;
use http::{HeaderName, HeaderValue, Request};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Takes off the first of its prefixes that a path begins with, and tells the server which one it was in
/// `X-Forwarded-Prefix`, as Traefik does.
#[derive(Debug, Clone)]
pub struct StripPrefixLayer {
    prefixes: Arc<[Prefix]>,
}

#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    header: Option<HeaderValue>,
}

impl StripPrefixLayer {
    /// Each prefix begins with a slash and ends where a segment of the path does: `/api` is a prefix of `/api`
    /// and of `/api/users`, and not of `/apis`. A slash at its end means nothing, and one alone is no prefix.
    pub fn new(prefixes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let prefix = |text: &str| Prefix {
            header: HeaderValue::from_str(text).ok(),
            text: text.into(),
        };
        Self {
            prefixes: prefixes
                .into_iter()
                .map(|text| prefix(text.as_ref().trim_end_matches('/')))
                .filter(|prefix| !prefix.text.is_empty())
                .collect(),
        }
    }
}

impl<S> Layer<S> for StripPrefixLayer {
    type Service = StripPrefix<S>;

    fn layer(&self, inner: S) -> Self::Service {
        StripPrefix {
            inner,
            prefixes: Arc::clone(&self.prefixes),
        }
    }
}

/// The service made by [`StripPrefixLayer`].
#[derive(Debug, Clone)]
pub struct StripPrefix<S> {
    inner: S,
    prefixes: Arc<[Prefix]>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for StripPrefix<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        strip(&self.prefixes, &mut request);
        self.inner.call(request)
    }
}

fn strip<B>(prefixes: &[Prefix], request: &mut Request<B>) {
    let path = request.uri().path();
    let Some((prefix, rest)) = prefixes
        .iter()
        .find_map(|prefix| Some((prefix, rest_of(path, &prefix.text)?)))
    else {
        return;
    };
    let rest = if rest.is_empty() { "/" } else { rest }.to_owned();
    // What is left of a URI is one, too.
    if set_path(request.uri_mut(), &rest)
        && let Some(value) = &prefix.header
    {
        request
            .headers_mut()
            .append(X_FORWARDED_PREFIX, value.clone());
    }
}

/// What is left of `path` behind `prefix`, where that ends with a segment.
fn rest_of<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
