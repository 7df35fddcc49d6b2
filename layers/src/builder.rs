//! The layers of this crate as methods of tower's `ServiceBuilder`.
//!
//! ```
//! use a3s_layers::builder::ServiceBuilderExt;
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .strip_prefix(["/api"])
//!     .service(service_fn(|request: Request<()>| async move {
//!         Ok::<_, std::convert::Infallible>(request.uri().path().to_owned())
//!     }));
//! let request = Request::get("/api/users").body(()).unwrap();
//! assert_eq!(service.oneshot(request).await.unwrap(), "/users");
//! # });
//! ```

#[cfg(feature = "api-key")]
use crate::auth::api_key::ApiKeyLayer;
#[cfg(feature = "basic-auth")]
use crate::auth::basic_auth::BasicAuthLayer;
#[cfg(feature = "forward-auth")]
use crate::auth::forward_auth::ForwardAuthLayer;
#[cfg(feature = "jwt")]
use crate::auth::jwt::JwtLayer;
use crate::balance::sticky::{KeepLayer, SessionLayer};
use crate::body_limit::BodyLimitLayer;
use crate::buffering::BufferingLayer;
use crate::circuit_breaker::CircuitBreakerLayer;
#[cfg(feature = "compression")]
use crate::compress::CompressLayer;
use crate::connection::{AllowLayer, ConnectionLimits, LimitLayer};
use crate::cors::CorsLayer;
use crate::error_pages::ErrorPagesLayer;
use crate::failover::FailoverLayer;
#[cfg(feature = "grpc-web")]
use crate::grpc_web::GrpcWebLayer;
use crate::headers::HeadersLayer;
use crate::in_flight::InFlightLayer;
use crate::ip_allow::IpAllowLayer;
use crate::mirror::MirrorLayer;
#[cfg(feature = "redis")]
use crate::rate_limit::distributed::RedisRateLimitLayer;
#[cfg(feature = "rate-limit")]
use crate::rate_limit::local::RateLimitLayer;
use crate::redirect::RedirectLayer;
use crate::request_id::RequestIdLayer;
use crate::retry::RetryLayer;
use crate::rewrite::{AddPrefixLayer, ReplacePathLayer};
use crate::strip_prefix::StripPrefixLayer;
use crate::timeout::TimeoutLayer;
use crate::trace_context::{Sampler, TraceContextLayer};
use ipnet::IpNet;
use std::time::Duration;
use tower::ServiceBuilder;
use tower::layer::util::Stack;
#[cfg(feature = "rate-limit")]
use tower_governor::key_extractor::KeyExtractor;

/// One method for each layer: those with few parameters take them, the others take the layer.
pub trait ServiceBuilderExt<L>: Sized {
    /// Adds any layer; the other methods are made of this one.
    fn add<T>(self, layer: T) -> ServiceBuilder<Stack<T, L>>;

    /// Puts a prefix before the path: [`AddPrefixLayer`].
    fn add_prefix(self, layer: AddPrefixLayer) -> ServiceBuilder<Stack<AddPrefixLayer, L>> {
        self.add(layer)
    }

    /// Refuses connections of other peers: [`AllowLayer`].
    fn allow_peers(
        self,
        allowed: impl IntoIterator<Item = IpNet>,
    ) -> ServiceBuilder<Stack<AllowLayer, L>> {
        self.add(AllowLayer::new(allowed))
    }

    /// Refuses connections past these limits: [`LimitLayer`].
    fn limit_connections(self, limits: ConnectionLimits) -> ServiceBuilder<Stack<LimitLayer, L>> {
        self.add(LimitLayer::new(limits))
    }

    /// Asks for an API key: [`ApiKeyLayer`].
    #[cfg(feature = "api-key")]
    fn api_key(self, layer: ApiKeyLayer) -> ServiceBuilder<Stack<ApiKeyLayer, L>> {
        self.add(layer)
    }

    /// Asks for a name and its password: [`BasicAuthLayer`].
    #[cfg(feature = "basic-auth")]
    fn basic_auth(self, layer: BasicAuthLayer) -> ServiceBuilder<Stack<BasicAuthLayer, L>> {
        self.add(layer)
    }

    /// Refuses bodies of more than `max` bytes, and cuts those that do not say: [`BodyLimitLayer`].
    fn body_limit(self, max: u64) -> ServiceBuilder<Stack<BodyLimitLayer, L>> {
        self.add(BodyLimitLayer::new(max))
    }

    /// Reads whole bodies before it passes them on: [`BufferingLayer`].
    fn buffering(self, layer: BufferingLayer) -> ServiceBuilder<Stack<BufferingLayer, L>> {
        self.add(layer)
    }

    /// Stops asking a service that fails: [`CircuitBreakerLayer`].
    fn circuit_breaker(
        self,
        layer: CircuitBreakerLayer,
    ) -> ServiceBuilder<Stack<CircuitBreakerLayer, L>> {
        self.add(layer)
    }

    /// Compresses answers: [`CompressLayer`].
    #[cfg(feature = "compression")]
    fn compress_answers(self, layer: CompressLayer) -> ServiceBuilder<Stack<CompressLayer, L>> {
        self.add(layer)
    }

    /// Says which pages may read an answer: [`CorsLayer`].
    fn cors(self, layer: CorsLayer) -> ServiceBuilder<Stack<CorsLayer, L>> {
        self.add(layer)
    }

    /// Gives errors a page that another service makes: [`ErrorPagesLayer`].
    fn error_pages<P>(
        self,
        layer: ErrorPagesLayer<P>,
    ) -> ServiceBuilder<Stack<ErrorPagesLayer<P>, L>> {
        self.add(layer)
    }

    /// Asks another service where there is nobody to answer: [`FailoverLayer`].
    fn fail_over<F>(self, layer: FailoverLayer<F>) -> ServiceBuilder<Stack<FailoverLayer<F>, L>> {
        self.add(layer)
    }

    /// Asks another service: [`ForwardAuthLayer`].
    #[cfg(feature = "forward-auth")]
    fn forward_auth<A>(
        self,
        layer: ForwardAuthLayer<A>,
    ) -> ServiceBuilder<Stack<ForwardAuthLayer<A>, L>> {
        self.add(layer)
    }

    /// Lets browsers call gRPC services: [`GrpcWebLayer`].
    #[cfg(feature = "grpc-web")]
    fn grpc_web(self) -> ServiceBuilder<Stack<GrpcWebLayer, L>> {
        self.add(GrpcWebLayer::new())
    }

    /// Sets, adds and removes header fields: [`HeadersLayer`].
    fn headers(self, layer: HeadersLayer) -> ServiceBuilder<Stack<HeadersLayer, L>> {
        self.add(layer)
    }

    /// Lets so many requests be under way at a time: [`InFlightLayer`].
    fn in_flight(self, layer: InFlightLayer) -> ServiceBuilder<Stack<InFlightLayer, L>> {
        self.add(layer)
    }

    /// Lets only some clients through: [`IpAllowLayer`].
    fn ip_allow(self, layer: IpAllowLayer) -> ServiceBuilder<Stack<IpAllowLayer, L>> {
        self.add(layer)
    }

    /// Asks for a token: [`JwtLayer`].
    #[cfg(feature = "jwt")]
    fn jwt(self, layer: JwtLayer) -> ServiceBuilder<Stack<JwtLayer, L>> {
        self.add(layer)
    }

    /// Sets the cookie of a session on the answers of a server: [`KeepLayer`].
    fn keep_session(self, layer: KeepLayer) -> ServiceBuilder<Stack<KeepLayer, L>> {
        self.add(layer)
    }

    /// Tells which session a request belongs to: [`SessionLayer`].
    fn session(self, layer: SessionLayer) -> ServiceBuilder<Stack<SessionLayer, L>> {
        self.add(layer)
    }

    /// Lets so many requests through in so much time: [`RateLimitLayer`].
    #[cfg(feature = "rate-limit")]
    fn limit_rate<K: KeyExtractor>(
        self,
        layer: RateLimitLayer<K>,
    ) -> ServiceBuilder<Stack<RateLimitLayer<K>, L>> {
        self.add(layer)
    }

    /// The same, counted in a Redis: [`RedisRateLimitLayer`].
    #[cfg(feature = "redis")]
    fn limit_rate_redis(
        self,
        layer: RedisRateLimitLayer,
    ) -> ServiceBuilder<Stack<RedisRateLimitLayer, L>> {
        self.add(layer)
    }

    /// Sends clients to another URL: [`RedirectLayer`].
    fn redirect(self, layer: RedirectLayer) -> ServiceBuilder<Stack<RedirectLayer, L>> {
        self.add(layer)
    }

    /// Replaces the path, or a part of it: [`ReplacePathLayer`].
    fn replace_path(self, layer: ReplacePathLayer) -> ServiceBuilder<Stack<ReplacePathLayer, L>> {
        self.add(layer)
    }

    /// Sends a request again where another try may do better: [`RetryLayer`]. (`retry` is tower's own, for a policy.)
    fn retry_failed(self, layer: RetryLayer) -> ServiceBuilder<Stack<RetryLayer, L>> {
        self.add(layer)
    }

    /// Sends copies of requests to another service: [`MirrorLayer`].
    fn mirror<M>(self, layer: MirrorLayer<M>) -> ServiceBuilder<Stack<MirrorLayer<M>, L>> {
        self.add(layer)
    }

    /// Gives each request an ID: [`RequestIdLayer`].
    fn request_id(self, layer: RequestIdLayer) -> ServiceBuilder<Stack<RequestIdLayer, L>> {
        self.add(layer)
    }

    /// Takes a prefix off the path: [`StripPrefixLayer`].
    fn strip_prefix(
        self,
        prefixes: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> ServiceBuilder<Stack<StripPrefixLayer, L>> {
        self.add(StripPrefixLayer::new(prefixes))
    }

    /// Tells where each request stands in a trace: [`TraceContextLayer`].
    fn trace_context(self, sampler: Sampler) -> ServiceBuilder<Stack<TraceContextLayer, L>> {
        self.add(TraceContextLayer::new(sampler))
    }

    /// Answers 504, or 408 where the client is late, if the head of an answer takes longer than `duration`:
    /// [`TimeoutLayer`]. (`timeout` is tower's own, which fails.)
    fn answer_within(self, duration: Duration) -> ServiceBuilder<Stack<TimeoutLayer, L>> {
        self.add(TimeoutLayer::new(duration))
    }

    /// The same, and cuts an answer whose body has not ended by then: [`TimeoutLayer::whole`].
    fn end_within(self, duration: Duration) -> ServiceBuilder<Stack<TimeoutLayer, L>> {
        self.add(TimeoutLayer::whole(duration))
    }
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn add<T>(self, layer: T) -> ServiceBuilder<Stack<T, L>> {
        self.layer(layer)
    }
}
