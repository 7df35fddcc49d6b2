//! `routers "name" { }`: which requests go to which service.

use super::values::RuleText;
use crate::rule::{Protocol, Rule};
use serde::{Deserialize, Serialize};

/// A rule, and the service behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// The requests that it takes.
    pub rule: RuleText,
    /// The service that answers them.
    pub service: String,
    /// The entrypoints that it listens to; none named is all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoints: Vec<String>,
    /// The middlewares of its requests, the outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<String>,
    /// Its rank among routers that match the same request, the highest first; the length of the rule where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
}

impl RouterConfig {
    /// A router on every entrypoint.
    pub fn new(rule: impl Into<RuleText>, service: impl Into<String>) -> RouterConfig {
        RouterConfig {
            rule: rule.into(),
            service: service.into(),
            entrypoints: Vec::new(),
            middlewares: Vec::new(),
            priority: None,
        }
    }

    /// Its rank among routers for `protocol`: the `priority` that was written, or the rule's own.
    pub fn rank(&self, protocol: Protocol) -> i64 {
        let own = || self.rule.rule(protocol).map(Rule::default_priority);
        self.priority.unwrap_or_else(|| own().unwrap_or_default())
    }
}
