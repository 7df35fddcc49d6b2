//! `routers "name" { }`: which requests go to which service.

use super::values::{RuleText, duration};
use super::{EntrypointConfig, GatewayConfig, RouterTlsConfig};
use crate::config::schema;
use crate::rule::{Protocol, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A rule, and the service behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// The requests, or the connections, that it takes.
    pub rule: RuleText,
    /// The service that answers requests, or leads connections to its servers.
    pub service: String,
    /// The entrypoints that it listens to; none named is all of HTTP. One of TCP must be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoints: Vec<String>,
    /// The middlewares of its requests or connections, the outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<String>,
    /// Its rank among routers that match the same request, the highest first; the length of the rule where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// What becomes of TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouterTlsConfig>,
    /// How long a request and its answer may take as a whole, to the end of the body; no limit where it is absent.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<schema::Duration>")]
    pub timeout: Option<Duration>,
}

impl RouterConfig {
    /// A router on every entrypoint of HTTP.
    pub fn new(rule: impl Into<RuleText>, service: impl Into<String>) -> RouterConfig {
        RouterConfig {
            rule: rule.into(),
            service: service.into(),
            entrypoints: Vec::new(),
            middlewares: Vec::new(),
            priority: None,
            tls: None,
            timeout: None,
        }
    }

    /// Its rank among routers for `protocol`: the `priority` that was written, or the rule's own.
    pub fn rank(&self, protocol: Protocol) -> i64 {
        let own = || self.rule.rule(protocol).map(Rule::default_priority);
        self.priority.unwrap_or_else(|| own().unwrap_or_default())
    }
}

impl RouterConfig {
    /// Whether TLS goes to the servers as it comes.
    pub fn passes_tls(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.passthrough)
    }

    /// Whether its rule is of connections, and cannot be of requests.
    fn asks_for_tls(&self) -> bool {
        self.rule.rule(Protocol::Http).is_err() && self.rule.rule(Protocol::Tcp).is_ok()
    }
}

impl EntrypointConfig {
    /// What a router takes here. Where HTTP is spoken in TLS, connections are for servers whose routers ask for what
    /// clients say of themselves before anything is encrypted.
    pub fn given_to(&self, router: &RouterConfig) -> Protocol {
        match self.protocol.of_routers() {
            Protocol::Http if self.tls.is_some() && router.asks_for_tls() => Protocol::Tcp,
            protocol => protocol,
        }
    }
}

impl GatewayConfig {
    /// Whether a router takes requests or connections, which its entrypoints decide. None where they are not there.
    pub fn protocol_of(&self, router: &RouterConfig) -> Option<Protocol> {
        if router.entrypoints.is_empty() {
            return Some(Protocol::Http);
        }
        let named = &mut router.entrypoints.iter();
        let first = named.find_map(|name| self.entrypoints.get(name))?;
        Some(first.given_to(router))
    }

    /// The entrypoints that a router listens to.
    pub fn entrypoints_of<'c>(
        &'c self,
        router: &RouterConfig,
    ) -> impl Iterator<Item = (&'c String, &'c EntrypointConfig)> {
        let protocol = self.protocol_of(router);
        let listens = move |(name, entrypoint): &(&String, &EntrypointConfig)| match router
            .entrypoints
            .is_empty()
        {
            true => entrypoint.protocol == super::Protocol::Http,
            false => {
                router.entrypoints.contains(*name) && Some(entrypoint.given_to(router)) == protocol
            }
        };
        self.entrypoints.iter().filter(listens)
    }
}
