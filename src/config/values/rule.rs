//! A rule before it is known what it is for.

use super::{STAND_IN, parsed};
use crate::rule::{Protocol, Rule, RuleError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A rule as it is written. What it means depends on the entrypoints of its router: a rule of requests, of
/// connections or of datagrams. It is parsed once for each that is asked for.
#[derive(Debug, Clone)]
pub struct RuleText {
    text: Arc<str>,
    http: OnceLock<Result<Rule, RuleError>>,
    tcp: OnceLock<Result<Rule, RuleError>>,
    udp: OnceLock<Result<Rule, RuleError>>,
}

impl RuleText {
    /// The rule as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The rule that it is for a protocol, or why it is none.
    pub fn rule(&self, protocol: Protocol) -> Result<&Rule, &RuleError> {
        let parsed = match protocol {
            Protocol::Http => &self.http,
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        };
        let parse = || Rule::parse(&self.text, protocol);
        parsed.get_or_init(parse).as_ref()
    }
}

impl From<&str> for RuleText {
    fn from(text: &str) -> RuleText {
        RuleText {
            text: text.into(),
            http: OnceLock::new(),
            tcp: OnceLock::new(),
            udp: OnceLock::new(),
        }
    }
}

impl From<Rule> for RuleText {
    fn from(rule: Rule) -> RuleText {
        rule.as_str().into()
    }
}

impl fmt::Display for RuleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for RuleText {
    fn eq(&self, other: &RuleText) -> bool {
        self.text == other.text
    }
}

impl Serialize for RuleText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RuleText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RuleText, D::Error> {
        parsed(deserializer, "a rule", |text| {
            Ok(match text {
                STAND_IN => "PathPrefix(`/`)".into(),
                text => text.into(),
            })
        })
    }
}
