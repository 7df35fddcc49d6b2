//! Lets requests pass by the address of their client.
//!
//! ```
//! use a3s_layers::ip_allow::IpAllowLayer;
//! use a3s_layers::peer::{Client, Peer, TrustedProxies};
//! use axum::body::Body;
//! use http::{Request, Response, StatusCode};
//! use std::{convert::Infallible, sync::Arc};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(IpAllowLayer::new(["10.0.0.0/8".parse().unwrap()]))
//!     .service(service_fn(|_: Request<Body>| async {
//!         Ok::<_, Infallible>(Response::new(Body::from("hello")))
//!     }));
//!
//! let mut request = Request::new(Body::empty());
//! // A server says who the client is; in an axum app `peer::ClientLayer` does.
//! let address = "192.0.2.1:4711".parse().unwrap();
//! let peer = Arc::new(Peer::new(address, 80, false, &TrustedProxies::default()));
//! let client = Client::of(peer, request.headers());
//! request.extensions_mut().insert(client);
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), StatusCode::FORBIDDEN);
//! # });
//! ```

use crate::answer::AnswerFuture;
use crate::error::BoxError;
use crate::networks::Networks;
use crate::peer::{Client, forwarded_from_right};
use crate::reject::{Shape, reject};
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Answers 403 to a client whose address is not allowed, or is denied, or is not known.
///
/// The address is that of [`Client`]: the peer's, or what trusted proxies say. IPv4-mapped IPv6 addresses and
/// networks count as IPv4 on both sides. A search takes the logarithm of the number of networks.
#[derive(Debug, Clone)]
pub struct IpAllowLayer {
    rules: Arc<Rules>,
}

#[derive(Debug, Clone)]
struct Rules {
    /// `None`: everybody.
    allowed: Option<Networks>,
    denied: Networks,
    depth: usize,
}

impl IpAllowLayer {
    /// Allows the addresses in `allowed`, and nobody where that is empty.
    pub fn new(allowed: impl IntoIterator<Item = IpNet>) -> Self {
        Self::with(Some(Networks::new(allowed)))
    }

    /// Allows every known address, until some are [denied](Self::deny).
    pub fn everybody() -> Self {
        Self::with(None)
    }

    fn with(allowed: Option<Networks>) -> Self {
        let rules = Rules {
            allowed,
            denied: Networks::new([]),
            depth: 0,
        };
        Self {
            rules: Arc::new(rules),
        }
    }

    /// Refuses the addresses in `denied`, allowed or not.
    #[must_use]
    pub fn deny(mut self, denied: impl IntoIterator<Item = IpNet>) -> Self {
        Arc::make_mut(&mut self.rules).denied = Networks::new(denied);
        self
    }

    /// Judges by the `depth`-th address from the right of `X-Forwarded-For`, as Traefik's `ipStrategy.depth`
    /// does: 1 is the one that the nearest proxy has added. 0, the default, judges by the client's address.
    ///
    /// With a depth, who connects without being a trusted proxy is refused: anybody can write that header.
    /// So is a request whose list is shorter, or has something else than an address at that place.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        Arc::make_mut(&mut self.rules).depth = depth;
        self
    }
}

impl<S> Layer<S> for IpAllowLayer {
    type Service = IpAllow<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IpAllow {
            inner,
            rules: Arc::clone(&self.rules),
        }
    }
}

/// The service made by [`IpAllowLayer`].
#[derive(Debug, Clone)]
pub struct IpAllow<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S, B, R> Service<Request<B>> for IpAllow<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AnswerFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.rules.allow(&request) {
            return AnswerFuture::pass(self.inner.call(request));
        }
        AnswerFuture::refuse(reject(
            StatusCode::FORBIDDEN,
            "this address is not allowed",
            Shape::of(request.headers()),
        ))
    }
}

impl Rules {
    fn allow<B>(&self, request: &Request<B>) -> bool {
        self.judged(request).is_some_and(|ip| {
            let is_allowed = self
                .allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contain(ip));
            is_allowed && !self.denied.contain(ip)
        })
    }

    /// The address to judge by, canonical.
    fn judged<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let client = request.extensions().get::<Client>()?;
        let Some(before) = self.depth.checked_sub(1) else {
            return Some(client.ip().to_canonical());
        };
        let is_believed = client.peer().is_trusted();
        is_believed
            .then(|| forwarded_from_right(request.headers()).nth(before))
            .flatten()?
    }
}
