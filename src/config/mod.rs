//! The configuration: what an operator writes, as one typed value.

mod access_log;
mod admin;
mod check;
mod code;
mod de;
mod diagnostic;
mod dns;
mod entrypoint;
mod eval;
mod excerpt;
mod fault;
mod files;
mod format;
mod functions;
mod load;
mod log;
mod metrics;
mod middleware;
mod names;
mod operators;
mod provider;
mod read;
mod report;
mod router;
mod schema;
mod service;
mod shown;
mod source;
mod syntax;
mod template;
mod test;
pub(crate) mod text_file;
mod tls;
mod token;
mod traces;
mod tree;
mod trial;
mod values;
mod walk;

#[cfg(test)]
mod tests;

pub use access_log::{AccessLogConfig, AccessLogFieldsConfig, AccessLogFormat};
pub use admin::AdminConfig;
pub use code::{Code, Severity};
pub use diagnostic::{Diagnostic, Diagnostics, Place};
pub use dns::DnsConfig;
pub use entrypoint::{EncodedSlash, EntrypointConfig, HttpConfig, Protocol, ProxyProtocolConfig};
pub use format::format;
pub use load::{Loaded, Source, load};
pub use log::{LogConfig, LogFormat, LogLevel};
pub use metrics::{Compat, MetricsConfig};
pub use middleware::{
    AddPrefixConfig, ApiKeyConfig, BasicAuthConfig, BodyLimitConfig, BufferingConfig, ChainConfig,
    CircuitBreakerConfig, CompressConfig, CorsConfig, CustomConfig, DecisionCacheConfig, Encoding,
    ErrorPagesConfig, FallbackConfig, ForwardAuthConfig, GrpcWebConfig, HeadersConfig,
    InFlightConfig, IpAllowConfig, JwtConfig, KeepConfig, MiddlewareConfig, OnError,
    RateLimitConfig, RateLimitRedisConfig, RedirectConfig, RedirectScheme, ReplacePathConfig,
    RequestIdConfig, RetryConfig, RetryOn, SlashConfig, StripPrefixConfig, TcpFilterConfig,
    TimeoutConfig,
};
pub use provider::{FileProviderConfig, ProvidersConfig};
pub use router::RouterConfig;
pub use schema::schema;
pub use service::{
    ConsistentHashConfig, FailoverConfig, HealthCheckConfig, HealthCheckKind, LoadBalancerConfig,
    MirrorConfig, OutlierConfig, ProxyVersion, RespondConfig, RevisionConfig, SameSite,
    ServerConfig, ServiceConfig, StickyConfig, StickyTo, Strategy, TimeoutsConfig,
    UpstreamTlsConfig, WebsocketHubConfig,
};
pub use test::{ExpectConfig, NO_ROUTER, OnTestFailure, TestConfig, TestPlaces, TestRequestConfig};
pub use tls::{
    CertificateConfig, ClientAuthConfig, ClientAuthMode, RouterTlsConfig, TlsConfig, TlsVersion,
};
pub use traces::{OtlpProtocol, TracingConfig};
pub use values::{
    Accepted, Address, AnyStatuses, ErrorStatuses, FinalStatuses, HttpUrl, Keys, NameServer,
    Pattern, RuleText, Scheme, Secret, ServerUrl, ValueError,
};

pub(crate) use load::digest_now;
pub(crate) use shown::Redactor;
pub(crate) use test::{Block, TestFailure, TestPart};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use std::{fmt, path::PathBuf, str::FromStr};

/// The service that stands for the admin API; it always exists.
pub const ADMIN_SERVICE: &str = "admin@internal";

/// A whole configuration. Built from HCL, or in code: every field is public, and [`Default`] is the empty one.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// How long requests under way may take after SIGTERM, in seconds.
    #[schemars(range(min = 0, max = 86_400))]
    pub shutdown_timeout_secs: u64,
    /// The listeners, in the order of their declaration.
    pub entrypoints: IndexMap<String, EntrypointConfig>,
    /// The routers, in the order of their declaration, which decides between equal priorities.
    pub routers: IndexMap<String, RouterConfig>,
    /// The services.
    pub services: IndexMap<String, ServiceConfig>,
    /// The middlewares.
    pub middlewares: IndexMap<String, MiddlewareConfig>,
    /// Where more routers, services and middlewares come from.
    pub providers: ProvidersConfig,
    /// How the names of servers are looked up.
    pub dns: DnsConfig,
    /// The admin API; none is no listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminConfig>,
    /// What is expected of requests, before it takes effect.
    #[serde(rename = "test", skip_serializing_if = "IndexMap::is_empty")]
    pub tests: IndexMap<String, TestConfig>,
    /// What becomes of it where that is not so.
    pub on_test_failure: OnTestFailure,
    /// Where the tests stand.
    #[serde(skip)]
    pub test_places: TestPlaces,
    /// What the command tells of itself.
    pub log: LogConfig,
    /// A line for each exchange; none is no access log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogConfig>,
    /// What is counted.
    pub metrics: MetricsConfig,
    /// Traces; none is no traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,
    /// Where it was read from, for a gateway to read it again; none for a configuration built in code.
    #[serde(skip)]
    pub source: Option<Source>,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            shutdown_timeout_secs: 30,
            entrypoints: IndexMap::new(),
            routers: IndexMap::new(),
            services: IndexMap::new(),
            middlewares: IndexMap::new(),
            providers: ProvidersConfig::default(),
            dns: DnsConfig::default(),
            admin: None,
            tests: IndexMap::new(),
            on_test_failure: OnTestFailure::default(),
            test_places: TestPlaces::default(),
            log: LogConfig::default(),
            access_log: None,
            metrics: MetricsConfig::default(),
            tracing: None,
            source: None,
        }
    }
}

/// Two maps are equal in the same order only: the order of routers decides between equal priorities. Where a
/// configuration was read from is no part of it.
impl PartialEq for GatewayConfig {
    fn eq(&self, other: &GatewayConfig) -> bool {
        self.shutdown_timeout_secs == other.shutdown_timeout_secs
            && self.providers == other.providers
            && self.dns == other.dns
            && self.admin == other.admin
            && self.on_test_failure == other.on_test_failure
            && self.tests.iter().eq(&other.tests)
            && self.log == other.log
            && self.access_log == other.access_log
            && self.metrics == other.metrics
            && self.tracing == other.tracing
            && self.entrypoints.iter().eq(&other.entrypoints)
            && self.routers.iter().eq(&other.routers)
            && self.services.iter().eq(&other.services)
            && self.middlewares.iter().eq(&other.middlewares)
    }
}

impl GatewayConfig {
    /// Loads and checks a file, or a directory of `*.hcl`.
    pub async fn from_file(path: impl Into<PathBuf>) -> Result<GatewayConfig, ConfigError> {
        let source = Source::new(path);
        blocking(move || load(&source)).await.into_result()
    }

    /// Loads and checks a text.
    pub fn from_hcl(text: &str) -> Result<GatewayConfig, ConfigError> {
        load::load_text(text, &|name| std::env::var(name).ok()).into_result()
    }
}

/// Runs what reads files off the runtime's threads: a disk may be slow.
pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(run).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going down cancels it, and then nobody is left to wait.
            Err(_) => std::future::pending().await,
        },
    }
}

impl FromStr for GatewayConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<GatewayConfig, ConfigError> {
        GatewayConfig::from_hcl(text)
    }
}

impl Loaded {
    /// Refuses middlewares of types that are not the gateway's own: for a program that brings none with it.
    pub fn without_custom_types(mut self) -> Self {
        self.diagnostics.extend(&self.unknown);
        if self.unknown.has_errors() {
            self.config = None;
        }
        self
    }

    /// Refuses files of keys and users that are of no use: for a start. A gateway that runs goes on with what they
    /// held before, where their middleware stays as it is written.
    pub fn without_unusable_files(mut self) -> Self {
        self.diagnostics.extend(&self.unusable);
        if self.unusable.has_errors() {
            self.config = None;
        }
        self
    }

    /// The configuration, or why there is none.
    pub fn into_result(self) -> Result<GatewayConfig, ConfigError> {
        self.config.ok_or(ConfigError(self.diagnostics))
    }
}

/// Why a configuration is refused. It prints every problem, each in a line, so that `main() -> Result` shows them.
#[derive(Clone)]
pub struct ConfigError(Diagnostics);

impl ConfigError {
    /// The problems.
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.0
    }
}

impl From<Diagnostics> for ConfigError {
    fn from(diagnostics: Diagnostics) -> ConfigError {
        ConfigError(diagnostics)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ConfigError {}
