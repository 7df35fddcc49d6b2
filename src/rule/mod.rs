//! The rule language (stand-in).

use std::ops::Range;

/// Which kind of router a rule belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Requests.
    Http,
    /// Connections.
    Tcp,
}

/// A parsed rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule(String);

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes of the rule.
    pub span: Range<usize>,
    /// What to do.
    pub help: Option<String>,
}

/// Something odd in a rule that is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleWarning {
    /// What is odd.
    pub message: String,
    /// Where, in bytes of the rule.
    pub span: Range<usize>,
    /// What to do.
    pub help: Option<String>,
}

impl Rule {
    /// Parses `text`.
    pub fn parse(text: &str, _protocol: Protocol) -> Result<Rule, RuleError> {
        if let Some(at) = text.find("Hots") {
            return Err(RuleError {
                message: "unknown matcher `Hots`".into(),
                span: at..at + 4,
                help: Some("did you mean `Host`?".into()),
            });
        }
        if text.trim().is_empty() {
            return Err(RuleError {
                message: "the rule is empty".into(),
                span: 0..text.len(),
                help: None,
            });
        }
        Ok(Rule(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is odd.
    pub fn warnings(&self) -> Vec<RuleWarning> {
        match self.0.find("PathPrefix(`//`)") {
            Some(at) => vec![RuleWarning {
                message: "never matches".into(),
                span: at + 11..at + 15,
                help: None,
            }],
            None => Vec::new(),
        }
    }

    /// Length of the rule.
    pub fn default_priority(&self) -> i64 {
        self.0.len() as i64
    }
}
