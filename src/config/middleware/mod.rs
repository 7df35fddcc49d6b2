//! `middlewares "name" { type = "..." }`: what happens to a request on its way.
//!
//! One variant for each type, with keys of its own; the table at the end of this file names them all.

mod add_prefix;
mod api_key;
mod basic_auth;
mod body_limit;
mod buffering;
mod chain;
mod circuit_breaker;
mod compress;
mod cors;
mod error_pages;
mod forward_auth;
mod grpc_web;
mod headers;
mod in_flight;
mod ip_allow;
mod jwt;
mod rate_limit;
mod rate_limit_redis;
mod redirect;
mod replace_path;
mod request_id;
mod retry;
mod strip_prefix;
mod tcp_filter;
mod timeout;

pub use add_prefix::AddPrefixConfig;
pub use api_key::ApiKeyConfig;
pub use basic_auth::BasicAuthConfig;
pub use body_limit::BodyLimitConfig;
pub use buffering::BufferingConfig;
pub use chain::ChainConfig;
pub use circuit_breaker::{CircuitBreakerConfig, FallbackConfig};
pub use compress::{CompressConfig, Encoding};
pub use cors::CorsConfig;
pub use error_pages::ErrorPagesConfig;
pub use forward_auth::{DecisionCacheConfig, ForwardAuthConfig};
pub use grpc_web::GrpcWebConfig;
pub use headers::HeadersConfig;
pub use in_flight::InFlightConfig;
pub use ip_allow::IpAllowConfig;
pub use jwt::JwtConfig;
pub use rate_limit::RateLimitConfig;
pub use rate_limit_redis::{OnError, RateLimitRedisConfig};
pub use redirect::{RedirectConfig, RedirectScheme, SlashConfig};
pub use replace_path::ReplacePathConfig;
pub use request_id::{KeepConfig, RequestIdConfig};
pub use retry::{RetryConfig, RetryOn};
pub use strip_prefix::StripPrefixConfig;
pub use tcp_filter::TcpFilterConfig;
pub use timeout::TimeoutConfig;

use super::check::Place;
use super::diagnostic::{Diagnostics, Problem, did_you_mean};
use super::{code::Code, values::TAGGED};
use crate::config::schema;
use crate::rule::Protocol;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{EnumAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// What the configuration of a middleware says of itself.
pub(crate) trait Settings {
    /// Reports what is wrong with the values, each at its place.
    fn check(&self, place: &mut Place<'_, '_>) {
        let _ = place;
    }

    /// The files that it names, to be taken relative to the configuration.
    fn files(&mut self) -> Vec<&mut PathBuf> {
        Vec::new()
    }

    /// The service that it sends requests to, if any.
    fn service(&self) -> Option<&str> {
        None
    }

    /// Whether it is for requests or for connections. A chain is for what its middlewares are for.
    fn protocol(&self) -> Protocol {
        Protocol::Http
    }

    /// The middlewares that it stands for, if any.
    fn middlewares(&self) -> &[String] {
        &[]
    }
}

/// A middleware of a type that the program brings with it (`Gateway::builder`).
#[derive(Debug, Clone)]
pub struct CustomConfig {
    /// What is written as its `type`.
    pub kind: String,
    /// Everything else that is written.
    pub settings: serde_json::Value,
    /// What to say, and where, in a gateway that knows no such type.
    pub(crate) unknown: Option<Box<Diagnostics>>,
}

impl CustomConfig {
    /// A middleware of type `kind`, with these settings.
    pub fn new(kind: impl Into<String>, settings: serde_json::Value) -> CustomConfig {
        CustomConfig {
            kind: kind.into(),
            settings,
            unknown: None,
        }
    }

    /// The problem of a type that nobody knows; `types` are those that somebody does.
    pub(super) fn problem<'t>(&self, name: &str, types: impl Iterator<Item = &'t str>) -> Problem {
        let kind = &self.kind;
        let message = format!("middleware `{name}` is of the unknown type `{kind}`");
        let types: Vec<_> = types.collect();
        let help = did_you_mean(kind, types.iter().copied())
            .unwrap_or_else(|| format!("the types are `{}`", types.join("`, `")));
        Problem::new(Code::UnknownType, message).help(help)
    }
}

/// Where it was read is no part of it.
impl PartialEq for CustomConfig {
    fn eq(&self, other: &CustomConfig) -> bool {
        self.kind == other.kind && self.settings == other.settings
    }
}

impl Settings for CustomConfig {}

/// What is written for a middleware, with its type beside its keys.
#[derive(Serialize)]
struct Tagged<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    settings: &'a T,
}

macro_rules! types {
    ($($kind:literal: $variant:ident($config:ident), $summary:literal;)*) => {
        /// A middleware: its type, and the keys that this type has.
        #[derive(Debug, Clone, PartialEq)]
        pub enum MiddlewareConfig {
            $(#[doc = $summary] $variant($config),)*
            /// A type that the program brings with it.
            Custom(CustomConfig),
        }

        impl MiddlewareConfig {
            /// The types that every gateway has.
            pub const TYPES: &[&str] = &[$($kind),*];

            /// Its `type`.
            pub fn kind(&self) -> &str {
                match self {
                    $(MiddlewareConfig::$variant(_) => $kind,)*
                    MiddlewareConfig::Custom(config) => &config.kind,
                }
            }

            /// The service that it sends requests to, if any.
            pub(crate) fn service(&self) -> Option<&str> {
                self.settings().service()
            }

            pub(crate) fn settings(&self) -> &dyn Settings {
                match self {
                    $(MiddlewareConfig::$variant(config) => config,)*
                    MiddlewareConfig::Custom(config) => config,
                }
            }

            pub(crate) fn settings_mut(&mut self) -> &mut dyn Settings {
                match self {
                    $(MiddlewareConfig::$variant(config) => config,)*
                    MiddlewareConfig::Custom(config) => config,
                }
            }
        }

        impl Serialize for MiddlewareConfig {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(MiddlewareConfig::$variant(settings) => {
                        Tagged { kind: $kind, settings }.serialize(serializer)
                    })*
                    MiddlewareConfig::Custom(config) => {
                        // What somebody else's keys mean is not known: any of them may be a secret.
                        Tagged { kind: &config.kind, settings: &Hidden { settings: "***" } }.serialize(serializer)
                    }
                }
            }
        }

        impl JsonSchema for MiddlewareConfig {
            fn schema_name() -> Cow<'static, str> {
                "MiddlewareConfig".into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                schema::tagged([$(($kind, <$config>::json_schema(generator))),*])
            }
        }

        $(impl From<$config> for MiddlewareConfig {
            fn from(config: $config) -> MiddlewareConfig {
                MiddlewareConfig::$variant(config)
            }
        })*

        impl<'de> Visitor<'de> for Read {
            type Value = MiddlewareConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a middleware")
            }

            fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<MiddlewareConfig, A::Error> {
                let (kind, settings) = data.variant::<String>()?;
                match kind.as_str() {
                    $($kind => settings.newtype_variant().map(MiddlewareConfig::$variant),)*
                    _ => {
                        let settings = settings.newtype_variant()?;
                        Ok(MiddlewareConfig::Custom(CustomConfig::new(kind, settings)))
                    }
                }
            }
        }
    };
}

#[derive(Serialize)]
struct Hidden {
    settings: &'static str,
}

struct Read;

impl<'de> Deserialize<'de> for MiddlewareConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MiddlewareConfig, D::Error> {
        deserializer.deserialize_enum(TAGGED, MiddlewareConfig::TYPES, Read)
    }
}

types! {
    "add-prefix": AddPrefix(AddPrefixConfig), "Puts a prefix before the path.";
    "api-key": ApiKey(ApiKeyConfig), "Asks for an API key.";
    "basic-auth": BasicAuth(BasicAuthConfig), "Asks for a name and its password.";
    "body-limit": BodyLimit(BodyLimitConfig), "Refuses bodies that are too large.";
    "buffering": Buffering(BufferingConfig), "Reads whole bodies before they go on.";
    "chain": Chain(ChainConfig), "Several middlewares under one name.";
    "circuit-breaker": CircuitBreaker(CircuitBreakerConfig), "Stops asking a service that fails.";
    "compress": Compress(CompressConfig), "Compresses answers.";
    "cors": Cors(CorsConfig), "Says which pages may read an answer.";
    "error-pages": ErrorPages(ErrorPagesConfig), "Gives errors a page of a service.";
    "forward-auth": ForwardAuth(ForwardAuthConfig), "Asks another service.";
    "grpc-web": GrpcWeb(GrpcWebConfig), "Lets browsers call gRPC services.";
    "headers": Headers(HeadersConfig), "Sets, adds and removes header fields.";
    "in-flight": InFlight(InFlightConfig), "Lets so many requests be under way at a time.";
    "ip-allow": IpAllow(IpAllowConfig), "Lets only some addresses through.";
    "jwt": Jwt(JwtConfig), "Asks for a token.";
    "rate-limit": RateLimit(RateLimitConfig), "Lets so many requests through in so much time.";
    "rate-limit-redis": RateLimitRedis(RateLimitRedisConfig), "The same, counted in a Redis that gateways share.";
    "redirect": Redirect(RedirectConfig), "Sends clients to another URL.";
    "replace-path": ReplacePath(ReplacePathConfig), "Replaces the path, or a part of it.";
    "request-id": RequestId(RequestIdConfig), "Gives each request an ID.";
    "retry": Retry(RetryConfig), "Sends a request again where another try may do better.";
    "strip-prefix": StripPrefix(StripPrefixConfig), "Takes a prefix off the path.";
    "tcp-filter": TcpFilter(TcpFilterConfig), "Lets only some connections in.";
    "timeout": Timeout(TimeoutConfig), "Answers 504 where an answer takes too long to begin.";
}
