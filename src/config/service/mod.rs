//! `services "name" { }`: who answers.

mod consistent_hash;
mod failover;
mod health_check;
mod load_balancer;
mod mirror;
mod outlier;
mod respond;
mod revision;
mod sticky;
mod websocket_hub;

pub use consistent_hash::ConsistentHashConfig;
pub use failover::FailoverConfig;
pub use health_check::{HealthCheckConfig, HealthCheckKind};
pub use load_balancer::{
    LoadBalancerConfig, ProxyVersion, ServerConfig, Strategy, TimeoutsConfig, UpstreamTlsConfig,
};
pub use mirror::MirrorConfig;
pub use outlier::OutlierConfig;
pub use respond::RespondConfig;
pub use revision::RevisionConfig;
pub use sticky::{SameSite, StickyConfig, StickyTo};
pub use websocket_hub::WebsocketHubConfig;

use crate::rule::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What answers the requests of a router: servers, a fixed answer, or a hub, and what is done beside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// Servers to forward to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerConfig>,
    /// Versions of the service that share its traffic; `load_balancer` then says what is common to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionConfig>,
    /// A fixed answer, without a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<RespondConfig>,
    /// Channels that WebSockets share, without a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub websocket_hub: Option<WebsocketHubConfig>,
    /// Another service that is asked where this one fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverConfig>,
    /// Another service that gets copies of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorConfig>,
}

impl From<LoadBalancerConfig> for ServiceConfig {
    fn from(load_balancer: LoadBalancerConfig) -> ServiceConfig {
        ServiceConfig {
            load_balancer: Some(load_balancer),
            ..ServiceConfig::default()
        }
    }
}

impl From<RespondConfig> for ServiceConfig {
    fn from(respond: RespondConfig) -> ServiceConfig {
        ServiceConfig {
            respond: Some(respond),
            ..ServiceConfig::default()
        }
    }
}

impl ServiceConfig {
    /// Whether it answers requests, or leads connections or datagrams to its servers. Revisions are of requests.
    pub fn protocol(&self) -> Protocol {
        match self.servers().next() {
            Some(server) if self.revisions.is_empty() => server.url.scheme().protocol(),
            _ => Protocol::Http,
        }
    }

    /// The strategies of its pools: one, or one for each revision.
    pub fn strategies(&self) -> impl Iterator<Item = Strategy> {
        let common = self.load_balancer.iter().map(|each| each.strategy);
        let common = common.filter(|_| self.revisions.is_empty());
        let own = self.load_balancer.as_ref().map(|each| each.strategy);
        let revisions = self.revisions.iter();
        common.chain(revisions.filter_map(move |each| each.strategy.or(own)))
    }

    /// What is common to its servers: what `load_balancer` says, or the defaults.
    pub fn common(&self) -> Cow<'_, LoadBalancerConfig> {
        match &self.load_balancer {
            Some(balancer) => Cow::Borrowed(balancer),
            None => Cow::Owned(LoadBalancerConfig::default()),
        }
    }

    /// The servers that it has requests for: those of its revisions where there are any.
    pub fn servers(&self) -> impl Iterator<Item = &ServerConfig> {
        let own = self.load_balancer.iter();
        let own = own.filter(|_| self.revisions.is_empty());
        own.flat_map(|each| &each.servers)
            .chain(self.revisions.iter().flat_map(|each| &each.servers))
    }

    /// The other services that it leads to, each with the block that names it.
    pub fn leads_to(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let failover = self
            .failover
            .iter()
            .map(|each| ("failover", &*each.service));
        failover.chain(self.mirror.iter().map(|each| ("mirror", &*each.service)))
    }
}
