//! `routers "name" { }`: which requests go to which service.

use super::values::{STAND_IN, ValueError, parsed};
use crate::rule::{Protocol, Rule};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A rule, and the service behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// The requests that it takes.
    #[serde(serialize_with = "write_rule", deserialize_with = "read_rule")]
    pub rule: Rule,
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
    pub fn new(rule: Rule, service: impl Into<String>) -> RouterConfig {
        RouterConfig {
            rule,
            service: service.into(),
            entrypoints: Vec::new(),
            middlewares: Vec::new(),
            priority: None,
        }
    }

    /// Its rank: the `priority` that was written, or the rule's own.
    pub fn rank(&self) -> i64 {
        self.priority
            .unwrap_or_else(|| self.rule.default_priority())
    }
}

fn write_rule<S: Serializer>(rule: &Rule, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(rule.as_str())
}

fn read_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
    parsed(deserializer, "a rule", |text| {
        let text = if text == STAND_IN {
            "PathPrefix(`/`)"
        } else {
            text
        };
        Rule::parse(text, Protocol::Http).map_err(|error| ValueError {
            message: error.message,
            span: Some(error.span),
            help: error.help,
        })
    })
}
